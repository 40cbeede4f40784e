"""Chromium visits the examples."""
