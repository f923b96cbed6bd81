"""The RESP parser: bytes in, values out, every type of RESP2 and RESP3.

Fed with any pieces, down to single bytes, it works in time linear in what was
fed and keeps no more than that: a length that is announced takes no memory
before its bytes are there. It never recurses.

Specification: https://redis.io/docs/latest/develop/reference/protocol-spec/
and, for what streams of unknown length look like,
https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
"""

from __future__ import annotations

import re

from .buffer import Buffer, excerpt
from .errors import ProtocolError
from .values import NEED_DATA, Map, NeedData, Push, ServerError, Set, Typed, VerbatimString

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .values import Value

# The longest string, in bytes. Servers accept no longer one from their clients, unless
# configured otherwise (proto-max-bulk-len), so they hold none to send.
MAX_BULK = 512 * 1024 * 1024
# The most items of one value, those of the aggregates in it included, where an aggregate
# counts twice. An item takes more memory than its bytes on the wire: a string of two bytes
# takes 56 bytes instead of 8, an empty array 72 instead of 4, a nil 8 instead of 3. So the
# items of a value take some 120 MB at most, besides the bytes of its strings. Servers up to
# version 6 accept half as many items in one command, so their largest entry has no more.
MAX_ITEMS = 2**21
# An XREAD reply nests four deep, the deepest reply of any command about ten.
MAX_DEPTH = 64
# The most bytes of a push, or of an item's attributes: nobody has asked for them, and they
# are kept until they are whole. Servers send some hundred.
MAX_ASIDE = 1024 * 1024
# The most bytes of one value, its attributes and all lines included. Strings of a stream's
# entry have at most 1 GiB in all (Redis since 6.2.6), and a command that adds one was never
# longer unless configured otherwise (client-query-buffer-limit); the rest is for their lengths.
MAX_SIZE = 2**30 + 2**26
# The most digits that CPython converts by default (sys.int_info.default_max_str_digits).
MAX_DIGITS = 4300

# int() and float() take more than the wire allows: b"1_0", b" 5", b"infinity".
_is_length = re.compile(rb"0|[1-9][0-9]{0,18}").fullmatch
_is_integer = re.compile(rb"[+-]?(?:0|[1-9][0-9]*)").fullmatch
# Not compiled before there is one: no XREAD reply has any, and it is a part of the import's time.
_DOUBLE = rb"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|[+-]?inf"
# Before Redis 7.2 this was up to the C library: "-nan", "NAN", "nan(0x8000000000000)".
_NAN = rb"[+-]?(?:nan|NAN)(?:\([0-9A-Za-z_]*\))?"
# A word of an inline command, of which a part may be in quotes, and what ends it.
_WORD = (
    rb"([^ \n\r\t\"']*)(?:\"((?:\\.|[^\"\\])*)\"(?=\s|\Z)|'((?:\\'|(?!\\')[^'])*)'(?=\s|\Z))?"
    rb"(?![^\s])"
)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}

_UNKNOWN = -1
"""The length of what is streamed (``$?``, ``*?``) until its end comes."""

_OPENED = NeedData()
"""Instead of a value: an aggregate was opened, or a part of one was taken in."""


class _Aggregate:
    """An aggregate whose items are still coming in.

    Attributes:
        attributes: Those before the item that is coming in.
        is_aside: True if it is a push or an attribute, or within one.
        size: The bytes so far of a streamed string.
    """

    __slots__ = ("attributes", "is_aside", "items", "kind", "missing", "size")

    def __init__(self, kind: bytes, missing: int, outer: _Aggregate | None) -> None:
        self.kind = kind
        self.missing = missing
        self.items: list[Value] = []
        self.size = 0
        self.attributes: Map | None = None
        self.is_aside: bool = kind in b">|" or (outer is not None and outer.is_aside)

    def close(self, types: bool) -> Value:
        """Make the value, now that all items are there."""
        if not types or self.kind == b"|":
            return _CLOSE[self.kind](self.items)
        if self.kind == b"$":
            return Typed(b"$?", self.items)
        return Typed(self.kind + b"?" * (self.missing < 0), _CLOSE[self.kind](self.items))


