"""Attacks on memory and CPU, each from one connection and from many, and what they come to.

The server is in a process of its own (`server.py`, started by `target.py`), so that its memory and
its CPU are nobody else's. `list.py` says what each attack is, and `python -m tests.attacks --store`
writes docs/attacks.md from that and from the figures of a run.
"""
