"""`pystreamredis.protocol.xread`: XREAD replies of both shapes become messages.

How runs of entries of one shape are read fast, and that this is the same, is with
`test_protocol_patterns`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import (
    NEED_DATA,
    Map,
    MessageFactory,
    Parser,
    ProtocolError,
    ServerError,
    Set,
    Unmade,
    XreadParser,
    stream_replies_of,
)
from pystreamredis.protocol.ids import number_of
from tests.pythons import tracemalloc

from .wire import (
    Copies,
    Outcome,
    Stream,
    aggregate,
    array,
    bulk,
    by_whole_values,
    by_xread_parser,
    bytewise,
    chunkings,
    drain,
    encode_entry,
    encode_reply,
    mapping,
    random_pieces,
    shown_at_once,
    typed,
)

NAMES: dict[bytes, Any] = {b"s": "s", b"t": b"t", b"": "", b"\xff\r\n": "x", b"1\r\n": "one"}
S_ENTRY = (b"1-0", [b"a", b"b"])
S_MESSAGE = ("s", b"1-0", {b"a": b"b"})
S_REPLY = [("s", [S_MESSAGE])]
S_DATA = encode_reply([(b"s", [S_ENTRY])])

WELL_FORMED: dict[str, tuple[bytes, Any]] = {
    "RESP2": (S_DATA, S_REPLY),
    "RESP3": (encode_reply([(b"s", [S_ENTRY])], resp3=True), S_REPLY),
    "the example of the seed": (
        encode_reply([(b"s", [(b"1529416095111-4", [b"index", b"21"])])]),
        [("s", [("s", b"1529416095111-4", {b"index": b"21"})])],
    ),
    "nil of RESP2": (b"*-1\r\n", None),
    "nil of RESP3": (b"_\r\n", None),
    "nil of strings": (b"$-1\r\n", None),
    "an empty array": (b"*0\r\n", None),
    "an empty map": (b"%0\r\n", None),
    "a stream without entries": (array(array(bulk(b"s"), b"*0\r\n")), [("s", [])]),
    "a stream without entries, RESP3": (mapping(bulk(b"s"), b"*0\r\n"), [("s", [])]),
    "empty and full streams": (
        encode_reply([(b"s", []), (b"t", [S_ENTRY]), (b"", [])]),
        [("s", []), (b"t", [(b"t", b"1-0", {b"a": b"b"})]), ("", [])],
    ),
    "an entry without fields": (
        encode_reply([(b"s", [(b"1-0", [])])]),
        [("s", [("s", b"1-0", {})])],
    ),
    "a field that comes twice": (
        encode_reply([(b"s", [(b"1-0", [b"a", b"1", b"b", b"2", b"a", b"3"])])]),
        [("s", [("s", b"1-0", {b"a": b"3", b"b": b"2"})])],
    ),
    "a stream that comes twice": (
        encode_reply([(b"s", [S_ENTRY]), (b"s", [(b"2-0", [])])]),
        [*S_REPLY, ("s", [("s", b"2-0", {})])],
    ),
    "keys and values of any bytes": (
        encode_reply([(b"\xff\r\n", [(b"1-0", [b"\r\n", bytes(range(256)), b"", b""])])]),
        [("x", [("x", b"1-0", {b"\r\n": bytes(range(256)), b"": b""})])],
    ),
    "the largest ID": (
        encode_reply([(b"s", [(b"%d-%d" % (2**64 - 1, 2**64 - 1), [])])]),
        [("s", [("s", b"18446744073709551615-18446744073709551615", {})])],
    ),
    "an error": (
        b"-WRONGTYPE Operation against a key\r\n",
        ServerError("WRONGTYPE Operation against a key"),
    ),
    "a blob error": (b"!7\r\nERR a\r\n\r\n", ServerError("ERR a\r\n")),
    "a push before": (b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n" + S_DATA, S_REPLY),
    "an empty push before": (b">0\r\n" + S_DATA, S_REPLY),
    "attributes before": (b"|1\r\n+ttl\r\n:1\r\n" + S_DATA, S_REPLY),
    "attributes before a map": (
        b"|1\r\n+ttl\r\n:1\r\n" + mapping(bulk(b"s"), b"*0\r\n"),
        [("s", [])],
    ),
    "attributes before nil": (b"|0\r\n*-1\r\n", None),
    "a push, attributes, a push": (
        b">1\r\n+a\r\n|1\r\n+ttl\r\n:1\r\n>1\r\n+b\r\n_\r\n",
        None,
    ),
    "attributes before an entry, its ID and its fields": (
        array(
            array(
                b"|1\r\n+a\r\n:1\r\n" + bulk(b"s"),
                array(
                    b"|1\r\n+a\r\n:1\r\n"
                    + array(b"|0\r\n" + bulk(b"1-0"), b"|0\r\n" + array(bulk(b"a"), bulk(b"b")))
                ),
            )
        ),
        S_REPLY,
    ),
    "simple strings and parts of strings": (
        array(
            array(
                b"+s\r\n", array(array(b"+1-0\r\n", array(b"+a\r\n", b"$?\r\n;1\r\nb\r\n;0\r\n")))
            )
        ),
        S_REPLY,
    ),
    "an entry of unknown length": (
        array(array(bulk(b"s"), array(b"*?\r\n$3\r\n1-0\r\n*?\r\n+a\r\n+b\r\n.\r\n.\r\n"))),
        S_REPLY,
    ),
}


def _with_key(key: bytes) -> bytes:
    return array(array(key, b"*0\r\n"))


def _with_entry(entry: bytes) -> bytes:
    return array(array(bulk(b"s"), array(entry)))


MALFORMED: dict[str, bytes] = {
    "a string": b"+OK\r\n",
    "a bulk string": bulk(b"s"),
    "an integer": b":1\r\n",
    "a boolean": b"#f\r\n",
    "a double": b",nan\r\n",
    "a verbatim string": b"=5\r\ntxt:a\r\n",
    "no RESP": b"HTTP/1.1 400 Bad Request\r\n",
    "an array of strings": array(bulk(b"s")),
    "an array of nils": array(b"*-1\r\n"),
    "an array of an empty array": array(b"*0\r\n"),
    "an array of single keys": array(array(bulk(b"s"))),
    "an array of triples": array(array(bulk(b"s"), b"*0\r\n", b"*0\r\n")),
    "an array of maps": array(mapping(bulk(b"s"), b"*0\r\n")),
    "an array of sets": array(aggregate(b"~", [bulk(b"s"), b"*0\r\n"])),
    "an array of errors": array(b"-ERR a\r\n"),
    "a set of strings": aggregate(b"~", [bulk(b"s")]),
    "entries that are nil": array(array(bulk(b"s"), b"*-1\r\n")),
    "entries that are null": array(array(bulk(b"s"), b"_\r\n")),
    "entries that are a map": array(array(bulk(b"s"), mapping(bulk(b"1-0"), b"*0\r\n"))),
    "entries that are an empty map": array(array(bulk(b"s"), b"%0\r\n")),
    "entries that are a set": array(array(bulk(b"s"), aggregate(b"~", [encode_entry(S_ENTRY)]))),
    "entries that are a string": array(array(bulk(b"s"), bulk(b"x"))),
    "entries that are a map, RESP3": mapping(bulk(b"s"), mapping(bulk(b"1-0"), b"*0\r\n")),
    "a map of strings": mapping(bulk(b"s"), bulk(b"t")),
    "a stream without an array around it": array(bulk(b"s"), b"*0\r\n"),
    "an array of a stream without its pair": b"*1\r\n" + bulk(b"s") + b"*0\r\n",
    "a map of a pair": mapping(array(bulk(b"s"), b"*0\r\n"), b"*0\r\n"),
    "a reply within an array": array(array(array(bulk(b"s"), b"*0\r\n"))),
    "a reply instead of a stream": b"*2\r\n" + 2 * array(array(bulk(b"s"), b"*0\r\n")),
    "a map instead of a stream": array(
        array(bulk(b"s"), b"*0\r\n"), mapping(bulk(b"s"), b"*0\r\n")
    ),
    "a key of another length": array(b"*2\r\n$2\r\ns\r\n*0\r\n"),
    "an unknown stream": _with_key(bulk(b"unknown")),
    "an unknown stream, RESP3": mapping(bulk(b"unknown"), b"*0\r\n"),
    "a key that is nil": _with_key(b"$-1\r\n"),
    "a key that is an integer": _with_key(b":1\r\n"),
    "a key that is an array": _with_key(b"*0\r\n"),
    "a key that is an error": _with_key(b"-ERR a\r\n"),
    "a push instead of a key": _with_key(b">1\r\n+s\r\n"),
    "a length with a zero before it": b"*01\r\n" + array(bulk(b"s"), b"*0\r\n"),
    "a length with a sign": b"*+1\r\n" + array(bulk(b"s"), b"*0\r\n"),
    "a negative length": b"*-2\r\n",
    "a negative length of a map": b"%-1\r\n",
    "no length": b"*\r\n",
    "entries of a length with a zero before it": b"*1\r\n*2\r\n$1\r\ns\r\n*01\r\n"
    + encode_entry(S_ENTRY),
    "entries of a negative length": b"*1\r\n*2\r\n$1\r\ns\r\n*-2\r\n",
    "an entry that is nil": _with_entry(b"*-1\r\n"),
    "an entry that is null": _with_entry(b"_\r\n"),
    "an entry that is a string": _with_entry(bulk(b"1-0")),
    "an entry that is an error": _with_entry(b"-ERR a\r\n"),
    "an entry that is a map": _with_entry(mapping(bulk(b"1-0"), b"*0\r\n")),
    "an entry that is a set": _with_entry(aggregate(b"~", [bulk(b"1-0"), b"*0\r\n"])),
    "an entry that is a push": _with_entry(b">1\r\n+a\r\n"),
    "an entry without fields and values": _with_entry(array(bulk(b"1-0"))),
    "an entry of three": _with_entry(array(bulk(b"1-0"), b"*0\r\n", b"*0\r\n")),
    "fields that are nil": _with_entry(array(bulk(b"1-0"), b"*-1\r\n")),
    "fields that are a map": _with_entry(array(bulk(b"1-0"), mapping(bulk(b"a"), bulk(b"b")))),
    "a field without a value": _with_entry(array(bulk(b"1-0"), array(bulk(b"a")))),
    "a value that is nil": _with_entry(array(bulk(b"1-0"), array(bulk(b"a"), b"$-1\r\n"))),
    "a value that is an integer": _with_entry(array(bulk(b"1-0"), array(bulk(b"a"), b":1\r\n"))),
    "a value that is an array": _with_entry(array(bulk(b"1-0"), array(bulk(b"a"), b"*0\r\n"))),
    "a value that is verbatim": _with_entry(
        array(bulk(b"1-0"), array(bulk(b"a"), b"=4\r\ntxt:\r\n"))
    ),
    "an ID that is nil": _with_entry(array(b"$-1\r\n", b"*0\r\n")),
    "an ID that is an integer": _with_entry(array(b":1\r\n", b"*0\r\n")),
    "an ID of one number": _with_entry(array(bulk(b"1"), b"*0\r\n")),
    "an ID of letters": _with_entry(array(bulk(b"a-b"), b"*0\r\n")),
    "an ID below zero": _with_entry(array(bulk(b"-1-0"), b"*0\r\n")),
    "an ID with a line's end": _with_entry(array(bulk(b"1-0\n"), b"*0\r\n")),
    "a value that is too short": S_DATA[:-4] + b"\r\n",
    "a value that is too long": S_DATA[:-2] + b"b\r\n",
    "a value without CRLF": S_DATA[:-2] + b"\n\r",
    "a line that ends in LF": S_DATA.replace(b"*2\r\n", b"*2\n", 1),
}

TEXTS: list[tuple[bytes, str]] = [
    (b"+OK\r\n", "b'OK', expected an XREAD reply"),
    (b":1\r\n", "int 1, expected an XREAD reply"),
    (b"~1\r\n+a\r\n", "b'a', expected a stream of an XREAD reply"),
    (b"*01\r\n", "b'*01', expected the length of an XREAD reply's part"),
    (_with_key(bulk(b"u")), "reply with b'u', expected one of the streams asked for"),
    (_with_key(b"%0\r\n"), "reply with a map of 0 pairs, expected one of the streams asked for"),
    (array(b"*3\r\n"), "b'*3', expected b'*2', a stream of an XREAD reply"),
    (_with_entry(b"*0\r\n"), "an array of 0 items in an XREAD reply, expected an entry"),
    (_with_entry(array(bulk(b"1"), b"*0\r\n")), "b'1' in an XREAD reply, expected an entry's ID"),
    (b"HTTP/1.1 400 Bad\r\n", "line b'HTTP/1.1 400 Bad', expected one of RESP's type bytes"),
]

MAKERS: dict[str, MessageFactory] = {
    "dict": MessageFactory(),
    "list": MessageFactory(list),
    "text": MessageFactory(dict, "utf-8", "surrogateescape"),
    "list of text": MessageFactory(list, "utf-8", "surrogateescape"),
    "callable": MessageFactory(tuple),
    "callable of text": MessageFactory(lambda pairs: sorted(pairs), "latin-1"),
    "text of two bytes": MessageFactory(list, "utf-16", "replace"),
}


@pytest.mark.parametrize(("data", "reply"), WELL_FORMED.values(), ids=WELL_FORMED.keys())
def test_a_reply_is_read_in_any_pieces(data: bytes, reply: Any) -> None:
    """Contract 6.3: both shapes are understood; pushes and attributes between are skipped."""
    for pieces in chunkings(data):
        parser = XreadParser(NAMES)
        outcome = drain(parser.feed, parser.next_reply, pieces)
        assert typed(outcome) == typed(Outcome([reply]))
        assert parser.expecting() is None


@pytest.mark.parametrize(("data", "reply"), WELL_FORMED.values(), ids=WELL_FORMED.keys())
@pytest.mark.parametrize(
    ("after", "rest"), [(S_DATA, [S_REPLY]), (S_DATA[:-9], []), (b"*-1\r\n", [None]), (b"*", [])]
)
def test_bytes_after_a_reply_are_left_to_the_next(
    data: bytes, reply: Any, after: bytes, rest: list[Any]
) -> None:
    for pieces in chunkings(data + after):
        assert typed(by_xread_parser(pieces, NAMES)) == typed(Outcome([reply, *rest]))


@pytest.mark.parametrize("data", [data for data, _ in WELL_FORMED.values()], ids=WELL_FORMED.keys())
def test_a_reply_that_is_cut_short_needs_data(data: bytes) -> None:
    for end in range(1, len(data)):
        assert by_xread_parser([data[:end]], NAMES) == Outcome([])


def test_replies_may_be_pipelined() -> None:
    """As a bisection sends its probes: all replies come at once, of all kinds."""
    stream = b"".join(data for data, _ in WELL_FORMED.values())
    expected = typed(Outcome([reply for _, reply in WELL_FORMED.values()]))
    for pieces in chunkings(stream):
        assert typed(by_xread_parser(pieces, NAMES)) == expected


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    """Contract 7, by both ways: a ProtocolError, after the replies before it."""
    assert by_whole_values(S_DATA + data, NAMES, MessageFactory()).error is not None
    for pieces in chunkings(S_DATA + data):
        outcome = by_xread_parser(pieces, NAMES)
        assert outcome.values == [S_REPLY]
        assert outcome.error is not None
        assert "expected" in outcome.error


@pytest.mark.parametrize(("data", "text"), TEXTS)
def test_errors_say_what_was_seen_and_what_was_expected(data: bytes, text: str) -> None:
    for pieces in chunkings(data):
        assert by_xread_parser(pieces, NAMES) == Outcome([], shown_at_once(text))


@pytest.mark.parametrize("value", [True, 1, b"OK", "OK", {}, (), ServerError("ERR")])
def test_blocks_of_refuses_what_is_no_list(value: Any) -> None:
    with pytest.raises(ProtocolError, match=", expected an XREAD reply"):
        stream_replies_of(value, NAMES, MessageFactory())


@pytest.mark.parametrize("value", [None, [], Map()])
def test_blocks_of_nothing_is_nil(value: Any) -> None:
    assert stream_replies_of(value, NAMES, MessageFactory()) is None


@pytest.mark.parametrize(
    "pair",
    [None, [], [b"s"], [b"s", None], [b"s", Map()], [b"s", [], []], b"sx", Set([b"s", []])],
)
def test_blocks_of_refuses_what_is_no_stream(pair: Any) -> None:
    with pytest.raises(ProtocolError, match="expected a stream of an XREAD reply"):
        stream_replies_of([[b"s", []], pair], NAMES, MessageFactory())


def test_names_are_the_objects_that_were_given() -> None:
    """Contract 1.3: `stream_name` is the very object the caller gave."""
    name = "".join(["s", "tream"])
    ((block, messages),) = by_xread_parser([S_DATA], {b"s": name}).values[0]
    assert block is name
    assert messages[0][0] is name


def test_names_may_change_between_two_replies() -> None:
    """Contract 2.5: streams are added and dropped while the connection stays."""
    names: dict[bytes, Any] = {b"s": "s"}
    parser = XreadParser(names)
    parser.feed(S_DATA)
    assert parser.next_reply() == S_REPLY
    names[b"t"] = "t"
    parser.feed(encode_reply([(b"t", [])]))
    assert parser.next_reply() == [("t", [])]
    del names[b"s"]
    parser.feed(S_DATA)
    with pytest.raises(ProtocolError, match="expected one of the streams asked for"):
        parser.next_reply()


@pytest.mark.parametrize(
    ("maker", "data"),
    [
        (MAKERS["dict"], {b"f": b"2", b"g": b"\xff"}),
        (MAKERS["list"], [(b"f", b"1"), (b"g", b"\xff"), (b"f", b"2")]),
        (MAKERS["text"], {"f": "2", "g": "\udcff"}),
        (MAKERS["list of text"], [("f", "1"), ("g", "\udcff"), ("f", "2")]),
        (MAKERS["callable"], ((b"f", b"1"), (b"g", b"\xff"), (b"f", b"2"))),
        (MAKERS["callable of text"], [("f", "1"), ("f", "2"), ("g", "ÿ")]),
    ],
)
def test_messages_are_made_in_the_form_asked_for(maker: MessageFactory, data: Any) -> None:
    """Contract 1.2, 1.3: text, doubles kept by `fields=list`, any callable of pairs."""
    wire = encode_reply([(b"s", [(b"1-0", [b"f", b"1", b"g", b"\xff", b"f", b"2"])])])
    entry_id: Any = "1-0" if maker.encoding else b"1-0"
    for pieces in chunkings(wire):
        outcome = by_xread_parser(pieces, NAMES, maker)
        assert typed(outcome.values) == typed([[("s", [("s", entry_id, data)])]])


def seven(pairs: Any) -> Any:
    """Refuse an entry whose first value is 7 or 13."""
    data = dict(pairs)
    first = next(iter(data.values()), b"")
    if first in (b"7", "7"):
        raise LookupError("not mine")
    return data if first not in (b"13", "13") else next(iter(()))


@pytest.mark.parametrize("encoding", [None, "ascii"])
@pytest.mark.parametrize("count", [14, 400])
def test_a_message_that_cannot_be_made_breaks_nothing(count: int, encoding: str | None) -> None:
    """Contract 3.5: those around it are made; a StopIteration does not pass for an end."""
    entries = [(b"%d-0" % at, [b"f", b"%d" % at]) for at in range(1, count + 1)]
    wire = encode_reply([(b"s", entries)])
    for pieces in ([wire], [wire[:100], wire[100:]], *([chunkings(wire)[1]] if count < 20 else [])):
        parser = XreadParser(NAMES, MessageFactory(seven, encoding))
        # What was learnt from others is of no help.
        outcome = drain(parser.feed, parser.next_reply, [*pieces, b"*-1\r\n"])
        (((_, messages),), nil) = outcome.values
        assert nil is None
        assert [
            int(data[i]) for _, _, data in messages if isinstance(data, dict) for i in data
        ] == [at for at in range(1, count + 1) if at not in (7, 13)]
        for message, value, cause in zip(
            parser.unmade, (7, 13), (LookupError, StopIteration), strict=True
        ):
            assert message is messages[value - 1]
            name, entry_id, data = message
            text = b"%d-0" % value
            assert (name, entry_id) == ("s", text.decode() if encoding else text)
            assert isinstance(data, Unmade)
            assert data.pairs == [(b"f", b"%d" % value)]
            assert type(data.cause) is cause
        parser.unmade.clear()
        parser.feed(wire)
        parser.next_reply()
        assert [entry_id for _, entry_id, _ in parser.unmade] == [messages[6][1], messages[12][1]]


def test_an_entry_that_strict_decoding_refuses_is_found_at_any_place() -> None:
    """Also where others like it are read at once."""
    entries = [(b"%d-0" % at, [b"f", b"%d" % at]) for at in range(1, 300)]
    for bad in (1, 2, 150, 298, 299):
        spoilt = [*entries]
        spoilt[bad - 1] = (b"%d-0" % bad, [b"f", b"\xff"])
        parser = XreadParser(NAMES, MessageFactory(encoding="utf-8"))
        parser.feed(encode_reply([(b"s", entries)]) + encode_reply([(b"s", spoilt)]))
        parser.next_reply()
        assert parser.unmade == []
        ((_, messages),) = reply_of(parser)
        assert [entry_id for _, entry_id, _ in messages] == [f"{at}-0" for at in range(1, 300)]
        ((_, _, data),) = parser.unmade
        assert messages[bad - 1][2] is data
        assert [m for m in messages if isinstance(m[2], Unmade)] == parser.unmade


def reply_of(parser: XreadParser) -> Any:
    reply = parser.next_reply()
    assert reply is not NEED_DATA
    return reply


def test_what_ends_a_program_goes_through_the_parser() -> None:
    def interrupt(pairs: object) -> None:
        raise KeyboardInterrupt

    parser = XreadParser(NAMES, MessageFactory(interrupt))
    parser.feed(encode_reply([(b"s", [S_ENTRY])]))
    with pytest.raises(KeyboardInterrupt):
        parser.next_reply()


@pytest.mark.parametrize("resp3", [False, True])
def test_the_whole_entries_of_a_reply_that_breaks_off_are_taken(resp3: bool) -> None:
    """Contract 5.4: cut anywhere, those are taken that were there, read already or not."""
    entries = [(b"%d-0" % at, [b"f", b"v" * at]) for at in range(1, 4)]
    streams = [(b"s", entries), (b"t", entries[:2])]
    whole = encode_reply(streams, resp3=resp3)
    ends = [whole.find(encode_entry(each)) + len(encode_entry(each)) for each in entries]
    ends += [whole.rfind(encode_entry(each)) + len(encode_entry(each)) for each in entries[:2]]
    for cut in range(len(whole)):
        expected: list[Any] = []
        for name, number, in_stream in (("s", 3, ends[:3]), (b"t", 2, ends[3:])):
            made = [(name, *entry_made(each)) for each in entries[:number]]
            there = [each for each, end in zip(made, in_stream, strict=True) if end <= cut]
            expected += [(name, there)] if there else []
        for read_at in (0, cut // 2, cut):
            parser = XreadParser(NAMES)
            parser.feed(whole[:read_at])
            assert parser.next_reply() is NEED_DATA
            parser.feed(whole[read_at:cut])
            assert parser.take_partial() == expected


def entry_made(entry: Any) -> tuple[bytes, dict[bytes, bytes]]:
    entry_id, (field, value) = entry
    return entry_id, {field: value}


def test_nothing_is_taken_where_no_reply_is_under_way() -> None:
    for begun in (b"", b"*-1\r\n", b"-ERR", b">1\r\n+x", encode_reply([(b"s", [S_ENTRY])])):
        parser = XreadParser(NAMES)
        parser.feed(begun)
        parser.next_reply()
        assert parser.take_partial() == []


def test_nothing_is_taken_of_bytes_that_are_not_a_reply() -> None:
    parser = XreadParser(NAMES)
    entries: list[Any] = [(b"1-0", []), (b"2-0", []), (b"3-0", [])]
    parser.feed(encode_reply([(b"s", entries)])[:-20] + b"HTTP/1.1 400\r\n")
    with pytest.raises(ProtocolError):
        parser.next_reply()
    assert parser.take_partial() == []


def test_a_reply_that_was_not_read_yet_is_taken_whole() -> None:
    parser = XreadParser(NAMES)
    parser.feed(encode_reply([(b"s", [S_ENTRY])]))
    assert [name for name, _ in parser.take_partial()] == ["s"]


@pytest.mark.parametrize("resp3", [False, True])
def test_a_lone_message_takes_few_calls(resp3: bool) -> None:
    """Most replies of a live stream are one entry."""
    wire = encode_reply(
        [(b"s", [(b"1700000000000-0", [b"a", b"1", b"b", b"x\r\ny"])])], resp3=resp3
    )
    parser = XreadParser(NAMES, max_entries=100)
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        message = parser.read_lone(wire)
    finally:
        sys.setprofile(before)
    assert message == ("s", b"1700000000000-0", {b"a": b"1", b"b": b"x\r\ny"})
    assert len(calls) <= 4, calls
    assert parser.consumed == 0


LONE = encode_reply([(b"s", [(b"1700000000000-0", [b"a", b"1"])])])


@pytest.mark.parametrize(
    "wire",
    [
        LONE[:-1],
        LONE + b"*",
        LONE.replace(b"$1\r\na", b"$2\r\na"),
        LONE.replace(b"\r\ns", b"\r\nx"),
        LONE.replace(b"*2\r\n$1\r\na", b"*1\r\n$1\r\na"),
        LONE.replace(b"$15\r\n", b"$14\r\n"),
        LONE.replace(b"$15\r\n17", b"$23\r\n18446744073"),
        encode_reply([(b"s", [(b"1-0", []), (b"2-0", [])])]),
        b"*-1\r\n",
    ],
)
def test_whatever_is_not_a_whole_reply_of_one_entry_has_to_be_fed(wire: bytes) -> None:
    assert XreadParser(NAMES).read_lone(wire) is None


@pytest.mark.parametrize("before", [b"*", LONE[:5], LONE[:-3], b"|1\r\n+a\r\n", b">1\r\n"])
def test_no_lone_entry_is_read_within_something_else(before: bytes) -> None:
    parser = XreadParser(NAMES)
    parser.feed(before)
    parser.next_reply()
    assert parser.read_lone(LONE) is None
    parser.feed(b"x")
    assert parser.read_lone(LONE) is None


def test_the_bound_on_entries_may_be_changed_between_replies() -> None:
    two = encode_reply([(b"s", [(b"1-0", []), (b"2-0", [])])])
    parser = XreadParser(NAMES, max_entries=1)
    parser.max_entries = 2
    parser.feed(two)
    assert reply_of(parser)
    parser.max_entries = 1
    parser.feed(two)
    with pytest.raises(ProtocolError, match="expected at most 1"):
        parser.next_reply()


def test_consumed_is_the_position_after_the_last_reply() -> None:
    """So it is known whether a reply came before its request was sent."""
    wire = encode_reply([(b"s", [S_ENTRY])])
    parser = XreadParser(NAMES)
    parser.feed(wire + b">1\r\n+x\r\n*-1\r\n" + wire[:-1])
    assert parser.consumed == 0
    reply_of(parser)
    assert parser.consumed == len(wire)
    assert parser.next_reply() is None
    assert parser.consumed == len(wire) + 13
    assert parser.next_reply() is NEED_DATA
    assert len(wire) + 13 <= parser.consumed <= 2 * len(wire) + 12
    parser.feed(wire[-1:])
    reply_of(parser)
    assert parser.consumed == 2 * len(wire) + 13


def test_other_replies_come_over_the_same_connection() -> None:
    """Contract 6.1: HELLO, AUTH and SELECT are answered before the first XREAD is."""
    values = Parser()
    parser = XreadParser(NAMES, values=values)
    parser.feed(b"%1\r\n+server\r\n+redis\r\n+OK\r\n" + S_DATA)
    assert values.next_value() == Map([(b"server", b"redis")])
    assert values.next_value() == b"OK"
    assert parser.next_reply() == S_REPLY
    values.feed(b"+PONG\r\n" + S_DATA)
    assert values.next_value() == b"PONG"
    assert parser.next_reply() == S_REPLY


def test_a_value_that_was_begun_is_finished() -> None:
    """A value half read by the other parser is not taken for the beginning of a reply."""
    values = Parser()
    parser = XreadParser(NAMES, values=values)
    parser.feed(b"*1\r\n")
    assert values.next_value() is NEED_DATA
    parser.feed(b"*2\r\n$1\r\ns\r\n*0\r\n")
    assert parser.next_reply() == [("s", [])]


def test_expecting_says_what_is_missing() -> None:
    parser = XreadParser(NAMES)
    seen = []
    for piece in (b"", b"*1", b"\r\n", b"*2\r\n$1\r\ns\r\n", b"*1\r\n*2\r\n", b"$3\r\n1-"):
        parser.feed(piece)
        assert parser.next_reply() is NEED_DATA
        seen.append(parser.expecting())
    assert seen[0] is None
    assert seen[1] == "2 bytes of a value, expected a whole one"
    assert all(text and ", expected " in text for text in seen[2:-1])
    assert seen[-1] == "2 bytes of a bulk string, expected 3 and CRLF"
    parser.feed(b"0\r\n*0\r\n")
    assert parser.next_reply() == [("s", [("s", b"1-0", {})])]
    assert parser.expecting() is None


@pytest.mark.parametrize(
    "announced",
    [
        b"*2000000\r\n",
        b"%2000000\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*9999999999\r\n",
        b"%1\r\n$1\r\ns\r\n*9999999999\r\n*2\r\n$3\r\n1-0\r\n*1999998\r\n",
        b"*1\r\n*2\r\n$536870912\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$536870912\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$536870912\r\n",
    ],
)
def test_what_is_only_announced_takes_no_memory(announced: bytes) -> None:
    """Contract 7: gigabytes announced, and no memory for what was only announced."""
    for pieces in chunkings(announced):
        parser = XreadParser(NAMES)
        tracemalloc.start()
        try:
            assert drain(parser.feed, parser.next_reply, pieces) == Outcome([])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 100_000


@pytest.mark.parametrize("form", [b"*%d\r\n", b"%%%d\r\n"])
def test_more_streams_than_asked_for_are_refused(form: bytes) -> None:
    """At once: each might be there with nothing in it, without end."""
    limited = XreadParser({b"a": "a", b"b": "b"}, max_entries=10)
    limited.feed(form % 3)
    with pytest.raises(ProtocolError, match=r"3 streams .* at most 2"):
        limited.next_reply()
    for parser, size in ((XreadParser({b"a": "a"}, max_entries=10), 1), (XreadParser({}), 3)):
        parser.feed(form % size)
        assert parser.next_reply() is NEED_DATA


def test_a_push_that_is_coming_in_is_no_part_of_a_reply() -> None:
    """Nor is an attribute before it; whoever waits for a reply still waits."""
    for data, is_within in [
        (b"", False),
        (b">2\r\n:1\r\n", False),
        (b">", False),
        (b"|1\r\n+k", False),
        (b"|1\r\n+k\r\n:1\r\n", False),
        (b"|1\r\n+k\r\n:1\r\n|", False),
        (b"|1\r\n+k\r\n:1\r\n>1\r", False),
        (b"|1\r\n+k\r\n:1\r\n*", True),
        (b"*", True),
        (b"*1\r\n*2\r\n$1", True),
        (b"-ERR", True),
    ]:
        parser = XreadParser({b"a": "a"})
        parser.feed(data)
        assert parser.next_reply() is NEED_DATA
        assert parser.is_within_reply is is_within


@pytest.mark.parametrize(
    "nested", [b"*1\r\n" * 1000, b"*1\r\n*2\r\n$1\r\ns\r\n" + b"*1\r\n" * 1000]
)
def test_nesting_without_end_is_refused(nested: bytes) -> None:
    """Contract 7: nesting without end."""
    for pieces in chunkings(nested):
        assert by_xread_parser(pieces, NAMES).error is not None


LARGE: dict[str, Callable[[], bytes]] = {
    "alike": lambda: _large(lambda n: [b"field", b"value", b"n", b"%d" % n]),
    "of all lengths": lambda: _large(lambda n: [b"field", b"x" * (n * 37 % 301)]),
    "with line ends": lambda: _large(lambda n: [b"field", b"\r\n" * (n % 9)]),
    "with other fields each": lambda: _large(lambda n: [b"%d" % n, b"x"]),
    "wide": lambda: _large(lambda n: [b"%d" % (at % 300) for at in range(400)], 20),
    "in many streams": lambda: encode_reply(
        [(b"s", [(b"%d-0" % n, [b"a", b"b"]) for n in (1, 2, 3)])] * 500
    ),
}


def _large(items: Callable[[int], list[bytes]], count: int = 2000) -> bytes:
    return encode_reply([(b"s", [(b"%d-0" % n, items(n)) for n in range(count)])])


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
@pytest.mark.parametrize("size", [1, 100, 65536])
def test_bytes_are_copied_a_bounded_number_of_times(
    make: Callable[[], bytes], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linear work, however small the pieces are: counted in bytes joined, not in time."""
    data = make()
    expected = typed(by_whole_values(data, NAMES, MessageFactory()))
    copies = Copies(monkeypatch)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert typed(by_xread_parser(pieces, NAMES)) == expected
    assert copies.bytes <= 2 * len(data)