_CLOSE: dict[bytes, Callable[[list[Value]], Value]] = {
    b"*": lambda items: items,
    b"%": Map.of_items,
    b"|": Map.of_items,
    b"~": Set,
    b">": Push,
    b"$": b"".join,
}


class Parser:
    r"""An incremental parser of RESP2 and RESP3.

        >>> parser = Parser()
        >>> parser.feed(b"*2\r\n$5\r\nhello\r\n:4")
        >>> parser.next_value()
        NEED_DATA
        >>> parser.feed(b"2\r\n")
        >>> parser.next_value()
        [b'hello', 42]

    Server errors are values (`ServerError`), pushes are values of their own
    (`Push`), and attributes are taken out: those before a value of the top level
    are at `attributes` while that value is the last one returned, those inside
    of a value are dropped unless `types` keeps them.

    Attributes:
        attributes: All attributes before the last value, as one `Map`; None if there are none.
        is_within_value: Whether some of a value was read, or of its attributes, but not all.

    Args:
        buffer: Where the bytes are, if another reader shares them.
        max_bulk: The longest string to accept, in bytes.
        max_depth: How deep aggregates may nest.
        max_items: The most items to accept in one value, where an aggregate counts twice.
        max_size: The most bytes to accept of one value, its attributes and lengths included.
        types: Whether values are `Typed`: they keep the type and the attributes that they
            have on the wire.
        requests: Whether to read what clients send: arrays of bulk strings, and inline
            commands, which become the same lists. Servers skip a command without words.
    """

    def __init__(
        self,
        buffer: Buffer | None = None,
        *,
        max_bulk: int = MAX_BULK,
        max_depth: int = MAX_DEPTH,
        max_items: int = MAX_ITEMS,
        max_size: int = MAX_SIZE,
        types: bool = False,
        requests: bool = False,
    ) -> None:
        self.attributes: Map | None = None
        self.is_within_value: bool = False
        self.buffer: Buffer = Buffer() if buffer is None else buffer
        self.max_size = max_size
        self._max_bulk = max_bulk
        self._max_depth = max_depth
        self._max_items = max_items
        self._types = types
        self._requests = requests
        # Number of the items and the bytes so far of the value that is coming in.
        self._items = 0
        self._size = 0
        # Number of the bytes of the push, or of the attributes of the next item.
        self._aside_size = 0
        # Number of the bytes taken last, which an error is about.
        self._taken = 0
        self._open: list[_Aggregate] = []
        # The type and the length of a string whose bytes are still coming in.
        self._body: tuple[bytes, int] | None = None
        self._coming_attributes: Map | None = None
        self._broken: ProtocolError | None = None

    @property
    def consumed(self) -> int:
        """Number of the bytes fed that were taken by values, read whole or begun."""
        return self.buffer.consumed

    @property
    def is_aside(self) -> bool:
        """True if that is a push, or an attribute before a value, so no part of a reply."""
        if not self._open:
            # An attribute was read, and what it is of has not come; or another is coming in.
            is_between = self.is_within_value and self._body is None
            return is_between and self.buffer.peek() in (b"", b">", b"|")
        return self._open[0].kind in b">|"

    def feed(self, data: bytes) -> None:
        """Take in received bytes, any number of them."""
        self.buffer.feed(data)

    def next_value(self) -> Value | NeedData:
        """Take out the next value.

        Returns:
            The value, or `NEED_DATA` if it is not all there. Of the types in
            `pystreamredis.protocol.values`.

        Raises:
            ProtocolError: What was fed is not RESP.
        """
        if self._broken is not None:
            raise self._broken
        try:
            while True:
                self._taken = 0
                value = self._element()
                if value is NEED_DATA:
                    begun = self._open or self._body or self._coming_attributes is not None
                    self.is_within_value = bool(begun)
                    return value
                if value is not _OPENED:
                    value = self._put(value)
                if value is not _OPENED:
                    self.is_within_value = False
                    self._items = self._size = self._aside_size = 0
                    self.attributes, self._coming_attributes = self._coming_attributes, None
                    if isinstance(value, Typed):
                        value.attributes = self.attributes
                    return value
        except ProtocolError as error:
            error.offset = self.buffer.consumed - self._taken
            self._broken = error
            raise

    def expecting(self) -> str | None:
        """Describe what a value that has begun lacks; None between two values.

        For the text of an error when the peer closes the connection, as in
        "12 bytes of a bulk string, expected 40".
        """
        if self._body is not None:
            size = self._body[1]
            return f"{len(self.buffer)} bytes of a bulk string, expected {size} and CRLF"
        if self._open:
            items = self._open[-1]
            expected = "an end" if items.missing < 0 else f"{items.missing} more"
            return f"{len(items.items)} items of an aggregate, expected {expected}"
        if len(self.buffer):
            return f"{len(self.buffer)} bytes of a value, expected a whole one"
        return None

    def _element(self) -> Value | NeedData:
        """Read one line, or the body of a string that a line has announced."""
        if self._body is None:
            if self._requests and not self._open and self.buffer.peek() not in (b"", b"*"):
                return self._read_inline()
            line = self.buffer.line()
            if line is None:
                if begun := self.buffer.data[self.buffer.pos :]:
                    self._check_type(begun)
                return NEED_DATA
            self._taken = len(line) + 2
            self._count_bytes(self._taken)
            kind, rest = line[:1], line[1:]
            if self._requests or (self._open and self._open[-1].kind == b"$"):
                self._check_type(line)
            if (read_scalar := _SCALAR.get(kind)) is not None:
                value = read_scalar(rest)
                return Typed(kind, value) if self._types else value
            if (read := _READ.get(kind)) is None:
                raise ProtocolError(f"line {excerpt(line)}, expected one of RESP's type bytes")
            value = read(self, kind, rest)
            if self._body is None:
                return value
        kind, size = self._body
        self._taken = 2
        block = self.buffer.block(size)
        if block is None:
            return NEED_DATA
        self._taken += size
        self._body = None
        value = _STRING[kind](block)
        return Typed(kind, value) if self._types and kind != b";" else value

    def _check_type(self, line: bytes) -> None:
        """Check the type byte of a line, of which not all need have come."""
        kind = line[:1]
        if self._open and self._open[-1].kind == b"$" and kind != b";":
            raise ProtocolError(f"{excerpt(line)} within a streamed string, expected ';'")
        if self._requests:
            expected = b"$" if self._open else b"*"
            refused = b"?-" if self._open else b"?"
            if kind != expected or (line[1:] and line[1:2] in refused):
                raise ProtocolError(f"{excerpt(line)} in a command, expected bulk strings")
        if kind not in _SCALAR and kind not in _READ:
            raise ProtocolError(f"line {excerpt(line)}, expected one of RESP's type bytes")

    def _read_inline(self) -> Value | NeedData:
        line = self.buffer.line(may_end_in_lf=True)
        if line is None:
            return NEED_DATA
        self._taken = len(line) + 2
        words = _words_of(line)
        return Typed(b"*", [Typed(b"$", word) for word in words]) if self._types else words

    def _count_bytes(self, size: int) -> None:
        """Count bytes of a value, and of the push or the attribute that they belong to."""
        self._size += size
        if self._size > self.max_size:
            raise ProtocolError(
                f"value of {self._size} bytes or more, expected at most {self.max_size}"
            )
        if self._open and self._open[-1].is_aside:
            self._aside_size += size
            if self._aside_size > MAX_ASIDE:
                raise ProtocolError(
                    f"push or attributes of {self._aside_size} bytes, expected at most {MAX_ASIDE}"
                )

    def _count_item(self) -> None:
        self._items += 1
        if self._items > self._max_items:
            raise ProtocolError(f"value of more than {self._max_items} items, expected fewer")

    def _put(self, value: Value) -> Value | NeedData:
        """Put a whole value where it belongs; return it if that is the top level."""
        while self._open:
            aggregate = self._open[-1]
            if value is not _OPENED:
                self._count_item()
                if aggregate.attributes is not None:
                    if self._types:
                        value.attributes = aggregate.attributes
                    aggregate.attributes = None
                aggregate.items.append(value)
                if not aggregate.is_aside:
                    self._aside_size = 0
                aggregate.missing -= aggregate.missing > 0
            if aggregate.missing:
                return _OPENED
            value = self._close()
        return value

    def _close(self) -> Value | NeedData:
        """Close the innermost aggregate; an attribute counts as no value."""
        aggregate = self._open.pop()
        value = aggregate.close(self._types)
        if aggregate.kind != b"|":
            return value
        if not self._open:
            self._coming_attributes = _joined(self._coming_attributes, value)
        else:
            self._open[-1].attributes = _joined(self._open[-1].attributes, value)
        return _OPENED

    # One method for each family of types that have more than their line: the type
    # byte and the rest of its line in; a value or _OPENED out.

    def _read_bulk(self, kind: bytes, rest: bytes) -> Value:
        if rest == b"-1" and kind == b"$":
            return Typed(kind, None) if self._types else None
        if rest == b"?" and kind == b"$":
            return self._open_aggregate(kind, _UNKNOWN)
        size = _length(kind, rest)
        if size > self._max_bulk:
            raise ProtocolError(f"string of {size} bytes, expected at most {self._max_bulk}")
        self._count_bytes(size + 2)
        self._body = kind, size
        return _OPENED

    def _read_chunk(self, kind: bytes, rest: bytes) -> Value:
        if not self._open or self._open[-1].kind != b"$":
            raise ProtocolError("part of a streamed string outside of one, expected a value")
        if rest == b"0":
            return self._close()
        string = self._open[-1]
        string.size += _length(kind, rest)
        if string.size > self._max_bulk:
            raise ProtocolError(
                f"streamed string of {string.size} bytes, expected at most {self._max_bulk}"
            )
        return self._read_bulk(kind, rest)

    def _read_aggregate(self, kind: bytes, rest: bytes) -> Value:
        if rest == b"-1" and kind == b"*":
            value: Value = [] if self._requests else None
            return Typed(kind, value) if self._types else value
        if rest == b"?" and kind in b"*%~":
            return self._open_aggregate(kind, _UNKNOWN)
        length = _length(kind, rest)
        return self._open_aggregate(kind, 2 * length if kind in b"%|" else length)

    def _read_end(self, _: bytes, rest: bytes) -> Value:
        if rest or not self._open or self._open[-1].missing >= 0:
            raise ProtocolError("end of a streamed aggregate, expected none here")
        aggregate = self._open[-1]
        if aggregate.kind == b"%" and len(aggregate.items) % 2:
            raise ProtocolError("end of a streamed map after a key, expected its value")
        if aggregate.attributes is not None:
            raise ProtocolError("end of a streamed aggregate after an attribute, expected a value")
        return self._close()

    def _open_aggregate(self, kind: bytes, missing: int) -> Value:
        if len(self._open) >= self._max_depth:
            raise ProtocolError(
                f"aggregates nested {len(self._open) + 1} deep, expected at most {self._max_depth}"
            )
        if kind == b">" and self._open:
            raise ProtocolError("push within a value, expected it between two")
        self._count_item()
        if missing > self._max_items - self._items:
            raise ProtocolError(
                f"aggregate of {missing} items, expected at most {self._max_items} in a value"
            )
        self._open.append(_Aggregate(kind, missing, self._open[-1] if self._open else None))
        return _OPENED if missing else self._close()


