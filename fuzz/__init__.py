"""Random streams into the codec and into the handshake, held against other implementations.

`python -m fuzz --seconds 60` runs both, each for half of the time; `python -m fuzz.differential`
and `python -m fuzz.handshake` run one. `make fuzz` runs both for ten minutes in all.
"""
