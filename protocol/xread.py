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
from .ids import is_id, number_of
from .messages import MessageMaker, show
from .parser import Parser
from .patterns import Learner
from .values import NEED_DATA, NeedData, Push, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from typing import Any, TypeAlias

    from .messages import Message
    from .values import Value

    Block: TypeAlias = tuple[Any, list[Message]]
    """One stream's part of a reply: its name, and its messages in ID order."""
    Reply: TypeAlias = list[Block] | ServerError | None
    """What the server answers: entries, an error, or nil."""

# How many entries are read by one call, of how many bytes: what is made of them is at hand
# then while the next ones are read.
_RUN = 128
_RUN_BYTES = 65_536

# How many kinds of streams are told apart, each with a pattern of its own.
_LEARNERS = 64

_is_bulk = re.compile(rb"\$([1-9][0-9]{0,9})\r\n").fullmatch
_SIZES = {b"$%d\r\n" % size: size for size in range(128)}
# The head of a stream's entries: its key, and how many they are. Before the first of all
# stands the header of the reply, which is told from a pair by what follows it.
_find_head = re.compile(
    rb"(?:(%|\*(?=[0-9]+\r\n\*))([1-9][0-9]{0,9})\r\n)?"
    rb"(\*2\r\n)?\$(0|[1-9][0-9]{0,9})\r\n([^\r]*)\r\n\*(0|[1-9][0-9]{0,9})\r\n"
).match
# What an entry has before its strings: its ID, and how many there are.
_find_entry = re.compile(
    rb"\*2\r\n\$[0-9]{1,2}\r\n([0-9]{1,19}-[0-9]{1,19})\r\n\*([0-9]{0,10})"
).match
# How often to look for the last entry, where values look like one.
_LOOKS = 16
# What an entry begins with.
_OPENING = b"*2\r\n$"
_LENGTHS = {b"*%d" % length: length for length in range(0, 256, 2)}
_is_header = re.compile(rb"[*%](?:0|[1-9][0-9]{0,9})").fullmatch


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
        max_entries: How many entries of a stream may come in a reply: the COUNT that was
            asked for. None is for any number.
        values: The parser of whole values that is used for what is no entries, if
            replies to other commands come over the same connection.
    """

    def __init__(
        self,
        names: Mapping[bytes, Any],
        maker: MessageMaker | None = None,
        max_entries: int | None = None,
        values: Parser | None = None,
    ) -> None:
        self._names = names
        self._max_entries = max_entries
        self._maker = maker or MessageMaker()
        self._values = values or Parser()
        self._buffer = self._values.buffer
        # Who learns of which stream, of streams that begin with which fields, and of those
        # whose fields are never the same.
        self._learners: dict[Any, Learner] = {}
        self._learners_by_fields: dict[tuple[bytes, ...], Learner] = {}
        self._learner_of_any = Learner(self._maker, captures_names=True)
        # What was read of a reply that is not all there: its streams, of the last one maybe
        # not all entries, and the rest of the head of the next one.
        self._blocks: list[Block] | None = None
        self._head: Generator[tuple[Value, int] | None, None, None] | None = None
        # What that reply began with, and how many entries the last stream has in it.
        self._kind = b""
        self._streams = 0
        self._count = 0
        self._broken: Exception | None = None

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
            Exception: What `fields` or the decoding has raised. After either, every
                later call raises the same again.
        """
        if self._broken is not None:
            raise self._broken
        try:
            return self._read_reply()
        except Exception as error:
            self._broken = error
            raise

    @property
    def is_within_reply(self) -> bool:
        """Whether some of a reply has come, but not all. Pushes and attributes are none."""
        if self._blocks is not None or self._values.is_within_value:
            return not self._values.is_aside
        return self._buffer.peek() not in (b"", b">", b"|")

    def expecting(self) -> str | None:
        """What is missing of a reply that has begun; None between two replies."""
        return self._values.expecting() or (
            None if self._blocks is None else "some of an XREAD reply, expected all of it"
        )

    def foresee(self, keys: Sequence[bytes], count: int) -> list[bytes] | None:
        """Guess where the reply that is coming in will end, without reading it.

        Whoever knows that can send the next XREAD before taking the time to read. It is
        a guess: what looks like an entry may be part of a value, so `next_reply` has to
        be compared with it.

        Args:
            keys: The streams that were asked for.
            count: How many entries of each.

        Returns:
            Each stream's last ID in the reply; None as long as it does not look as if
            all the streams had `count` entries there.
        """
        begun = self._blocks or []
        names = [self._names.get(key) for key in keys]
        if not names or [name for name, _ in begun] != names[: len(begun)]:
            return None
        sizes = [self._entry_size(name) for name in names[len(begun) :]]
        # Of the stream that is being read.
        missing = count - len(begun[-1][1]) - self._values.is_within_value if begun else 0
        expected = sum(sizes) * count + (missing and self._entry_size(begun[-1][0]) * missing)
        if len(self._buffer) < expected * 3 // 4:
            # Do not look at each piece that comes.
            return None
        self._buffer.join()
        data, pos = self._buffer.data, self._buffer.pos
        # Where the entries of each stream begin and end: first those that are being read.
        starts, ends = [pos], []
        # Most of the entries before it need not be searched for the next header.
        skip = 0
        for key, size in zip(keys[len(begun) :], sizes, strict=True):
            header = b"$%d\r\n%b\r\n*%d\r\n" % (len(key), key, count)
            start = starts[-1]
            found = data.find(header, start + skip)
            if found < 0:
                found = data.find(header, start, start + skip + len(header))
            if found < 0:
                return None
            ends.append(found)
            starts.append(found + len(header))
            skip = size * count * 31 // 32
        ends.append(len(data))
        heads = [_last_head(data, *span) for span in zip(starts, ends, strict=True)]
        number, size = (count, sizes[-1]) if sizes else (missing, self._entry_size(begun[-1][0]))
        if not _holds_entries(number, data, starts[-1], heads[-1], number * size):
            return None
        last_ids = [head[1] if head else b"" for head in heads]
        read = [_last_id_of(messages) for _, messages in begun]
        if read:
            # What the buffer begins with is the rest of the stream that was read last.
            read[-1] = last_ids[0] or read[-1]
        foreseen = read + last_ids[1:]
        return foreseen if all(foreseen) else None

    def _entry_size(self, name: Any) -> int:
        """About how many bytes an entry of a stream takes; 0 if that is not known."""
        learner = self._learners.get(name)
        return 0 if learner is None else learner.entry_size

    # Each of these goes on where the last call ended for want of bytes.

    def _read_reply(self) -> Reply | NeedData:
        while self._blocks is None:
            if self._values.is_within_value or not (self._slice_head() or self._begin()):
                value = self._values.next_value()
                if value is None or value is NEED_DATA or isinstance(value, ServerError):
                    return value
                if not isinstance(value, list):
                    raise ProtocolError(f"{show(value)}, expected an XREAD reply")
                if not isinstance(value, Push):
                    return blocks_of(value, self._names, self._maker)
        if not self._read_blocks(self._blocks):
            return NEED_DATA
        blocks, self._blocks = self._blocks, None
        return blocks or None

    def _slice_head(self) -> bool:
        """Read a stream's head, and the reply's before it, if all is as servers send it."""
        found = _find_head(self._buffer.data, self._buffer.pos)
        if found is None:
            return False
        header, streams, pair, size, key, count = found.groups()
        kind = header or self._kind
        if (header is None) is (self._blocks is None) or (pair is None) is (kind == b"*"):
            return False
        if int(size) != len(key):
            return False
        blocks = self._blocks
        if blocks is None:
            blocks = self._open_reply(kind, int(streams))
        self._buffer.pos = found.end()
        self._open_block(blocks, key, int(count))
        return True

    def _begin(self) -> bool:
        """Read the header of a reply by itself; False if it is no entries', or not there."""
        if self._buffer.peek() not in (b"*", b"%") or (line := self._buffer.line()) is None:
            return False
        # Nil is like no streams at all.
        self._open_reply(line[:1], 0 if line == b"*-1" else _length(line, b"*%"))
        return True

    def _open_reply(self, kind: bytes, streams: int) -> list[Block]:
        if self._max_entries is not None and streams > len(self._names):
            raise ProtocolError(
                f"{streams} streams in an XREAD reply, "
                f"expected at most {len(self._names)}, which were asked for"
            )
        self._kind = kind
        self._streams = streams
        self._blocks = []
        return self._blocks

    def _open_block(self, blocks: list[Block], key: Value, count: int) -> None:
        name = _name_of(key, self._names)
        if self._max_entries is not None and count > self._max_entries:
            raise ProtocolError(
                f"{count} entries of stream {excerpt(key)}, "
                f"expected at most {self._max_entries}, which were asked for"
            )
        self._count = count
        blocks.append((name, []))

    def _read_blocks(self, blocks: list[Block]) -> bool:
        """Read each stream's entries, and the head of the next; return whether all are there."""
        while not blocks or self._read_entries(blocks[-1]):
            if len(blocks) >= self._streams:
                return True
            if self._head is None:
                if self._slice_head():
                    continue
                self._head = self._read_head()
            head = next(self._head)
            if head is None:
                return False
            self._head = None
            self._open_block(blocks, *head)
        return False

    def _read_head(self) -> Generator[tuple[Value, int] | None, None, None]:
        """Read it part by part; yield None until all are there."""
        if self._kind == b"*":
            while (line := self._buffer.line()) is None:
                yield None
            if line != b"*2":
                raise ProtocolError(f"{excerpt(line)}, expected b'*2', a stream of an XREAD reply")
        while (key := self._values.next_value()) is NEED_DATA:
            yield None
        while (line := self._buffer.line()) is None:
            yield None
        yield key, _length(line, b"*")

    def _read_entries(self, block: Block) -> bool:
        """Read a stream's entries, runs of them by pattern, others one by one.

        Returns:
            Whether all of them are there.
        """
        name, messages = block
        learner = self._learners.get(name)
        while (missing := self._count - len(messages)) > 0:
            if not self._values.is_within_value:
                if learner is not None and self._match(learner, name, messages, missing):
                    continue
                start = self._buffer.pos
                entry = self._slice_entry()
                if entry is not None:
                    _append(messages, self._maker.make(name, *entry))
                    learner = self._learner_for(name, entry[1], learner)
                    learner.learn(*entry, self._buffer.pos - start)
                    continue
            # Not all there, or not as usual: the parser of values knows what to say.
            value = self._values.next_value()
            if value is NEED_DATA:
                return False
            _append(messages, self._maker.message(name, value))
        return True

    def _match(self, learner: Learner, name: object, messages: list[Message], missing: int) -> bool:
        """Read a run of entries by pattern, if there is one.

        Returns:
            Whether it went as far as it was to; if not, the next entry is of another kind.
        """
        pattern = learner.pattern
        if pattern is None:
            return False
        buffer = self._buffer
        data, start, size = buffer.data, buffer.pos, learner.entry_size
        entries, end = missing, len(data)
        if end - start > 2 * size:
            # No further than about where the run may end, nor than what lies close together.
            entries = min(missing, _RUN, 1 + _RUN_BYTES // size)
            end = min(start + entries * size * 9 // 8 + 64, end)
        if end <= start:
            return False
        matched, rest = pattern.match(name, data, start, end, entries)
        if rest is None:
            # What follows them is to be read one by one: where that begins is not known.
            for message in matched[:missing]:
                self._slice_entry()
                _append(messages, message)
            return len(matched) >= missing
        if not matched or len(matched) > missing:
            return False
        if messages:
            _see_to_order(messages, matched[0])
        messages += matched
        buffer.pos = end - rest
        learner.entry_size = size = (buffer.pos - start) // len(matched) + 1
        return rest <= 2 * size or len(matched) == missing

    def _slice_entry(self) -> tuple[bytes, list[bytes]] | None:
        """Read one entry, if it is all there and as servers send it."""
        data, pos = self._buffer.data, self._buffer.pos
        if not data.startswith(b"*2\r\n$", pos):
            return None
        ids, pos = _slice_strings(data, pos + 4, 1)
        end = data.find(b"\r\n", pos, pos + 12)
        length = _LENGTHS.get(data[pos:end], -1) if end >= 0 else -1
        if length < 0 or not ids or not is_id(ids[0]):
            return None
        items, pos = _slice_strings(data, end + 2, length)
        if len(items) < length:
            return None
        self._buffer.pos = pos
        return ids[0], items

    def _learner_for(self, name: Any, items: list[bytes], learner: Learner | None) -> Learner:
        """Find who learns from an entry of a stream, so far `learner`.

        Streams of which an entry is alike share one: they are thought to go on alike.
        """
        names = tuple(items[::2])
        learner = learner or self._learners_by_fields.get(names) or Learner(self._maker)
        if len(self._learners_by_fields) < _LEARNERS:
            self._learners_by_fields.setdefault(names, learner)
        if learner.captures_names or names not in self._learners_by_fields:
            learner = self._learner_of_any
        self._learners[name] = learner
        return learner

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
        raise ProtocolError(f"{show(value)}, expected an XREAD reply")
    blocks = []
    for pair in value:
        if type(pair) not in (list, tuple) or len(pair) != 2 or type(pair[1]) is not list:
            raise ProtocolError(f"{show(pair)}, expected a stream of an XREAD reply")
        name = _name_of(pair[0], names)
        messages: list[Message] = []
        for entry in pair[1]:
            _append(messages, maker.message(name, entry))
        blocks.append((name, messages))
    return blocks or None


def _append(messages: list[Message], message: Message) -> None:
    _see_to_order(messages, message)
    messages.append(message)


def _see_to_order(messages: list[Message], later: Message) -> None:
    if messages and number_of(messages[-1][1]) >= number_of(later[1]):
        raise ProtocolError(
            f"entry {later[1]!r} of stream {later[0]!r:.60} after {messages[-1][1]!r}, "
            "expected the larger ID later"
        )


def _name_of(key: Value, names: Mapping[bytes, Any]) -> Any:
    if isinstance(key, bytes) and key in names:
        return names[key]
    raise ProtocolError(f"reply with {show(key)}, expected one of the streams asked for")


def _slice_strings(data: bytes, pos: int, count: int) -> tuple[list[bytes], int]:
    """Take up to `count` bulk strings at `pos`; return them and where the next thing begins."""
    strings = []
    for _ in range(count):
        start = data.find(b"\n", pos, pos + 12) + 1
        stated = data[pos:start]
        size = _SIZES.get(stated)
        if size is None:
            size = _size(stated)
        end = start + size
        if size < 0 or data[end : end + 2] != b"\r\n":
            break
        strings.append(data[start:end])
        pos = end + 2
    return strings, pos


def _size(header: bytes) -> int:
    """The size that the header of a bulk string states; -1 if it is none."""
    found = _is_bulk(header)
    return int(found[1]) if found else -1


def _last_head(data: bytes, start: int, end: int) -> re.Match[bytes] | None:
    """Find what looks like the head of the last entry between."""
    at = data.find(_OPENING, start, end)
    if at < 0:
        return None
    # None is smaller than the first, though one in a value may look so. To look at the
    # number of digits will do, for a guess.
    first = _size_and_id(_find_entry(data, at))
    for _ in range(_LOOKS):
        # It may be the array of a single field, or part of a value: then look before it.
        if (end := data.rfind(_OPENING, at, end)) < 0:
            break
        head = _find_entry(data, end)
        if head is not None and _size_and_id(head) >= first:
            return head
    return None


def _size_and_id(head: re.Match[bytes] | None) -> tuple[int, bytes]:
    return (len(head[1]), head[1]) if head else (0, b"")


def _holds_entries(
    number: int, data: bytes, start: int, last: re.Match[bytes] | None, expected: int
) -> bool:
    """Whether there look to be so many entries from `start` on, the first maybe in part.

    Args:
        number: How many.
        data: What has come.
        start: Where they begin.
        last: The head of the last one.
        expected: About how many bytes they take.
    """
    if last is None:
        return False
    # Hardly ever does a piece end with an entry, and that near the end of all of them.
    if abs(len(data) - start - expected) <= expected // 16 and _ends_with(data, last):
        return True
    # Where all IDs are of one length, what entries begin with is long, and soon counted.
    opening = b"%b%d\r\n" % (_OPENING, len(last[1]))
    if data.count(opening, start) == number:
        return data.rfind(opening) == last.start()
    # An entry is two arrays. Of one that has begun, the second may still be there.
    arrays = data.startswith(b"*", start) + data.count(b"\r\n*", start)
    return arrays // 2 == number


def _ends_with(data: bytes, head: re.Match[bytes]) -> bool:
    """Whether an entry with this head looks to end where the data does."""
    strings, start = int(head[2] or 0), head.end() + 2
    # Each takes two lines, unless there is a line's end in it.
    if data.count(b"\r\n", start) == 2 * strings and data.endswith(b"\r\n"):
        return True
    found, end = _slice_strings(data, start, strings)
    return len(found) == strings and end == len(data)


def _last_id_of(messages: list[Message]) -> bytes:
    """The ID of the last message; empty if there is none."""
    entry_id: bytes | str = messages[-1][1] if messages else b""
    return entry_id if isinstance(entry_id, bytes) else entry_id.encode("ascii")


def _length(header: bytes, kinds: bytes) -> int:
    if not _is_header(header) or header[:1] not in kinds:
        raise ProtocolError(f"{excerpt(header)}, expected the length of an XREAD reply's part")
    return int(header[1:])
