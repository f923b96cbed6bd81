r"""Patterns for entries as they repeat: a whole run of them is read by one call into C.

Entries of a stream mostly have the fields of the one before. Once some have been
read one by one, a regular expression is made for *that* shape: the fields' names
stand in it literally, and only IDs and values are captured.

Why it is right. RESP has one encoding for what an entry holds, and it is read from
left to right, so all that matters is that each length stated is the length of what
is taken. A value is matched in one of four ways, each of which sees to that:

- one length: ``36\r\n`` and any 36 bytes, CR and LF included;
- short text: ``2\r\n`` only if two bytes other than CR and then a CR follow, so that
  ``[^\r]*`` takes just these two; likewise for each other length seen;
- known lengths: ``300\r\n`` together with any 300 bytes, and likewise for each other;
- any length: what is stated and what is taken (all up to a CR) are both captured,
  and compared afterwards, for all rows before any of them is used.

Lengths that were not seen yet, values with a CR where none was, other fields, the
end of what has come: nothing of that matches, and the last alternative, ``(.+)``,
takes all the rest. So nothing is ever skipped, the length of that rest tells how far
the matching went, and what did not match is read one by one as before.
"""

from __future__ import annotations

import re
from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeAlias

    from .messages import Message, MessageMaker

    Names: TypeAlias = tuple[bytes, ...]
    Rows: TypeAlias = list[tuple[Any, ...]]

# How many lengths of a value the pattern may list, where they are short text ...
_SHORT_LENGTHS = 16
# ... up to how many bytes that is (its bytes are looked at twice) ...
_SHORT = 64
# ... and where it may hold anything.
_KNOWN_LENGTHS = 256

# How many different shapes one pattern may have; beyond, the names of fields are
# captured like values, and shapes differ by the number of fields alone.
_SHAPES = 8
# How many bytes of names may stand in a pattern.
_LITERALS = 4096
# How many things one pattern may capture: larger ones take longer to make than to do without.
_CAPTURES = 128
# How many entries to learn from before the first pattern; making one takes as long as
# reading some hundred entries without. Each further one waits for twice as many.
_FIRST_LESSONS = 64
_MOST_LESSONS = 4096


class _Lengths(dict["bytes | str", int]):
    """Lengths by how they are stated, -1 for what states none."""

    def __missing__(self, stated: bytes | str) -> int:
        text = stated if isinstance(stated, str) else stated.decode("ascii")
        length = int(text) if len(text) < 12 and str(int(text)) == text else -1
        if len(self) < 65_536:
            self[stated] = length
        return length


# What alternatives that did not match have captured states nothing, of nothing.
_length_of = _Lengths({b"": 0, "": 0}).__getitem__


class _Column:
    """What was seen at one place of a shape."""

    __slots__ = ("has_cr", "lengths")

    def __init__(self) -> None:
        self.lengths: set[int] = set()
        self.has_cr = False

    def learn(self, value: bytes) -> None:
        self.lengths.add(len(value))
        if not self.has_cr and b"\r" in value:
            self.has_cr = True

    def likely_lengths(self) -> Iterable[int]:
        """The lengths to expect: those seen and, if these are close, those around them."""
        low, high = max(0, min(self.lengths) - 1), max(self.lengths) + 1
        return range(low, high + 1) if high - low < _KNOWN_LENGTHS else self.lengths

    @property
    def kind(self) -> str | None:
        """How to match it: one of the four ways, or None if there is none."""
        longest = max(self.lengths)
        if len(self.lengths) == 1:
            return "fixed"
        if not self.has_cr and longest <= _SHORT and len(self.lengths) <= _SHORT_LENGTHS:
            return "short"
        if len(self.lengths) <= (_KNOWN_LENGTHS if self.has_cr else _SHORT_LENGTHS):
            return "known"
        return None if self.has_cr else "any"


class _Shape:
    """Entries of the same fields; or only of the same number, where names differ too much."""

    __slots__ = ("columns", "names", "size")

    def __init__(self, names: Names | None, size: int) -> None:
        self.names = names
        self.size = size
        self.columns = [_Column() for _ in range(size if names is not None else 2 * size)]

    def can_be_matched(self) -> bool:
        """Whether there is a way to match each column."""
        literals = sum(map(len, self.names or ()))
        return literals <= _LITERALS and all(column.kind for column in self.columns)

    def learn(self, items: Sequence[bytes]) -> None:
        """Learn from an entry's ``[field, value, ...]``."""
        values = items[1::2] if self.names is not None else items
        for column, value in zip(self.columns, values, strict=True):
            column.learn(value)


