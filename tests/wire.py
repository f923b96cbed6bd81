"""Bytes for the tests of the wire format: pieces of them, and what parsers make of these."""

from __future__ import annotations

import re
import zlib
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pystreamredis.protocol import (
    NEED_DATA,
    MessageFactory,
    Parser,
    ProtocolError,
    Push,
    ServerError,
    XreadParser,
    stream_replies_of,
)
from pystreamredis.protocol.buffer import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Outcome(NamedTuple):
    """What a parser made of bytes: values, and the text of its error if it raised one."""

    values: list[Any]
    error: str | None = None


def shown_at_once(text: str) -> str:
    """Take out of an error's text how much had come of a line that is refused at its first byte."""
    return re.sub(r"b(['\"]).*\1(, expected one of| within a streamed| in a command)", r"\2", text)


def drain(
    feed: Callable[[bytes], None], take: Callable[[], Any], pieces: Iterable[bytes]
) -> Outcome:
    """Feed `pieces` one by one, and take all that is there after each of them.

    Whatever raises anything else than ProtocolError fails the test, and so does a
    parser that does not raise its error again.
    """
    values: list[Any] = []
    broken: ProtocolError | None = None
    try:
        for piece in pieces:
            feed(piece)
            while (value := take()) is not NEED_DATA:
                values.append(value)
    except ProtocolError as error:
        broken = error
    if broken is None:
        assert take() is NEED_DATA
        return Outcome(values)
    for later in (b"", b"+OK\r\n"):
        feed(later)
        with pytest.raises(ProtocolError) as again:
            take()
        assert again.value is broken
    return Outcome(values, shown_at_once(str(broken)))


def bytewise(data: bytes) -> list[bytes]:
    """`data` in single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def random_pieces(data: bytes, random: Random) -> list[bytes]:
    """`data` in pieces of random size: mostly small, some large, some empty."""
    pieces = []
    at = 0
    while at < len(data):
        size = random.choice((0, 1, 1, 2, 3, 7, 30, 200, 5000))
        pieces.append(data[at : at + size])
        at += size
    return pieces


def chunkings(data: bytes) -> list[list[bytes]]:
    """The ways in which every test vector comes in: whole, byte by byte, at random."""
    random = Random(zlib.crc32(data))  # the same for the same bytes, in every run
    return [[data], bytewise(data), *(random_pieces(data, random) for _ in range(3))]


class Copies:
    """Counts what buffers copy: bytes, since time is not a test's to know."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        join, gather = Buffer.join, Buffer._gather

        def counting_join(buffer: Buffer) -> bool:
            joined = join(buffer)
            self.bytes += len(buffer.data) if joined else 0
            return joined

        def counting_gather(buffer: Buffer, size: int) -> bytes:
            self.bytes += size
            return gather(buffer, size)

        monkeypatch.setattr(Buffer, "join", counting_join)
        monkeypatch.setattr(Buffer, "_gather", counting_gather)


def bulk(string: bytes) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(string), string)


def aggregate(kind: bytes, items: Iterable[bytes], *, per_length: int = 1) -> bytes:
    """An aggregate of encoded items, `per_length` of which count as one."""
    parts = list(items)
    return b"%b%d\r\n%b" % (kind, len(parts) // per_length, b"".join(parts))


def array(*items: bytes) -> bytes:
    """An array of encoded items."""
    return aggregate(b"*", items)


def mapping(*items: bytes) -> bytes:
    """A map of encoded keys and values in turn."""
    return aggregate(b"%", items, per_length=2)


def typed(value: Any) -> str:
    """Make of `value` what compares by type and in full, and fast.

    For Python, True is 1 is 1.0, nan is not nan, and a verbatim string equals its text.
    """
    return repr(value)


# XREAD replies: a stream is its key and its entries, an entry its ID and its fields and values.
Entry = tuple[bytes, list[bytes]]
Stream = tuple[bytes, list[Entry]]


def encode_entry(entry: Entry) -> bytes:
    """An entry of an XREAD reply."""
    entry_id, items = entry
    return array(bulk(entry_id), array(*map(bulk, items)))


def encode_reply(streams: Iterable[Stream], *, resp3: bool = False) -> bytes:
    """An XREAD reply in the shape of RESP2 (arrays) or of RESP3 (a map)."""
    parts = [(bulk(key), array(*map(encode_entry, entries))) for key, entries in streams]
    if resp3:
        return mapping(*[part for pair in parts for part in pair])
    return array(*[array(*pair) for pair in parts])


def by_xread_parser(
    pieces: Iterable[bytes], names: Mapping[bytes, Any], maker: MessageFactory | None = None
) -> Outcome:
    """What XreadParser makes of replies."""
    parser = XreadParser(names, maker)
    return drain(parser.feed, parser.next_reply, pieces)


def by_whole_values(data: bytes, names: Mapping[bytes, Any], maker: MessageFactory) -> Outcome:
    """What the parser of values and `stream_replies_of` make of the same: slow, and simple."""
    parser = Parser()
    parser.feed(data)
    replies: list[Any] = []
    try:
        while (value := parser.next_value()) is not NEED_DATA:
            if value is None or isinstance(value, ServerError):
                replies.append(value)
            elif not isinstance(value, Push):
                replies.append(stream_replies_of(value, names, maker))
    except ProtocolError as error:
        return Outcome(replies, shown_at_once(str(error)))
    return Outcome(replies)
