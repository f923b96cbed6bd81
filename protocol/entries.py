r"""Entries of a stream that are all there, read many at once where that is possible.

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
- `_split` splits a window of bytes at each CRLF. The words before an entry's first string are
  four, and each string is two more. A string that holds CRLF is split, the length of its first
  part differs from the length that is stated, and the entry is left to the next way. So is
  an entry of which the window holds only a part: the last word of the split has no CRLF after
  it, and is dropped.
- `_slice` takes as many bytes as a length states, and requires CRLF right after them.

The careful way (`EntryParser` in `xread`) goes on where it has stopped, in any pieces. Whatever
does not look as servers send it is left to the parser of values.

Why there are as many
=====================

Microseconds for an entry, all of them measured in turn: a pattern takes 1.2 for three fields, a
split 2.5, slices 2.6; for twenty fields 5.4, 8 and 12; for a value with 30 CRLF 3, 13 and 3.
So patterns pay wherever entries are alike, slices bound what content can cost, and splits
read what has no pattern, above all entries of more fields than a pattern has.

What is read is the same for every way. A way that fails is tried ever more seldom (`Attempts`),
and the next window is twice as long as what the last one has read, so that content decides
about little of the time.
"""

from __future__ import annotations

import re

from .ids import count_ascending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from .buffer import Buffer
    from .messages import Message, MessageFactory
    from .patterns import Pattern, Patterns

    Run: TypeAlias = tuple[list[bytes], list[list[bytes]], int]
    """The IDs of entries, their names and values, and the position after them."""

# The most bytes of a window: the words of more do not fit into the processor's cache, and
# are more objects for the garbage collector to look at.
MAX_WINDOW = 32_768
# The most entries of a window, and the fewest that are worth one.
_MAX_ENTRIES = 1024
_MIN_ENTRIES = 4
# The fewest bytes of an entry.
_SMALLEST = len(b"*2\r\n$3\r\n0-1\r\n*0\r\n")
# Size of entries, in bytes, above which the careful way is as fast; nothing is learnt from them.
MAX_ENTRY = 8192
# The most entries that are read in another way before the next attempt.
_MAX_PAUSE = 256
# The samples of entries that a pattern is made of.
_SAMPLES = 32
# A pattern is made of entries that no pattern reads, for each this many entries of the stream
# that came; at first for fewer. So learning goes on for ever, and takes a small share of the time.
_COST = 2048
_FIRST_CREDIT = 4 * _COST
# Entries that a pattern reads by captured names before it is checked if the names repeat.
_MAX_CAPTURED = 8192
# The largest number in the tables of numbers.
_MAX_LISTED = 8192


class _Numbers(dict[bytes, int]):
    """Numbers by the header that states them; further ones are added when they are seen."""

    def __init__(self, header: bytes, numbers: range) -> None:
        super().__init__((header % number, number) for number in numbers)
        form = re.escape(header).replace(b"%d", rb"(0|[1-9][0-9]{0,8})")
        self._fullmatch = re.compile(form).fullmatch

    def __missing__(self, header: bytes) -> int:
        found = self._fullmatch(header)
        if found is None:
            raise KeyError(header)
        number = int(found[1])
        if number <= _MAX_LISTED:
            self[header] = number
        return number


# Lengths of strings, and of arrays, by themselves and with what must stand before and after.
_SIZES = _Numbers(b"$%d", range(256))
_LENGTHS = _Numbers(b"*%d", range(256))
_BULKS = _Numbers(b"\r\n$%d\r\n", range(256))
_ARRAYS = _Numbers(b"\r\n*%d\r\n", range(256))
_IDS = _Numbers(b"*2\r\n$%d\r\n", range(3, 42))
_size_of = _SIZES.__getitem__


class Attempts:
    """A way of reading that is tried ever more seldom while it fails.

    Attributes:
        pause: The number of entries to read in another way before the next attempt.
    """

    __slots__ = ("_next_pause", "_streak", "pause")

    def __init__(self, pause: int = 0) -> None:
        self.pause: int = pause
        self._next_pause = 1
        self._streak = 0

    def note(self, read: int) -> None:
        """Note how many entries an attempt has read."""
        self._streak += read
        if self._streak >= 4 * self._next_pause:
            self._next_pause = 1
        if not read:
            self.pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)
            self._streak = 0