# Pieces of real replies, as values and names of fields would have to imitate them.
FORGED = [
    b"1\r\n$5\r\nindex\r\n$1\r\n2",
    b"x\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\na\r\n$1\r\nb",
    b"x\r\n*2\r\n$1\r\nt\r\n*1\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\na\r\n$1\r\nb",
    b"\r\n*-1\r\n",
    b"-ERR a\r\n",
    S_DATA,
    S_DATA[:-2],
    S_DATA[4:],
    b"$1\r\na\r\n",
    b"\r",
    b"\n",
    b"\r\n",
    b"",
]
STRINGS = st.one_of(st.binary(max_size=6), st.sampled_from(FORGED), st.sampled_from([b"a", b"b"]))
NUMBERS = st.integers(0, 2**64 - 1) | st.integers(0, 12)
IDS = st.builds(lambda ms, seq: b"%d-%d" % (ms, seq), NUMBERS, NUMBERS)
ITEMS = st.lists(st.tuples(STRINGS, STRINGS), max_size=3).map(
    lambda pairs: [item for pair in pairs for item in pair]
)
ENTRIES = st.dictionaries(IDS, ITEMS, max_size=4).map(
    lambda entries: sorted(entries.items(), key=lambda entry: number_of(entry[0]))
)
STREAMS = st.lists(st.tuples(st.sampled_from(sorted(NAMES)), ENTRIES), max_size=4)


