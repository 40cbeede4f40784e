"""Listeners and the life of a server: start, serve, drain."""
