r"""Patterns: a window of entries of known fields is read by one call into C.

A pattern is made of samples of entries. The names of fields stand in a regular expression
literally, in the order in which the entries have them; fields that some entries lack are
optional. IDs and values are captured. Where names do not repeat, they are captured as well.

A string that is captured, a column, is matched in one of two ways:

- one length, if all samples had that: ``$36``, CRLF, and any 36 bytes. Nothing is left to compare.
- any length: the length that is stated, and all up to the next CR or, where samples had CR, up
  to the next CRLF that a header may follow. The length is compared with that of what was
  captured, before a message is made.

An entry with optional fields states how many it has, and that is compared too. So a pattern is
right for the reason that `entries` gives, whatever it matches.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import groupby, islice

from .ids import count_ascending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeAlias

    from .messages import Message, MessageFactory

    Column: TypeAlias = tuple[int, int, bool]
    """The shortest length seen, the longest, and whether any CR was."""
    Field: TypeAlias = tuple[bytes | None, Column, Column, int]
    """The name, None if it is captured; the columns of name and value; 0 if all entries have it,
    else a number that it shares with its neighbours that are there whenever it is."""

# The most fields of a pattern, and bytes of names: to compile a larger one takes milliseconds,
# in which nothing else is done. A name that is captured takes as long as a value.
MAX_FIELDS = 32
_MAX_CAPTURED_NAMES = 16
_MAX_NAMES = 512
# The share of samples that may lack in a pattern, and that a name is in at least.
_MAX_OTHERS = 8
_MIN_SHARE = 32
# The most names for each that an entry has: each takes time, also if it is not there.
_MAX_ABSENT = 4
# The most patterns that are kept.
_MAX_PATTERNS = 32
# The most CR in a string: each takes time of its own, and slices take less for many.
_MAX_CR = 64
# The longest string of which the length is compared; an entry with a longer one is sliced.
_MAX_LENGTH = 4096


@cache
def _numbers(*, is_text: bool) -> list[Any]:
    """Write all numbers up to the longest length."""
    return [("%d" if is_text else b"%d") % number for number in range(_MAX_LENGTH + 1)]


def _column_of(
    strings: Sequence[bytes], known: Column | None, *, is_optional: bool = False
) -> Column:
    """Return what covers some strings and those known; there is one at least."""
    lengths = [*map(len, strings), *(known or ())[:2]]
    has_cr = bool(known and known[2]) or b"\r" in b"".join(strings)
    # An optional field has a column of which the stated length is captured, so that it shows.
    return min(lengths), max(lengths) + is_optional, has_cr


def _rounded(column: Column) -> Column:
    """Return a column that covers one and the like of it."""
    low, high, has_cr = column
    if low == high <= _MAX_LENGTH:
        return low, high, False
    # The first bytes, which all are thought to have, are taken without a look at them.
    sure = min(max(0, low - (high - low) - 8) & ~7, _MAX_LENGTH // 2)
    return sure, 9 if high < 10 and not has_cr else _MAX_LENGTH, has_cr


class _Reader:
    """Reads entries from bytes or from text."""

    def __init__(self, match: re.Pattern[Any], make: Callable[..., None]) -> None:
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
        number = len(messages) - read
        return stop - rest if number == len(rows) else self.skip(window, pos, stop, number)

    def skip(self, window: Any, pos: int, stop: int, number: int) -> int:
        """Return the position after a number of matches."""
        if not number:
            return pos
        matches = self._match.finditer(window, pos, stop)
        last: re.Match[Any] = next(islice(matches, number - 1, None))
        return last.end()


class Pattern:
    """Reads windows of entries.

    Attributes:
        fields: The fields of the entries, in their order.
        id_column: The column of the IDs.
        captures_names: Whether the names are captured.
    """

    def __init__(self, id_column: Column, fields: Sequence[Field], factory: MessageFactory) -> None:
        self.id_column = id_column
        self.fields = fields
        self.captures_names: bool = fields[0][0] is None
        self._factory = factory
        # The names of what is captured, in the code that makes messages of it.
        self._targets: list[str] = []
        # The columns of which lengths are captured, and whether these have one digit.
        self._stated: dict[str, bool] = {}
        entry = self._write()
        self._reader = self._make_reader(entry, is_text=False)
        # If each byte is one letter, all the lengths hold for letters as well.
        self._text_reader = (
            self._make_reader(entry, is_text=True) if factory.is_ascii_based else None
        )

    def read(
        self, name: object, data: bytes, start: int, end: int, most: int
    ) -> tuple[list[Message], int]:
        """Read entries, up to the first that the pattern does not match, or that is not right.

        Returns:
            Their messages, and the position after them.
        """
        window: Any = data
        reader, base = self._reader, 0
        if self._text_reader and (piece := data[start:end]).isascii():
            reader, base, window = self._text_reader, start, piece.decode()
        messages: list[Message] = []
        stop = end - base
        pos = reader(name, window, start - base, stop, messages)
        number = min(most, count_ascending([entry_id for _, entry_id, _ in messages]))
        if number < len(messages):
            del messages[number:]
            pos = reader.skip(window, start - base, stop, number)
        return messages, base + pos

    def _write(self) -> bytes:
        """Write the expression for an entry."""
        parts = [rb"\*2\r\n", self._capture("0", self.id_column, b"")]
        if any(block for *_, block in self.fields):
            self._targets.append("stated")
            parts.append(rb"\*([0-9]{1,4}+)\r\n")
        else:
            parts.append(rb"\*%d\r\n" % (2 * len(self.fields)))
        ends = b""
        for block, group in groupby(enumerate(self.fields), lambda each: each[1][-1]):
            parts.append(b"(?:" if block else b"")
            for at, (name, names, values, _) in group:
                parts.append(_literal(name) or self._capture(f"n{at}", names, rb"\$"))
                parts.append(self._capture(f"v{at}", values, self._after(at)))
            if block and self.captures_names:
                # After a field that is not there, there is no other one.
                ends += b"|)"
            elif block:
                parts.append(b"|)")
        return b"".join(parts) + ends

    def _capture(self, target: str, column: Column, after: bytes) -> bytes:
        """Write the expression for what is captured, before `after`."""
        low, high, has_cr = _rounded(column)
        sure = b".{%d}" % low if low else b""
        if low == high:
            self._targets.append(f"c{target}")
            return rb"\$%d\r\n(%b)\r\n" % (low, sure)
        self._targets += [f"s{target}", f"c{target}"]
        body = rb"[^\r]*+(?:\r(?!\n%b)[^\r]*+){0,%d}+" % (after, _MAX_CR) if has_cr else rb"[^\r]*+"
        self._stated[target] = high < 10
        digits = b"." if high < 10 else b"[0-9]++"
        return rb"\$(%b)\r\n(%b%b)\r\n" % (digits, sure, body)

    def _after(self, at: int) -> bytes:
        """Write the expression for what may follow a value."""
        if at + 1 == len(self.fields):
            return rb"(?:\*2\r\n\$|\Z)"
        name, *_, block = self.fields[at + 1]
        return rb"(?:[$*]|\Z)" if block else _literal(name) or rb"\$"

    def _make_reader(self, entry: bytes, *, is_text: bool) -> _Reader:
        factory = self._factory
        scope: dict[str, Any] = {
            "fields": factory.fields,
            "encoding": factory.encoding,
            "errors": factory.errors,
            "numbers": _numbers(is_text=is_text),
        }
        for at, (name, *_) in enumerate(self.fields):
            scope[f"n{at}"] = None if name is None else factory.item(name)
        wrong, statements, message = self._code(
            decodes=factory.encoding is not None and not is_text
        )
        source = (
            f"def make(name, rows, messages, {', '.join(f'{each}={each}' for each in scope)}):\n"
            f" for {', '.join(self._targets)}, _ in rows:\n"
            f"  if {wrong}: return\n"
            f"{statements}"
            f"  messages.append({message})\n"
        )
        # The source is made of names from here alone; what came from outside is in the scope.
        exec(source, scope)  # noqa: S102
        expression: Any = entry + b"|(.+)"
        if is_text:
            expression = expression.decode("latin-1")
        return _Reader(re.compile(expression, re.DOTALL), scope["make"])

    def _code(self, *, decodes: bool) -> tuple[str, str, str]:
        """Write the code for an entry: what is wrong with it, statements, and its message."""
        item = "str({}, encoding, errors)" if decodes else "{}"
        entry_id = "c0.decode()" if decodes else "c0"
        is_dict = self._factory.fields is dict
        form, pair = ("{{{}}}", "{}: {}") if is_dict else ("[{}]", "({}, {})")
        add = "data[{}] = {}" if is_dict else "data.append(({}, {}))"
        wrong, pairs, lines, required = [self._wrong("0")], [], [], 0
        for block, group in groupby(enumerate(self.fields), lambda each: each[1][-1]):
            places = [(at, name) for at, (name, *_) in group]
            checks = [self._wrong(f"{kind}{at}") for at, _ in places for kind in "nv"]
            found = [
                (item.format(f"cn{at}") if name is None else f"n{at}", item.format(f"cv{at}"))
                for at, name in places
            ]
            adds = [add.format(*names_and_values) for names_and_values in found]
            if block:
                lines.append(f"if sv{places[0][0]}:")
                lines += [f" {line}" for line in (f"if {_any_of(checks)}: return", *adds)]
                lines.append(f" number += {2 * len(places)}")
                continue
            required += 2 * len(places)
            wrong += checks
            lines += adds if lines else []
            pairs += [] if lines else [pair.format(*each) for each in found]
        data = form.format(", ".join(pairs))
        if lines:
            lines = [f"data = {data}", f"number = {required}", *lines]
            lines.append("if stated != numbers[number]: return")
            data = "data"
        if self._factory.fields not in (dict, list):
            data = f"fields({data})"
        statements = "".join(f"  {line}\n" for line in lines)
        return _any_of(wrong), statements, f"(name, {entry_id}, {data})"

    def _wrong(self, target: str) -> str:
        """Write the condition that a length that was captured is wrong; empty if there is none."""
        if target not in self._stated:
            return ""
        stated, length = f"s{target}", f"numbers[len(c{target})]"
        # A string of one byte is one object, which is quick to compare.
        quick = f"{stated} is not {length} and " if self._stated[target] else ""
        return f"{quick}{stated} != {length}"


def _any_of(conditions: Iterable[str]) -> str:
    return " or ".join(filter(None, conditions)) or "False"


def _literal(name: bytes | None) -> bytes:
    return b"" if name is None else re.escape(b"$%d\r\n%b\r\n" % (len(name), name))


class Patterns:
    """The patterns in use, which streams whose entries begin alike share."""

    def __init__(self, factory: MessageFactory) -> None:
        self._factory = factory
        self._patterns: dict[Any, Pattern] = {}
        self._by_name: dict[bytes | None, Pattern] = {}
        # Samples of entries without a pattern, by the name of their first field.
        self._samples: dict[bytes, list[list[bytes]]] = {}

    def samples_of(self, name: bytes) -> list[list[bytes]]:
        """Return the samples of entries whose first field has a name, for all streams."""
        if name not in self._samples and len(self._samples) >= _MAX_PATTERNS:
            self._samples.clear()
        return self._samples.setdefault(name, [])

    def find(self, name: bytes, known: Pattern | None) -> Pattern | None:
        """Find the latest pattern of entries whose first field has a name, or any name.

        It has all the names of the pattern that is known; where there is none, return that one.
        """
        latest = self._by_name.get(name) or self._by_name.get(None)
        if latest is None or known is None or latest is known:
            return latest or known
        names = {field[0] for field in latest.fields}
        return latest if names.issuperset(field[0] for field in known.fields) else known

    def forget_captured(self) -> None:
        """Find no pattern that captures names before another one is chosen."""
        self._by_name.pop(None, None)

    def choose(self, samples: Sequence[list[bytes]], known: Pattern | None) -> Pattern | None:
        """Choose a pattern for most of some entries; None if there can be none.

        Args:
            samples: Each entry's ID, names and values.
            known: The pattern of other entries, which must go on to be read.
        """
        number = len(samples)
        samples = [
            each
            for each in samples
            if len(each) <= 2 * MAX_FIELDS + 1 and max(s.count(b"\r") for s in each) <= _MAX_CR
        ]
        fields: list[Field] = []
        if not samples or (known is None and not _are_most(len(samples), number)):
            return known
        if known is None or not known.captures_names:
            fields = _named_fields(samples, known)
        if not fields and (known is None or known.captures_names):
            # Names differ too much to stand in a pattern, but their number may not.
            fields = _captured_fields(samples, known)
        if not fields:
            return known
        ids = [each[0] for each in samples]
        id_column = _column_of(ids, known.id_column if known else None)
        columns = [(n, _rounded(names), _rounded(values), o) for n, names, values, o in fields]
        key = _rounded(id_column), *columns
        if key not in self._patterns:
            if len(self._patterns) >= _MAX_PATTERNS:
                self._patterns.clear()
                self._by_name.clear()
            try:
                self._patterns[key] = Pattern(id_column, fields, self._factory)
            except UnicodeDecodeError:
                return known  # a name is not text, so no message can be made
        pattern = self._patterns[key]
        self._by_name.update((name, pattern) for name, *_ in fields)
        return pattern


def _named_fields(samples: Sequence[list[bytes]], known: Pattern | None) -> list[Field]:
    """Put the names of samples in one order that most of them keep to; none if there is none."""
    old: dict[Any, Field] = {field[0]: field for field in known.fields} if known else {}
    schemas = [tuple(each[1::2]) for each in samples]
    order = _order([*Counter(schemas).items(), (tuple(old), len(schemas))], len(schemas))
    places = {name: at for at, name in enumerate(order)}
    values: dict[bytes, dict[int, bytes]] = {name: {} for name in order}
    number = 0
    for each, names in zip(samples, schemas, strict=True):
        ats = [places.get(name, -1) for name in names]
        if ats == sorted({*ats} - {-1}):
            number += 1
            for name, value in zip(names, each[2::2], strict=True):
                values[name][number] = value
    if known is None and not _are_most(number, len(samples)):
        return []
    if len(order) * number > _MAX_ABSENT * sum(map(len, values.values())):
        return []
    fields: list[Field] = []
    last: Any = None
    block = 0
    for name in order:
        _, _, column, old_block = old.get(name, (name, None, None, -1 if known else 0))
        is_optional = old_block != 0 or len(values[name]) < number
        block += (old_block, values[name].keys()) != last
        last = old_block, values[name].keys()
        column = _column_of([*values[name].values()], column, is_optional=is_optional)
        fields.append((name, (0, 0, False), column, block if is_optional else 0))
    return fields


def _are_most(number: int, of: int) -> bool:
    """Tell whether so few of the samples are left out that a pattern pays."""
    return (of - number) * _MAX_OTHERS <= of


def _order(schemas: Iterable[tuple[tuple[bytes, ...], int]], number: int) -> list[bytes]:
    """Put the usual names in an order that all schemas keep to, or the usual ones; else none.

    Args:
        schemas: Names, and how often they were seen.
        number: The number of samples.
    """
    fewest = min(number, max(2, number // _MIN_SHARE))
    counts = Counter[bytes]()
    for names, times in schemas:
        counts.update(dict.fromkeys(names, times))
    for least in (1, max(2, number // _MAX_OTHERS)):
        before: dict[bytes, list[bytes]] = {}
        for names, times in schemas:
            if times >= least and all(counts[name] >= fewest for name in names):
                for one, name in zip((None, *names), names):  # noqa: B905
                    before.setdefault(name, []).extend([one] if one is not None else [])
        order: list[bytes] = []
        is_small = len(before) <= MAX_FIELDS and sum(map(len, before)) <= _MAX_NAMES
        if is_small and all(_put(name, before, order, set()) for name in before):
            return order
    return []


def _put(
    name: bytes, before: dict[bytes, list[bytes]], order: list[bytes], above: set[bytes]
) -> bool:
    """Put a name after those that come before it; False if it comes before one of them."""
    if name in order:
        return True
    if name in above:
        return False
    above.add(name)
    is_right = all(_put(one, before, order, above) for one in before[name])
    order.append(name)
    return is_right


def _captured_fields(samples: Sequence[list[bytes]], known: Pattern | None) -> list[Field]:
    """Find the columns of names and values where most samples have few enough; else none."""
    old = known.fields if known else ()
    fitting = [each for each in samples if 1 < len(each) <= 2 * _MAX_CAPTURED_NAMES + 1]
    if not _are_most(len(fitting), len(samples)):
        return []
    sizes = [len(each) // 2 for each in fitting] + [len(old)] * (known is not None)
    fields: list[Field] = []
    for at in range(max(sizes)):
        _, *columns, old_block = old[at] if at < len(old) else (None, None, None, 0)
        is_optional = at >= min(sizes) or old_block != 0
        names, values = (
            _column_of(
                [each[2 * at + place] for each in fitting if len(each) > 2 * at + place],
                column,
                is_optional=is_optional,
            )
            for place, column in zip((1, 2), columns, strict=True)
        )
        fields.append((None, names, values, at + 1 if is_optional else 0))
    return fields