# Foreseeing where a reply ends: a guess that may be missing, and must not be in the way.


def _full(keys: list[bytes], count: int, fields: int = 2) -> list[Stream]:
    items = [b"field", b"value"] * fields
    return [
        (key, [(b"%d-%d" % (1000 * at + n, at), items) for n in range(1, count + 1)])
        for at, key in enumerate(keys)
    ]


def _ends(streams: list[Stream]) -> list[bytes]:
    return [entries[-1][0] for _, entries in streams]


@pytest.mark.parametrize("keys", [[b"s"], [b"s", b"t"]])
def test_the_end_is_foreseen_before_the_last_bytes_come(keys: list[bytes]) -> None:
    """The last entry need not be all there, if as many have begun as there must be."""
    streams = _full(keys, 8, 1)
    data = encode_reply(streams)
    for missing in range(1, 8):
        parser = XreadParser(NAMES)
        parser.feed(data[:-missing])
        assert parser.predict_last_ids(keys, 8) == _ends(streams), missing
        assert parser.predict_last_ids(keys, 9) is None


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("keys", [[b"s"], [b"s", b"t"], [b"", b"s", b"\xff\r\n"]])
@pytest.mark.parametrize("maker", ["dict", "text"])
@pytest.mark.parametrize("fields", [0, 2, 20])
def test_the_end_of_a_full_reply_is_foreseen(
    keys: list[bytes], count: int, resp3: bool, maker: str, fields: int
) -> None:
    """Contract 6.4: the next read is on its way while the reply to this one is read."""
    streams = _full(keys, count, fields)
    data = encode_reply(streams, resp3=resp3)
    parser = XreadParser(NAMES, MAKERS[maker])
    for _ in range(3):  # once its streams were seen it searches in other ways
        parser.feed(data)
        assert parser.predict_last_ids(keys, count) == _ends(streams)
        assert parser.next_reply() == by_whole_values(data, NAMES, MAKERS[maker]).values[0]
        assert parser.predict_last_ids(keys, count) is None