class Pace:
    """The knowledge of the entries of one stream.

    Attributes:
        entry_size: About how many bytes an entry takes; 0 if none was seen.
        entries: The most entries of the next window.
        pattern: The pattern of the entries seen last, if there is one.
        matching: The attempts to read by that pattern.
        splitting: The attempts to read by a split.
    """

    __slots__ = (
        "_credit",
        "_matched",
        "_others",
        "_patterns",
        "_samples",
        "entries",
        "entry_size",
        "matching",
        "pattern",
        "splitting",
    )

    def __init__(self, patterns: Patterns) -> None:
        self.entry_size: int = 0
        # As many as a pattern is made of.
        self.entries: int = _SAMPLES
        self.pattern: Pattern | None = None
        # The first entry shows whether a pattern of other streams reads it.
        self.matching: Attempts = Attempts(1)
        self.splitting: Attempts = Attempts()
        self._patterns = patterns
        self._credit = _FIRST_CREDIT
        # Since the last choice of a pattern: the number of entries that it has read, and of
        # the others, and some of these.
        self._matched = self._others = 0
        self._samples: list[list[bytes]] = []

    def note_window(self, read: int, left: int) -> None:
        """Note how many entries of a window were read, and how many bytes of it were not."""
        self.entries = _MAX_ENTRIES if left <= 2 * self.entry_size else max(_MIN_ENTRIES, 2 * read)

    def note_matched(self, number: int) -> None:
        """Note how many entries the pattern has read."""
        self.matching.note(number)
        self._matched += number
        if self.pattern and self.pattern.captures_names and self._matched >= _MAX_CAPTURED:
            # By now, names may repeat.
            self.pattern = None
            self._patterns.forget_captured()
            self._start_over()

    def learn(self, ids: list[bytes], entries: list[list[bytes]]) -> None:
        """Learn from entries that no pattern has read."""
        number = len(ids)
        self._others += number
        self.matching.pause -= number
        self.splitting.pause -= number
        if entries[-1]:
            # Streams are often alike.
            self.pattern = self._patterns.find(entries[-1][0], self.pattern)
        if self._credit + self._matched + self._others >= _COST:
            step = number // (2 * _SAMPLES) + 1
            pairs = zip(ids[::step], entries[::step], strict=True)
            self._samples += [[entry_id, *items] for entry_id, items in pairs if items]
            if len(self._samples) >= _SAMPLES:
                self._choose_pattern()

    def _choose_pattern(self) -> None:
        # If the pattern reads nearly all entries, the others need none.
        if self._matched <= 64 * self._others:
            known = self.pattern if self._matched > self._others else None
            pattern = self._patterns.choose(self._samples, known)
            # To find no other one takes less time.
            self._credit -= _COST // 4
            if pattern is not self.pattern:
                self._credit -= _COST * 3 // 4
                self.pattern = pattern
                self.matching = Attempts()
        self._start_over()

    def _start_over(self) -> None:
        self._credit = min(self._credit + self._matched + self._others, _FIRST_CREDIT)
        self._matched = self._others = 0
        self._samples = []


