"""Frames, masking and UTF-8: bytes in, events out. Knows no socket and no loop."""
