r"""Entries of a stream, read many at once where that is possible, else string by string.

An entry is ``*2 $n ID *2k`` and then k times ``$n field $n value``, where each word ends
with CRLF and each ``$n`` states the length of the string after it.

Why the fast ways are right
===========================

RESP is read from left to right, and there is one way only to encode an entry. So a reading
is right if, from a position where an entry begins, the words come in this order and *each
length that is stated is the length of what is taken*.

Each way takes an entry only after it has compared all of its lengths, and after all entries
before it:

- A pattern (`patterns`) captures each length and what it takes to be the string, and compares.
- `_read_mixed` splits a window of bytes at each CRLF. The words before an entry's first string
  are four, and each string is two more, so a length always stands at an even place of its
  entry and the string at the odd place after it. A string that holds CRLF is split, the length
  of its first part differs from the length that is stated, and the entry is left to the ways
  below. So is an entry of which the window holds only a part: the last word of the split has
  no CRLF after it, and is dropped.
- `_read_sliced` takes as many bytes as a length states, and requires CRLF right after them.

The careful way, `read_entry`, does the same. It goes on where it has stopped, in any pieces,
and knows what to raise.

What is read is the same for every way. The way decides about the time alone, which content
must not be able to raise: after a window that was split in vain the next one is half as long,
and where only single entries are left, the careful way reads more and more of them before
the next attempt (`Pace`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import compress, count, pairwise
from operator import itemgetter, ne

from .buffer import excerpt
from .errors import ProtocolError
from .ids import count_ascending, is_id
from .messages import entry_of, show
from .parser import MAX_ITEMS
from .patterns import MAX_FIELDS, Pattern, Patterns, widen
from .values import NEED_DATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from .messages import Message, MessageFactory
    from .parser import Parser
    from .patterns import Column, Names

    Run: TypeAlias = tuple[list[Message], int]
    """Messages, and the number of pairs of words that they were made of."""

# The most bytes of a window: the words of more do not fit into the processor's cache.
_WINDOW = 16_384
# The same for a pattern, which makes fewer words of them.
MAX_WINDOW = 65_536
# The most entries of a window.
_MAX_ENTRIES = 1024
# The fewest bytes of an entry.
_SMALLEST = len(b"*2\r\n$3\r\n0-1\r\n*0\r\n")
# The fewest entries that are worth a window.
_MIN_ENTRIES = 4
# Size of entries, in bytes, above which the careful way is as fast.
_MAX_ENTRY = 8192
# The most entries that the careful way reads before the next attempt at a window.
_MAX_PAUSE = 256
# The longest string in the table of lengths.
_MAX_LISTED = 8192
# The most fields for which a function of their own makes the data.
_MAX_FIELDS = 128

# The lengths that headers state. Lengths above the first few are added when they are seen.
_SIZES = {b"$%d" % size: size for size in range(256)}
_size_of = _SIZES.get
_is_size = re.compile(rb"\$(?:0|[1-9][0-9]{0,3})").fullmatch
# The number of pairs of words of an entry, by the header of its fields and values.
_STEPS = {b"*%d" % length: length + 2 for length in range(0, 512, 2)}
# The schemas that are told apart; the entries of others are read without a pattern.
_MAX_SCHEMAS = 32
# The fewest entries to choose a pattern from.
_MIN_SAMPLES = 4
# Entries that are read without a pattern before the next attempt at one: twice as many
# each time, so that learning goes on for ever and takes a few percent of the time at most.
_FIRST_LESSONS = 64
_MAX_LESSONS = 16_384
# Entries that a pattern reads by captured names before it is checked if the names repeat.
_MAX_CAPTURED = 4096
# The fewest entries that a pattern reads before a single other one is sliced.
_MIN_STREAK = 64
# The most repairs of a pattern, for lengths that it did not expect, between two attempts.
_MAX_REPAIRS = 2
# The same for the careful way, with the CRLF around.
_BULKS = {b"\r\n$%d\r\n" % size: size for size in range(256)}
_NUMBERS = {b"\r\n*%d\r\n" % length: length for length in range(0, 512, 2)}
_ID_SIZES = {b"*2\r\n$%d\r\n" % size: size for size in range(3, 42)}

_match_head = re.compile(
    rb"\*2\r\n\$([0-9]{1,2})\r\n([0-9]{1,20}-[0-9]{1,20})\r\n\*(0|[1-9][0-9]{0,9})\r\n"
).match
_OPENING = b"*2\r\n$"
_match_bulk = re.compile(rb"\r\n\$(0|[1-9][0-9]{0,3})\r\n").match
_is_header = re.compile(rb"\*(?:0|[1-9][0-9]{0,9})").fullmatch


class Pace:
    """The knowledge of the entries of one stream: how far to read at once, and their schemas.

    Attributes:
        entry_size: About how many bytes an entry takes; 0 if none was seen.
        entries: The most entries of the next window.
        pause: The number of entries that are sliced before the next window.
        pattern: The pattern of the schemas seen last, if that pays.
        matched: The number of entries that it has read since the last attempt at one.
        step: The share of entries to learn from: all before the first pattern, then one in seven.
        streak: The number of entries that it has read since it last read none.
    """

    __slots__ = (
        "_columns",
        "_lessons",
        "_lessons_wanted",
        "_next_pause",
        "_patterns",
        "_repairs",
        "_schemas",
        "_sizes",
        "entries",
        "entry_size",
        "matched",
        "pattern",
        "pause",
        "step",
        "streak",
    )

    def __init__(self, patterns: Patterns) -> None:
        self.entry_size = 0
        self.entries = _MAX_ENTRIES
        # From the first entry it is seen whether a pattern of other streams reads it.
        self.pause = 1
        self.pattern: Pattern | None = None
        self.matched = 0
        self.streak = 0
        self.step = 1
        self._patterns = patterns
        self._next_pause = _MIN_ENTRIES
        # Since the last attempt at a pattern: how often each schema and each number of fields
        # was seen, and what was seen of the ID, and of each name and value.
        self._schemas: dict[Names, int] = {}
        self._sizes: dict[int, int] = {}
        self._columns: list[Column] = []
        self._lessons = 0
        self._lessons_wanted = _FIRST_LESSONS
        self._repairs = _MAX_REPAIRS

    def succeed(self) -> None:
        """Note that a whole window was read."""
        self.entries = min(2 * self.entries, _MAX_ENTRIES)
        self._next_pause = _MIN_ENTRIES

    def fail(self, read: int, expected: int) -> None:
        """Note that only the first `read` entries of a window were read."""
        self.entries = max(min(self.entries, expected) // 2, 2 * read, _MIN_ENTRIES)
        if read < _MIN_ENTRIES and expected <= 2 * _MIN_ENTRIES:
            self.pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)

    def reconsider(self) -> None:
        """Learn again whether names repeat, after a pattern that captures them has read many."""
        if self.pattern and self.pattern.captures_names and self.matched >= _MAX_CAPTURED:
            self.pattern = None
            self.matched = self._lessons = 0
            self._lessons_wanted = min(self._lessons_wanted, _FIRST_LESSONS)
            self.step = 1

    def learn(self, ids: list[bytes], sample: list[list[bytes]], number: int) -> None:
        """Learn from some of `number` entries that no pattern has read, but not from none."""
        schemas, patterns = self._schemas, self._patterns
        names: tuple[bytes, ...] = ()
        for entry_id, items in zip(ids, sample):  # noqa: B905
            names = tuple(items[::2])
            if names not in schemas and len(schemas) >= _MAX_SCHEMAS:
                # Schemas of long ago must not stand in the way of those of now.
                schemas.clear()
                self._sizes = {size: times // 2 for size, times in self._sizes.items()}
            schemas[names] = schemas.get(names, 0) + 1
            self._sizes[len(names)] = self._sizes.get(len(names), 0) + 1
            if len(names) > MAX_FIELDS:
                continue
            strings = [entry_id, *items]
            has_cr = b"\r" in b"".join(items)
            columns = [(len(each), len(each), has_cr and b"\r" in each) for each in strings]
            self._columns = widen(self._columns, columns)
        self._lessons += number
        pattern = self.pattern
        # If the pattern reads nearly all entries, the others need no pattern.
        if self.matched > 16 * self._lessons:
            return
        latest = patterns.find(names)
        if latest not in (None, pattern) and (pattern is None or latest.covers(pattern)):
            # Streams are often alike.
            self.pattern = latest
        elif (
            pattern is not None
            and self._repairs
            and self.matched <= 4 * self._lessons
            and pattern.reads(names)
        ):
            self._repairs -= 1
            self.pattern = patterns.get(pattern.schemas, widen(pattern.columns, self._columns))
        if self._lessons >= self._lessons_wanted:
            self._choose_pattern()

    def _choose_pattern(self) -> None:
        """Choose the pattern of the schemas that are usual now; forget the others."""
        old = self.pattern
        self.pattern = None
        if not self._choose_among(self._schemas, old):
            # Names differ too much to stand in a pattern, but their number may not.
            self._choose_among({(None,) * at: times for at, times in self._sizes.items()}, old)
        self.step = 7
        self._schemas.clear()
        self._sizes.clear()
        self._columns = []
        self.matched = self._lessons = 0
        self._lessons_wanted = min(2 * self._lessons_wanted, _MAX_LESSONS)
        self._repairs = _MAX_REPAIRS

    def _choose_among(self, seen: dict[Names, int], old: Pattern | None) -> bool:
        total = sum(self._sizes.values())
        usual = [names for names, times in seen.items() if names and times * 32 >= total]
        covered = sum(seen[names] for names in usual)
        columns = self._columns
        if old is not None and usual and old.captures_names == (usual[0][0] is None):
            columns = widen(columns, old.columns)
            if self.matched > self._lessons:
                # It reads most of the entries, so that the schemas seen here are the others.
                self.pattern = old
                usual += [names for names in old.schemas if names not in usual]
        if total < _MIN_SAMPLES or covered * 8 < total * 7 or not Pattern.can_read(usual):
            return False
        self.pattern = self._patterns.get(usual, columns)
        return True


class EntryReader:
    """Reads entries from the buffer of a parser of values.

    Attributes:
        is_within_entry: Whether some of an entry was read, but not all.
        unmade: Messages that could not be made.
        patterns: The patterns that streams share.
    """

    def __init__(self, values: Parser, factory: MessageFactory) -> None:
        self._values = values
        self._buffer = values.buffer
        self._factory = factory
        self._makers = _Makers(factory)
        self.patterns = Patterns(factory)
        self.is_within_entry = False
        self.unmade: list[Message] = []
        # The entry that is coming in: which of its parts is next, where it begins, its ID,
        # its strings so far, and how many more there are.
        self._part = _ENTRY
        self._start = 0
        self._id = b""
        self._items: list[bytes] = []
        self._missing = 0

    # The careful way.

    def read_entry(self) -> tuple[bytes, list[bytes]] | None:
        """Read an entry string by string; None until all of it is there.

        Raises:
            ProtocolError: It is not an entry.
        """
        if self._part <= _WHOLE and not self._read_opening():
            return None
        if self._part < _STRINGS and not self._read_head():
            return None
        if not self._read_strings():
            return None
        entry = self._id, self._items
        self.is_within_entry = False
        self._part = _ENTRY
        return entry

    def _read_opening(self) -> bool:
        """Read the head of an entry at once, or find out which of its parts comes first."""
        buffer = self._buffer
        if self._part == _ENTRY:
            self._start = buffer.consumed
            found = _match_head(buffer.data, buffer.pos)
            if found is not None and int(found[1]) == len(found[2]):
                buffer.pos = found.end()
                self.is_within_entry = True
                self._open(found[2], int(found[3]))
                return True
            if (opening := self._peek(len(_OPENING), _OPENING)) is None:
                return False
            self.is_within_entry = True
            if opening == _OPENING:
                buffer.pos += 4
                self._part = _ID
                return True
            self._part = _WHOLE
        # As no server sends it.
        value = self._values.next_value()
        if value is NEED_DATA:
            return False
        self._id, self._items = entry_of(value)
        self._missing = 0
        self._part = _STRINGS
        return True

    def _peek(self, size: int, usual: bytes) -> bytes | None:
        """Return the next bytes, not taken; None while too few are there that look usual."""
        buffer = self._buffer
        while len(found := buffer.data[buffer.pos : buffer.pos + size]) < size:
            if not buffer.join():
                return None if usual.startswith(found) else found
        return found

    def _open(self, entry_id: bytes, length: int) -> None:
        if not is_id(entry_id):
            raise ProtocolError(f"{show(entry_id)} in an XREAD reply, expected an entry's ID")
        if length % 2 or length > MAX_ITEMS:
            raise ProtocolError(
                f"an array of {length} items in an XREAD reply, "
                f"expected fields and values, at most {MAX_ITEMS} in all"
            )
        self._id = entry_id
        self._items = []
        self._missing = length
        self._part = _STRINGS

    def _read_head(self) -> bool:
        """Read the ID and the number of strings, one after the other."""
        if self._part == _ID:
            entry_id = self._values.next_value()
            if entry_id is NEED_DATA:
                return False
            if not isinstance(entry_id, bytes) or not is_id(entry_id):
                raise ProtocolError(f"{show(entry_id)} in an XREAD reply, expected an entry's ID")
            self._id = entry_id
            self._part = _LENGTH
        if self._part == _LENGTH:
            if (header := self._peek(2, b"*")) is None:
                return False
            self._part = _COUNT if header[:1] == b"*" and header[1:].isdigit() else _FIELDS
        if self._part == _COUNT:
            if (line := self._buffer.line()) is None:
                return False
            if not _is_header(line):
                raise ProtocolError(
                    f"{excerpt(line)} in an XREAD reply, expected fields and values"
                )
            self._open(self._id, int(line[1:]))
            return True
        items = self._values.next_value()
        if items is NEED_DATA:
            return False
        self._id, self._items = entry_of([self._id, items])
        self._missing = 0
        self._part = _STRINGS
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
            if buffer.consumed - self._start > values.max_size:
                raise ProtocolError(
                    f"entry of {buffer.consumed - self._start} bytes or more, "
                    f"expected at most {values.max_size}"
                )
        return True

    # The fast ways.

    def read_run(self, name: object, pace: Pace, most: int) -> list[Message]:
        """Read the entries at the buffer's position that can be read at once.

        Args:
            name: The stream's name.
            pace: The stream's pace, which is kept up to date.
            most: The most entries to read.

        Returns:
            The messages of the first entries, in ID order; none if the next entry has to be
            read by `read_entry`.
        """
        buffer = self._buffer
        pos = start = buffer.pos
        end = len(buffer.data)
        if end - start < _SMALLEST:
            return []
        size = pace.entry_size
        expected = min(most, pace.entries)
        if pace.pause or expected < _MIN_ENTRIES or end - start < _MIN_ENTRIES * size:
            return self._read_sliced(name, pace, min(most, pace.pause or _MIN_ENTRIES))
        pace.reconsider()
        pattern = pace.pattern
        widest = _WINDOW if pattern is None else MAX_WINDOW
        limit = min(widest, expected * size * 9 // 8 + 64) if size else 4096
        if end - start > limit:
            end = start + limit
            expected = min(expected, limit * 7 // 8 // (size or limit) + 1)
        messages: list[Message] = []
        if pattern is not None:
            try:
                messages, pos = pattern.read(name, buffer.data, start, end, most)
                pace.matched += len(messages)
            except Exception:  # noqa: BLE001  # `fields` is the caller's, and may raise any
                pos = start
            if not messages and pace.streak >= _MIN_STREAK:
                # It may be a single one that the pattern does not read.
                pace.streak = 0
                return self._read_sliced(name, pace, min(most, _MIN_ENTRIES))
            pace.streak = pace.streak + len(messages) if messages else 0
        if not messages:
            messages, pos = self._read_mixed(name, pace, end, most)
        buffer.pos = pos
        read = len(messages)
        if read:
            pace.entry_size = size = (pos - start) // read + 1
        if read == most or read >= expected or end - pos <= 2 * size:
            pace.succeed()
        else:
            pace.fail(read, expected)
        return messages or self._read_sliced(name, pace, min(most, _MIN_ENTRIES))

    def _read_mixed(
        self, name: object, pace: Pace, window_end: int, most: int
    ) -> tuple[list[Message], int]:
        """Read entries of any fields, up to the first that is not right.

        Returns:
            Their messages, and the position after them.
        """
        words = self._buffer.data[self._buffer.pos : window_end].split(b"\r\n")
        rest = len(words.pop())
        evens, odds = words[::2], words[1::2]
        lengths: list[int | None] = list(map(len, odds))
        starts = []
        end, total = 0, len(odds)
        try:
            for _ in range(most):
                next_end = end + _STEPS[odds[end + 1]]
                if next_end > total:
                    break
                # This is not a string: it is compared below.
                lengths[end] = lengths[end + 1] = None
                starts.append(end)
                end = next_end
        except (IndexError, KeyError):
            pass  # the entry is not there, or has more fields, or a string was split
        starts.append(end)
        del lengths[end:]
        sizes = list(map(_size_of, evens[:end]))
        if lengths != sizes and _list_sizes(evens[:end]):
            sizes = list(map(_size_of, evens[:end]))
        if lengths != sizes:
            wrong = next(compress(count(), map(ne, lengths, sizes)))
            del starts[bisect_right(starts, wrong) :]
        number = len(starts) - 1
        if number < 2:
            return [], self._buffer.pos
        heads = itemgetter(*starts[:-1])
        ids = list(heads(evens[1:]))
        id_sizes = list(map(_size_of, heads(odds)))
        if evens[: starts[-1]].count(b"*2") != number or list(map(len, ids)) != id_sizes:
            return [], self._buffer.pos  # a wrong entry, which the careful way finds
        number = count_ascending(ids)
        del ids[number:], starts[number + 1 :]
        if not number:
            return [], self._buffer.pos
        entries = [odds[start + 2 : end] for start, end in pairwise(starts)]
        pace.learn(ids[:: pace.step], entries[:: pace.step], number)
        left = words[2 * starts[-1] :]
        return self._make(name, ids, entries), window_end - rest - 2 * len(left) - sum(
            map(len, left)
        )

    def _read_sliced(self, name: object, pace: Pace, most: int) -> list[Message]:
        """Read entries one by one, up to the first that is not right, or not all there."""
        buffer = self._buffer
        data, pos = buffer.data, buffer.pos
        ids: list[bytes] = []
        entries: list[list[bytes]] = []
        ends = []
        for _ in range(most):
            start = data.find(b"\n", pos + 4, pos + 9) + 1
            end = start + _ID_SIZES.get(data[pos:start], 0)
            at = data.find(b"\n", end + 2, end + 9) + 1
            number = _NUMBERS.get(data[end:at])
            if number is None:
                break
            items, pos = slice_strings(data, at, number)
            if len(items) < number:
                break
            ids.append(data[start:end])
            entries.append(items)
            ends.append(pos)
        number = count_ascending(ids)
        if not number:
            return []
        pace.pause = max(0, pace.pause - number)
        pace.entry_size = (ends[number - 1] - buffer.pos) // number + 1
        buffer.pos = ends[number - 1]
        pace.learn(ids[:number:7], entries[:number:7], number)
        return self._make(name, ids[:number], entries[:number])

    def _make(self, name: object, ids: list[bytes], entries: list[list[bytes]]) -> list[Message]:
        try:
            return self._makers.make_each(name, ids, entries)
        except Exception:  # noqa: BLE001  # `fields` is the caller's, and may raise any
            make, unmade = self._factory.make_safely, self.unmade
            return [
                make(name, entry_id, items, unmade)
                for entry_id, items in zip(ids, entries, strict=True)
            ]


# The parts of an entry that the careful way reads one after the other.
_ENTRY, _WHOLE, _ID, _LENGTH, _COUNT, _FIELDS, _STRINGS = range(7)


def _list_sizes(headers: list[bytes]) -> bool:
    """Add the lengths that are not in the table yet; tell whether there are any."""
    new = [header for header in {*headers} - _SIZES.keys() if _is_size(header)]
    sizes = {header: int(header[1:]) for header in new}
    _SIZES.update({header: size for header, size in sizes.items() if size <= _MAX_LISTED})
    return bool(new)


class _Makers:
    """Makes messages of many entries, in the form that the caller wants."""

    def __init__(self, factory: MessageFactory) -> None:
        self._factory = factory
        self._is_text = factory.encoding is not None
        self._template = _TEMPLATES.get(factory.fields)

    def make_each(
        self, name: object, ids: list[bytes], entries: list[list[bytes]]
    ) -> list[Message]:
        """Make messages of entries of any fields."""
        if self._template is None or self._is_text:
            make = self._factory.make
            return [make(name, *entry) for entry in zip(ids, entries)]  # noqa: B905
        functions = self._template.functions
        return [
            (name, entry_id, functions[len(items)](*items))
            for entry_id, items in zip(ids, entries)  # noqa: B905
        ]


class _Template:
    """Source of functions that make a `dict` or a `list` of so many fields.

    To write out the fields takes half the time of ``dict(zip(...))``.
    """

    def __init__(self, form: str, pair: str, fallback: Callable[[Any], Any]) -> None:
        self._form = form
        self._pair = pair
        self.functions = _Functions(self, fallback)

    def write(self, size: int) -> str:
        """Write the expression for the data of the fields n0, n1, ... and their values."""
        return self._form % ", ".join(self._pair.format(at) for at in range(size))


class _Functions(dict[int, "Callable[..., Any]"]):
    """Functions that make the data of an entry's strings, by the number of these."""

    def __init__(self, template: _Template, fallback: Callable[[Any], Any]) -> None:
        super().__init__()
        self._template = template
        self._fallback = fallback

    def __missing__(self, length: int) -> Callable[..., Any]:
        size = length // 2
        if size > _MAX_FIELDS:
            return lambda *items: self._fallback(zip(items[::2], items[1::2]))  # noqa: B905
        arguments = ", ".join(f"n{at}, v{at}" for at in range(size))
        # The source is made of names from here alone.
        self[length] = function = eval(f"lambda {arguments}: {self._template.write(size)}")  # noqa: S307
        return function  # type: ignore[no-any-return]


