"""One object per socket: its HTTP phase, its WebSocket phase, what it has still to send."""
