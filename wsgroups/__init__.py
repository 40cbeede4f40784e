"""wsgroups: an asyncio WebSocket server framework with groups and storable socket ids.

The layers, top to bottom; each imports only what stands below it, and a test holds it to that:

    command      the command line
    testing      an application inside a test, and clients that never wait for ever
    surface      Handle, Request, Response, WebSocket, Group: what applications see
    client       connect(): the other end, on asyncio transports
    server       listeners, start, drain
    cluster      messages between the processes of one application: the Bus and its kinds
    drivers      move bytes between descriptors and connections
    connection   one object per socket: HTTP phase, WebSocket phase, what is still to send
    codec        frames, masking, UTF-8: bytes in, events out
    vocabulary   errors, closing, enums, ids, policy, repeats: the standard library only
"""

from wsgroups.client.connecting import Backoff, connect
from wsgroups.client.socket import ClientSocket
from wsgroups.closing import CloseCode, CloseInfo, Side
from wsgroups.connection.tally import set_log_level
from wsgroups.enums import ConnectionFlags, HandlerStatus, SendResult, SocketStatus
from wsgroups.errors import (
    AlreadyAnsweredError,
    BusUnreachableError,
    DuplicateHandlerError,
    HandlerSignatureError,
    HandshakeFailedError,
    HTTPError,
    OriginRefusedError,
    SocketGoneError,
    UnknownGroupError,
    UpgradeRequiredError,
    WSGroupsError,
)
from wsgroups.policy import Compression, GroupPolicy, ServerConfig
from wsgroups.server.server import Server, serve
from wsgroups.surface.census import live
from wsgroups.surface.group import Group
from wsgroups.surface.handle import Handle
from wsgroups.surface.instances import WebSocketHandler
from wsgroups.surface.outside import BlockingCluster, Cluster, WorkerInfo
from wsgroups.surface.presence import PresenceEvent
from wsgroups.surface.request import Request
from wsgroups.surface.response import Response
from wsgroups.surface.session import Session
from wsgroups.surface.websocket import Room, SocketSet, WebSocket

__all__ = [
    "AlreadyAnsweredError",
    "Backoff",
    "BlockingCluster",
    "BusUnreachableError",
    "ClientSocket",
    "CloseCode",
    "CloseInfo",
    "Cluster",
    "Compression",
    "ConnectionFlags",
    "DuplicateHandlerError",
    "Group",
    "GroupPolicy",
    "HTTPError",
    "Handle",
    "HandlerSignatureError",
    "HandlerStatus",
    "HandshakeFailedError",
    "OriginRefusedError",
    "PresenceEvent",
    "Request",
    "Response",
    "Room",
    "SendResult",
    "Server",
    "ServerConfig",
    "Session",
    "Side",
    "SocketGoneError",
    "SocketSet",
    "SocketStatus",
    "UnknownGroupError",
    "UpgradeRequiredError",
    "WSGroupsError",
    "WebSocket",
    "WebSocketHandler",
    "WorkerInfo",
    "connect",
    "live",
    "serve",
    "set_log_level",
]
__version__ = "0.1.0"
