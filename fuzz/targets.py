# ruff: noqa: S101  # an invariant is an assert
"""The targets: each states one invariant of its own and raises AssertionError if it does not hold.

They take any bytes and need no fuzzer: what is to be shaped is shaped by `Shaper` here.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from pystreamredis.core.slots import SLOTS, moved_to, slot_of
from pystreamredis.options import CONNECTION
from pystreamredis.protocol import (
    NEED_DATA,
    Map,
    MessageFactory,
    Parser,
    ProtocolError,
    Push,
    ServerError,
    Set,
    XreadParser,
    encode,
    encode_command,
    stream_replies_of,
)
from pystreamredis.protocol.ids import number_of, parse_start
from pystreamredis.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    Target = Callable[[bytes], None]

NAMES = {b"a": "a", b"b": "b", b"": ""}


class Shaper:
    """Takes choices out of bytes; when they are used up, each choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """Choose one of the numbers from 0 on."""
        size = 1 if below <= 256 else 4
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "little") % below

    def string(self) -> bytes:
        """Choose a string: up to 40 of the bytes that come next, or something that deceives."""
        choice = self.number(60)
        if choice > 40:
            return DECEITS[choice % len(DECEITS)]
        taken = self._data[self._at : self._at + choice]
        self._at += choice
        return taken

    def rest(self) -> bytes:
        """All that was not used."""
        return self._data[self._at :]


DECEITS = [
    b"\r\n",
    b"\r",
    b"\n",
    b"$1\r\n",
    b"\r\n*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv",
    b"*2\r\n$1\r\nb\r\n*1\r\n",
    b"-ERR no error\r\n",
    "é".encode(),
    b"\xff",
]


def outcome(feed: Callable[[bytes], None], take: Callable[[], Any], pieces: list[bytes]) -> Any:
    """Return the values that a parser makes of pieces, and whether it raised its error."""
    values: list[str] = []
    try:
        for piece in pieces:
            feed(piece)
            while (value := take()) is not NEED_DATA:
                values.append(repr(value))  # by type and in full: 1 is 1.0, nan is not nan
                assert len(values) <= 1 + sum(map(len, pieces)), "values out of nothing"
    except ProtocolError:
        return values, True
    return values, False


def pieces_of(data: bytes, sizes: Shaper) -> list[bytes]:
    """Cut bytes into pieces of any size."""
    pieces = []
    at = 0
    while at < len(data):
        size = 1 + sizes.number(9)
        pieces.append(data[at : at + size])
        at += size
    return pieces


# The parser.


def any_bytes_are_values_or_need_data_or_a_protocol_error(data: bytes) -> None:
    """And after an error there is the same one again."""
    parser = Parser()
    values, is_broken = outcome(parser.feed, parser.next_value, [data])
    assert len(values) <= len(data)
    for _ in range(2):
        try:
            assert parser.next_value() is NEED_DATA
        except ProtocolError:
            assert is_broken


def values_are_the_same_in_any_pieces(data: bytes) -> None:
    """The first byte says how large the pieces are."""
    whole, cut = Parser(), Parser()
    sizes = Shaper(data[:8] * (1 + len(data)))
    assert outcome(whole.feed, whole.next_value, [data]) == outcome(
        cut.feed, cut.next_value, pieces_of(data, sizes)
    )


def resp2_is_read_as_in_the_plainest_way(data: bytes) -> None:
    """Each byte that comes is another choice of a piece of RESP2, some of them wrong."""
    wire = b"".join(_PIECES[byte % len(_PIECES)] for byte in data[:300])
    parser = Parser()
    values, is_broken = outcome(parser.feed, parser.next_value, [wire])
    assert (values, is_broken) == _naively(wire)


_PIECES = [
    *(b"*%d\r\n" % size for size in range(4)),
    *(b"$%d\r\n" % size for size in range(4)),
    *(b"a", b"\r\n", b"abc", b"$3\r\nabc\r\n", b":7\r\n", b":-7\r\n", b"+OK\r\n"),
    *(b"*-1\r\n", b"$-1\r\n", b"$-2\r\n", b"*", b"$", b"\n", b"$03\r\n", b":x\r\n", b"\r"),
]


def encoded_values_are_read_back(data: bytes) -> None:
    """Values of all types that `Parser` returns."""
    shaper = Shaper(data)
    values = [_value(shaper, 4) for _ in range(1 + shaper.number(3))]
    parser = Parser()
    parser.feed(b"".join(map(encode, values)))
    for value in values:
        assert repr(parser.next_value()) == repr(value)
    assert parser.next_value() is NEED_DATA
    assert parser.expecting() is None


