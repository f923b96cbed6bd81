r"""Patterns for entries as they repeat: a whole run of them is read by one call into C.

Entries of a stream mostly have the fields of the one before. Once some have been
read one by one, a regular expression is made for *that* shape: the fields' names
stand in it literally, and only IDs and values are captured.

Why it is right. RESP has one encoding for what an entry holds, and it is read from
left to right, so all that matters is that each length stated is the length of what
is taken. A value is matched in one of three ways, each of which sees to that:

- one length: ``36\r\n`` and any 36 bytes, CR and LF included;
- known lengths: ``300\r\n`` together with any 300 bytes, and likewise for each other;
- any length: what is stated and what is taken (all up to a CR) are both captured,
  and compared before a message is made of them.

Of an ID the same is true; that nothing but digits is around its dash, and that each is
larger than the one before, is seen to for all of a run at once.

What was not seen yet (a length, a CR, other fields) and the end of what has come do
not match; the last alternative, ``(.+)``, takes all the rest. So nothing is ever
skipped, the length of that rest tells how far the matching went, and what did not
match is read one by one as before.
"""

from __future__ import annotations

import re
from operator import itemgetter

from .columns import Column, Ids
from .ids import count_ascending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from .columns import Part
    from .messages import Message, MessageMaker

    Names: TypeAlias = tuple[bytes, ...]
    Make: TypeAlias = Callable[[object, list[tuple[Any, ...]], list[Message]], None]

# How many different shapes one pattern may have; beyond, the names of fields are
# captured like values, and shapes differ by the number of fields alone.
_SHAPES = 8
# How many bytes of names may stand in a pattern.
_LITERALS = 4096
# How many things one pattern may capture: larger ones take longer to make than to do without.
_CAPTURES = 128
# A match costs as much as some captures: several entries share one, if they have few.
_CAPTURES_AT_ONCE = 32
_ENTRIES_AT_ONCE = 8
# How long an expression for several entries may be: making a longer one takes more than it saves.
_EXPRESSION = 2048
# And one for a single entry: beyond, making it takes long enough to be noticed.
_LONGEST_EXPRESSION = 32_768
# How many entries to learn from before the first pattern; making one takes as long as
# reading some hundred entries without. Each further one waits for twice as many.
_FIRST_LESSONS = 64
_MOST_LESSONS = 4096

_id = itemgetter(1)


class _Shape:
    """Entries of the same fields; or only of the same number, where names differ too much."""

    __slots__ = ("_columns", "_names", "_size")

    def __init__(self, names: Names | None, size: int) -> None:
        self._names = names
        self._size = size
        self._columns = [Column() for _ in range(size if names is not None else 2 * size)]

    def learn(self, items: Sequence[bytes]) -> None:
        """Learn from an entry's ``[field, value, ...]``."""
        values = items[1::2] if self._names is not None else items
        for column, value in zip(self._columns, values, strict=True):
            column.learn(value)

    def layout(self, maker: MessageMaker) -> _Layout | None:
        """Say how to match it; None if there is no way."""
        parts = [part for column in self._columns if (part := column.part()) is not None]
        if len(parts) < len(self._columns) or sum(map(len, self._names or ())) > _LITERALS:
            return None
        return _Layout(self._names, self._size, parts, maker)


