"""The attacks in words: what each is, what stops it, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass

MESSAGES = "tests/attacks/test_messages.py"
OPENINGS = "tests/attacks/test_openings.py"
READERS = "tests/attacks/test_readers.py"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One line of the table.

    Attributes:
        id: of the attack.
        what: it in words.
        stopped_by: what stops it.
        goal: what it may come to.
        shown_by: the tests, as `file::name`.
        not_yet: what of the goal is missed, or why there is no test.
    """

    id: str
    what: str
    stopped_by: str = ""
    goal: str = ""
    shown_by: tuple[str, ...] = ()
    not_yet: str = ""


ATTACKS = [
    Attack(
        id="RX-01",
        what="A message in 131,072 fragments of one byte, without an end",
        stopped_by="`max_fragments`; fragments are appended to one buffer",
        goal="1008 at fragment 4,097; twice the payload and 4 KiB; CPU linear",
        shown_by=(
            f"{MESSAGES}::test_a_message_in_fragments_without_end",
            f"{MESSAGES}::test_fragments_cost_the_same_however_many_there_are",
        ),
    ),
    Attack(
        id="RX-02",
        what="The same with 200,000 empty fragments",
        stopped_by="`max_fragments`, which counts empty ones",
        goal="as RX-01",
        shown_by=(
            f"{MESSAGES}::test_a_message_in_fragments_without_end",
            f"{MESSAGES}::test_fragments_cost_the_same_however_many_there_are",
        ),
    ),
    Attack(
        id="RX-03",
        what="A frame of 900 KB is announced and comes byte by byte, or half",
        stopped_by="`message_timeout`; memory that nobody has written to is not there",
        goal="twice the bytes that came; 2.5 µs of CPU a byte; 1008 at the deadline",
        shown_by=(
            f"{MESSAGES}::test_a_frame_that_comes_byte_by_byte",
            f"{MESSAGES}::test_many_frames_that_are_announced_and_come_byte_by_byte",
            f"{MESSAGES}::test_half_of_a_frame_takes_no_more_than_twice_its_bytes",
        ),
    ),
    Attack(
        id="RX-04",
        what="Connections that say nothing",
        stopped_by="`handshake_timeout`, `max_handshakes_in_progress`",
        goal="closed at the deadline; 4 KiB each",
        shown_by=(f"{OPENINGS}::test_connections_that_say_nothing",),
    ),
    Attack(
        id="RX-05",
        what="Requests that come byte by byte (slowloris)",
        stopped_by="`handshake_timeout`, which no byte puts off",
        goal="all closed at the deadline",
        shown_by=(f"{OPENINGS}::test_heads_that_come_byte_by_byte",),
    ),
    Attack(
        id="RX-06",
        what="TLS that stops: silence, half a ClientHello, one byte after the other",
        stopped_by="`handshake_timeout`, from accept to the end of the request",
        goal="closed at the deadline; 4 KiB each before the first byte",
        shown_by=(
            f"{OPENINGS}::test_tls_handshakes_that_stop",
            "tests/tls/test_records.py::test_a_handshake_that_stops_is_closed_at_the_deadline",
            "tests/tls/test_memory.py::test_a_connection_that_has_not_begun_costs_no_tls",
        ),
    ),
    Attack(
        id="RX-07",
        what="A header, a list of headers, or a target without an end",
        stopped_by="`max_header_line`, `max_head_size`, `max_headers`",
        goal="414 or 431 before 64 KiB are read",
        shown_by=(
            f"{OPENINGS}::test_a_head_without_end_is_refused_before_64_kib_are_read",
            f"{OPENINGS}::test_many_heads_without_end",
        ),
    ),
    Attack(
        id="RX-08",
        what="A flood of pings from a peer that reads no pong",
        stopped_by="one pong waits, and no more is read; 100 pings a second; the keepalive",
        goal="64 KiB; not read while no pong can be written; closed within 40 s",
        shown_by=(
            f"{MESSAGES}::test_a_flood_of_pings_whose_pongs_nobody_reads",
            "tests/connection/test_rates.py"
            "::test_more_than_100_control_frames_a_second_for_10_seconds_close",
        ),
    ),
    Attack(
        id="RX-09",
        what="128 MB to an echo from a peer that does not read",
        stopped_by="above `write_high_water` it is not read; the keepalive",
        goal="`write_limit` and 64 KiB; the peer has no room to send; 1 µs of CPU for each message "
        "that is read",
        shown_by=(f"{MESSAGES}::test_a_flood_of_messages_whose_echoes_nobody_reads",),
    ),
    Attack(
        id="RX-10",
        what="Readers that take a byte now and then while much is sent to all",
        stopped_by="`write_limit` and `slow_consumer`; a message to many is kept once",
        goal="closed once above 1 MiB; the others lose nothing",
        shown_by=(f"{READERS}::test_readers_that_are_slow_while_much_is_sent_to_all",),
    ),
    Attack(
        id="RX-11",
        what="Small messages that inflate to large ones",
        stopped_by="inflated up to `max_message_size` and `max_ratio`, no further; off by default",
        goal="1009; 2 MB and 10 ms; one large message a turn",
        shown_by=(
            f"{MESSAGES}::test_small_messages_that_inflate_to_large_ones",
            "tests/connection/test_compression.py::test_a_bomb_closes_with_1009",
            "tests/connection/test_compression.py::test_large_messages_do_not_come_all_in_one_turn",
        ),
    ),
    Attack(
        id="RX-12",
        what="65,535 tiny messages at once",
        stopped_by="64 messages or 256 KiB of one socket, then the others have their turn",
        goal="64 messages before a message of another socket",
        shown_by=(f"{MESSAGES}::test_a_burst_of_tiny_messages_in_one_turn",),
    ),
    Attack(
        id="RX-13",
        what="Connections that come and go by the hundred: silent, with half a request, with a "
        "handshake whose answer they do not read",
        stopped_by="64 are accepted a turn; what has gone leaves nothing",
        goal="95 % of the others are served",
        shown_by=(f"{OPENINGS}::test_connections_that_come_and_go",),
    ),
    Attack(
        id="RX-14",
        what="Each joins 1,000 rooms and leaves them",
        stopped_by="joining and leaving are O(1)",
        goal="120 bytes a membership; 2 µs a join",
        shown_by=(
            f"{READERS}::test_many_in_a_thousand_rooms",
            f"{READERS}::test_a_join_costs_the_same_however_many_there_are",
        ),
    ),
    Attack(
        id="RX-15",
        what="One joins 1,000 rooms that are all published to, and does not read",
        stopped_by="`write_limit`, for all rooms together",
        goal="`write_limit` and 64 KiB",
        shown_by=(f"{READERS}::test_one_in_a_thousand_rooms_that_are_all_published_to",),
    ),
    Attack(
        id="RX-16",
        what="More connections than `max_connections` or descriptors allow",
        stopped_by="503 without reading a byte; 128 descriptors are kept back",
        goal="503 and closed; the others go on",
        shown_by=(f"{OPENINGS}::test_more_connections_than_there_is_room_for",),
    ),
    Attack(
        id="RX-17",
        what="Requests that each leave a line in the log",
        stopped_by="ten lines of a kind in a second; names are escaped",
        goal="10 lines a second of a kind; no control characters",
        shown_by=(
            f"{OPENINGS}::test_requests_that_are_logged_at_warning",
            f"{OPENINGS}::test_refusals_that_are_logged_at_info",
            f"{OPENINGS}::test_no_control_character_comes_into_the_log",
        ),
    ),
]
