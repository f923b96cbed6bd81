"""`pystreamredis.protocol.encoder`: commands leave as arrays of bulk strings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import Parser, encode_command, encode_xread
from pystreamredis.protocol.encoder import encode_bulks, encode_ids, encode_strings

from .wire import drain


def _parsed(data: bytes) -> list[Any]:
    parser = Parser()
    outcome = drain(parser.feed, parser.next_value, [data])
    assert outcome.error is None
    return outcome.values


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        (("LLEN", "mylist"), b"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n"),  # from the specification
        ((b"PING",), b"*1\r\n$4\r\nPING\r\n"),
        (("SELECT", 1), b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"),
        (("X", -1, 0, 2**64), b"*4\r\n$1\r\nX\r\n$2\r\n-1\r\n$1\r\n0\r\n$20\r\n%d\r\n" % 2**64),
        (("", b""), b"*2\r\n$0\r\n\r\n$0\r\n\r\n"),
        (("ä", b"\xff\r\n$1"), b"*2\r\n$2\r\n\xc3\xa4\r\n$5\r\n\xff\r\n$1\r\n"),
    ],
)
def test_a_command_is_an_array_of_bulk_strings(
    arguments: tuple[bytes | str | int, ...], data: bytes
) -> None:
    assert encode_command(*arguments) == data


def test_surrogate_escapes_go_as_the_bytes_that_they_stand_for() -> None:
    """Contract 1.2: bytes that are no text survive; so does a stream's name made of them."""
    key = b"\xff\xfekey\x80"
    text = key.decode("utf-8", "surrogateescape")
    assert encode_command(text) == encode_command(key)


@pytest.mark.parametrize("argument", [True, False, None, 1.5, [b"a"], bytearray(b"a")])
def test_an_argument_of_another_type_is_refused(argument: Any) -> None:
    with pytest.raises(TypeError) as info:
        encode_command("X", argument)
    kind = type(argument).__name__
    assert str(info.value) == f"argument {argument!r} is {kind}, expected bytes, str, int"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=40) | st.text(max_size=20) | st.integers(), min_size=1))
def test_a_command_parses_to_its_arguments(arguments: list[bytes | str | int]) -> None:
    expected = [
        argument if isinstance(argument, bytes) else str(argument).encode()
        for argument in arguments
    ]
    assert _parsed(encode_command(*arguments)) == [expected]
    assert encode_strings(expected) == encode_command(*arguments)


@pytest.mark.parametrize(
    ("options", "strings"),
    [
        ({}, []),
        ({"count": 1}, [b"COUNT", b"1"]),
        ({"block": 0}, [b"BLOCK", b"0"]),
        ({"count": 100, "block": 1000}, [b"COUNT", b"100", b"BLOCK", b"1000"]),
    ],
)
def test_an_xread_names_its_options_then_its_streams_then_their_ids(
    options: dict[str, int], strings: list[bytes]
) -> None:
    data = encode_xread(iter([b"a", b"b\r\n"]), iter([b"1-0", b"+"]), **options)
    assert _parsed(data) == [[b"XREAD", *strings, b"STREAMS", b"a", b"b\r\n", b"1-0", b"+"]]


def test_an_xread_may_name_a_stream_twice() -> None:
    """Bisection asks for one stream from several IDs in one command."""
    data = encode_xread([b"a", b"a"], [b"1-0", b"2-0"])
    assert _parsed(data) == [[b"XREAD", b"STREAMS", b"a", b"a", b"1-0", b"2-0"]]


def test_block_zero_is_not_block_none() -> None:
    """0 waits for ever, None not at all."""
    assert b"BLOCK" in encode_xread([b"a"], [b"0"], block=0)
    assert b"BLOCK" not in encode_xread([b"a"], [b"0"], block=None)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1))
def test_ids_are_encoded_as_all_strings_are(numbers: list[tuple[int, int]]) -> None:
    ids = [b"%d-%d" % pair for pair in [*numbers, (0, 0), (2**64 - 1, 2**64 - 1)]]
    assert encode_ids(ids) == encode_bulks(ids)
