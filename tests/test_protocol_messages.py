"""`pystreamredis.protocol.messages`: entries become messages, ``(name, id, data)``."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from pystreamredis.protocol import (
    Map,
    MessageFactory,
    ProtocolError,
    ServerError,
    Unmade,
    VerbatimString,
)
from pystreamredis.protocol.messages import entry_of

from .wire import typed

ENTRY: tuple[bytes, list[bytes]] = (b"1-0", [b"f", b"1", b"g", b"\xff", b"f", b"2"])


@pytest.mark.parametrize(
    ("maker", "data"),
    [
        (MessageFactory(), {b"f": b"2", b"g": b"\xff"}),
        (MessageFactory(list), [(b"f", b"1"), (b"g", b"\xff"), (b"f", b"2")]),
        (MessageFactory(tuple), ((b"f", b"1"), (b"g", b"\xff"), (b"f", b"2"))),
        (MessageFactory(OrderedDict), OrderedDict([(b"f", b"2"), (b"g", b"\xff")])),
        (MessageFactory(lambda pairs: [name for name, _ in pairs]), [b"f", b"g", b"f"]),
    ],
)
def test_data_is_made_of_pairs_in_wire_order(maker: MessageFactory, data: Any) -> None:
    """Contract 1.3: a dict; or with `fields=list` all pairs, so that no field is lost."""
    assert typed(maker.make("s", *ENTRY)) == typed(("s", b"1-0", data))


@pytest.mark.parametrize(
    ("encoding", "errors", "text"),
    [
        ("utf-8", "surrogateescape", "\udcff"),
        ("utf-8", "replace", "\ufffd"),
        ("utf-8", "ignore", ""),
        ("latin-1", "strict", "ÿ"),
        ("cp437", "strict", "\xa0"),
    ],
)
def test_with_an_encoding_ids_fields_and_values_are_text(
    encoding: str, errors: str, text: str
) -> None:
    """Contract 1.2, 1.3: bytes that are no text never stop a reader, unless asked to."""
    message = MessageFactory(list, encoding, errors).make("s", *ENTRY)
    assert typed(message) == typed(("s", "1-0", [("f", "1"), ("g", text), ("f", "2")]))


def test_an_id_is_ascii_whatever_the_encoding_of_values() -> None:
    """Servers write IDs, and they write them in ASCII."""
    entry = (b"1-0", ["f".encode("utf-16"), "ä".encode("utf-16")])
    assert MessageFactory(dict, "utf-16").make("s", *entry) == ("s", "1-0", {"f": "ä"})


def test_strict_decoding_raises() -> None:
    with pytest.raises(UnicodeDecodeError):
        MessageFactory(dict, "utf-8").make("s", *ENTRY)


@pytest.mark.parametrize(
    "factory",
    [
        MessageFactory(dict, "utf-8"),
        MessageFactory(lambda pairs: next(value for field, value in pairs if field == b"h")),
        MessageFactory(lambda pairs: 1 // 0),
    ],
)
def test_what_cannot_be_made_is_a_message_with_the_raw_pairs(factory: MessageFactory) -> None:
    """Contract 3.5: whatever `fields` raises, `StopIteration` included, and strict decoding."""
    unmade: list[Any] = []
    message = factory.make_safely("s", *ENTRY, unmade)
    name, entry_id, data = message
    assert (name, entry_id) == ("s", "1-0" if factory.encoding else b"1-0")
    assert isinstance(data, Unmade)
    assert data.pairs == [(b"f", b"1"), (b"g", b"\xff"), (b"f", b"2")]
    assert isinstance(data.cause, (UnicodeDecodeError, StopIteration, ZeroDivisionError))
    assert unmade == [message]
    assert repr(data) == f"Unmade(3 pairs, {type(data.cause).__name__})"


def test_what_ends_a_program_goes_through() -> None:
    def interrupt(pairs: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MessageFactory(interrupt).make_safely("s", *ENTRY, [])


def test_the_name_is_the_object_that_was_given() -> None:
    """Contract 1.3: `stream_name` is the very object the caller gave."""
    name = object()
    assert MessageFactory().make(name, *ENTRY)[0] is name


def test_an_entry_may_have_no_fields() -> None:
    assert MessageFactory().make("s", b"1-0", []) == ("s", b"1-0", {})


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (None, "nil in an XREAD reply, expected an entry"),
        (b"1-0", "b'1-0' in an XREAD reply, expected an entry"),
        (7, "int 7 in an XREAD reply, expected an entry"),
        (10**80, f"int 1{'0' * 59} in an XREAD reply, expected an entry"),
        (ServerError("ERR"), "error 'ERR' in an XREAD reply, expected an entry"),
        ([], "an array of 0 items in an XREAD reply, expected an entry"),
        ([b"1-0"], "an array of 1 items in an XREAD reply, expected an entry"),
        ([b"1-0", [], []], "an array of 3 items in an XREAD reply, expected an entry"),
        ([b"1-0", None], "an array of 2 items in an XREAD reply, expected an entry"),
        ([b"1-0", Map()], "an array of 2 items in an XREAD reply, expected an entry"),
        (Map([(b"1-0", [])]), "a map of 1 pairs in an XREAD reply, expected an entry"),
        ([1, []], "int 1 in an XREAD reply, expected an entry's ID"),
        ([[], []], "an array of 0 items in an XREAD reply, expected an entry's ID"),
        ([b"", []], "b'' in an XREAD reply, expected an entry's ID"),
        ([b"1", []], "b'1' in an XREAD reply, expected an entry's ID"),
        ([b"1-", []], "b'1-' in an XREAD reply, expected an entry's ID"),
        ([b"-1-0", []], "b'-1-0' in an XREAD reply, expected an entry's ID"),
        ([b"1-0\n", []], r"b'1-0\n' in an XREAD reply, expected an entry's ID"),
        ([b"\xd9\xa1-0", []], r"b'\xd9\xa1-0' in an XREAD reply, expected an entry's ID"),
        (
            [b"9" * 21 + b"-0", []],
            f"b'{'9' * 21}-0' in an XREAD reply, expected an entry's ID",
        ),
        (
            [b"1" * 101, []],
            f"b'{'1' * 100}'... (101 bytes) in an XREAD reply, expected an entry's ID",
        ),
        (
            [b"1-0", [b"f"]],
            "an array of 1 items in an XREAD reply, expected fields and values",
        ),
        (
            [b"1-0", [b"f", None]],
            "an array of 2 items in an XREAD reply, expected fields and values",
        ),
        (
            [b"1-0", [b"f", 1]],
            "an array of 2 items in an XREAD reply, expected fields and values",
        ),
        (
            [b"1-0", [b"f", VerbatimString(b"v")]],
            "an array of 2 items in an XREAD reply, expected fields and values",
        ),
    ],
)
def test_what_is_no_entry_is_refused(entry: Any, text: str) -> None:
    """Contract 7: numbers that are none; observed against expected."""
    with pytest.raises(ProtocolError) as info:
        entry_of(entry)
    assert str(info.value) == text
