"""Measures the server CPU of wsgroups and of its peers on the same work. See README.md.

`__main__` reads the command line; `install` fetches the peers and compiles the load generator;
`runner` goes through the rounds; `measure` does one measurement with `server`, `generator` and
`proc`; `summary`, `bars`, `report`, `terminal` and `plot` turn the measurements into results.
`scenarios`, `peers` and `bars` are tables.
"""