def _joined(first: Map | None, second: Map) -> Map:
    if first is None:
        return second
    first += second
    return first


def _simple(text: bytes) -> bytes:
    if b"\r" in text:
        raise ProtocolError(f"CR within the line {excerpt(text)}, expected it at the end only")
    return text


def _error(text: bytes) -> ServerError:
    return ServerError(text.decode("utf-8", "surrogateescape"))


def _integer(text: bytes) -> int:
    if not _is_integer(text) or len(text) > 20:
        raise ProtocolError(f"{excerpt(text)}, expected an integer of 64 bits")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ProtocolError(f"{value}, expected an integer of 64 bits")
    return value


def _big_number(text: bytes) -> int:
    if not _is_integer(text):
        raise ProtocolError(f"{excerpt(text)}, expected a big number")
    digits = len(text.lstrip(b"+-"))
    if digits > MAX_DIGITS:
        raise ProtocolError(f"big number of {digits} digits, expected at most {MAX_DIGITS}")
    try:
        return int(text)
    except ValueError as error:  # the program has lowered the limit
        raise ProtocolError(f"big number of {digits} digits: {error}") from None


def _double(text: bytes) -> float:
    if re.fullmatch(_NAN, text):
        return float("nan")
    if not re.fullmatch(_DOUBLE, text):
        raise ProtocolError(f"{excerpt(text)}, expected a double")
    return float(text)