@pytest.mark.parametrize(
    "pair",
    [
        b"*2\r\n$3\r\n1-1\r\n*0\r\n",
        b"*2\r\n$3\r\nx" * 9,
        b"*2\r\n$4\r\n",
        b"*2\r\n$3\r\n" + b"9" * 50,
    ],
)
def test_the_end_is_foreseen_though_values_look_like_entries(pair: bytes) -> None:
    """What is in the last value is not the last entry: it is none, or an older one."""
    streams: list[Stream] = [
        (key, [(b"1700000%d-0" % (n + at), [b"a", b"x", b"b", b"\r\n" + pair]) for n in range(3)])
        for at, key in ((100, b"s"), (500, b"t"))
    ]
    parser = XreadParser(NAMES)
    parser.feed(encode_reply(streams))
    assert parser.predict_last_ids([b"s", b"t"], 3) == _ends(streams)


def test_the_end_is_foreseen_though_a_value_holds_an_older_id_as_long() -> None:
    forged = b"*2\r\n$3\r\n1-0\r\n*0\r\n"
    streams: list[Stream] = [
        (b"s", [(b"2-0", [b"a", b"x"]), (b"3-0", [b"a", forged])]),
        (b"t", [(b"2-0", [b"a", b"x"]), (b"3-0", [b"a", b"x"])]),
    ]
    parser = XreadParser(NAMES)
    parser.feed(encode_reply(streams))
    assert parser.predict_last_ids([b"s", b"t"], 2) == [b"3-0", b"3-0"]


