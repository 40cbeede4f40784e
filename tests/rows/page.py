"""Writes docs/bad-input.md from the rows."""

from __future__ import annotations

from pathlib import Path

from tests.rows.frames import FRAME_ROWS, OTHER_ROWS
from tests.rows.handshake import ROWS as HANDSHAKE_ROWS
from tests.rows.playing import splits
from tests.rows.row import ALL_POSITIONS, FrameCase, Row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/bad-input.md"
ALL_ROWS = [*HANDSHAKE_ROWS, *FRAME_ROWS, *OTHER_ROWS]

TOP = """\
# Bad input, row by row

What a hostile or broken client may send to a server with default options, what comes of it, and the
tests that show it. This page is made from those tests: `python -m tests.rows` writes it.

**Each refusal of a request** is one response with its status, `Connection: close` and
`Content-Length`, then FIN. A refused client may go on sending: up to 64 KiB are thrown away, for a
second at most, so that no RST destroys the response; then the connection closes. The handler of the
route is not called, and no handler of a group ever is. What only the handler can know is its own to
refuse: whether it takes plain requests (HS-28) and who may connect (HS-39).

**Each failure of a WebSocket** is one Close frame with the code of the table and no reason, then
FIN, and the connection is dropped after 5 s when the client does not end it. Valid frames before
the bad one are delivered and answered, nothing behind it is. The connect handler and the disconnect
handler are called once each, the message handler once for each echo, and `close_info` has the code.

{cases:,} streams of bytes are sent over TCP, on asyncio and on uvloop: whole, byte by byte, split
in two at every byte, and split in three. Streams above {all_positions} bytes are split around each
boundary and here and there between. Each stream of frames is sent by itself and behind a valid
message, and one that fails also has a valid message behind it; all of them are sent in the segment
of the handshake as well. That makes {splits:,} connections with a split stream on each loop. After
every row another client of the same server still gets its echo.

"Shown by" gives the number of streams, which `tests/rows/test_handshake_rows.py` and
`tests/rows/test_frame_rows.py` send in tests that have the name of the row in brackets, and further
tests by name. What is not there yet says why.
"""


def render() -> str:
    """Return the page."""
    return "\n".join(
        [
            TOP.format(
                cases=sum(len(row.cases) for row in ALL_ROWS),
                splits=sum(_splits(row) for row in ALL_ROWS),
                all_positions=ALL_POSITIONS,
            ),
            *_table("Opening handshakes", HANDSHAKE_ROWS),
            *_table("Frames", FRAME_ROWS),
            *_table("Compressed messages, and the rest of a socket's life", OTHER_ROWS),
        ]
    )


def _splits(row: Row) -> int:
    return sum(
        splits(case) + (splits(case.wrapped) if isinstance(case, FrameCase) else 0)
        for case in row.cases
    )


def _table(title: str, rows: list[Row]) -> list[str]:
    lines = [
        f"## {title}",
        "",
        "| Row | Input | What comes of it | Shown by |",
        "|---|---|---|---|",
    ]
    for row in rows:
        cells = [row.id, row.what, _outcome(row), _shown_by(row)]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return [*lines, ""]


def _outcome(row: Row) -> str:
    """What the cases of a row say, told apart where they differ."""
    whats: dict[str, list[str]] = {}
    for case in row.cases:
        whats.setdefault(case.outcome, []).append(case.what)
    sentences = []
    if len(whats) == 1 and not row.in_short:
        sentences = [*whats]
    elif whats and not row.in_short:
        sentences = ["; ".join(f"{outcome}: {', '.join(of)}" for outcome, of in whats.items())]
    if row.outcome:
        sentences.append(row.outcome)
    if row.not_yet:
        sentences.append(f"**Not yet:** {row.not_yet}")
    return ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def _shown_by(row: Row) -> str:
    count = len(row.cases)
    cells = [f"{count} stream{'s' if count > 1 else ''}"] if count else []
    return ", ".join([*cells, *(f"`{name}`" for name in row.shown_by)])
