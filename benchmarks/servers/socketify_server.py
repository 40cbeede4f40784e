"""Peer: socketify, uWebSockets driven from Python, with its own publish and subscribe."""

import sys
from pathlib import Path

from socketify import App, AppOptions, OpCode

LIMITS = {
    "compression": 0,
    "max_payload_length": 16 << 20,
    "max_backpressure": 64 << 20,
}

build = Path(__file__).parent.parent / "build"
pems = AppOptions(
    key_file_name=str(build / "key.pem"), cert_file_name=str(build / "cert.pem"), passphrase=None
)
app = App(pems if "tls" in sys.argv else None)


def echo(socket, message, opcode) -> None:
    """Send the message back."""
    socket.send(message, opcode)


def join(socket) -> None:
    """Join the group."""
    socket.subscribe("group")


def publish(socket, message, opcode) -> None:
    """Send the payload of `[uint16 count][payload]` to the group, `count` times."""
    payload = message[2:]
    for _ in range(int.from_bytes(message[:2], "big")):
        app.publish("group", payload, OpCode.BINARY)


app.ws("/echo", {**LIMITS, "message": echo})
app.ws("/group", {**LIMITS, "open": join, "message": lambda socket, message, opcode: None})
app.ws("/publish", {**LIMITS, "message": publish})
app.listen({"host": "127.0.0.1", "port": int(sys.argv[1])}, lambda config: None)
app.run()
