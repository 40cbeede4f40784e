"""A connection to a broker, kept: it is watched, and when it is lost the next one is made."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from wsgroups.cluster.session import OnPayload, Session, answer_comes, display, end_tasks

logger = logging.getLogger("wsgroups")

BEAT = 2.0  # seconds between two signs of life: of ours, and of the broker
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 1.0  # seconds between two attempts to connect
_END_TASKS_AGAIN, _END_AGAIN = 0.1, 2.0  # seconds; the second is enough to close a connection

OpenSession = Callable[[str, OnPayload], Awaitable[Session]]


class Place(Protocol):
    """What a place on a broker does with its connections."""

    async def talk(self, session: Session, lost: float | None) -> None:
        """Send and listen as long as a session lasts.

        Args:
            session: new.
            lost: when the one before was, by the monotonic clock; None: this is the first one.
        """

    def beat(self) -> None:
        """Give a sign of life."""

    def in_step(self, connected: float) -> None:
        """All that the broker had for us by now is here.

        Args:
            connected: since when, by the loop's clock.
        """

    def cut_off(self) -> None:
        """The session is over."""

    def still_cut_off(self) -> None:
        """There is none yet: called before each attempt."""


class Keeper:
    """Keeps one session after the other. In one loop.

    Args:
        url: of the broker.
        open_session: connects to it.
        on_payload: is given what comes.
        place: what is done with the sessions.

    Attributes:
        name: of the broker, for people.
        has_answered: it has, since it was connected.
        why_lost: the last session, in brackets, where that is known; None: none was lost.
    """

    def __init__(
        self, url: str, open_session: OpenSession, on_payload: OnPayload, place: Place
    ) -> None:
        self.name = display(url)
        self.has_answered = False
        self.why_lost: str | None = None
        self._url = url
        self._open_session = open_session
        self._on_payload = on_payload
        self._place = place
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """True from `start` to `stop`."""
        return self._task is not None

    async def connect(self) -> Session:
        """Open a session; as `Session.open`."""
        return await self._open_session(self._url, self._on_payload)

    def start(self, session: Session | None) -> None:
        """Begin with this session, or look for the first one."""
        self._task = asyncio.ensure_future(self._keep(session))

    async def stop(self) -> None:
        """Close the session, and make no other one."""
        if self._task is not None:
            await end_tasks([self._task], _END_AGAIN)
            self._task = None

    async def _keep(self, session: Session | None) -> None:
        lost: float | None = None
        delay = _FIRST_DELAY
        while True:
            if session is None:
                session = await self._reconnect(delay)
                logger.warning("%s is back", self.name)
            self.has_answered = False
            try:
                self.why_lost = await self._serve(session, lost)
            finally:
                self._place.cut_off()
                closing = asyncio.ensure_future(session.close())
                try:
                    await asyncio.shield(closing)
                finally:
                    await closing  # to its end, also when we are told to stop in the middle of it
            session, lost = None, time.monotonic()
            # One that takes us, but does nothing for us, is asked less and less often.
            delay = _FIRST_DELAY if self.has_answered else min(_LONGEST_DELAY, 2 * delay)
            logger.warning(
                "%s is lost%s; nothing goes to other nodes meanwhile", self.name, self.why_lost
            )

    async def _reconnect(self, delay: float) -> Session:
        while True:
            # All of a cluster have lost it at once: they do not come back at once.
            await asyncio.sleep(delay * random.uniform(0.5, 1.25))
            self._place.still_cut_off()
            try:
                return await self.connect()
            except OSError as error:
                logger.debug("%s", error)
            delay = min(_LONGEST_DELAY, 2 * delay)

    async def _serve(self, session: Session, lost: float | None) -> str:
        """Use a session while it is there, and return why it is not any more; as `why_lost`."""
        tasks = [
            asyncio.ensure_future(self._place.talk(session, lost)),
            asyncio.ensure_future(self._beat()),
            asyncio.ensure_future(self._watch(session)),
        ]
        try:
            await asyncio.wait([session.lost, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.end()
            await end_tasks(tasks, _END_TASKS_AGAIN)
            ends = [task.exception() for task in tasks if not task.cancelled()]
        return next((f" ({error})" for error in ends if error is not None), "")

    async def _beat(self) -> None:
        """Say again and again that we are there, however busy the broker is."""
        while True:
            await asyncio.sleep(BEAT * random.uniform(0.8, 1.2))
            self._place.beat()

    async def _watch(self, session: Session) -> None:
        """See again and again that the broker is there; return when it is not."""
        connected = asyncio.get_running_loop().time()
        while await _answers(session):
            self.has_answered = True
            self._place.in_step(connected)
            await asyncio.sleep(BEAT)


async def _answers(session: Session) -> bool:
    """Wait until all that the broker has for us is here; False when nothing comes any more."""
    done = asyncio.ensure_future(session.sync())
    try:
        before = session.arrivals
        while not await answer_comes(done):
            if session.arrivals == before:
                return False
            before = session.arrivals  # its answer lies behind much else
        done.result()
        return True
    finally:
        done.cancel()
