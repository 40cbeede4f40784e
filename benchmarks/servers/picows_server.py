"""Peer: the core API of picows on uvloop."""

import ssl
import sys
from pathlib import Path

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

group: set[WSTransport] = set()


def tls() -> ssl.SSLContext | None:
    """The context to serve with, when asked for."""
    if "tls" not in sys.argv:
        return None
    build = Path(__file__).parent.parent / "build"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(build / "cert.pem", build / "key.pem")
    return context


class Echo(WSListener):
    """Send every message back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer straight from the receive buffer."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Member(WSListener):
    """Belong to the group for as long as the connection lives."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Join."""
        group.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Leave."""
        group.discard(transport)


class Publisher(WSListener):
    """Send the payload of `[uint16 count][payload]` to the group, `count` times."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send to one member after the other: there is no broadcast in picows."""
        if frame.msg_type != WSMsgType.BINARY:
            return
        message = frame.get_payload_as_bytes()
        payload = message[2:]
        for _ in range(int.from_bytes(message[:2], "big")):
            for member in group:
                member.send(WSMsgType.BINARY, payload)


ROUTES = {b"/echo": Echo, b"/group": Member, b"/publish": Publisher}


def listener(request: WSUpgradeRequest) -> WSListener:
    """Choose by path."""
    return ROUTES[request.path]()


async def main(port: int) -> None:
    """Serve until the process is ended."""
    server = await ws_create_server(listener, "127.0.0.1", port, ssl=tls())
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
