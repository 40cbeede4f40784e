"""Drivers move bytes between descriptors and connections; they know nothing of WebSocket."""
