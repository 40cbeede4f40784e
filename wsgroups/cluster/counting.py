"""Numbers on messages, so that whoever receives them knows how many are missing."""

from __future__ import annotations

import itertools
import time
from threading import RLock

from wsgroups.cluster.bus import LARGEST_MESSAGE
from wsgroups.cluster.letters import Letter

_MOST_PASSING = 1 << 12  # counts of senders that are no workers we know: those of scripts
_MOST_IN_PARTS = 4 * LARGEST_MESSAGE  # bytes of messages whose other parts have not come
_MOST_COUNTS = 1 << 16  # beside those of workers; then those that rested longest go


class Count:
    """The numbers that were given on one subject.

    Attributes:
        epoch: told in each letter; another epoch begins another count.
        number: the last one given.
        used: when, by the monotonic clock.
    """

    __slots__ = ("epoch", "number", "used")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.number = 0
        self.used = 0.0


class Numbering:
    """Gives numbers to what is sent. From any thread, under `lock`.

    What goes to a worker's own address is counted by an epoch that both sides know, the receiver's
    incarnation: it hears of what was lost before the first message that it gets. Who subscribes to
    a channel comes into the middle of a count; there the epoch is ours.
    """

    def __init__(self) -> None:
        self.lock = RLock()  # a `__del__` may run anywhere, and send
        self._channels: dict[bytes, Count] = {}
        self._addresses: dict[bytes, Count] = {}  # never dropped: there are 65,536 at most
        self._epochs = itertools.count(1)

    def meet(self, subject: bytes, incarnation: int) -> None:
        """Begin a count for the worker that has this subject as its address; once for each."""
        count = self._addresses.get(subject)
        if count is None or count.epoch != incarnation:
            with self.lock:
                self._addresses[subject] = Count(incarnation)

    def next_to(self, subject: bytes) -> Count:
        """Count one more to an address. Nobody known there: its epoch is 0, and nothing counts."""
        count = self._addresses.get(subject)
        return self._step(count) if count is not None else Count(0)

    def next_on(self, subject: bytes) -> Count:
        """Count one more on a channel."""
        count = self._channels.get(subject)
        if count is None:
            if len(self._channels) >= _MOST_COUNTS:
                self._forget_half()
            count = self._channels[subject] = Count(next(self._epochs) & 0xFFFFFFFF)
        return self._step(count)

    def _step(self, count: Count) -> Count:
        count.number += 1
        count.used = time.monotonic()
        return count

    def _forget_half(self) -> None:
        """Who follows such a count sees another epoch next, and begins anew."""
        resting = sorted(self._channels, key=lambda subject: self._channels[subject].used)
        for subject in resting[: len(resting) // 2]:
            del self._channels[subject]

    def count_of(self, subject: bytes) -> Count | None:
        """Return the count for an address."""
        return self._addresses.get(subject)

    def used_since(self, when: float, *, channels_only: bool = False) -> list[tuple[bytes, Count]]:
        """Return the counts that went on since a time of the monotonic clock."""
        with self.lock:
            found = list(self._channels.items())
            if not channels_only:
                found += self._addresses.items()
        return [(subject, count) for subject, count in found if count.used >= when]


class _Followed:
    """What has come of one count.

    There is one for each sender and channel: it is kept small.

    Attributes:
        identity: incarnation of the sender, and epoch, in one number.
        expected: the number that comes next.
        parts: those of it that are here.
    """

    __slots__ = ("expected", "identity", "parts")

    def __init__(self, identity: int, expected: int) -> None:
        self.identity = identity
        self.expected = expected
        self.parts: list[bytes] | None = None


class Following:
    """Follows the numbers of what comes. In the loop's thread.

    Args:
        incarnation: our own, the epoch of the counts that we know from their beginning.
    """

    def __init__(self, incarnation: int) -> None:
        self._incarnation = incarnation
        self._followed: dict[bytes | None, dict[int, _Followed]] = {}
        self._passing: dict[tuple[bytes | None, int], None] = {}  # who rested longest first
        self._open: dict[_Followed, int] = {}  # bytes of those that have parts, likewise
        self._in_parts = 0

    def take(
        self, channel: bytes | None, letter: Letter, *, is_passing: bool = False
    ) -> tuple[bytes | None, int]:
        """Return the message that is complete with a letter, and how many are missing before it.

        What has come before is left out.

        Args:
            channel: it came on; None: it was sent to us.
            letter: what has come.
            is_passing: its sender may never be heard of again, nor its leaving.
        """
        if channel is None and letter.epoch != self._incarnation:
            # Of somebody who did not know us when he wrote: not counted.
            if letter.parts == 1:
                return letter.data, 0
            if letter.part == 0:
                self._drop(self._followed.get(None, {}).pop(letter.sender, None))
        state = self._state(channel, letter, is_passing=is_passing)
        lost = letter.number - state.expected
        if lost < 0:
            return None, 0
        if lost:
            state.expected = letter.number
            self._drop(state)
        if letter.parts > 1:
            return self._take_part(state, letter), lost
        state.expected += 1
        return letter.data, lost

    def _take_part(self, state: _Followed, letter: Letter) -> bytes | None:
        parts = state.parts or []
        if letter.part != len(parts):
            self._drop(state)
            return None  # one is missing: it is counted with what comes next, or the tail
        parts.append(letter.data)
        if len(parts) == letter.parts:
            self._drop(state)
            state.expected += 1
            return b"".join(parts)
        state.parts = parts
        self._open[state] = self._open.get(state, 0) + len(letter.data)
        self._in_parts += len(letter.data)
        if self._open[state] > LARGEST_MESSAGE:
            self._drop(state)
        while self._in_parts > _MOST_IN_PARTS:
            self._drop(next(iter(self._open)))  # whoever began it may be gone
        return None

    def _drop(self, state: _Followed | None) -> None:
        """Keep no parts of a message any longer."""
        if state is not None:
            self._in_parts -= self._open.pop(state, 0)
            state.parts = None

    def tail(self, channel: bytes | None, letter: Letter, *, is_passing: bool = False) -> int:
        """Return how many are missing, now that the last number is known."""
        if channel is None and letter.epoch != self._incarnation:
            return 0
        state = self._state(channel, letter, after=1, is_passing=is_passing)
        lost = letter.number + 1 - state.expected
        if lost <= 0:
            return 0
        state.expected = letter.number + 1
        self._drop(state)
        return lost

    def _state(
        self, channel: bytes | None, letter: Letter, after: int = 0, *, is_passing: bool
    ) -> _Followed:
        senders = self._followed.setdefault(channel, {})
        identity = letter.incarnation << 32 | letter.epoch
        state = senders.get(letter.sender)
        if state is None or state.identity != identity:
            self._drop(state)
            # Of those who come and go we may have forgotten how far they were.
            is_known = channel is None and letter.epoch == self._incarnation and not is_passing
            begin = 1 if is_known else letter.number + after
            state = senders[letter.sender] = _Followed(identity, begin)
        if is_passing:
            self._let_pass(channel, letter.sender)
        elif self._passing:  # a worker that we had not heard of yet, or not for long
            self._passing.pop((channel, letter.sender), None)
        return state

    def _let_pass(self, channel: bytes | None, sender: int) -> None:
        """Follow one of those that come and go, in place of the one that rested longest."""
        self._passing.pop((channel, sender), None)
        self._passing[channel, sender] = None
        if len(self._passing) > _MOST_PASSING:
            first, gone = next(iter(self._passing))
            del self._passing[first, gone]
            self._drop(self._followed.get(first, {}).pop(gone, None))

    def forget_channel(self, channel: bytes) -> None:
        """It is not subscribed to any more."""
        for state in self._followed.pop(channel, {}).values():
            self._drop(state)

    def forget_sender(self, sender: int) -> None:
        """It is gone, it seems for good. Should it come back, it goes on counting what it sends us.

        There are 65,536 of these at most.
        """
        for channel, senders in self._followed.items():
            if channel is not None:
                self._drop(senders.pop(sender, None))
            elif sender in senders:
                self._drop(senders[sender])
