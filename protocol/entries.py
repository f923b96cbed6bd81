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
- `_split` splits a window of bytes at each ``CRLF $``. Then a string is one word with its
  length before it, as in ``4 CRLF year``. The size of the word decides what must stand before
  the string, since a longer string has no shorter length. If that stands there it is taken
  off; if not, the entry is left to the next way. So is an entry with ``CRLF $`` within a
  string, since the word ends there, and one of which the window holds only a part. The words
  that differ in form are compared whole: ``CRLF *2k`` after the ID and ``CRLF *2`` after the
  last value, before the next entry. A word that was right once as the name of a field, of
  which all bytes are the same, is right again.
- `_slice` takes as many bytes as a length states, and requires CRLF right after them.

The careful way (`EntryParser` in `xread`) goes on where it has stopped, in any pieces. Whatever
does not look as servers send it is left to the parser of values.

Why there are as many
=====================

Nothing has to be learnt for a split: it reads what has no pattern yet, and entries of more fields
than a pattern has. A pattern takes half as long for what it reads, and a millisecond or more to
be made, so it is made of samples of some hundred entries. Slices bound what content can cost,
and do not look at the bytes of long values.

What is read is the same for every way. A way that fails is tried ever more seldom (`Attempts`),
and the next window is twice as long as what the last one has read, so that content decides
about little of the time.
"""

from __future__ import annotations

import re
from functools import cache
from operator import ne

from .ids import count_ascending
from .patterns import MAX_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from .buffer import Buffer
    from .messages import Message, MessageFactory
    from .patterns import Pattern, Patterns

    Run: TypeAlias = tuple[list[bytes], list[list[bytes]], int]
    """The IDs of entries, their names and values, and the position after them."""
    Entries: TypeAlias = tuple[list[Any], list[Any], list[list[Any]]]
    """The words of IDs and of values, and each entry's names."""

# The most bytes of a window: the words of more do not fit into the processor's cache, and
# are more objects for the garbage collector to look at.
MAX_WINDOW = 32_768
# The most entries of a window, and the fewest that are worth one.
_MAX_ENTRIES = 1024
_MIN_ENTRIES = 4
# The fewest bytes of an entry, and what it begins with.
_SMALLEST = len(b"*2\r\n$3\r\n0-1\r\n*0\r\n")
_OPENING = b"*2\r\n$"
# Size of entries, in bytes, above which the careful way is as fast; nothing is predicted of them.
MAX_ENTRY = 8192
# The fewest fields that a split is worth.
_MIN_FIELDS = 8
# The most bytes for each field of an entry that a split is worth: it looks at every byte.
_MAX_FIELD = 300
# The samples of entries that a pattern is made of, some of each run.
_SAMPLES = 32
_FEW_SAMPLES = 4
# A pattern is made of entries that no pattern reads, for each this many entries of the stream
# that came; at first for fewer. So learning goes on for ever, and takes a small share of the time.
_COST = 2048
_FIRST_CREDIT = 4 * _COST
# Entries that a pattern reads by captured names before it is checked if the names repeat.
_MAX_CAPTURED = 8192
# The most entries that are read in another way before the next attempt.
_MAX_PAUSE = 256
# The largest number in the tables of numbers.
_MAX_LISTED = 8192
# The largest word with a length before it that is looked up in a table.
_MAX_WORD = 1026
# The most fields of an entry that is read by a split.
_MAX_SPLIT = 499
# The most schemas that are known at once, and bytes of one.
_MAX_SCHEMAS = 512
_MAX_SCHEMA = 4096


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


# Lengths of strings and of arrays with what must stand before and after them.
_BULKS = _Numbers(b"\r\n$%d\r\n", range(256))
_ARRAYS = _Numbers(b"\r\n*%d\r\n", range(256))
_IDS = _Numbers(b"*2\r\n$%d\r\n", range(3, 42))