class RunReader:
    """Reads the entries of a buffer that can be read at once.

    Attributes:
        unmade: Messages that could not be made.
    """

    def __init__(self, buffer: Buffer, factory: MessageFactory) -> None:
        self._buffer = buffer
        self._factory = factory
        self.unmade: list[Message] = []

    def read(self, name: object, pace: Pace, most: int) -> list[Message]:
        """Read the entries at the buffer's position that can be read at once.

        Args:
            name: The stream's name.
            pace: The stream's pace, which is kept up to date.
            most: The most entries to read.

        Returns:
            The messages of the first entries, in ID order; none if the next entry is not
            all there, or has to be read with care.
        """
        start, size = self._buffer.pos, pace.entry_size
        rest = len(self._buffer.data) - start
        if rest < _SMALLEST or size > MAX_ENTRY:
            return []
        is_window = most >= _MIN_ENTRIES and rest >= _MIN_ENTRIES * size
        if is_window and pace.pattern is not None and pace.matching.pause <= 0:
            messages = self._match(name, pace, pace.pattern, most)
            if messages:
                return messages
        if pace.matching.pause > 0:
            most = min(most, pace.matching.pause)
        run: Run = [], [], start
        if is_window and most >= _MIN_ENTRIES and pace.splitting.pause <= 0:
            most = min(most, pace.entries)
            limit = min(rest, MAX_WINDOW, most * size * 9 // 8 + 64) if size else min(rest, 4096)
            run = self._split(start, start + limit, most)
            pace.splitting.note(len(run[0]))
            pace.note_window(len(run[0]), 0 if len(run[0]) == most else start + limit - run[2])
        if not run[0]:
            run = self._slice(start, min(most, max(_MIN_ENTRIES, pace.splitting.pause)))
        ids, entries, end = run
        if not ids:
            return []
        self._buffer.pos = end
        pace.entry_size = (end - start) // len(ids) + 1
        pace.learn(ids, entries)
        return self._factory.make_each(name, ids, entries, self.unmade)

    def _match(self, name: object, pace: Pace, pattern: Pattern, most: int) -> list[Message]:
        """Read a window of entries by pattern."""
        buffer, start = self._buffer, self._buffer.pos
        limit = min(MAX_WINDOW, min(most, pace.entries) * pace.entry_size * 9 // 8 + 64)
        end = min(len(buffer.data), start + limit)
        messages: list[Message] = []
        try:
            messages, buffer.pos = pattern.read(name, buffer.data, start, end, most)
        except Exception:  # noqa: BLE001  # `fields` is the caller's, and may raise any
            messages.clear()
        if messages:
            pace.entry_size = (buffer.pos - start) // len(messages) + 1
        pace.note_window(len(messages), 0 if len(messages) == most else end - buffer.pos)
        pace.note_matched(len(messages))
        return messages

    def _split(self, start: int, end: int, most: int) -> Run:
        """Read entries between two positions, up to the first with CRLF in it."""
        words = self._buffer.data[start:end].split(b"\r\n")
        tail = len(words.pop())
        ids: list[bytes] = []
        entries: list[list[bytes]] = []
        at = 0
        try:
            for _ in range(most):
                strings_end = at + 4 + 2 * _LENGTHS[words[at + 3]]
                items = words[at + 5 : strings_end : 2]
                if (
                    strings_end > len(words)
                    or list(map(len, items)) != list(map(_size_of, words[at + 4 : strings_end : 2]))
                    or words[at] != b"*2"
                    or _SIZES[words[at + 1]] != len(words[at + 2])
                    or len(items) % 2
                ):
                    break
                ids.append(words[at + 2])
                entries.append(items)
                at = strings_end
        except (IndexError, KeyError):
            pass  # the entry is not all there, or a string was split
        if count_ascending(ids) < len(ids):
            return [], [], start
        del words[:at]
        return ids, entries, end - tail - sum(map(len, words)) - 2 * len(words)

    def _slice(self, start: int, most: int) -> Run:
        """Read entries one by one, up to the first that is not right, or not all there."""
        data, pos = self._buffer.data, start
        ids: list[bytes] = []
        entries: list[list[bytes]] = []
        ends = [start]
        try:
            for _ in range(most):
                id_start = data.find(b"\n", pos + 4, pos + 9) + 1
                id_end = id_start + _IDS[data[pos:id_start]]
                at = data.find(b"\n", id_end + 2, id_end + 14) + 1
                number = _ARRAYS[data[id_end:at]]
                items, pos = slice_strings(data, at, number)
                if len(items) < number or number % 2:
                    break
                ids.append(data[id_start:id_end])
                entries.append(items)
                ends.append(pos)
        except KeyError:
            pass
        number = count_ascending(ids)
        return ids[:number], entries[:number], ends[number]


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
    # first for one and two digits: that is faster than to search for its end.
    stop = pos - 2
    try:
        for _ in range(number):
            if (size := size_of(data[stop : stop + 6])) is not None:
                start = stop + 6
            elif (size := size_of(data[stop : stop + 7])) is not None:
                start = stop + 7
            else:
                start = data.find(b"\n", stop + 2, stop + 14) + 1
                size = _BULKS[data[stop:start]]
            stop = start + size
            append(data[start:stop])
    except KeyError:
        pass  # not all there, or not as servers send it
    if strings and data[stop : stop + 2] != b"\r\n":
        # The last string is not all there, or not right; the others are.
        return slice_strings(data, pos, len(strings) - 1)
    return strings, stop + 2