def test_what_was_read_already_is_foreseen_with_the_rest() -> None:
    """A reply that comes in two pieces, cut between two of its entries."""
    streams = _full([b"s", b"t"], 3)
    data = encode_reply(streams)
    entries = [encode_entry(entry) for _, entries in streams for entry in entries]
    for maker in (MAKERS["dict"], MAKERS["text"]):
        for entry in entries:
            cut = data.index(entry)
            parser = XreadParser(NAMES, maker)
            parser.feed(data[:cut])
            assert parser.next_reply() is NEED_DATA
            assert parser.predict_last_ids([b"s", b"t"], 3) is None
            parser.feed(data[cut:])
            assert parser.predict_last_ids([b"s", b"t"], 3) == _ends(streams)
            assert parser.next_reply() == by_whole_values(data, NAMES, maker).values[0]


@pytest.mark.parametrize("fields", [0, 1, 3])
@pytest.mark.parametrize("keys", [[b"s"], [b"s", b"t"]])
def test_no_other_end_is_foreseen_wherever_a_reply_is_cut(keys: list[bytes], fields: int) -> None:
    """Though it is known by then about how large an entry is."""
    streams = _full(keys, 32, fields)
    data = encode_reply(streams)
    for cut in range(len(data) * 3 // 4, len(data)):
        if data.startswith(b"*2\r\n$", cut):
            # Between two entries, where hardly ever a piece ends: that may look like the end.
            continue
        parser = XreadParser(NAMES)
        parser.feed(data)
        parser.next_reply()
        parser.feed(data[:cut])
        assert parser.predict_last_ids(keys, 32) in (None, _ends(streams))


def test_the_end_is_foreseen_though_values_look_like_entries_as_long() -> None:
    """They end where the entries do that they are in, but are older."""
    forged = b"*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
    streams = [(b"s", [(b"%d-0" % n, [b"a", forged]) for n in range(2, 10)])]
    parser = XreadParser(NAMES)
    for _ in range(2):  # at first, and when it is known about how large an entry is
        parser.feed(encode_reply(streams))
        assert parser.predict_last_ids([b"s"], 8) == _ends(streams)
        parser.next_reply()


def test_the_end_is_foreseen_of_streams_that_grow_and_shrink() -> None:
    """Where the next one begins is not where the size of those before says."""
    parser = XreadParser(NAMES)
    for size in (10, 400, 340):
        streams = [
            (key, [(b"%d-0" % n, [b"a", b"x" * size]) for n in range(2, 10)])
            for key in (b"s", b"t")
        ]
        parser.feed(encode_reply(streams))
        assert parser.predict_last_ids([b"s", b"t"], 8) == _ends(streams)
        parser.next_reply()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"*-1\r\n",
        b"-ERR a\r\n",
        encode_reply(_full([b"s", b"t"], 2)),  # fewer than asked for
        encode_reply(_full([b"s", b"t"], 4)),  # more
        encode_reply(_full([b"s"], 3)),
        encode_reply(_full([b"t", b"s"], 3)),  # in another order
        encode_reply(_full([b"s", b"t"], 3))[:-50],  # not all there
        encode_reply([(b"s", []), (b"t", [])]),
        encode_reply([(key, [(b"a-b", [])] * 3) for key in (b"s", b"t")]),  # no IDs
    ],
)
def test_no_end_is_foreseen_of_what_does_not_look_full(data: bytes) -> None:
    """A read that was not full says where all its streams end: nothing is there to guess."""
    parser = XreadParser(NAMES)
    parser.feed(data)
    assert parser.predict_last_ids([b"s", b"t"], 3) is None