class Attempts:
    """A way of reading that is tried ever more seldom while it fails.

    Attributes:
        pause: The number of entries to read in another way before the next attempt.
    """

    __slots__ = ("_next_pause", "_streak", "pause")

    def __init__(self) -> None:
        self.pause: int = 0
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
        entry_size: About how many bytes an entry takes; 1 if none was seen.
        fields: The number of fields of an entry seen last.
        entries: The most entries of the next window.
        pattern: The pattern of the entries seen last, if there is one.
        matching: The attempts to read by that pattern.
        splitting: The attempts to read by a split.
        words: The words of an entry's names, seen last.
        names: These names.
        wants_samples: Whether the next entries that no pattern reads are to be learnt from.
    """

    __slots__ = (
        "_credit",
        "_matched",
        "_others",
        "_patterns",
        "_samples",
        "entries",
        "entry_size",
        "fields",
        "matching",
        "names",
        "pattern",
        "splitting",
        "wants_samples",
        "words",
    )

    def __init__(self, patterns: Patterns) -> None:
        self.entry_size: int = 1
        self.fields: int = 1
        self.entries: int = _SAMPLES
        self.pattern: Pattern | None = None
        self.matching: Attempts = Attempts()
        self.splitting: Attempts = Attempts()
        self.words: list[Any] = []
        self.names: list[Any] = []
        # The first entry shows whether a pattern of other streams reads it.
        self.wants_samples: bool = True
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

    def note_split(self, number: int) -> None:
        """Note how many entries a split has read."""
        self.splitting.note(number)
        self.matching.pause -= number
        self._others += number
        self.fields = len(self.names)
        credit = self._credit + self._matched + self._others
        self.wants_samples = self.fields <= MAX_FIELDS and credit >= _COST
        if self.wants_samples:
            # So that samples come from many places.
            self.entries = min(self.entries, _SAMPLES)

    def learn(self, ids: list[bytes], entries: list[list[bytes]]) -> None:
        """Learn from entries that were sliced."""
        number = len(ids)
        self._others += number
        self.matching.pause -= number
        self.splitting.pause -= number
        if entries[-1]:
            # Streams are often alike.
            self.pattern = self._patterns.find(entries[-1][0], self.pattern)
        if self.wants_samples:
            step = number // (2 * _FEW_SAMPLES) + 1
            pairs = zip(ids[::step], entries[::step], strict=True)
            fresh = [[entry_id, *items] for entry_id, items in pairs if items]
            shared = self._samples
            if self.pattern is None and fresh:
                # Many streams may have few entries each.
                shared = self._patterns.samples_of(fresh[-1][1])
                shared += fresh
            self._samples += fresh
            samples = max(self._samples, shared, key=len)
            if len(samples) >= _SAMPLES:
                self._choose_pattern(samples)
                shared.clear()
        self.wants_samples = False

    def _choose_pattern(self, samples: list[list[bytes]]) -> None:
        # If the pattern reads nearly all entries, the others need none.
        if self._matched <= 64 * self._others:
            known = self.pattern if self._matched > self._others else None
            pattern = self._patterns.choose(samples, known)
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


class _Form:
    """The words of entries in one type, bytes or text.

    Args:
        form: Makes a string of that type.

    Attributes:
        make: Makes a string of that type.
        separator: The bytes that separate two words.
        mark: The end of an entry's last word, if another entry follows.
        count: The beginning of the number of strings, after the ID.
        counts: The numbers of strings by how they are stated.
    """

    def __init__(self, form: Callable[[bytes], Any]) -> None:
        self.make = form
        self.separator = form(b"\r\n$")
        self.mark = form(b"\r\n*2")
        self.count = form(b"\r\n*")
        numbers = range(2, 2 * _MAX_SPLIT + 1, 2)
        self.counts: dict[Any, int] = {form(b"%d" % number): number for number in numbers}
        self._join = form(b"").join
        self._cr = form(b"\r")
        # The length before a string, by the size of both; for other sizes bytes that no word holds.
        self._lengths = [self.separator] * (_MAX_WORD + 1)
        for number in range(_MAX_WORD - 5):
            length = form(b"%d\r\n" % number)
            self._lengths[len(length) + number] = length

    def strip(self, words: list[Any]) -> tuple[list[Any], int]:
        """Take the length off each word; return the strings, and how many are right at first."""
        lengths = self._lengths
        try:
            strings = [word.removeprefix(lengths[len(word)]) for word in words]
        except IndexError:
            strings = [word.removeprefix(self._length_before(len(word))) for word in words]
        # One CR is in each length.
        taken = self._join(words).count(self._cr) - self._join(strings).count(self._cr)
        if taken == len(words):
            return strings, taken
        return strings, [*map(ne, map(len, words), map(len, strings)), False].index(False)

    def _length_before(self, size: int) -> Any:
        """Return what must stand before a string if both take so many bytes."""
        if size <= _MAX_WORD:
            return self._lengths[size]
        # In a window, a length has no more digits.
        for number in (size - 6, size - 7):
            length = b"%d\r\n" % number
            if len(length) + number == size:
                return self.make(length)
        return self.separator

    def cut(self, words: list[Any], end: Any) -> list[Any]:
        """Take an end off each word; return nothing if one of them has another end."""
        cut = [word.removesuffix(end) for word in words]
        taken = len(self._join(words)) - len(self._join(cut))
        return cut if taken == len(end) * len(words) else []


@cache
def _form(*, is_text: bool) -> _Form:
    return _Form(bytes.decode if is_text else bytes)


class RunReader:
    """Reads the entries of a buffer that can be read at once.

    Attributes:
        unmade: Messages that could not be made.
    """

    def __init__(self, buffer: Buffer, factory: MessageFactory) -> None:
        self._buffer = buffer
        self._factory = factory
        self.unmade: list[Message] = []
        # From the words of an entry's names to these names, in the form that the caller wants.
        self._schemas: dict[Any, list[Any]] = {}

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
        if rest < _SMALLEST:
            return []
        messages: list[Message] = []
        is_window = most >= _MIN_ENTRIES and rest >= _MIN_ENTRIES * size
        if is_window and pace.pattern is not None and pace.matching.pause <= 0:
            messages = self._match(name, pace, pace.pattern, most)
        if pace.matching.pause > 0:
            most = min(most, pace.matching.pause)
        if not (messages or pace.wants_samples or pace.splitting.pause > 0):
            fields = min(most, rest // size) * pace.fields
            if fields >= _MIN_FIELDS and size <= _MAX_FIELD * (pace.fields + 1):
                messages = self._split(name, pace, min(most, pace.entries))
        if messages:
            return messages
        ids, entries, end = self._slice(start, min(most, max(_MIN_ENTRIES, pace.splitting.pause)))
        if not ids:
            return []
        self._buffer.pos = end
        pace.entry_size = (end - start) // len(ids) + 1
        pace.fields = len(entries[-1]) // 2
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

    def _split(self, name: object, pace: Pace, most: int) -> list[Message]:
        """Read a window of entries by splitting it into words."""
        buffer, start = self._buffer, self._buffer.pos
        size = min(MAX_WINDOW, most * pace.entry_size * 9 // 8 + 64)
        window: Any = buffer.data[start : start + size]
        end = start + len(window)
        is_text = self._factory.is_ascii_based and window.isascii()
        form = _form(is_text=is_text)
        words = (window.decode() if is_text else window).split(form.separator)
        # The window may be followed by another entry, or by nothing.
        added = 2 * window.endswith(b"\r\n")
        last = words.pop()
        if added:
            words.append(last + form.mark[2:])
        messages: list[Message] = []
        used = 0
        try:
            if words and words.pop(0) == form.mark[2:]:
                messages, used = self._read_words(name, pace, form, words, most)
        except Exception:  # noqa: BLE001  # `fields` is the caller's, and may raise any
            messages.clear()
        if messages:
            if not added:
                words.append(last)
            # The next one begins before its first word.
            left = len(form.separator.join([form.mark[2:], *words[used:]])) - added
            buffer.pos = end - left
            pace.entry_size = (buffer.pos - start) // len(messages) + 1
        pace.note_window(len(messages), 0 if len(messages) == most else end - buffer.pos)
        pace.note_split(len(messages))
        return messages

    def _read_words(
        self, name: object, pace: Pace, form: _Form, words: list[Any], most: int
    ) -> tuple[list[Message], int]:
        """Make messages of the first entries; return them, and how many words they were."""
        heads, values, schemas = self._take_alike(pace, form, words, most)
        if not heads:
            heads, values, schemas = self._take_each(pace, form, words, most)
        if not heads:
            return [], 0
        ids, number = form.strip(heads)
        strings, right = form.strip(values)
        if right < len(values):
            for at, names in enumerate(schemas):
                right -= len(names)
                if right < 0:
                    number = min(number, at)
                    break
        if count_ascending(ids[:number]) < number:
            return [], 0
        del schemas[number:]
        return self._make(name, ids, schemas, strings), sum(map(len, schemas)) * 2 + number

    def _take_alike(self, pace: Pace, form: _Form, words: list[Any], most: int) -> Entries:
        """Take entries that all have the names seen last; none if one of them has others."""
        width = len(pace.names)
        step = 2 * width + 1
        number = min(most, len(words) // step)
        block = words[: number * step]
        heads = block[::step]
        del block[::step]
        if width and block[::2] == pace.words * number:
            values = block[1::2]
            heads = form.cut(heads, form.make(b"\r\n*%d" % (2 * width)))
            last = form.cut(values[width - 1 :: width], form.mark)
            if heads and last:
                values[width - 1 :: width] = last
                return heads, values, [pace.names] * number
        return [], [], []

    def _take_each(self, pace: Pace, form: _Form, words: list[Any], most: int) -> Entries:
        """Take entries of any names, up to the first that does not look as it must."""
        counts, mark = form.counts, form.mark
        heads: list[Any] = []
        values: list[Any] = []
        schemas: list[list[Any]] = []
        at = 0
        try:
            for _ in range(most):
                head, _, count = words[at].rpartition(form.count)
                end = at + 1 + counts[count]
                last = words[end - 1]
                if last[-4:] != mark:
                    break
                fields = words[at + 1 : end : 2]
                if fields != pace.words:
                    pace.names = self._names_of(form, fields)
                    pace.words = fields
                values += words[at + 2 : end : 2]
                values[-1] = last[:-4]
                heads.append(head)
                schemas.append(pace.names)
                at = end
        except (IndexError, KeyError):
            pass  # not all there, or not as servers send it
        return heads, values, schemas

    def _names_of(self, form: _Form, words: list[Any]) -> list[Any]:
        """Return the names that words hold, in the form that the caller wants.

        Raises:
            KeyError: A word is not right.
        """
        key = form.separator.join(words)
        names = self._schemas.get(key)
        if names is None:
            names, right = form.strip(words)
            if right < len(words):
                raise KeyError(words[right])
            if form.make is bytes:
                names = [*map(self._factory.item, names)]
            if len(self._schemas) >= _MAX_SCHEMAS:
                self._schemas.clear()
            if len(key) <= _MAX_SCHEMA:
                self._schemas[key] = names
        return names

    def _make(
        self, name: object, ids: list[Any], schemas: list[list[Any]], strings: list[Any]
    ) -> list[Message]:
        factory = self._factory
        fields, encoding, errors = factory.fields, factory.encoding, factory.errors
        if encoding is not None and type(ids[0]) is bytes:
            ids = [entry_id.decode() for entry_id in ids]
            strings = [str(string, encoding, errors) for string in strings]
        values = iter(strings)
        entries = zip(ids, schemas)  # noqa: B905
        # The names come first, so that they alone decide how many values are taken.
        if fields in (dict, list):
            return [(name, entry_id, fields(zip(names, values))) for entry_id, names in entries]  # noqa: B905
        return [
            (name, entry_id, fields(iter([*zip(names, values)])))  # noqa: B905
            for entry_id, names in entries
        ]

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
