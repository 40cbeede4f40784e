"""Repeated warnings and errors are counted, not written."""

import logging

import pytest

from tests.support import PATIENCE, quiet_handle
from wsgroups import Handle, HandlerStatus, Request, WebSocket, set_log_level, testing
from wsgroups.repeats import MOST, RepeatFilter, repeats


class Log:
    """A logger of its own with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.logger = logging.Logger("test")
        self.logger.addFilter(RepeatFilter(lambda: self.now))
        self.lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        self.logger.addHandler(handler)


@pytest.fixture
def log() -> Log:
    return Log()


def test_ten_of_a_kind_pass_and_the_last_says_so(log: Log) -> None:
    for number in range(1000):
        log.logger.warning("refused %d", number)
    assert log.lines[:9] == [f"refused {number}" for number in range(9)]
    assert log.lines[9:] == ["refused 9 (more like this are left out for 1 s)"]


def test_the_first_of_a_later_period_says_how_many_were_left_out(log: Log) -> None:
    for number in range(25):
        log.logger.warning("refused %d", number)
    log.now = 0.99
    log.logger.warning("too early")
    log.logger.warning("refused 25")
    log.logger.warning("refused %d", 26)
    log.now = 1.0
    log.logger.warning("refused %d", 27)
    log.logger.warning("refused %d", 28)
    assert log.lines[10:] == [
        "too early",
        "refused 25",
        "refused 27 (16 more like this were left out)",
        "refused 28",
    ]
    log.now = 3.0
    log.logger.warning("refused %d", 29)
    assert log.lines[-1] == "refused 29"


def test_what_is_below_the_least_level_always_passes(log: Log) -> None:
    for _ in range(100):
        log.logger.debug("sent")
    assert log.lines == ["sent"] * 100
    (limit,) = log.logger.filters
    assert isinstance(limit, RepeatFilter)
    limit.least = logging.WARNING
    for _ in range(100):
        log.logger.info("opened")
    assert log.lines[100:] == ["opened"] * 100


def test_lines_about_each_socket_are_all_written_where_they_are_asked_for() -> None:
    logger = logging.getLogger("wsgroups")
    before = logger.level
    try:
        for level, least in (("subtle", 30), ("verbose", 30), ("nothing", 20)):
            set_log_level(level)
            assert repeats.least == least
    finally:
        set_log_level("nothing")
        logger.setLevel(before)


def test_a_percent_sign_in_a_message_is_no_harm(log: Log) -> None:
    for _ in range(MOST + 1):
        log.logger.warning("100 % of them")
    assert log.lines[-1] == "100 % of them (more like this are left out for 1 s)"


def test_exceptions_are_of_a_kind_when_the_same_line_raised_them(log: Log) -> None:
    def fail(number: int) -> None:
        if number % 2:
            raise ValueError(number)
        raise ValueError(number)

    for number in range(100):
        try:
            fail(number)
        except ValueError as error:
            log.logger.error("a handler failed", exc_info=error)
    assert len(log.lines) == 2 * MOST
    log.logger.error("a handler failed")
    assert len(log.lines) == 2 * MOST + 1


async def test_a_peer_cannot_flood_the_log(error_log: list[logging.LogRecord]) -> None:
    handle = quiet_handle()

    @handle.get("/ws")
    def enter(request: Request) -> HandlerStatus:
        request.send_upgrade("failing")
        return HandlerStatus.HANDLED

    @handle.websocket("failing")
    def fail(message: str, ws: WebSocket) -> None:
        raise LookupError(message)

    async with testing.start(handle, timeout=PATIENCE) as app:
        for _ in range(3 * MOST):
            async with app.connect("/ws") as client:
                await client.send("x")
                await client.expect_close(1011)
        assert len(error_log) == MOST
        async with testing.start(Handle()):  # each application under test begins anew
            pass
        async with app.connect("/ws") as client:
            await client.send("x")
            await client.expect_close(1011)
        assert len(error_log) == MOST + 1


def test_the_logger_of_the_package_has_the_filter() -> None:
    assert logging.getLogger("wsgroups").filters == [repeats]
