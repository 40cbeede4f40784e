"""The other end of a WebSocket, on asyncio transports."""
