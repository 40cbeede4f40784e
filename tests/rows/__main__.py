"""Writes the page: `python -m tests.rows`."""

from tests.rows.page import PAGE, render

PAGE.write_text(render())
print(f"written: {PAGE.relative_to(PAGE.parents[1])}")
