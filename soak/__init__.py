"""Hours of coming and going against one server, and whether it is afterwards as it was before.

`python -m soak --seconds 3600` runs it; `make soak` does, for an hour. Three processes beside the
one that watches: the server (`app`), those who come and go (`churn`), and a client that is never
to notice any of it (`canary`).
"""