def _value(shaper: Shaper, depth: int) -> Any:
    kind = shaper.number(9 if depth else 6)
    if kind == 0:
        return shaper.string()
    if kind == 1:
        return shaper.number(2**32) - 2**31
    if kind == 2:
        return None
    if kind == 3:
        return bool(shaper.number(2))
    if kind == 4:
        return shaper.number(2**32) / (1 + shaper.number(1000))
    if kind == 5:
        return ServerError(f"ERR {shaper.number(1000)}")
    items = [_value(shaper, depth - 1) for _ in range(shaper.number(5))]
    if kind == 6:
        return items
    return Set(items) if kind == 7 else Map(enumerate(items))


def types_and_attributes_are_kept(data: bytes) -> None:
    """Encode values that were read with their types, and read the same again."""
    parser = Parser(types=True)
    values, _ = outcome(parser.feed, parser.next_value, [data])
    parser, again = Parser(types=True), Parser(types=True)
    parser.feed(data)
    for value in values:
        wire = encode(parser.next_value())
        again.feed(wire)
        assert repr(again.next_value()) == value
        assert again.next_value() is NEED_DATA


def requests_are_the_same_in_any_pieces(data: bytes) -> None:
    """Inline commands and arrays; and each is a command again."""
    whole, cut, again = (Parser(requests=True) for _ in range(3))
    sizes = Shaper(data[:8] * (1 + len(data)))
    found = outcome(whole.feed, whole.next_value, [data])
    assert found == outcome(cut.feed, cut.next_value, pieces_of(data, sizes))
    commands = [ast.literal_eval(command) for command in found[0]]
    again.feed(b"".join(encode_command(*words) for words in commands))
    assert [again.next_value() for _ in commands] == commands


# The parser of XREAD replies.


def xread_replies_are_read_as_by_the_simple_way(data: bytes) -> None:
    """Whatever they hold, and in whichever form messages are made."""
    shaper = Shaper(data[:2])
    maker = _maker(shaper.number(3))
    replies = XreadParser(NAMES, maker)
    fast = outcome(replies.feed, replies.next_reply, [data[2:]])
    _compare(replies, fast, data[2:], maker)


def xread_replies_are_the_same_in_any_pieces(data: bytes) -> None:
    """Also with predictions between the pieces, which must change nothing."""
    whole, cut = XreadParser(NAMES), XreadParser(NAMES)
    sizes = Shaper(data[:8] * (1 + len(data)))

    def feed(piece: bytes) -> None:
        cut.feed(piece)
        for keys in ([b"a"], [b"a", b"b"]):
            predicted = cut.predict_last_ids(keys, 1 + len(data) % 3)
            assert predicted is None or len(predicted) == len(keys), "other streams than asked for"

    found = outcome(feed, cut.next_reply, pieces_of(data, sizes))
    _agree(whole, outcome(whole.feed, whole.next_reply, [data]), cut, found)


def xread_replies_of_many_entries_are_read_as_by_the_simple_way(data: bytes) -> None:
    """Many alike, so that patterns are learnt; values imitate structure; a byte may be spoilt."""
    shaper = Shaper(data)
    maker = _maker(shaper.number(3))
    wire = bytearray(b"".join(_reply(shaper) for _ in range(2)))
    if shaper.number(4) == 0 and wire:
        wire[shaper.number(2**24) % len(wire)] = shaper.number(256)
    replies = XreadParser(NAMES, maker)
    cut = shaper.number(2**24) % (len(wire) + 1)
    fast = outcome(replies.feed, replies.next_reply, [bytes(wire[:cut]), bytes(wire[cut:])])
    _compare(replies, fast, bytes(wire), maker)


def _maker(kind: int) -> MessageFactory:
    if kind == 0:
        return MessageFactory()
    return MessageFactory(list if kind == 1 else dict, "utf-8", "surrogateescape")