_TEMPLATES: dict[Any, _Template] = {
    dict: _Template("{%s}", "n{0}: v{0}", dict),
    list: _Template("[%s]", "(n{0}, v{0})", list),
}


def slice_strings(data: bytes, pos: int, number: int) -> tuple[list[bytes], int]:
    """Take up to `number` bulk strings at `pos`; return them and the position after them.

    Args:
        data: The bytes that hold them.
        pos: A position after a CRLF, or after as much of one as `data` has.
        number: The most strings to take.
    """
    if pos < 2:
        strings, end = slice_strings(b"\r\n" + data[pos:], 2, number)
        return strings, end - 2 + pos
    strings = []
    append, size_of = strings.append, _BULKS.get
    # A header is looked up with the CRLF before it, which is the end of the string before,
    # for each number of digits in turn: that is faster than to search for its end.
    stop = pos - 2
    for _ in range(number):
        if (size := size_of(data[stop : stop + 6])) is not None:
            start = stop + 6
        elif (size := size_of(data[stop : stop + 7])) is not None:
            start = stop + 7
        elif (size := size_of(data[stop : stop + 8])) is not None:
            start = stop + 8
        elif (size := size_of(data[stop : stop + 9])) is not None:
            start = stop + 9
        elif (size := _list_bulk(data, stop)) is not None:
            start = data.index(b"\n", stop + 2) + 1
        else:
            break
        stop = start + size
        append(data[start:stop])
    if strings and data[stop : stop + 2] != b"\r\n":
        # The last string is not all there, or not right; the others are.
        return slice_strings(data, pos, len(strings) - 1)
    return strings, stop + 2


def _list_bulk(data: bytes, pos: int) -> int | None:
    """Return the length that a header states, and add it to the table; None if it is none."""
    found = _match_bulk(data, pos)
    if found is None or (size := int(found[1])) > _MAX_LISTED:
        return None
    _BULKS[found[0]] = size
    return size
