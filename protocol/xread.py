"""XREAD replies: from their bytes to messages, ``(name, id, data)``.

An entry is ``[id, [field, value, ...]]``. Around the entries of each stream,
RESP2 has ``[[key, entries], ...]`` and RESP3 a map of keys to entries; either is
understood at any time, since servers were seen to mix them.

Source: https://redis.io/docs/latest/commands/xread/
"""

from __future__ import annotations

import re
from operator import mul

from .buffer import excerpt
from .entries import MAX_ENTRY, MAX_WINDOW, Pace, RunReader, slice_strings
from .errors import ProtocolError
from .ids import is_id
from .messages import MessageFactory, check_order, entry_of, name_of, show, stream_replies_of
from .parser import MAX_ITEMS, Parser
from .patterns import Patterns
from .predict import predict_last_ids
from .values import NEED_DATA, NeedData, Push, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any, TypeAlias

    from .messages import Message, StreamReply
    from .values import Value

    Reply: TypeAlias = list[StreamReply] | ServerError | None
    """An answer of the server: entries, an error, or nil."""

# The fewest entries for which a stream's pace is kept.
_MIN_RUN = 4

# The head of a stream's entries: its key, and how many they are. Before the first of all
# stands the header of the reply, which is told from a pair by what follows it.
_find_head = re.compile(
    rb"(?:(%|\*(?=[0-9]+\r\n\*))([1-9][0-9]{0,9})\r\n)?"
    rb"(\*2\r\n)?\$(0|[1-9][0-9]{0,9})\r\n([^\r]*)\r\n\*(0|[1-9][0-9]{0,9})\r\n"
).match
# A reply up to the strings of its only entry, whose ID has few enough digits for 64 bits.
_match_lone = re.compile(
    rb"(?:\*1\r\n\*2|%1)\r\n\$(0|[1-9][0-9]{0,8})\r\n([^\r]*)\r\n\*1\r\n"
    rb"\*2\r\n\$([1-9][0-9]?)\r\n([0-9]{1,19}-[0-9]{1,19})\r\n\*(0|[1-9][0-9]{0,4})\r\n"
).match
# An entry up to its strings, and the fewest bytes of it.
_match_entry = re.compile(
    rb"\*2\r\n\$([1-9][0-9]?)\r\n([0-9]{1,20}-[0-9]{1,20})\r\n\*(0|[1-9][0-9]{0,6})\r\n"
).match
_HEAD = len(b"*2\r\n$3\r\n0-1\r\n*0\r\n")
_is_header = re.compile(rb"[*%](?:0|[1-9][0-9]{0,9})").fullmatch


class EntryParser:
    """Reads one entry after the other, in any pieces.

    Attributes:
        is_within: Whether some of an entry was read, but not all.
        start: The number of bytes consumed before it, or before the last one.
    """

    def __init__(self, values: Parser) -> None:
        self._values = values
        self._buffer = values.buffer
        self.is_within: bool = False
        self.start: int = 0
        # The entry that is coming in: its ID, its strings so far, and how many more there
        # are; -1 if the parser of values reads it.
        self._id = b""
        self._items: list[bytes] = []
        self._missing = 0

    def read(self) -> tuple[bytes, list[bytes]] | None:
        """Read an entry with care; None until all of it is there.

        Raises:
            ProtocolError: It is not an entry.
        """
        if not self.is_within and not self._begin():
            return None
        if self._missing < 0:
            value = self._values.next_value()
            if value is NEED_DATA:
                return None
            self.is_within = False
            return entry_of(value)
        if not self._read_strings():
            return None
        self.is_within = False
        return self._id, self._items

    def _begin(self) -> bool:
        """Read the head of an entry, if it looks as servers send it; False if nothing is there."""
        buffer = self._buffer
        found = _match_entry(buffer.data, buffer.pos)
        if found is None:
            if not buffer.peek(_HEAD):
                return False
            found = _match_entry(buffer.data, buffer.pos)
        self.start = buffer.consumed
        self._missing = -1
        if found is not None:
            entry_id, length = found[2], int(found[3])
            if int(found[1]) == len(entry_id) and is_id(entry_id) and not length % 2:
                buffer.pos = found.end()
                self._id, self._items, self._missing = entry_id, [], length
        self.is_within = True
        return True

    def _read_strings(self) -> bool:
        buffer, items, values = self._buffer, self._items, self._values
        while self._missing:
            if len(buffer.data) - buffer.pos > 5 and not values.is_within_value:
                strings, buffer.pos = slice_strings(buffer.data, buffer.pos, self._missing)
                items += strings
                self._missing -= len(strings)
            if self._missing:
                # Not all there, or seldom: the parser of values knows what to do, or to raise.
                value = values.next_value()
                if value is NEED_DATA:
                    return False
                if type(value) is not bytes:
                    raise ProtocolError(
                        f"{show(value)} in an XREAD reply, expected fields and values"
                    )
                items.append(value)
                self._missing -= 1
            size = buffer.consumed - self.start
            if size > values.max_size:
                raise ProtocolError(
                    f"entry of {size} bytes or more, expected at most {values.max_size}"
                )
        return True


