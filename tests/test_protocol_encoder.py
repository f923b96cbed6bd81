"""`pystreamredis.protocol.encoder`: commands leave as arrays of bulk strings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import (
    Map,
    Parser,
    Push,
    ServerError,
    Set,
    Typed,
    VerbatimString,
    encode,
    encode_command,
    encode_xread,
    strategies,
)
from pystreamredis.protocol.encoder import encode_bulks, encode_ids, encode_strings

from .wire import drain, typed


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
    assert encode_ids(ids[:1] * 3) == encode_bulks(ids[:1] * 3)


# Replies.

NESTED = Map([(b"k", [1, Set([None])])])


@pytest.mark.parametrize(
    ("value", "resp3", "resp2"),
    [
        (None, b"_\r\n", b"$-1\r\n"),
        (True, b"#t\r\n", b":1\r\n"),
        (False, b"#f\r\n", b":0\r\n"),
        (-7, b":-7\r\n", b":-7\r\n"),
        (2**63, b"(9223372036854775808\r\n", b"$19\r\n9223372036854775808\r\n"),
        (1.5, b",1.5\r\n", b"$3\r\n1.5\r\n"),
        (float("-inf"), b",-inf\r\n", b"$4\r\n-inf\r\n"),
        (float("nan"), b",nan\r\n", b"$3\r\nnan\r\n"),
        (b"\r\n\xff", b"$3\r\n\r\n\xff\r\n", b"$3\r\n\r\n\xff\r\n"),
        ("\xe9\udcff", b"$3\r\n\xc3\xa9\xff\r\n", b"$3\r\n\xc3\xa9\xff\r\n"),
        (ServerError("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        (ServerError("a\r\nb"), b"!4\r\na\r\nb\r\n", b"-a  b\r\n"),
        (VerbatimString(b"# a", "mkd"), b"=7\r\nmkd:# a\r\n", b"$3\r\n# a\r\n"),
        ([b"a", [1]], b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n"),
        ((), b"*0\r\n", b"*0\r\n"),
        ({b"k": 1}, b"%1\r\n$1\r\nk\r\n:1\r\n", b"*2\r\n$1\r\nk\r\n:1\r\n"),
        (
            NESTED,
            b"%1\r\n$1\r\nk\r\n*2\r\n:1\r\n~1\r\n_\r\n",
            b"*2\r\n$1\r\nk\r\n*2\r\n:1\r\n*1\r\n$-1\r\n",
        ),
        ({2}, b"~1\r\n:2\r\n", b"*1\r\n:2\r\n"),
        (Push([b"p"]), b">1\r\n$1\r\np\r\n", b"*1\r\n$1\r\np\r\n"),
    ],
    ids=repr,
)
def test_a_reply_is_encoded_as_a_server_of_either_protocol_sends_it(
    value: Any, resp3: bytes, resp2: bytes
) -> None:
    assert encode(value) == resp3
    assert encode(value, protocol=2) == resp2


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (b"+", b"OK", b"+OK\r\n"),
        (b"+", "OK", b"+OK\r\n"),
        (b"-", "ERR no", b"-ERR no\r\n"),
        (b"!", ServerError("ERR"), b"!3\r\nERR\r\n"),
        (b"(", 5, b"(5\r\n"),
        (b"$", None, b"$-1\r\n"),
        (b"*", None, b"*-1\r\n"),
        (b"_", None, b"_\r\n"),
        (b"#", True, b"#t\r\n"),
        (b"$?", [b"ab", b"c"], b"$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n"),
        (b"$?", [], b"$?\r\n;0\r\n"),
        (b"*?", [1, [2]], b"*?\r\n:1\r\n*1\r\n:2\r\n.\r\n"),
        (b"%?", {1: 2}, b"%?\r\n:1\r\n:2\r\n.\r\n"),
        (b"~?", [1], b"~?\r\n:1\r\n.\r\n"),
        (b"|", {b"ttl": 3}, b"|1\r\n$3\r\nttl\r\n:3\r\n"),
    ],
)
def test_a_type_can_be_named(kind: bytes, value: Any, data: bytes) -> None:
    for protocol in (2, 3):
        assert encode(Typed(kind, value), protocol) == data


def test_attributes_stand_before_their_value() -> None:
    value = Typed(b"*", [Typed(b":", 1, Map([(b"b", 2)]))], Map([(b"a", 1)]))
    data = b"|1\r\n$1\r\na\r\n:1\r\n*1\r\n|1\r\n$1\r\nb\r\n:2\r\n:1\r\n"
    assert encode(value) == data


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (object(), TypeError),
        ([{1: bytearray(b"a")}], TypeError),
        (Typed(b"x", b""), ValueError),
        (Typed(b"+", b"a\rb"), ValueError),
        (Typed(b"-", "a\nb"), ValueError),
        (Typed(b"%", None), ValueError),
        (Typed(b"$?", [b"a", b""]), ValueError),
    ],
)
def test_what_has_no_encoding_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(value)


@settings(deadline=None, max_examples=100)
@given(strategies.values | strategies.pushes)
def test_a_reply_parses_to_its_value(value: Any) -> None:
    assert typed(_parsed(encode(value))) == typed([value])
    assert len(_parsed(encode(value, protocol=2))) == 1
