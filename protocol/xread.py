"""XREAD replies: from their bytes to messages, ``(name, id, data)``.

An entry is ``[id, [field, value, ...]]``. Around the entries of each stream,
RESP2 has ``[[key, entries], ...]`` and RESP3 a map of keys to entries; either is
understood at any time, since servers were seen to mix them.

Source: https://redis.io/docs/latest/commands/xread/
"""

from __future__ import annotations

import re

from .buffer import excerpt
from .errors import ProtocolError
from .parser import Parser
from .values import NEED_DATA, Map, NeedData, Push, ServerError, pairs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import Any, TypeAlias

    from .values import Value

    Message: TypeAlias = tuple[Any, Any, Any]
    """``(name, id, data)``"""
    Block: TypeAlias = tuple[Any, list[Message]]
    """One stream's part of a reply: its name, and its messages in ID order."""
    Reply: TypeAlias = list[Block] | ServerError | None
    """What the server answers: entries, an error, or nil."""

_is_id = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}").fullmatch
_is_header = re.compile(rb"[*%](?:0|[1-9][0-9]{0,9})").fullmatch


class MessageMaker:
    """Makes messages of entries, in the form that the caller wants.

    Args:
        fields: What makes the data of an entry's ``(field, value)`` pairs.
        encoding: How IDs, fields and values are decoded; None leaves them bytes.
        errors: What to do with bytes that cannot be decoded, as in `bytes.decode`.
    """

    def __init__(
        self,
        fields: Callable[[Iterable[tuple[Any, Any]]], Any] = dict,
        encoding: str | None = None,
        errors: str = "strict",
    ) -> None:
        self.fields = fields
        self.encoding = encoding
        self.errors = errors

    def message(self, name: object, entry: Value) -> Message:
        """Make the message of one entry as the parser read it.

        Raises:
            ProtocolError: The value is no entry.
        """
        if type(entry) is not list or len(entry) != 2 or type(entry[1]) is not list:
            raise ProtocolError(f"{_show(entry)} in an XREAD reply, expected an entry")
        entry_id, items = entry
        if not isinstance(entry_id, bytes) or not _is_id(entry_id):
            raise ProtocolError(f"{_show(entry_id)} in an XREAD reply, expected an entry's ID")
        if len(items) % 2 or not set(map(type, items)) <= {bytes}:
            raise ProtocolError(f"{_show(items)} in an XREAD reply, expected fields and values")
        if self.encoding is None:
            return name, entry_id, self.fields(pairs_of(items))
        texts = [str(item, self.encoding, self.errors) for item in items]
        return name, entry_id.decode("ascii"), self.fields(pairs_of(texts))


class XreadParser:
    r"""An incremental parser of the replies to XREAD.

        >>> parser = XreadParser({b"s": "s"})
        >>> parser.feed(b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n")
        >>> parser.feed(b"*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n")
        >>> parser.next_reply()
        [('s', [('s', b'1-0', {b'a': b'b'})])]

    Args:
        names: For each key that may come in a reply, the name to put in messages.
            It is looked up each time, so it may be changed between two replies.
        maker: In which form messages are made.
        values: The parser of whole values that is used for what is no entries, if
            replies to other commands come over the same connection.
    """

    def __init__(
        self,
        names: Mapping[bytes, Any],
        maker: MessageMaker | None = None,
        values: Parser | None = None,
    ) -> None:
        self._names = names
        self._maker = maker or MessageMaker()
        self._values = values or Parser()
        self._buffer = self._values.buffer
        self._replies = self._read_replies()
        # Some of a reply was read, but not all.
        self._begun = False
        self._broken: ProtocolError | None = None

    def feed(self, data: bytes) -> None:
        """Take in received bytes, any number of them."""
        self._buffer.feed(data)

    def next_reply(self) -> Reply | NeedData:
        """Take out the next reply. Pushes and attributes are skipped.

        Returns:
            A list with each stream's ``(name, messages)``; None if there were no
            entries (nil); the error that the server answered with; or `NEED_DATA`.

        Raises:
            ProtocolError: What was fed is no reply to an XREAD.
        """
        if self._broken is not None:
            raise self._broken
        try:
            return next(self._replies)
        except ProtocolError as error:
            self._broken = error
            raise

    def expecting(self) -> str | None:
        """What is missing of a reply that has begun; None between two replies."""
        return self._values.expecting() or (
            "some streams of an XREAD reply, expected more" if self._begun else None
        )

    # Each method below that needs bytes is a generator: it yields NEED_DATA until
    # they are there, so that it reads from top to bottom as if they all were.

    def _read_replies(self) -> Generator[Reply | NeedData, None, None]:
        while True:
            while not (head := self._buffer.peek()):
                yield NEED_DATA
            if head in b"*%" and not self._values.is_within_value:
                yield (yield from self._read_blocks())
                continue
            value = yield from self._read_value()
            if value is None or isinstance(value, ServerError):
                yield value
            elif isinstance(value, list) and not isinstance(value, Push):
                yield blocks_of(value, self._names, self._maker)
            elif not isinstance(value, Push):
                raise ProtocolError(f"{_show(value)}, expected an XREAD reply")

    def _read_blocks(self) -> Generator[NeedData, None, list[Block] | None]:
        header = yield from self._read_line()
        if header == b"*-1":
            return None
        self._begun = True
        blocks = []
        for _ in range(_length(header)):
            if header[:1] == b"*" and (line := (yield from self._read_line())) != b"*2":
                raise ProtocolError(f"{excerpt(line)}, expected b'*2', a stream of an XREAD reply")
            name = _name_of((yield from self._read_value()), self._names)
            entries = yield from self._read_line()
            blocks.append((name, (yield from self._read_entries(name, _length(entries)))))
        self._begun = False
        return blocks or None

    def _read_entries(self, name: object, count: int) -> Generator[NeedData, None, list[Message]]:
        messages: list[Message] = []
        while len(messages) < count:
            messages.append(self._maker.message(name, (yield from self._read_value())))
        return messages

    def _read_line(self) -> Generator[NeedData, None, bytes]:
        while (line := self._buffer.line()) is None:
            yield NEED_DATA
        return line

    def _read_value(self) -> Generator[NeedData, None, Value]:
        while (value := self._values.next_value()) is NEED_DATA:
            yield NEED_DATA
        return value


def blocks_of(value: Value, names: Mapping[bytes, Any], maker: MessageMaker) -> list[Block] | None:
    """Make of an XREAD reply that was read as one value what `XreadParser` makes.

    Raises:
        ProtocolError: The value is no reply with entries.
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise ProtocolError(f"{_show(value)}, expected an XREAD reply")
    blocks = []
    for pair in value:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or type(pair[1]) is not list:
            raise ProtocolError(f"{_show(pair)}, expected a stream of an XREAD reply")
        name = _name_of(pair[0], names)
        blocks.append((name, [maker.message(name, entry) for entry in pair[1]]))
    return blocks or None


def _name_of(key: Value, names: Mapping[bytes, Any]) -> Any:
    if isinstance(key, bytes) and key in names:
        return names[key]
    raise ProtocolError(f"reply with {_show(key)}, expected one of the streams asked for")


def _length(header: bytes) -> int:
    if not _is_header(header):
        raise ProtocolError(f"{excerpt(header)}, expected the length of an XREAD reply's part")
    return int(header[1:])


def _show(value: object) -> str:
    """What to show in an error of a value that may be of any size and depth."""
    if isinstance(value, bytes):
        return excerpt(value)
    if isinstance(value, Map):
        return f"a map of {len(value)} pairs"
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    return f"{type(value).__name__} {value!r:.60}"
