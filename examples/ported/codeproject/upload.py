"""Takes files as binary messages and answers with size and checksum; a text message is a name.

python -m wsgroups examples.ported.codeproject.upload:handle
ws://127.0.0.1:8080/upload
"""

import hashlib

from wsgroups import Handle, HandlerStatus, Request, WebSocketHandler

handle = Handle()
handle.group("upload", max_message_size=16 << 20)  # bytes; a larger one closes with 1009


class UploadService(WebSocketHandler):
    """One connection. A message arrives whole, in however many frames it was sent."""

    name = "file"

    def on_message(self, message: str) -> None:
        """Name the file that comes next."""
        self.name = message

    def on_binary(self, message: bytes) -> None:
        """Take a file."""
        digest = hashlib.sha256(message).hexdigest()
        self.send(f"{self.name}: {len(message)} bytes, sha256 {digest}")


@handle.get("/upload")
def upload(request: Request) -> HandlerStatus:
    """Make a service for each connection."""
    request.require_upgrade()
    return request.accept(UploadService(), group="upload")