def _boolean(text: bytes) -> bool:
    if text not in (b"t", b"f"):
        raise ProtocolError(f"{excerpt(text)}, expected the boolean 't' or 'f'")
    return text == b"t"


def _null(text: bytes) -> None:
    if text:
        raise ProtocolError(f"{excerpt(text)} after a null, expected nothing")


def _verbatim(block: bytes) -> VerbatimString:
    if block[3:4] != b":":
        raise ProtocolError(f"{excerpt(block)}, expected a verbatim string as in 'txt:text'")
    return VerbatimString(block[4:], block[:3].decode("latin-1"))


def _words_of(line: bytes) -> list[bytes]:
    """Split an inline command as servers do (sdssplitargs() in sds.c of Redis)."""
    line = line.partition(b"\0")[0]
    words = []
    while line := line.lstrip():
        if (found := re.match(_WORD, line, re.DOTALL)) is None:
            raise ProtocolError(f"{excerpt(line)} in an inline command, expected balanced quotes")
        plain, double, single = found.groups(default=b"")
        words.append(
            plain
            + re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", _unescape, double, flags=re.DOTALL)
            + single.replace(b"\\'", b"'")
        )
        line = line[found.end() :]
    return words


def _unescape(found: re.Match[bytes]) -> bytes:
    escaped = found[1]
    if len(escaped) > 1:
        return bytes([int(escaped[1:], 16)])
    return _ESCAPES.get(escaped, escaped)


def _length(kind: bytes, rest: bytes) -> int:
    if not _is_length(rest):
        raise ProtocolError(f"{excerpt(kind + rest)}, expected a length")
    return int(rest)


# Types that are one line: what makes the value of the rest of it.
_SCALAR: dict[bytes, Callable[[bytes], Value]] = {
    b"+": _simple,
    b"-": lambda text: _error(_simple(text)),
    b":": _integer,
    b"(": _big_number,
    b",": _double,
    b"#": _boolean,
    b"_": _null,
}

# Types that are a line with a length and as many bytes: what makes the value of these.
_STRING: dict[bytes, Callable[[bytes], Value]] = {
    b"$": bytes,
    b";": bytes,
    b"!": _error,
    b"=": _verbatim,
}

_READ: dict[bytes, Callable[[Parser, bytes, bytes], Value]] = {
    b"$": Parser._read_bulk,
    b"!": Parser._read_bulk,
    b"=": Parser._read_bulk,
    b";": Parser._read_chunk,
    b"*": Parser._read_aggregate,
    b"%": Parser._read_aggregate,
    b"~": Parser._read_aggregate,
    b"|": Parser._read_aggregate,
    b">": Parser._read_aggregate,
    b".": Parser._read_end,
}