class Learner:
    """What was seen of the entries of some streams, and the pattern for those to come.

    Attributes:
        pattern: The pattern, once there is one.
        captures_names: Whether fields differ too much to be known by their names.
        entry_size: About how many bytes an entry takes.
    """

    def __init__(self, maker: MessageMaker, *, captures_names: bool = False) -> None:
        self.pattern: Pattern | None = None
        self.captures_names = captures_names
        self.entry_size = 0
        self._maker = maker
        self._ids = Ids()
        self._shapes: dict[Names | int, _Shape] = {}
        self._lessons = 0
        self._lessons_wanted = _FIRST_LESSONS
        # The expressions that the pattern was made of.
        self._made_of: list[bytes] = []

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
        ids = self._ids.part()
        found = [shape.layout(self._maker) for shape in self._shapes.values()]
        layouts = [layout for layout in found if layout is not None]
        captures = 2 + sum(layout.captures for layout in layouts)
        if ids is None or not layouts or captures > _CAPTURES:
            return None
        length = sum(len(layout.expression) for layout in layouts)
        if length > _LONGEST_EXPRESSION:
            return None
        made_of = [ids.expression, *(layout.expression for layout in layouts)]
        if made_of == self._made_of:
            return self.pattern
        self._made_of = made_of
        at_once = min(_ENTRIES_AT_ONCE, _CAPTURES_AT_ONCE // captures, _EXPRESSION // length)
        return Pattern(ids, layouts, self._maker, max(1, at_once))


class _Layout:
    """How one shape is matched, and how its data is made of what that captures.

    Args:
        names: The fields' names; None if the parts are names and values by turns.
        size: How many fields.
        parts: How each value is matched, or each name and value.
        maker: In which form data is made.
    """

    def __init__(
        self, names: Names | None, size: int, parts: list[Part], maker: MessageMaker
    ) -> None:
        self.parts = parts
        self._names = names
        self._fields = maker.fields
        # The first part that tells that this shape has matched; else its header has to.
        self._marked = next((at for at, part in enumerate(parts) if part.is_mark), None)
        header = rb"\*(%d)\r\n" if self._marked is None else rb"\*%d\r\n"
        bodies = [part.expression for part in parts]
        if names is not None:
            literals = [re.escape(b"$%d\r\n%b\r\n" % (len(name), name)) for name in names]
            bodies = [name + body for name, body in zip(literals, bodies, strict=True)]
        self.expression = header % (2 * size) + b"".join(bodies)
        self.captures = len(self.targets("", ""))

    def targets(self, layout: str, copy: str) -> list[str]:
        """Name what it captures."""
        targets = [f"mark{layout}{copy}"] if self._marked is None else []
        for at, part in enumerate(self.parts):
            targets += part.targets(f"{layout}_{at}{copy}")
        return targets

    def mark(self, layout: str, copy: str) -> str:
        """Name what is not empty if it has matched."""
        if self._marked is None:
            return f"mark{layout}{copy}"
        return self.parts[self._marked].targets(f"{layout}_{self._marked}{copy}")[0]

    def wrong(self, layout: str, copy: str) -> str:
        """Write the condition under which any of its lengths differ; empty if none can."""
        conditions = [
            part.wrong(f"{layout}_{at}{copy}", f"l{layout}_{at}")
            for at, part in enumerate(self.parts)
        ]
        return " or ".join(filter(None, conditions))

    def data(self, layout: str, copy: str, text: str) -> str:
        """Write the expression for the data.

        Args:
            layout: Its number among the layouts.
            copy: The number of the entry among those matched at once.
            text: The format of an expression for what a value becomes.
        """
        at = [f"{layout}_{at}{copy}" for at in range(len(self.parts))]
        values = [text % part.value(each) for part, each in zip(self.parts, at, strict=True)]
        names = [f"n{layout}_{number}" for number in range(len(values))]
        if self._names is None:
            names, values = values[::2], values[1::2]
        if self._fields is dict:
            items = [f"{name}: {value}" for name, value in zip(names, values, strict=True)]
            return "{" + ", ".join(items) + "}"
        pairs = [f"({name}, {value})" for name, value in zip(names, values, strict=True)]
        source = "[" + ", ".join(pairs) + "]"
        return source if self._fields is list else f"fields({source})"

    def scope(self, layout: str, maker: MessageMaker) -> dict[str, object]:
        """Give what the expressions refer to besides what is captured."""
        names = {f"n{layout}_{at}": maker.item(name) for at, name in enumerate(self._names or ())}
        return names | {f"l{layout}_{at}": part.stated for at, part in enumerate(self.parts)}


class Pattern:
    """Reads runs of entries of certain shapes.

    Args:
        ids: How the IDs are matched.
        layouts: How the fields and values of each shape are.
        maker: In which form messages are made.
        at_once: How many entries one match takes in.
    """

    def __init__(
        self, ids: Part, layouts: Sequence[_Layout], maker: MessageMaker, at_once: int
    ) -> None:
        sizes = sorted({1, at_once}, reverse=True)
        sources = [(_Source(ids, layouts, maker, size), size) for size in sizes]
        self._readers = [_Reader(source.of_bytes(), size) for source, size in sources]
        # Where each byte is one letter, all the lengths hold for letters as well.
        texts = sources if maker.is_ascii_based else []
        self._text_readers = [_Reader(source.of_text(), size) for source, size in texts]

    def match(
        self, name: object, data: bytes, start: int, end: int, most: int
    ) -> tuple[list[Message], int | None]:
        """Read the entries at `start`, as many as are right one after the other.

        Args:
            name: The stream's name.
            data: The bytes that they are among.
            start: Where they begin.
            end: Where to stop.
            most: How many to expect at most.

        Returns:
            Their messages, and how many bytes are left before `end`; None for these if
            something matched that is not right.
        """
        messages: list[Message] = []
        rest: int | None = end - start
        readers: list[_Reader] = self._readers
        window: bytes | str = data
        if self._text_readers and (piece := data[start:end]).isascii():
            readers, window, start, end = self._text_readers, piece.decode(), 0, len(piece)
        for reader in readers:
            if reader.at_once > most:
                continue
            rest = reader.read(name, window, start, end, messages)
            if not rest:
                break
            start = end - rest
        right = count_ascending(list(map(_id, messages)))
        if right < len(messages):
            return messages[:right], None
        return messages, rest


class _Reader:
    """Reads entries by a regular expression, so many in each match.

    Args:
        source: The expression, and what makes messages of the rows that it captures.
        at_once: How many entries a row is of.
    """

    def __init__(self, source: tuple[re.Pattern[Any], Make], at_once: int) -> None:
        expression, self._make = source
        self._find_rows = expression.findall
        self.at_once = at_once

    def read(
        self, name: object, data: bytes | str, start: int, end: int, messages: list[Message]
    ) -> int | None:
        """Append the messages of the entries at `start`.

        Returns:
            How many bytes are left before `end`; None if a row was not right.
        """
        rows = self._find_rows(data, start, end)
        rest = rows[-1][-1]
        if rest:
            rows.pop()
        expected = len(messages) + len(rows) * self.at_once
        self._make(name, rows, messages)
        return len(rest) if len(messages) == expected else None


class _Source:
    """Writes what reads a number of entries at once, for bytes and for text.

    For one shape of two fields, and one entry at once, it is the expression of an
    entry, and::

        def make(name, rows, messages, ...):
            for si, ci, c0_0, s0_1, c0_1, rest in rows:
                if si is not li[len(ci)] and si != li[len(ci)] or s0_1 != l0_1[len(c0_1)]:
                    return
                messages += (name, ci, {n0_0: c0_0, n0_1: c0_1}),
    """

    def __init__(
        self, ids: Part, layouts: Sequence[_Layout], maker: MessageMaker, at_once: int
    ) -> None:
        self._ids = ids
        self._layouts = layouts
        self._maker = maker
        bodies = b"|".join(layout.expression for layout in layouts)
        entry = rb"\*2\r\n%b(?:%b)" % (ids.expression, bodies)
        self._expression = b"%b|(.+)" % (entry * at_once)
        self._copies = [f"_{copy}" for copy in range(at_once)]

    def of_bytes(self) -> tuple[re.Pattern[bytes], Make]:
        """Make what reads bytes, and decodes what they hold if that is wanted."""
        scope = self._scope() | {"LF": b"\n", "state": b"%d".__mod__, "text": self._maker.text}
        # An ID that is none is found out afterwards.
        texts = (
            ("%s", "%s") if self._maker.encoding is None else ("%s.decode('latin-1')", "text(%s)")
        )
        return re.compile(self._expression, re.DOTALL), self._function(*texts, scope)

    def of_text(self) -> tuple[re.Pattern[str], Make]:
        """Make what reads text."""
        scope = self._scope() | {"LF": "\n", "state": "%d".__mod__}
        for name in [name for name in scope if name.startswith("l")]:
            scope[name] = [stated.decode() for stated in scope[name]]
        expression = re.compile(self._expression.decode("latin-1"), re.DOTALL)
        return expression, self._function("%s", "%s", scope)

    def _scope(self) -> dict[str, Any]:
        scope: dict[str, Any] = {"li": self._ids.stated, "fields": self._maker.fields}
        for number, layout in enumerate(self._layouts):
            scope.update(layout.scope(str(number), self._maker))
        return scope

    def _function(self, id_text: str, text: str, scope: dict[str, Any]) -> Make:
        targets = [target for copy in self._copies for target in self._targets(copy)]
        wrong = " or ".join(filter(None, map(self._wrong, self._copies)))
        messages = [
            f"(name, {id_text % self._ids.value(f'i{copy}')}, {self._data(copy, text)})"
            for copy in self._copies
        ]
        # Defaults are looked up faster than what is global.
        defaults = ", ".join(f"{name}={name}" for name in scope)
        source = (
            f"def make(name, rows, messages, {defaults}):\n"
            f"  for {', '.join(targets)}, rest in rows:\n"
            f"    if {wrong or 'False'}: return\n"
            f"    messages += {', '.join(messages)},\n"
        )
        # The source is all of names made here; what came from outside is in the scope.
        exec(source, scope)  # noqa: S102
        return scope["make"]  # type: ignore[no-any-return]

    def _targets(self, copy: str) -> list[str]:
        targets = self._ids.targets(f"i{copy}")
        for number, layout in enumerate(self._layouts):
            targets += layout.targets(str(number), copy)
        return targets

    def _wrong(self, copy: str) -> str:
        conditions = [layout.wrong(str(at), copy) for at, layout in enumerate(self._layouts)]
        fields = self._by_shape([each or "False" for each in conditions], copy)
        of_id = self._ids.wrong(f"i{copy}", "li")
        return " or ".join(filter(None, [of_id, f"({fields})" if any(conditions) else ""]))

    def _data(self, copy: str, text: str) -> str:
        layouts = enumerate(self._layouts)
        return self._by_shape([layout.data(str(at), copy, text) for at, layout in layouts], copy)

    def _by_shape(self, sources: list[str], copy: str) -> str:
        """Write an expression that is the source of the shape that has matched."""
        *others, last = sources
        marks = [layout.mark(str(at), copy) for at, layout in enumerate(self._layouts)]
        source = "".join(
            f"({each}) if {mark} else " for each, mark in zip(others, marks, strict=False)
        )
        return source + f"({last})" if others else last
