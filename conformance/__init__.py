"""The Autobahn testsuite against our server and our client, held to what is stored here.

`make autobahn` runs it, `make autobahn STORE=1` stores what came out as `expected.json` and writes
`docs/autobahn.md`. The cases are those of Autobahn; the engine that runs them is kosoku.
"""
