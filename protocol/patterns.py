r"""Patterns: a window of entries whose schemas are known is read by one call into C.

A schema is the names of an entry's fields, in their order. They stand in a regular
expression literally, and IDs and values are captured. Where names do not repeat, a schema is
only a number of fields, and names are captured like values.

What is captured at one place, a column, is one of these, depending on the lengths seen there:

- one length: ``$36``, CRLF, and any 36 bytes. Nothing is left to compare.
- some lengths: the length that is stated, or only its last digit where the others are always
  the same, and all up to the next CR or, where CR was seen, up to the next CRLF that a header
  may follow. The length is compared with that of what was captured, before a message is made.

So a pattern is right for the reason that `entries` gives, whatever it matches.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice, zip_longest

from .ids import count_ascending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeAlias

    from .messages import Message, MessageFactory

    Names: TypeAlias = tuple[bytes | None, ...]
    """The names of a schema; None for names that are captured."""
    Column: TypeAlias = tuple[int, int, bool]
    """The shortest length seen, the longest, and whether any CR was."""

# The most schemas of one pattern, fields in all of them, and bytes of names. To compile
# a larger one takes milliseconds, in which nothing else is done.
_MAX_SCHEMAS = 8
MAX_FIELDS = 32
_MAX_NAMES = 512
# The most patterns that are kept.
_MAX_PATTERNS = 32
# How many entries of one schema share a match, what they capture together, and the size of the
# expression of them all: each match takes time of its own, but a larger one is made slowly.
# For several schemas this gains nothing, and to compile the conditions takes 10 ms.
_MAX_AT_ONCE = 8
_MAX_CAPTURES = 32
_MAX_SIZE = 2048
# The longest string of which the length is compared; an entry with a longer one is sliced.
_MAX_LENGTH = 4096

_NEXT_ENTRY = rb"(?:\*2\r\n\$|\Z)"


@cache
def _stated(tens: int | None, *, is_text: bool) -> list[Any]:
    """Return the digits that state each length; the last digit only, if `tens` come before it."""
    if tens is None:
        return [("%d" if is_text else b"%d") % length for length in range(_MAX_LENGTH + 1)]
    # Strings of one byte are what matching returns: one object each, quick to compare.
    digits = [("0123456789" if is_text else b"0123456789")[at : at + 1] for at in range(10)]
    return [digits[0][:0]] * (10 * tens) + digits


def widen(columns: Iterable[Column], others: Iterable[Column]) -> list[Column]:
    """Return what covers both of two lists of columns."""
    return [
        (min(one[0], two[0]), max(one[1], two[1]), one[2] or two[2]) if one and two else one or two
        for one, two in zip_longest(columns, others)
    ]


def _rounded(column: Column) -> Column:
    """Return a column that covers one and the like of it."""
    low, high, has_cr = column
    if low == high <= _MAX_LENGTH:
        return low, high, False
    # The first bytes, which all are thought to have, are taken without a look at them.
    sure = min(max(0, low - (high - low) - 8) & ~7, _MAX_LENGTH // 2)
    tens = high // 10 * 10
    if low >= tens and tens + 9 < _MAX_LENGTH and not has_cr:
        return max(sure, tens), tens + 9, False
    return sure, _MAX_LENGTH, has_cr


class _Reader:
    """Reads entries, some by each match, from bytes or from text."""

    def __init__(
        self,
        at_once: int,
        match: re.Pattern[Any],
        make: Callable[..., None],
    ) -> None:
        self._at_once = at_once
        self._match = match
        self._make = make

    def __call__(
        self, name: object, window: Any, pos: int, stop: int, messages: list[Message]
    ) -> int:
        """Add the messages that are right, up to the first that is not; return where it is."""
        rows = self._match.findall(window, pos, stop)
        # The rest, which does not match, is the last thing of the last row.
        rest = len(rows[-1][-1])
        if rest:
            rows.pop()
        read = len(messages)
        try:
            self._make(name, rows, messages)
        except IndexError:
            pass  # something is longer than any length that is listed
        number = (len(messages) - read) // self._at_once
        return stop - rest if number == len(rows) else self.skip(window, pos, stop, number)

    def skip(self, window: Any, pos: int, stop: int, number: int) -> int:
        """Return the position after a number of matches."""
        if not number:
            return pos
        last: re.Match[Any] = next(
            islice(self._match.finditer(window, pos, stop), number - 1, None)
        )
        return last.end()


class Pattern:
    """Reads windows of entries of some schemas.

    Attributes:
        schemas: The schemas.
        captures_names: Whether any names are read.
        columns: What was seen of the columns: of the ID, and of each name and value.
    """

    def __init__(
        self, schemas: Sequence[Names], columns: Sequence[Column], factory: MessageFactory
    ) -> None:
        self.schemas = list(schemas)
        self.captures_names = schemas[0][0] is None
        self.columns = list(columns)
        self._columns = list(map(_rounded, columns))
        self._factory = factory
        self._targets: list[str] = []
        entry = self._write()
        at_once = min(_MAX_AT_ONCE, _MAX_CAPTURES // len(self._targets), _MAX_SIZE // len(entry))
        sizes = [at_once, 1] if at_once > 1 and len(schemas) == 1 else [1]
        self._readers = [self._reader(entry, size, is_text=False) for size in sizes]
        # Where each byte is one letter, all the lengths hold for letters as well.
        texts = sizes if factory.is_ascii_based else []
        self._text_readers = [self._reader(entry, size, is_text=True) for size in texts]

    @staticmethod
    def can_read(schemas: Sequence[Names]) -> bool:
        """Tell whether there may be a pattern of these schemas."""
        return (
            0 < len(schemas) <= _MAX_SCHEMAS
            and all(schemas)
            and sum(map(len, schemas)) <= MAX_FIELDS
            and sum(len(name or b"") for names in schemas for name in names) <= _MAX_NAMES
        )

    def reads(self, names: Names) -> bool:
        """Tell whether entries of these names are read, if their lengths are as expected."""
        return names in self.schemas or (None,) * len(names) in self.schemas

    def covers(self, other: Pattern) -> bool:
        """Tell whether all schemas of another pattern are read as well."""
        return {*other.schemas} <= {*self.schemas}

    def read(
        self, name: object, data: bytes, start: int, end: int, most: int
    ) -> tuple[list[Message], int]:
        """Read entries, up to the first that the pattern does not match, or that is not right.

        Returns:
            Their messages, and the position after them.
        """
        window: Any = data
        readers, base = self._readers, 0
        if self._text_readers and (piece := data[start:end]).isascii():
            readers, base, window = self._text_readers, start, piece.decode()
        messages: list[Message] = []
        pos, stop = start - base, end - base
        for reader in readers:
            if pos < stop:
                pos = reader(name, window, pos, stop, messages)
        number = min(most, count_ascending([entry_id for _, entry_id, _ in messages]))
        if number < len(messages):
            del messages[number:]
            pos = readers[-1].skip(window, start - base, stop, number)
        return messages, base + pos

    # Of several schemas, each leaves a mark where the header of its
    # fields has matched. What follows depends on the mark, ``(?(3)this|that)``, so that they
    # share what they capture: all that is captured takes time, also if nothing is in it.

    def _write(self) -> bytes:
        end = b"\r\n" if len(self.schemas) == 1 else b"(\r)\n"
        entry_id = self._capture(0, b"")
        if len(self.schemas) > 1:
            self._targets += [f"m{at}" for at in range(len(self.schemas))]
        heads = [rb"\*%d%b%b" % (2 * len(names), end, _literal(names[0])) for names in self.schemas]
        fields = self._fields(0, self.schemas)
        return rb"\*2\r\n%b(?:%b)%b" % (entry_id, b"|".join(heads), fields)

    def _capture(self, at: int, after: bytes) -> bytes:
        """Write the expression for what is captured at a place, before `after`."""
        low, high, has_cr = self._columns[at]
        if low == high:
            self._targets.append(f"c{at}")
            return rb"\$%d\r\n(%b)\r\n" % (low, _any(low))
        self._targets += [f"s{at}", f"c{at}"]
        digits = b"[0-9]{1,9}+"
        if high < _MAX_LENGTH:
            digits = b"."
        tens = b"%d" % (high // 10) if 10 <= high < _MAX_LENGTH else b""
        body = rb"[^\r]*+(?:\r(?!\n%b)[^\r]*+)*+" % after
        if not has_cr:
            body = rb"[^\r]{0,%d}+" % (high - low)
        return rb"\$%b(%b)\r\n(%b%b)\r\n" % (tens, digits, _any(low), body)

    def _fields(self, at: int, schemas: list[Names]) -> bytes:
        """Write the expression of the fields from one on, for the schemas that have it."""
        others = [names for names in schemas if len(names) > at]
        if not others:
            return b""
        *first, last = others
        expression = self._capture(2 * at + 1, rb"\$") if last[at] is None else b""
        if last[at] is not None and at:
            expression = _literal(last[at])
            for names in first:
                if names[at] != last[at]:
                    literal = _literal(names[at])
                    expression = b"(?(%d)%b|%b)" % (self._mark(names), literal, expression)
        expression += self._capture(2 * at + 2, self._after(at, others))
        expression += self._fields(at + 1, others)
        for names in schemas:
            if len(names) == at:
                expression = b"(?(%d)|%b)" % (self._mark(names), expression)
        return expression

    def _after(self, at: int, schemas: list[Names]) -> bytes:
        """Write the expression for what may follow a value."""
        literals = {_literal(names[at + 1]) for names in schemas if len(names) > at + 1}
        if not literals:
            return _NEXT_ENTRY
        if len(literals) == 1 and all(len(names) > at + 1 for names in schemas):
            return literals.pop() or rb"\$"
        return b"[$*]"

    def _mark(self, names: Names) -> int:
        return 1 + self._targets.index(f"m{self.schemas.index(names)}")

    def _reader(self, entry: bytes, at_once: int, *, is_text: bool) -> _Reader:
        """Make what reads so many entries by each match."""
        factory = self._factory
        decodes = factory.encoding is not None and not is_text
        scope: dict[str, Any] = {
            "fields": factory.fields,
            "encoding": factory.encoding,
            "errors": factory.errors,
        }
        wrong, data = "", ""
        for number, names in reversed(list(enumerate(self.schemas))):
            places = [0]
            pairs = []
            for at, name in enumerate(names):
                places += [2 * at + 2] if name is not None else [2 * at + 1, 2 * at + 2]
                scope[f"n{number}_{at}"] = None if name is None else factory.item(name)
                value = "str(c%d, encoding, errors)" if decodes else "c%d"
                title = f"n{number}_{at}" if name is not None else value % (2 * at + 1)
                pairs.append((title, value % (2 * at + 2)))
            choice = f" if m{number} else " if data else ""
            data = self._data(pairs) + choice + data
            wrong = f"({self._wrong(places)}{choice}{wrong})"
        for at, (low, high, _) in enumerate(self._columns):
            if low < high:
                tens = high // 10 if high < _MAX_LENGTH else None
                scope[f"l{at}"] = _stated(tens, is_text=is_text)
        message = f"(name, {'c0.decode()' if decodes else 'c0'}, {data})"
        copies = [
            re.sub(
                r"\b([scm][0-9]+)\b", rf"\1_{copy}", f"{','.join(self._targets)};{wrong};{message}"
            )
            for copy in range(at_once)
        ]
        targets, wrongs, made = zip(*[copy.split(";") for copy in copies], strict=True)
        arguments = "".join(f", {each}={each}" for each in scope)
        wrong = " or ".join(each for each in wrongs if each != "False") or "False"
        source = (
            f"def make(name, rows, messages{arguments}):\n"
            f" for {', '.join(targets)}, _ in rows:\n"
            f"  if {wrong}: return\n"
            f"  messages += {', '.join(made)},\n"
        )
        # The source is made of names from here alone; what came from outside is in the scope.
        exec(source, scope)  # noqa: S102
        expression: Any = entry * at_once + b"|(.+)"
        if is_text:
            expression = expression.decode("latin-1")
        match = re.compile(expression, re.DOTALL)
        return _Reader(at_once, match, scope["make"])

    def _wrong(self, places: list[int]) -> str:
        """Write the condition that one of the lengths stated at some places is wrong."""
        conditions = []
        for at in places:
            low, high, _ = self._columns[at]
            if low < high:
                listed = f"l{at}[len(c{at})]"
                is_same = f"s{at} is not {listed} and " if high < _MAX_LENGTH else ""
                conditions.append(f"{is_same}s{at} != {listed}")
        return " or ".join(conditions) or "False"

    def _data(self, pairs: list[tuple[str, str]]) -> str:
        """Write the expression for the data."""
        if self._factory.fields is dict:
            return "{" + ", ".join(f"{name}: {value}" for name, value in pairs) + "}"
        source = "[" + ", ".join(f"({name}, {value})" for name, value in pairs) + "]"
        return source if self._factory.fields is list else f"fields({source})"


def _any(length: int) -> bytes:
    """Write the expression for so many bytes, whatever they are."""
    return b".{%d}" % length if length else b""


def _literal(name: bytes | None) -> bytes:
    return b"" if name is None else re.escape(b"$%d\r\n%b\r\n" % (len(name), name))


class Patterns:
    """The patterns in use, which streams with the same schemas share."""

    def __init__(self, factory: MessageFactory) -> None:
        self._factory = factory
        self._patterns: dict[tuple[frozenset[Names], tuple[Column, ...]], Pattern] = {}
        self._by_names: dict[Names, Pattern] = {}

    def find(self, names: Names) -> Pattern | None:
        """Find the latest pattern that reads a schema."""
        return self._by_names.get(names) or self._by_names.get((None,) * len(names))

    def get(self, schemas: Sequence[Names], columns: Sequence[Column]) -> Pattern:
        """Return the pattern of some schemas, made at need."""
        size = 1 + 2 * max(map(len, schemas))
        rounded = tuple(map(_rounded, columns[:size]))
        key = frozenset(schemas), rounded
        pattern = self._patterns.get(key)
        if pattern is None:
            if len(self._patterns) >= _MAX_PATTERNS:
                self._patterns.clear()
                self._by_names.clear()
            pattern = self._patterns[key] = Pattern(schemas, columns[:size], self._factory)
        pattern.columns = widen(pattern.columns, columns[:size])
        self._by_names.update(dict.fromkeys(schemas, pattern))
        return pattern
