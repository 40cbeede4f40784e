"""TLS: who talks to us over it, what records may do, certificates that change."""