class Learner:
    """What was seen of the entries of some streams, and the pattern for those to come.

    Attributes:
        pattern: The pattern, once there is one.
        captures_names: Whether fields differ too much to be known by their names.
        entry_size: About how many bytes an entry takes.
        run: How many entries in a row the pattern has matched so far.
    """

    def __init__(self, maker: MessageMaker, *, captures_names: bool = False) -> None:
        self.pattern: Pattern | None = None
        self.captures_names = captures_names
        self.entry_size = 0
        self.run = 0
        self._maker = maker
        self._ids = _Column()
        self._shapes: dict[Names | int, _Shape] = {}
        self._lessons = 0
        self._lessons_wanted = _FIRST_LESSONS

    def learn(self, entry_id: bytes, items: Sequence[bytes], size: int) -> None:
        """Learn from an entry of `size` bytes that no pattern has matched."""
        if self._lessons_wanted > _MOST_LESSONS:
            return
        self._lessons += 1
        self.entry_size = size
        self._ids.learn(entry_id)
        shape = self._shape(tuple(items[::2]))
        if shape is not None:
            shape.learn(items)
        if self._lessons >= self._lessons_wanted:
            self._lessons = 0
            self._lessons_wanted *= 2
            self.pattern = self._make_pattern()

    def _shape(self, names: Names) -> _Shape | None:
        key = len(names) if self.captures_names else names
        shape = self._shapes.get(key)
        if shape is None and len(self._shapes) >= _SHAPES and not self.captures_names:
            self.captures_names = True
            self._shapes.clear()
            key = len(names)
        if shape is None and len(self._shapes) < _SHAPES:
            shape = _Shape(None if self.captures_names else names, len(names))
            self._shapes[key] = shape
        return shape

    def _make_pattern(self) -> Pattern | None:
        shapes = [shape for shape in self._shapes.values() if shape.can_be_matched()]
        captures = sum(len(shape.columns) for shape in shapes)
        if not shapes or captures > _CAPTURES:
            return None
        return Pattern(self._ids, shapes, self._maker)


class Pattern:
    """A regular expression for entries of certain shapes, and what makes messages of its rows.

    A row is what `re.findall` makes of one entry: the ID, then for each shape a mark
    (its number of items, empty if the entry is of another shape; left out where there
    is but one shape) and what its columns have captured, and at last the rest.
    """

    def __init__(self, ids: _Column, shapes: Sequence[_Shape], maker: MessageMaker) -> None:
        expression = _expression(ids, shapes)
        self._find_rows = re.compile(expression, re.DOTALL).findall
        self._find_rows_in_text = re.compile(expression.decode("latin-1"), re.DOTALL).findall
        self._make = _make_messages(shapes, maker, from_text=False)
        self._make_from_text = _make_messages(shapes, maker, from_text=True)
        self._is_decoding = maker.encoding is not None
        self._is_ascii_based = maker.is_ascii_based
        targets = _targets(shapes)
        self._compared = [
            (itemgetter(at - 1), itemgetter(at))
            for at, target in enumerate(targets)
            if targets[at - 1] == f"stated_{target}"
        ]

    def match(self, name: object, data: bytes, start: int, end: int) -> tuple[list[Message], int]:
        """Read the entries at `start`, as many as match one after the other.

        Returns:
            Their messages, and how many bytes are left before `end`.
        """
        make = self._make
        if not self._is_decoding:
            rows = self._find_rows(data, start, end)
        elif self._is_ascii_based and (window := data[start:end]).isascii():
            # Each byte is one letter, and all the lengths hold for letters as well.
            rows = self._find_rows_in_text(window.decode("ascii"))
            make = self._make_from_text
        else:
            rows = self._find_rows(data, start, end)
        rest = rows[-1][-1]
        if rest:
            rows.pop()
        for stated, taken in self._compared:
            lengths = list(map(_length_of, map(stated, rows)))
            if lengths != list(map(len, map(taken, rows))):
                return [], end - start
        return make(name, rows), len(rest)


def _expression(ids: _Column, shapes: Sequence[_Shape]) -> bytes:
    """Write the expression for any one entry of these shapes, or all the rest."""
    entry_id = rb"\$%b([0-9]{1,19}-[0-9]{1,19})\r\n" % _one_of(ids.likely_lengths(), _LOOK_AHEAD)
    bodies = [_body(shape, mark=len(shapes) > 1) for shape in shapes]
    return rb"\*2\r\n%b(?:%b)|(.+)" % (entry_id, b"|".join(bodies))


