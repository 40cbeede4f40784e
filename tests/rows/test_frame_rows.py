"""Frames, good and bad, row by row over real sockets: whole, and split anywhere."""

import pytest

from tests.codec.feeding import masked
from tests.rows.frames import FRAME_ROWS, GOODBYE, LARGEST, OTHER_ROWS
from tests.rows.playing import (
    behind_the_handshake,
    in_three,
    in_two,
    one_byte_at_a_time,
    play_all,
    stage,
    whole,
)
from tests.rows.row import Case, FrameCase, each_row
from tests.support import BINARY, turns, wire

ROWS = [*FRAME_ROWS, *OTHER_ROWS]


def bare_and_wrapped(cases: tuple[Case, ...]) -> tuple[FrameCase, ...]:
    """Each case by itself, and with a valid message before it and behind it."""
    frames = [case for case in cases if isinstance(case, FrameCase)]
    return (*frames, *(case.wrapped for case in frames))


@each_row(ROWS)
async def test_a_row_comes_out_as_the_table_says(cases: tuple[Case, ...]) -> None:
    await play_all(bare_and_wrapped(cases), whole)


@each_row(ROWS)
async def test_a_row_comes_out_the_same_in_the_segment_of_the_handshake(
    cases: tuple[Case, ...],
) -> None:
    await play_all(tuple(behind_the_handshake(case) for case in bare_and_wrapped(cases)), whole)


@each_row(ROWS)
async def test_a_row_comes_out_the_same_one_byte_at_a_time(cases: tuple[Case, ...]) -> None:
    await play_all(bare_and_wrapped(cases), one_byte_at_a_time)


@each_row(ROWS)
async def test_a_row_comes_out_the_same_split_in_two_anywhere(cases: tuple[Case, ...]) -> None:
    await play_all(bare_and_wrapped(cases), in_two)


@each_row(ROWS)
async def test_a_row_comes_out_the_same_split_in_three(cases: tuple[Case, ...]) -> None:
    await play_all(bare_and_wrapped(cases), in_three)


@pytest.mark.xfail(
    reason="without input behind the Close the server closes at once: what comes later resets it",
    strict=True,
)
async def test_what_was_echoed_arrives_when_the_client_goes_on_behind_its_close() -> None:
    async with stage() as on, wire(on.server) as connection:
        await connection.upgrade()
        await connection.send(masked(0x82, bytes(LARGEST)) + GOODBYE)
        await turns(20)  # most of the echo waits in the server's kernel until we read
        await connection.send(masked(0x81, b"after"))
        assert await connection.frame() == (BINARY, bytes(LARGEST))
        assert await connection.closing() == (1000, "")
