"""Peer: socketify, uWebSockets driven from Python, with its own publish and subscribe."""

import sys

from socketify import App, OpCode

LIMITS = {
    "compression": 0,
    "max_payload_length": 16 << 20,
    "max_backpressure": 64 << 20,
}

app = App()


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