def _body(shape: _Shape, *, mark: bool) -> bytes:
    """Write the expression for the fields and values of one shape."""
    header = rb"\*(%d)\r\n" if mark else rb"\*%d\r\n"
    columns = [_EXPRESSIONS[column.kind or ""](column) for column in shape.columns]
    if shape.names is not None:
        names = [re.escape(b"$%d\r\n%b\r\n" % (len(name), name)) for name in shape.names]
        columns = [name + column for name, column in zip(names, columns, strict=True)]
    return header % (2 * shape.size) + b"".join(columns)


_LOOK_AHEAD = rb"(?=[^\r]{%d}\r)"
_ANY_BYTES = rb".{%d}"

_EXPRESSIONS: dict[str, Callable[[_Column], bytes]] = {
    "fixed": lambda column: rb"\$%d\r\n(.{%d})\r\n" % (2 * tuple(column.lengths)),
    "short": lambda column: rb"\$%b([^\r]*)\r\n" % _one_of(column.likely_lengths(), _LOOK_AHEAD),
    "known": lambda column: rb"\$(%b)\r\n" % _one_of(column.likely_lengths(), _ANY_BYTES),
    "any": lambda _: rb"\$([0-9]+)\r\n([^\r]*)\r\n",
}


def _one_of(lengths: Iterable[int], body: bytes) -> bytes:
    """Write the expression for one of some lengths, CRLF, and a body that depends on it."""

    def branch(begun: bytes, ends: list[bytes]) -> bytes:
        if ends == [b""]:
            return rb"\r\n" + body % int(begun)
        branches = [
            digit + branch(begun + digit, [end[1:] for end in ends if end[:1] == digit])
            for digit in sorted({end[:1] for end in ends if end})
        ]
        if b"" in ends:
            branches.append(branch(begun, [b""]))
        return b"(?:%b)" % b"|".join(branches)

    return branch(b"", [b"%d" % length for length in lengths])


def _targets(shapes: Sequence[_Shape]) -> list[str]:
    """Name what a row holds: ``id``, then ``mark_<shape>``, ``<shape>_<column>``, ..., ``rest``."""
    targets = ["id"]
    for s, shape in enumerate(shapes):
        if len(shapes) > 1:
            targets.append(f"mark_{s}")
        for c, column in enumerate(shape.columns):
            if column.kind == "any":
                targets.append(f"stated_c{s}_{c}")
            targets.append(f"c{s}_{c}")
    return [*targets, "rest"]


def _make_messages(
    shapes: Sequence[_Shape], maker: MessageMaker, *, from_text: bool
) -> Callable[[object, Rows], list[Message]]:
    """Make a function that makes messages of rows: one comprehension, written for them.

    For one shape of two fields it is ``[(name, id, {n0_0: c0_0, n0_1: c0_1}) for id,
    c0_0, c0_1, rest in rows]``.
    """
    decode = maker.encoding is not None and not from_text
    scope: dict[str, object] = {"fields": maker.fields, "text": maker.text}
    scope["LF"] = "\n" if from_text else b"\n"
    entry_id = "id.decode('ascii')" if decode else "id"
    source = ""
    for s, shape in enumerate(shapes):
        values = [_value(f"c{s}_{c}", column, decode) for c, column in enumerate(shape.columns)]
        if shape.names is None:
            names, values = values[::2], values[1::2]
        else:
            names = [f"n{s}_{n}" for n in range(shape.size)]
            scope.update(zip(names, map(maker.item, shape.names), strict=True))
        mark = f" if mark_{s} else " if s < len(shapes) - 1 else ""
        source += f"(name, {entry_id}, {_data(maker.fields, names, values)}){mark}"
    targets = ", ".join(_targets(shapes))
    # The source is all of names made here; what came from outside is in the scope.
    return eval(f"lambda name, rows: [{source} for {targets} in rows]", scope)  # type: ignore[no-any-return]  # noqa: S307


def _value(target: str, column: _Column, decode: bool) -> str:
    if column.kind == "known":
        # The length was captured with it.
        digits = {len(str(length)) for length in column.likely_lengths()}
        start = f"{target}.index(LF) + 1" if len(digits) > 1 else str(digits.pop() + 2)
        target = f"{target}[{start}:]"
    return f"text({target})" if decode else target


def _data(fields: object, names: Sequence[str], values: Sequence[str]) -> str:
    if fields is dict:
        items = [f"{name}: {value}" for name, value in zip(names, values, strict=True)]
        return "{" + ", ".join(items) + "}"
    pairs = [f"({name}, {value})" for name, value in zip(names, values, strict=True)]
    source = "[" + ", ".join(pairs) + "]"
    return source if fields is list else f"fields({source})"