class XreadParser:
    r"""An incremental parser of the replies to XREAD.

        >>> parser = XreadParser({b"s": "s"})
        >>> parser.feed(b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n")
        >>> parser.feed(b"*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n")
        >>> parser.next_reply()
        [('s', [('s', b'1-0', {b'a': b'b'})])]

    A message that cannot be made, since `fields` raises or the decoding fails, has
    `Unmade` as its data, and is in `unmade` as well.

    Attributes:
        max_entries: The bound on the entries of a stream in the next reply; it may be
            changed between two replies.
        unmade: Messages that could not be made, in the order read, until the caller clears
            the list.

    Args:
        names: For each key that may come in a reply, the name to put in messages.
            It is looked up each time, so it may be changed between two replies.
        factory: In which form messages are made.
        max_entries: The largest number of entries of a stream in a reply, which is the
            COUNT that the reply was asked with; None for any number.
        values: The parser of whole values that is used for what is not entries, if
            replies to other commands come over the same connection. Its limits hold for
            each entry.
    """

    def __init__(
        self,
        names: Mapping[bytes, Any],
        factory: MessageFactory | None = None,
        max_entries: int | None = None,
        values: Parser | None = None,
    ) -> None:
        self._names = names
        self.max_entries = max_entries
        self._factory = factory or MessageFactory()
        self._values = values or Parser()
        self._buffer = self._values.buffer
        self._paces: dict[Any, Pace] = {}
        self._pace: Pace | None = None
        self._patterns = Patterns(self._factory)
        self._entry = EntryParser(self._values)
        self._runs = RunReader(self._buffer, self._factory)
        self.unmade: list[Message] = self._runs.unmade
        # The part of an incomplete reply that was read: its streams, of the last one maybe
        # not all entries, and the rest of the head of the next one.
        self._replies: list[StreamReply] | None = None
        self._head: Generator[bool, None, None] | None = None
        # The first byte of that reply, and how many entries the last stream has in it.
        self._kind = b""
        self._streams = 0
        self._count = 0
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
            ProtocolError: What was fed is not a reply to XREAD. Every later call raises
                the same error again.
        """
        if self._broken is not None:
            raise self._broken
        try:
            return self._read_reply()
        except ProtocolError as error:
            if error.offset is None:
                error.offset = self._buffer.consumed
            self._broken = error
            raise

    def read_lone(self, data: bytes) -> Message | None:
        """Read a reply that is one entry, as most replies of a live stream are.

        The data need not be fed: it is all of the reply, and nothing else.

        Returns:
            The message; None where the data is anything else, or only a part of what was fed
            before was taken. Then it has to be fed.
        """
        if self._replies is not None or self._values.is_within_value or self._buffer.data:
            return None
        found = _match_lone(data)
        if found is None or self._broken is not None:
            return None
        key_size, key, id_size, entry_id, number = found.groups()
        length = int(number)
        if int(key_size) != len(key) or int(id_size) != len(entry_id) or length % 2:
            return None
        items, end = slice_strings(data, found.end(), length)
        if len(items) < length or end != len(data) or key not in self._names:
            return None
        if end > self._values.max_size:
            return None
        return self._factory.make_safely(self._names[key], entry_id, items, self.unmade)

    def take_partial(self) -> list[StreamReply]:
        """Take the whole entries of a reply that has broken off.

        After that the parser is of no more use.

        Returns:
            The streams in reply order, the last one maybe with fewer entries than were
            announced; empty if no reply is under way, and after a `ProtocolError`.
        """
        reply: Any = None
        if self._broken is None:
            try:
                reply = self.next_reply()
            except ProtocolError:
                pass  # which is kept in `_broken`
        if self._broken is not None:
            return []
        if isinstance(reply, list):
            return reply
        replies = self._replies or []
        self._broken = ProtocolError("reply taken in part, expected no more calls")
        return [(name, messages) for name, messages in replies if messages]

    @property
    def consumed(self) -> int:
        """Number of the bytes fed that were taken by replies, read whole or begun."""
        return self._buffer.consumed

    @property
    def is_within_reply(self) -> bool:
        """True if some of a reply has come, but not all. Pushes and attributes are none."""
        if self._replies is not None or self._values.is_within_value:
            return not self._values.is_aside
        return self._buffer.peek() not in (b"", b">", b"|")

    def expecting(self) -> str | None:
        """Description of what a reply that has begun lacks; None between two replies."""
        return self._values.expecting() or (
            None if self._replies is None else "some of an XREAD reply, expected all of it"
        )

    def predict_last_ids(self, keys: Sequence[bytes], count: int) -> list[bytes] | None:
        """Predict the last IDs of the reply that is coming in, without reading it.

        With them the next XREAD can be sent before the time to read is spent. The
        prediction can be wrong, since part of a value can look like an entry: compare
        it with the reply.

        Args:
            keys: The streams that were asked for.
            count: The number of entries asked for of each.

        Returns:
            Each stream's last ID in the reply; None as long as the streams do not all
            seem to have `count` entries there, and where entries are large.
        """
        begun = self._replies or []
        names = [self._names.get(key) for key in keys]
        if not names or [name for name, _ in begun] != names[: len(begun)]:
            return None
        numbers = [len(messages) for _, messages in begun]
        if begun and (self._count != count or any(number != count for number in numbers[:-1])):
            return None
        sizes = [self._entry_size(name) for name in names]
        coming = sizes[len(begun) :]
        expected = sum(sizes) * count - sum(map(mul, sizes, numbers))
        # Each piece that comes is not worth a search, and large entries are not either.
        buffer, largest = self._buffer, MAX_ENTRY * count * (len(coming) + 1)
        if not expected * 3 // 4 <= len(buffer) <= largest:
            return None
        buffer.join()
        left = count - numbers[-1] if numbers else 0
        ends = predict_last_ids(buffer.data, buffer.pos, keys[len(begun) :], coming, count, left)
        if ends is None:
            return None
        read = [_last_id_of(messages) for _, messages in begun]
        if read:
            # The bytes begin with the rest of the stream that was read last.
            read[-1] = ends[0] or read[-1]
        predicted = read + ends[1:]
        return predicted if all(predicted) else None

    def _entry_size(self, name: Any) -> int:
        """Return about how many bytes an entry of a stream takes; 0 if that is not known."""
        pace = self._paces.get(name)
        return 0 if pace is None else pace.entry_size

    # Each of these goes on where the last call ended for want of bytes.

    def _read_reply(self) -> Reply | NeedData:
        while self._replies is None:
            if self._values.is_within_value or not (self._slice_head() or self._begin()):
                value = self._values.next_value()
                if value is None or value is NEED_DATA or isinstance(value, ServerError):
                    return value
                if not isinstance(value, list):
                    raise ProtocolError(f"{show(value)}, expected an XREAD reply")
                if not isinstance(value, Push):
                    return self._take_whole(value)
        if not self._read_replies(self._replies):
            return NEED_DATA
        replies, self._replies = self._replies, None
        return replies or None

    def _slice_head(self) -> bool:
        """Read a stream's head, and the reply's before it, if all is as servers send it."""
        found = _find_head(self._buffer.data, self._buffer.pos)
        if found is None:
            return False
        header, streams, pair, size, key, count = found.groups()
        kind = header or self._kind
        if (header is None) is (self._replies is None) or (pair is None) is (kind == b"*"):
            return False
        if int(size) != len(key):
            return False
        replies = self._replies
        if replies is None:
            replies = self._open_reply(kind, int(streams))
        self._buffer.pos = found.end()
        self._open_stream(replies, key, int(count))
        return True

    def _begin(self) -> bool:
        """Read the header of a reply by itself; False if it is not a usual one, or not there."""
        header = self._buffer.peek(2)
        if header[:1] not in (b"*", b"%") or not (header[1:].isdigit() or header == b"*-"):
            return False
        if (line := self._buffer.line()) is None:
            return False
        # Nil is like no streams at all.
        self._open_reply(line[:1], 0 if line == b"*-1" else _length(line, b"*%"))
        return True

    def _open_reply(self, kind: bytes, streams: int) -> list[StreamReply]:
        if streams > MAX_ITEMS:
            raise ProtocolError(
                f"{streams} streams in an XREAD reply, expected at most {MAX_ITEMS}"
            )
        if self.max_entries is not None and streams > len(self._names):
            raise ProtocolError(
                f"{streams} streams in an XREAD reply, "
                f"expected at most {len(self._names)}, which were asked for"
            )
        self._kind = kind
        self._streams = streams
        self._replies = []
        return self._replies

    def _open_stream(self, replies: list[StreamReply], key: Value, count: int) -> None:
        name = name_of(key, self._names)
        self._check_count(key, count)
        self._count = count
        # Learning from a few entries is not worth the time. A window must not exceed
        # the limit of an entry.
        is_run = count >= _MIN_RUN and self._values.max_size >= MAX_WINDOW
        self._pace = self._pace_of(name) if is_run else None
        replies.append((name, []))

    def _check_count(self, key: Value, count: int) -> None:
        if self.max_entries is not None and count > self.max_entries:
            raise ProtocolError(
                f"{count} entries of stream {excerpt(key)}, "
                f"expected at most {self.max_entries}, which were asked for"
            )

    def _take_whole(self, value: Value) -> list[StreamReply] | None:
        """Take the streams of a reply, or of a part of one, that was read as one value."""
        replies = stream_replies_of(value, self._names, self._factory, self.unmade)
        for (_, messages), pair in zip(replies or (), value, strict=False):
            self._check_count(pair[0], len(messages))
        return replies

    def _read_replies(self, replies: list[StreamReply]) -> bool:
        """Read each stream's entries, and the head of the next; return whether all are there."""
        while not replies or self._read_entries(replies[-1]):
            if len(replies) >= self._streams:
                return True
            if self._head is None:
                if self._slice_head():
                    continue
                self._head = self._read_head(replies)
            if not next(self._head):
                return False
            self._head = None
        return False

    def _read_head(self, replies: list[StreamReply]) -> Generator[bool, None, None]:
        """Read it part by part; yield False until all are there, then True.

        A part that no server sends in this way (streamed, or after an attribute) is read as
        one value, which may be all of a stream's entries.
        """
        if self._kind == b"*":
            line = yield from self._read_header()
            if line is None:
                pair = yield from self._read_value()
                self._append_whole(replies, pair)
                yield True
            if line != b"*2":
                raise ProtocolError(
                    f"{excerpt(line or b'')}, expected b'*2', a stream of an XREAD reply"
                )
        key = yield from self._read_value()
        line = yield from self._read_header()
        if line is None:
            entries = yield from self._read_value()
            self._append_whole(replies, [key, entries])
        else:
            self._open_stream(replies, key, _length(line, b"*"))
        yield True

    def _read_header(self) -> Generator[bool, None, bytes | None]:
        """Read the header of an array; return None, and take nothing, if there is another one."""
        while len(header := self._buffer.peek(2)) < 2 and header in b"*":
            yield False
        if header[:1] != b"*" or not header[1:].isdigit():
            return None
        while (line := self._buffer.line()) is None:
            yield False
        return line

    def _read_value(self) -> Generator[bool, None, Value]:
        while (value := self._values.next_value()) is NEED_DATA:
            yield False
        return value

    def _append_whole(self, replies: list[StreamReply], pair: Value) -> None:
        replies += self._take_whole([pair]) or ()
        self._count = len(replies[-1][1])

    def _read_entries(self, reply: StreamReply) -> bool:
        """Read a stream's entries; return whether all of them are there."""
        name, messages = reply
        parser, pace = self._entry, self._pace
        while (missing := self._count - len(messages)) > 0:
            run: list[Message] = []
            if pace is not None and not parser.is_within:
                run = self._runs.read(name, pace, missing)
            if not run:
                entry = parser.read()
                if entry is None:
                    return False
                run = [self._factory.make_safely(name, *entry, self.unmade)]
                if pace is not None:
                    pace.entry_size = self._buffer.consumed - parser.start
            if messages:
                check_order(messages, run[0])
            messages += run
        return True

    def _pace_of(self, name: Any) -> Pace:
        pace = self._paces.get(name)
        if pace is None:
            if len(self._paces) > 2 * len(self._names):
                # Streams that nobody follows any more are forgotten.
                self._paces.clear()
            pace = self._paces[name] = Pace(self._patterns)
        return pace


def _last_id_of(messages: list[Message]) -> bytes:
    """The ID of the last message; empty if there is none."""
    entry_id: bytes | str = messages[-1][1] if messages else b""
    return entry_id if isinstance(entry_id, bytes) else entry_id.encode("ascii")


def _length(header: bytes, kinds: bytes) -> int:
    if not _is_header(header) or header[:1] not in kinds:
        raise ProtocolError(f"{excerpt(header)}, expected the length of an XREAD reply's part")
    return int(header[1:])
