"""What applications see: Handle, Request, Response, WebSocket, Group."""