@settings(deadline=None, max_examples=150)
@given(
    streams=STREAMS,
    noise=st.binary(max_size=4),
    count=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_foreseeing_changes_nothing(
    streams: list[Stream], noise: bytes, count: int, seed: int
) -> None:
    """Whatever comes: a guess is none or one ID a key, and the reply is the same."""
    data = encode_reply(streams) + noise
    keys = [key for key, _ in streams]
    parser = XreadParser(NAMES)

    def take() -> Any:
        guess = parser.predict_last_ids(keys, count)
        assert guess is None or list(map(type, guess)) == [bytes] * len(keys)
        return parser.next_reply()

    outcome = drain(parser.feed, take, random_pieces(data, Random(seed)))
    expected = by_xread_parser([data], NAMES)
    assert typed(outcome.values) == typed(expected.values)
    assert (outcome.error is None) is (expected.error is None)


# Properties: the two ways agree on arbitrary replies, in both shapes and any pieces.


@settings(deadline=None, max_examples=200)
@given(
    replies=st.lists(st.tuples(STREAMS, st.booleans()), min_size=1, max_size=3),
    maker=st.sampled_from(sorted(MAKERS)),
    seed=st.integers(0, 2**32),
)
def test_both_ways_agree_on_arbitrary_replies(
    replies: list[tuple[list[Stream], bool]], maker: str, seed: int
) -> None:
    """XreadParser is the parser of values and `stream_replies_of`, only faster."""
    data = b"".join(encode_reply(streams, resp3=resp3) for streams, resp3 in replies)
    expected = by_whole_values(data, NAMES, MAKERS[maker])
    assert expected.error is None
    assert len(expected.values) == len(replies)
    for pieces in ([data], bytewise(data), random_pieces(data, Random(seed))):
        assert typed(by_xread_parser(pieces, NAMES, MAKERS[maker])) == typed(expected)


@settings(deadline=None, max_examples=100)
@given(streams=STREAMS, resp3=st.booleans())
def test_messages_hold_what_was_encoded(streams: list[Stream], resp3: bool) -> None:
    """Told without `stream_replies_of`, so that both ways cannot share a mistake."""
    expected = [
        (
            NAMES[key],
            [
                (NAMES[key], entry_id, list(zip(items[::2], items[1::2], strict=True)))
                for entry_id, items in entries
            ],
        )
        for key, entries in streams
    ]
    (reply,) = by_xread_parser([encode_reply(streams, resp3=resp3)], NAMES, MAKERS["list"]).values
    assert (reply or []) == expected


TOKENS = st.sampled_from(
    [b"*1\r\n", b"*2\r\n", b"*0\r\n", b"*-1\r\n", b"%1\r\n", b"$1\r\ns\r\n", b"$3\r\n1-0\r\n",
     b"$1\r\n", b"\r\n", b"_\r\n", b"|1\r\n", b">1\r\n", b"+s\r\n", b":1\r\n", b"s", S_DATA,
     encode_entry(S_ENTRY), b"*", b"$", b"1", b"-ERR a\r\n"]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    data=st.lists(TOKENS, max_size=16).map(b"".join) | st.binary(max_size=40),
    seed=st.integers(0, 2**32),
)
def test_any_bytes_give_replies_or_need_data_or_a_protocol_error(data: bytes, seed: int) -> None:
    """And nothing else, and the same in any pieces; `drain` sees to all that."""
    whole = by_xread_parser([data], NAMES)
    for pieces in (bytewise(data), random_pieces(data, Random(seed))):
        outcome = by_xread_parser(pieces, NAMES)
        assert typed(outcome.values) == typed(whole.values)
        assert (outcome.error is None) is (whole.error is None)


UNUSUAL: dict[str, bytes] = {
    "a streamed reply": b"*?\r\n*2\r\n$1\r\ns\r\n*1\r\n%b.\r\n",
    "a streamed map": b"%%?\r\n$1\r\ns\r\n*1\r\n%b.\r\n",
    "a streamed pair": b"*1\r\n*?\r\n$1\r\ns\r\n*1\r\n%b.\r\n",
    "streamed entries": b"*1\r\n*2\r\n$1\r\ns\r\n*?\r\n%b.\r\n",
    "a streamed key": b"*1\r\n*2\r\n$?\r\n;1\r\ns\r\n;0\r\n*1\r\n%b",
    "an attribute before the reply": b"|1\r\n+a\r\n:1\r\n*1\r\n*2\r\n$1\r\ns\r\n*1\r\n%b",
    "an attribute before a pair": b"*1\r\n|1\r\n+a\r\n:1\r\n*2\r\n$1\r\ns\r\n*1\r\n%b",
    "an attribute before a key": b"*1\r\n*2\r\n|1\r\n+a\r\n:1\r\n$1\r\ns\r\n*1\r\n%b",
    "an attribute before entries": b"*1\r\n*2\r\n$1\r\ns\r\n|1\r\n+a\r\n:1\r\n*1\r\n%b",
    "the same in a map": b"%%1\r\n$1\r\ns\r\n|1\r\n+a\r\n:1\r\n*1\r\n%b",
}
UNUSUAL_ENTRIES: dict[str, bytes] = {
    "usual": b"*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
    "streamed": b"*?\r\n$3\r\n1-0\r\n*?\r\n$1\r\nf\r\n+v\r\n.\r\n.\r\n",
    "attributes": b"|1\r\n:1\r\n:2\r\n*2\r\n|0\r\n+1-0\r\n|0\r\n*2\r\n|0\r\n+f\r\n"
    b"$?\r\n;1\r\nv\r\n;0\r\n",
}


@pytest.mark.parametrize("reply", UNUSUAL.values(), ids=UNUSUAL.keys())
@pytest.mark.parametrize("entry", UNUSUAL_ENTRIES.values(), ids=UNUSUAL_ENTRIES.keys())
def test_replies_as_no_server_sends_them_are_read(reply: bytes, entry: bytes) -> None:
    """Whatever the parser of values takes, since RESP3 allows it; and what comes after it."""
    expected = [("s", [("s", b"1-0", {b"f": b"v"})])]
    for pieces in chunkings(reply % entry + S_DATA):
        assert by_xread_parser(pieces, {b"s": "s"}).values == [expected, S_REPLY]


def test_more_entries_than_asked_for_are_refused_in_any_form() -> None:
    entries = b"".join(b"*2\r\n$3\r\n%d-0\r\n*2\r\n+f\r\n+v\r\n" % at for at in (1, 2, 3))
    for data in (
        b"*1\r\n*2\r\n$1\r\ns\r\n*3\r\n%b",
        b"*1\r\n*2\r\n$1\r\ns\r\n*?\r\n%b.\r\n",
        b"*?\r\n*2\r\n$1\r\ns\r\n*3\r\n%b.\r\n",
    ):
        parser = XreadParser({b"s": "s"}, max_entries=2)
        parser.feed(data % entries)
        with pytest.raises(ProtocolError, match="3 entries of stream b's', expected at most 2"):
            parser.next_reply()


@pytest.mark.parametrize("number", [1, 6])
def test_the_size_of_each_entry_is_limited(number: int) -> None:
    entries = [(b"%d-0" % at, [b"field", b"v" * 150]) for at in range(1, number)]
    for size, is_refused in [(160, False), (300, True)]:
        last = (b"%d-0" % number, [b"f", b"v" * (size // 2), b"g", b"v" * (size // 2)])
        data = encode_reply([(b"s", [*entries, last])])
        for pieces in chunkings(data):
            parser = XreadParser({b"s": "s"}, values=Parser(max_size=300))
            outcome = drain(parser.feed, parser.next_reply, pieces)
            assert (outcome.error is not None) is is_refused
            assert not is_refused or "expected at most 300" in str(outcome.error)


def test_an_error_has_an_offset_in_any_case() -> None:
    """Also where the bytes are RESP."""
    for data, offset in [(b"*1\r\n*2\r\n+x\r\n", 16), (b":1\r\n", 4), (b"*1\r\nx", 4)]:
        parser = XreadParser({b"s": "s"})
        parser.feed(data + b"*0\r\n")
        with pytest.raises(ProtocolError) as info:
            parser.next_reply()
        assert info.value.offset == offset, data