def _reply(shaper: Shaper) -> bytes:
    """A reply with up to 150 entries, which differ from each other now and then."""
    shapes = [[shaper.string() for _ in range(2 * shaper.number(4))] for _ in range(3)]
    varies, forges = shaper.number(3), 20 + shaper.number(200)
    entries: list[Any] = []
    for i in range(shaper.number(150)):
        items = list(shapes[shaper.number(3) if i % 16 == 0 else 0])
        if items and varies:
            # So many lengths that they are compared afterwards, not listed in a pattern.
            items[-1] = b"v" * (i * varies % 90)
        if items and i % 64 == 5:
            items[shaper.number(len(items))] = shaper.string()
        if items and i == forges:
            # It looks like the end of this entry and another one.
            items[-1] = b"v\r\n" + encode([b"%d-%d" % (1 + i // 3, 7), items])[:-2]
        entries.append([b"%d-%d" % (1 + i // 3, i % 3), items])
    half = len(entries) // 2
    return encode([[b"a", entries[:half]], [b"b", entries[half:]]])


def _naively(data: bytes) -> tuple[list[str], bool]:
    """Read RESP2 in the plainest way: what the values are, and whether something else comes."""
    values: list[str] = []
    at = 0
    try:
        while True:
            value, at = _one_naively(data, at, 1)
            values.append(repr(value))
    except EOFError:
        return values, False
    except ValueError:
        return values, True


def _line_naively(data: bytes, at: int) -> tuple[bytes, bytes, int]:
    if data[at : at + 1] in (b"a", b"\r"):
        raise ValueError("no type")
    end = data.find(b"\n", at)
    if end < 0:
        raise EOFError
    if data[end - 1 : end] != b"\r" or b"\r" in data[at : end - 1]:
        raise ValueError("no line")
    return data[at : at + 1], data[at + 1 : end - 1], end + 1


def _one_naively(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind, text, at = _line_naively(data, at)
    if kind == b"+":
        return text, at
    if kind == b":":
        return int(text), at
    if text == b"-1":
        return None, at
    if str(int(text)).encode() != text or int(text) < 0:
        raise ValueError("no length")
    if kind == b"$":
        return _bulk_naively(data, at, at + int(text))
    if depth > 64:
        raise ValueError("too deep")
    items = []
    for _ in range(int(text)):
        item, at = _one_naively(data, at, depth + 1)
        items.append(item)
    return items, at


def _bulk_naively(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    if len(data) < end + 2:
        raise EOFError
    if data[end : end + 2] != b"\r\n":
        raise ValueError("no end")
    return data[at:end], end + 2


def _agree(
    one: Parser | XreadParser,
    of_one: tuple[list[str], bool],
    other: Parser | XreadParser,
    of_other: tuple[list[str], bool],
) -> None:
    """Compare outcomes; what is wrong may be refused on sight, or once it is whole."""
    assert of_one[0] == of_other[0]
    if of_one[1] != of_other[1]:
        assert (other if of_one[1] else one).expecting(), "refused what is good"


def _compare(
    replies: XreadParser, fast: tuple[list[str], bool], data: bytes, maker: MessageFactory
) -> None:
    """Compare with what whole values, and then messages of them, give."""
    parser = Parser()
    parser.feed(data)

    def take() -> Any:
        while isinstance(value := parser.next_value(), Push):
            pass
        if value is NEED_DATA or value is None or isinstance(value, ServerError):
            return value
        return stream_replies_of(value, NAMES, maker)

    values, is_broken = outcome(lambda _: None, take, [data])
    if fast[1]:
        # The rest after the refused reply was not read.
        values = values[: len(fast[0])]
    _agree(replies, fast, parser, (values, is_broken))


def any_error_is_a_place_in_a_cluster_or_none(data: bytes) -> None:
    """And any key is in one slot."""
    assert 0 <= slot_of(data) < SLOTS
    place = moved_to(ServerError(data.decode("utf-8", "surrogateescape")), "here")
    if place is None:
        return
    slot, host, port = place
    assert 0 <= slot < SLOTS
    assert 0 < port < 65536
    assert host, "there is no such host"


# Arguments of callers.


def any_text_is_a_start_or_a_value_error(data: bytes) -> None:
    """And a start is an ID of two numbers with 64 bits."""
    try:
        entry_id = parse_start(data.decode("utf-8", "replace"))
    except ValueError:
        return
    assert 0 <= number_of(entry_id) < 2**128
    assert parse_start(entry_id.decode()) == entry_id


def any_url_is_options_or_a_value_error(data: bytes) -> None:
    """And no error tells the password."""
    text = data.decode("utf-8", "replace")
    url = f"redis://user:hunter2-{len(text)}@{text}" if len(data) % 2 else text
    try:
        options = parse_url(url)
    except ValueError as error:
        text = str(error)
    else:
        assert options.keys() <= CONNECTION.keys()
        return
    assert "hunter2" not in text, "the password is in the error"


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        any_bytes_are_values_or_need_data_or_a_protocol_error,
        values_are_the_same_in_any_pieces,
        resp2_is_read_as_in_the_plainest_way,
        encoded_values_are_read_back,
        types_and_attributes_are_kept,
        requests_are_the_same_in_any_pieces,
        xread_replies_are_read_as_by_the_simple_way,
        xread_replies_are_the_same_in_any_pieces,
        xread_replies_of_many_entries_are_read_as_by_the_simple_way,
        any_error_is_a_place_in_a_cluster_or_none,
        any_text_is_a_start_or_a_value_error,
        any_url_is_options_or_a_value_error,
    )
}
