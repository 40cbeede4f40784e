"""Frames, good and bad, row by row over real sockets: whole, and split anywhere."""

from tests.rows.frames import FRAME_ROWS, OTHER_ROWS
from tests.rows.playing import (
    behind_the_handshake,
    in_three,
    in_two,
    one_byte_at_a_time,
    play_all,
    whole,
)
from tests.rows.row import Case, FrameCase, each_row

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
