"""Bad input, row by row: what a peer may send, what must come of it, and the tests of both.

`handshake.py` and `frames.py` hold the rows, `playing.py` sends them to a server, and
`python -m tests.rows` writes docs/bad-input.md from them.
"""
