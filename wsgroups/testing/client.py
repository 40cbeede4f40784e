"""A client that never waits for ever, and that says what it expects."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from wsgroups.client.opening import Opening
from wsgroups.client.socket import ClientSocket
from wsgroups.closing import CloseCode, CloseInfo
from wsgroups.errors import SocketGoneError

_MANY = 1 << 20  # messages that may wait, so that a test need not read in between
_LARGEST = 64 << 20  # bytes of a message
_SHOWN = 200  # characters of a message in a failure


class Client(ClientSocket):
    """A `ClientSocket` for tests; `App.connect` makes it.

    What does not come within `timeout` seconds is an AssertionError that says what was awaited.

    Attributes:
        timeout: seconds.
    """

    def __init__(self, opening: Opening, timeout: float) -> None:
        super().__init__(
            opening,
            max_message_size=_LARGEST,
            max_fragments=_MANY,
            max_queue=_MANY,
            ping_interval=None,
            ping_timeout=None,
            close_timeout=timeout,
        )
        self.timeout = timeout
        self._is_hung = False

    async def recv(self, timeout: float | None = None) -> str | bytes:
        """Return the next message, str for text and bytes for binary.

        Args:
            timeout: seconds to wait; None for the client's.

        Raises:
            SocketGoneError: when the socket is closed and everything that came was returned.
            AssertionError: when none came in time.
        """
        seconds = self.timeout if timeout is None else timeout
        try:
            return await super().recv(seconds)
        except TimeoutError:
            raise AssertionError(f"no message in {seconds:g} s; the socket is open") from None

    async def expect(self, *messages: str | bytes, timeout: float | None = None) -> None:
        """Fail unless these are the next messages, in this order.

        Raises:
            AssertionError: when another message comes, none in time, or the socket closes.
        """
        for wanted in messages:
            try:
                message = await self.recv(timeout)
            except SocketGoneError:
                self._fail_closed(f"expected {_short(wanted)}")
            except AssertionError as error:
                raise AssertionError(f"expected {_short(wanted)}: {error}") from None
            assert message == wanted, f"expected {_short(wanted)}, got {_short(message)}"

    async def expect_json(self, *values: Any, timeout: float | None = None) -> None:
        """Fail unless the next messages are these values as JSON, in this order.

        Raises:
            AssertionError: as `expect`.
            ValueError: when the next message is no JSON.
        """
        for wanted in values:
            try:
                value = await self.recv_json(timeout)
            except SocketGoneError:
                self._fail_closed(f"expected {_short(wanted)}")
            except AssertionError as error:
                raise AssertionError(f"expected {_short(wanted)}: {error}") from None
            assert value == wanted, f"expected {_short(wanted)}, got {_short(value)}"

    async def expect_close(
        self,
        code: int = CloseCode.NORMAL,
        reason: str | None = None,
        *,
        timeout: float | None = None,
    ) -> CloseInfo:
        """Fail unless the socket closes now, with this code; returns how it closed.

        Args:
            code: 1005 for a Close without one, 1006 for a lost connection.
            reason: the text beside it; None for any.
            timeout: seconds to wait; None for the client's.

        Raises:
            AssertionError: when a message comes first, it closes otherwise, or not in time.
        """
        wanted = f"expected the socket to close with {int(code)}"
        seconds = self.timeout if timeout is None else timeout
        try:
            message = await self.recv(seconds)
        except SocketGoneError:
            pass
        except AssertionError:
            raise AssertionError(f"{wanted}, but it is open after {seconds:g} s") from None
        else:
            raise AssertionError(f"{wanted}, but a message came first: {_short(message)}")
        info = self.close_info
        assert info is not None, "a socket without further messages has closed"
        if info.code != code or (reason is not None and info.reason != reason):
            self._fail_closed(wanted if reason is None else f"{wanted} {reason!r}")
        return info

    async def expect_silence(self, seconds: float = 0.0) -> None:
        """Fail if a message has been sent that was not received yet.

        The answer to a ping comes behind whatever the server has sent before it, so there is
        nothing to wait for, unless a task or timer of the application would send later.

        Args:
            seconds: to wait for what may come later.

        Raises:
            AssertionError: when there is a message, or the socket closes.
        """
        try:
            await self.ping(self.timeout)
            if seconds:
                await asyncio.sleep(seconds)
        except SocketGoneError:
            self._fail_closed("expected silence")
        except TimeoutError:
            raise AssertionError(f"the server has not answered in {self.timeout:g} s") from None
        if self.has_message:
            raise AssertionError(f"expected silence, got {_short(await self.recv())}")
        if self.close_info is not None:
            self._fail_closed("expected silence")

    def hang(self) -> None:
        """Read and answer nothing, as a peer whose machine has stopped, until `go_on`."""
        self._is_hung = True
        self._transport.pause_reading()

    def go_on(self) -> None:
        """Read and answer again."""
        self._is_hung = False
        self._transport.resume_reading()

    async def close(self, code: int = CloseCode.NORMAL, reason: str | None = None) -> None:
        """Close the socket and wait until it is; one that hangs drops its connection.

        Raises:
            ValueError: for a code that may not be sent.
        """
        if self._is_hung:
            self.abort()
        await super().close(code, reason)

    def _fail_closed(self, wanted: str) -> NoReturn:
        info = self.close_info
        assert info is not None
        hint = ""
        if info.code == CloseCode.INTERNAL_ERROR:
            hint = "; a handler may have raised, the log has the traceback"
        raise AssertionError(
            f"{wanted}, but it closed with {info.code} {info.reason!r}{hint}"
        ) from None


def _short(message: object) -> str:
    text = repr(message)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
