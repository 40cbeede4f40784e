"""What workers say to one another comes back as it was, and nothing else comes through."""

import pytest
from hypothesis import given, strategies

from wsgroups.cluster.channels import group_channel, room_channel
from wsgroups.cluster.describing import (
    Description,
    decode_description,
    decode_question,
    encode_description,
    encode_question,
)
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


names = strategies.text(strategies.characters())  # halves of surrogate pairs as well
counts = strategies.dictionaries(names, strategies.integers(0, 10**9), max_size=5)
u32 = strategies.integers(0, 2**32 - 1)


@given(u32, strategies.builds(Description, u32, u32, counts, counts, u32))
def test_a_description_comes_back(token: int, description: Description) -> None:
    encoded = encode_description(token, description)
    assert decode_description(encoded) == (token, description)


@given(u32, u32)
def test_a_question_for_a_description_comes_back(token: int, address: int) -> None:
    assert decode_question(encode_question(token, address)) == (token, address)


@pytest.mark.parametrize("rest", [b"", b"[]", b"{}", b'{"pid": 1}', b"5", b"\xff", b"{"])
def test_what_is_no_description_is_refused(rest: bytes) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        decode_description(b"\x61\0\0\0\1" + rest)


@given(strategies.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    for decode in (decode_sent, decode_published, decode_question, decode_description):
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
