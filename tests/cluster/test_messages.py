"""What workers say to one another comes back as it was, and nothing else comes through."""

import pytest
from hypothesis import given, strategies

from wsgroups.cluster.channels import group_channel, room_channel
from wsgroups.cluster.messages import (
    BINARY,
    CLOSE,
    TEXT,
    Answer,
    Many,
    One,
    decode_published,
    decode_sent,
    encode_answer,
    encode_many,
    encode_one,
)

ids = strategies.integers(0, 2**63 - 1)
keys = strategies.none() | strategies.text() | strategies.integers() | strategies.binary()
whats = strategies.sampled_from([TEXT, BINARY, CLOSE])


@given(
    strategies.builds(
        One,
        whats,
        ids,
        strategies.binary(),
        strategies.integers(0, 2**16 - 1),
        keys,
        strategies.integers(0, 2**32 - 1),
        strategies.integers(0, 2**32 - 1),
    )
)
def test_a_message_for_a_socket_comes_back(message: One) -> None:
    assert decode_sent(encode_one(message)) == message


@given(strategies.builds(Many, whats, strategies.binary(), strategies.lists(ids).map(tuple), keys))
def test_a_message_for_a_set_comes_back(message: Many) -> None:
    assert decode_published(encode_many(message)) == message


@given(strategies.integers(0, 2**32 - 1), strategies.integers(0, 255))
def test_an_answer_comes_back(token: int, result: int) -> None:
    assert decode_sent(encode_answer(Answer(token, result))) == Answer(token, result)


@given(strategies.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    for decode in (decode_sent, decode_published):
        try:
            decode(data)
        except ValueError:
            continue


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_message_that_is_cut_off_is_refused_or_shorter(cut: int) -> None:
    one = One(TEXT, 5, b"0123456789", 0, "a key", 1, 2)
    data = encode_one(one)[:-cut]
    try:
        assert len(decode_sent(data).data) < 10  # type: ignore[union-attr]
    except ValueError:
        assert cut > 10


def test_no_two_sets_have_one_name_on_the_bus() -> None:
    names = [
        "",
        "a",
        "80:a",
        "p80:a",
        "g",
        "r",
        "ra",
        "ga",
        "\u00e9",
        "e\u0301",
        "\ud800",
        "\ud801",
    ]
    channels = [room_channel(name) for name in names]
    channels += [group_channel(name, port) for name in names for port in (None, 8, 80, 0)]
    assert len(set(channels)) == len(channels)
