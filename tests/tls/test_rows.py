"""TLS-02: the rows of bad input come out over TLS as they do without."""

import itertools
from dataclasses import replace

from tests.certificates import Certificates
from tests.rows.frames import FRAME_ROWS
from tests.rows.handshake import ROWS
from tests.rows.playing import in_two, play_all, whole
from tests.rows.row import Case, each_row

MOST_CUTS = 10  # each is a handshake of TLS


# Behind a refusal 64 KiB are read and no more, so the answer to what is longer may be lost to a
# reset. Without TLS the driver has read all of it before the refusal.
LONGEST = (64 << 10) + (32 << 10)


def over_tls(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Return the cases as they are over TLS, where the server's own origin is https.

    Who finds the server full gets neither a handshake nor an answer: that is in test_serving.py.
    """
    return tuple(
        replace(case, data=swap_schemes(case.data)) if b"\r\nOrigin: " in case.data else case
        for case in cases
        if len(case.data) <= LONGEST and not getattr(case, "is_full", False)
    )


def swap_schemes(data: bytes) -> bytes:
    """Return a request whose http origins are https and the other way round, ports included."""
    return (
        data.replace(b"https://", b"\0")
        .replace(b"http://", b"https://")
        .replace(b"\0", b"http://")
        .replace(b":80\r\n", b":443\r\n")
    )


@each_row(ROWS)
async def test_a_handshake(cases: tuple[Case, ...], certificates: Certificates) -> None:
    await play_all(over_tls(cases), whole, certificates)


@each_row(FRAME_ROWS)
async def test_frames(cases: tuple[Case, ...], certificates: Certificates) -> None:
    await play_all(cases, whole, certificates)


@each_row(FRAME_ROWS)
async def test_frames_in_two_records(cases: tuple[Case, ...], certificates: Certificates) -> None:
    await play_all(cases, lambda case: itertools.islice(in_two(case), MOST_CUTS), certificates)
