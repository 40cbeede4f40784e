"""Seconds that count, and silence that is judged by them."""

import asyncio
import time

from tests.support import soon
from wsgroups.server.seconds import Seconds, Silence


def counted(*seconds: tuple[bool, bool]) -> list[bool]:
    """Return whether the silence is long after each second; of each, what `count` takes."""
    silence = Silence()
    return [(silence.count(*second), silence.is_long)[1] for second in seconds]


HEARD, SILENT, LATE = (True, True), (False, True), (False, False)


def test_four_seconds_in_a_row_without_a_word_are_long() -> None:
    assert counted(HEARD, SILENT, SILENT, SILENT, SILENT) == [False] * 4 + [True]
    assert not any(counted(SILENT, SILENT, SILENT, HEARD, SILENT, SILENT, SILENT))


def test_the_beginning_of_a_long_silence_is_told_once() -> None:
    silence = Silence()
    assert [silence.count(*SILENT) for _ in range(6)] == [False] * 3 + [True] + [False] * 2
    silence.count(*HEARD)
    assert [silence.count(*SILENT) for _ in range(4)] == [False] * 3 + [True]


def test_who_was_late_himself_begins_anew() -> None:
    assert not any(counted(SILENT, SILENT, SILENT, LATE, SILENT, SILENT, SILENT, LATE, LATE))


def test_who_was_late_does_not_take_the_silent_for_back() -> None:
    assert counted(*[SILENT] * 4, LATE, SILENT, HEARD)[3:] == [True, True, True, False]


async def test_a_loop_that_was_held_up_is_told_apart() -> None:
    found: asyncio.Queue[bool] = asyncio.Queue()
    seconds = Seconds(found.put_nowait)
    try:
        time.sleep(2.0)
        assert not await soon(found.get())
        while not await soon(found.get()):  # the machine may be slow
            pass
    finally:
        seconds.stop()
