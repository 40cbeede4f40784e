"""Redis or Valkey as the broker, by redis-py."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Iterable

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from wsgroups.cluster.bus import LARGEST_MESSAGE
from wsgroups.cluster.session import (
    CONNECT_WITHIN,
    OnPayload,
    Session,
    answer_comes,
    batches,
    close_within,
    display,
)

logger = logging.getLogger("wsgroups")

_IN_A_TURN = 100  # messages that are handled before others have the loop


class RedisSession(Session):
    """Two connections to a Redis server: one that publishes, and one that receives."""

    largest = LARGEST_MESSAGE + (1 << 20)  # far below Redis's own limit of 512 MiB

    def __init__(self, client: Redis, on_payload: OnPayload) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self.arrivals = 0
        self._client = client
        self._pubsub = client.pubsub()
        self._on_payload = on_payload
        self._reader: asyncio.Task[None] | None = None
        self._own = b"wsgroups.sync.%b" % secrets.token_hex(8).encode()
        self._tokens = itertools.count(1)
        self._syncing: dict[bytes, asyncio.Future[None]] = {}
        self._unconfirmed = 0  # subjects whose confirmation has not come
        self._confirmed = asyncio.Event()

    @classmethod
    async def open(cls, url: str, on_payload: OnPayload) -> RedisSession:
        """As of `Session`."""
        # What failed may have arrived: nothing is tried a second time.
        # One connection receives, one publishes: a third would be noticed by nobody when a router
        # on the way has forgotten it.
        pool = BlockingConnectionPool.from_url(
            url.replace("valkey:", "redis:", 1),
            max_connections=2,
            timeout=None,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            socket_timeout=None,
        )
        session = cls(Redis.from_pool(pool), on_payload)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await session._client.ping()
                await session._pubsub.subscribe(session._own)
                session._unconfirmed = 1
                session._reader = asyncio.ensure_future(session._read())
                await session._confirm()
        except (Exception, asyncio.CancelledError) as error:  # what answers may be no Redis
            await session.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            reason = str(error) or "it does not answer"
            raise OSError(f"no Redis server at {display(url)}: {reason}") from error
        return session

    async def subscribe(self, subjects: Iterable[bytes]) -> None:
        """As of `Session`."""
        for batch in batches(subjects):
            self._unconfirmed += len(batch)
            await self._pubsub.subscribe(*batch)
        await self._confirm()

    async def unsubscribe(self, subjects: Iterable[bytes]) -> None:
        """As of `Session`."""
        for batch in batches(subjects):
            self._unconfirmed += len(batch)
            await self._pubsub.unsubscribe(*batch)
        await self._confirm()

    async def _confirm(self) -> None:
        """Wait until all that was asked for is in force: publishing goes another way."""
        while self._unconfirmed:
            self._confirmed.clear()
            await self._confirmed.wait()

    async def publish(self, payloads: list[tuple[bytes, bytes]]) -> None:
        """As of `Session`."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for subject, payload in payloads:
                pipeline.publish(subject, payload)
            await pipeline.execute()

    async def sync(self) -> None:
        """As of `Session`: what was published to ourselves comes behind all that was before."""
        token = b"%d" % next(self._tokens)
        done = self._syncing[token] = asyncio.get_running_loop().create_future()
        asking = asyncio.ensure_future(self._client.publish(self._own, token))
        try:
            # That messages come proves nothing for the connection that publishes.
            if not await answer_comes(asking):
                raise ConnectionError("Redis takes nothing any more")
            asking.result()
            await done
        finally:
            asking.cancel()
            del self._syncing[token]

    async def _read(self) -> None:
        """Receive until the connection is lost."""
        try:
            while True:
                # What has come is returned without waiting, however much it is.
                if self.arrivals % _IN_A_TURN == 0:
                    await asyncio.sleep(0)
                kind, subject, payload, *_ = await self._pubsub.parse_response(block=True)
                self.arrivals += 1
                if kind != b"message":
                    self._unconfirmed -= 1
                    self._confirmed.set()
                elif subject == self._own:
                    done = self._syncing.get(payload)
                    if done is not None and not done.done():
                        done.set_result(None)
                else:
                    self._on_payload(subject, payload)
        except (RedisError, OSError):
            pass
        except Exception:
            logger.exception("what Redis has sent could not be read")
        finally:
            self.end()

    async def close(self) -> None:
        """As of `Session`."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        await close_within(self._close_both(), lambda: None)
        self.end()

    async def _close_both(self) -> None:
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._client.aclose(close_connection_pool=True)
