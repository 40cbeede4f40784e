"""Random streams into the codec, held against two other implementations and plain Python.

`python -m fuzz.differential --seconds 60` runs it; `make fuzz` runs it for ten minutes.
"""
