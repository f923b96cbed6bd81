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

from .columns import Column, Ids
from .ids import count_ascending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from .columns import Part
    from .messages import Message, MessageFactory

    Names: TypeAlias = tuple[bytes, ...]
    Rows: TypeAlias = list[tuple[Any, ...]]
    Find: TypeAlias = Callable[[Any, int, int], Rows]
    """Finds rows of what an expression captures, the last of what is left, if anything is."""
    Make: TypeAlias = Callable[[object, Rows, list[Message]], int | None]
    """Appends messages of them; returns how much is left, or None where a row is not right."""
    _Reader: TypeAlias = tuple[int, Find, Make]
    """How many entries a row is of, and these."""

# How many different shapes one pattern may have; beyond, the names of fields are
# captured like values, and shapes differ by the number of fields alone.
_SHAPES = 8
# How many bytes of names may stand in a pattern.
_LITERALS = 4096
# How many things one pattern may capture: larger ones take longer to make than to do without.
_CAPTURES = 128
# A match costs as much as some captures: several entries share one, if they have few.
_CAPTURES_AT_ONCE = 36
_ENTRIES_AT_ONCE = 8
# How long an expression for several entries may be: making a longer one takes more than it saves.
_EXPRESSION = 2048
# And one for a single entry: beyond, making it takes long enough to be noticed.
_LONGEST_EXPRESSION = 32_768
# How many entries to learn from before the first pattern; making one takes as long as
# reading some hundred entries without. Each further one waits for twice as many.
_FIRST_LESSONS = 64
_MOST_LESSONS = 4096


class _Shape:
    """Entries of the same fields; or only of the same number, where names differ too much.

    Attributes:
        names: The fields' names; None if they are columns like their values.
        size: How many fields there are.
        columns: What was seen of each value, or of names and values by turns.
    """

    __slots__ = ("columns", "names", "size")

    def __init__(self, names: Names | None, size: int) -> None:
        self.names = names
        self.size = size
        self.columns = [Column() for _ in range(size if names is not None else 2 * size)]

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
    """

    def __init__(self, maker: MessageFactory, *, captures_names: bool = False) -> None:
        self.pattern: Pattern | None = None
        self.captures_names = captures_names
        self.entry_size = 0
        self._maker = maker
        self._ids = Ids()
        self._shapes: dict[Names | int, _Shape] = {}
        self._lessons = 0
        self._lessons_wanted = _FIRST_LESSONS
        # The expression that the pattern was made of.
        self._made_of = b""

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
        ids, layouts = self._ids.part(), self._layouts()
        if ids is None or not layouts:
            return None
        entry = _Source(ids, layouts, self._maker, 1)
        length, captures = len(entry.expression), len(entry.targets) + 1
        if captures > _CAPTURES or length > _LONGEST_EXPRESSION:
            return None
        if self.pattern is not None and entry.expression == self._made_of:
            return self.pattern
        self._made_of = entry.expression
        at_once = min(_ENTRIES_AT_ONCE, _CAPTURES_AT_ONCE // captures, _EXPRESSION // length)
        return Pattern(ids, layouts, self._maker, max(1, at_once))

    def _layouts(self) -> list[_Layout]:
        """Say how each shape is matched, if there is a way."""
        shapes = [each for each in self._shapes.values() if len(each.columns) <= _CAPTURES]
        # They share what is captured at a place, if it is of one sort.
        columns: dict[tuple[int, bool], Column] = {}
        for shape in shapes:
            for at, column in enumerate(shape.columns):
                columns.setdefault((at, column.has_cr), Column()).take_in(column)
        parts = {
            (at, has_cr): (f"{at}r" if has_cr else f"{at}", column.part())
            for (at, has_cr), column in columns.items()
        }
        layouts: list[_Layout] = []
        for shape in shapes:
            found = [parts[at, column.has_cr] for at, column in enumerate(shape.columns)]
            places = [(at, part) for at, part in found if part is not None]
            if len(places) == len(found) and sum(map(len, shape.names or ())) <= _LITERALS:
                layouts.append(_Layout(len(layouts), shape, places, self._maker))
        return layouts


class _Layout:
    """How one shape is matched, and how its data is made of what that captures.

    Args:
        number: Its number among the layouts.
        shape: The shape.
        places: How each of its columns is matched, and what that is called.
        maker: In which form data is made.
    """

    def __init__(
        self, number: int, shape: _Shape, places: list[tuple[str, Part]], maker: MessageFactory
    ) -> None:
        self.number = number
        self.places = places
        self.header = b"%d" % (2 * shape.size)
        self._maker = maker
        self._names = shape.names

    def name(self, at: int) -> bytes:
        """Write the expression for what stands before a column, but for the header."""
        if self._names is None or at >= len(self._names):
            return b""
        return re.escape(b"$%d\r\n%b\r\n" % (len(self._names[at]), self._names[at]))

    def wrong(self, copy: str) -> str:
        """Write the condition under which any of its lengths differ; empty if none can."""
        conditions = [part.wrong(f"{at}{copy}", f"l{at}") for at, part in self.places]
        return " or ".join(filter(None, conditions))

    def data(self, copy: str, text: str) -> str:
        """Write the expression for the data.

        Args:
            copy: The number of the entry among those matched at once.
            text: The format of an expression for what a value becomes.
        """
        values = [text % part.value(f"{at}{copy}") for at, part in self.places]
        names = [f"n{self.number}_{at}" for at in range(len(values))]
        if self._names is None:
            names, values = values[::2], values[1::2]
        if self._maker.fields is dict:
            items = [f"{name}: {value}" for name, value in zip(names, values, strict=True)]
            return "{" + ", ".join(items) + "}"
        pairs = [f"({name}, {value})" for name, value in zip(names, values, strict=True)]
        source = "[" + ", ".join(pairs) + "]"
        return source if self._maker.fields is list else f"fields({source})"

    def scope(self) -> dict[str, object]:
        """Give what the expressions refer to besides what is captured."""
        names = enumerate(self._names or ())
        scope = {f"n{self.number}_{at}": self._maker.item(name) for at, name in names}
        return scope | {f"l{at}": part.stated for at, part in self.places}


class Pattern:
    """Reads runs of entries of certain shapes.

    Args:
        ids: How the IDs are matched.
        layouts: How the fields and values of each shape are.
        maker: In which form messages are made.
        at_once: How many entries one match takes in.
    """

    def __init__(
        self, ids: Part, layouts: Sequence[_Layout], maker: MessageFactory, at_once: int
    ) -> None:
        sizes = sorted({1, at_once}, reverse=True)
        sources = [(_Source(ids, layouts, maker, size), size) for size in sizes]
        self._readers = [(size, *source.of_bytes()) for source, size in sources]
        # Where each byte is one letter, all the lengths hold for letters as well.
        texts = sources if maker.is_ascii_based else []
        self._text_readers = [(size, *source.of_text()) for source, size in texts]

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
        left: int | None = end - start
        readers: list[_Reader] = self._readers
        window: bytes | str = data
        if self._text_readers and (piece := data[start:end]).isascii():
            readers, window, start, end = self._text_readers, piece.decode(), 0, len(piece)
        for at_once, find_rows, make in readers:
            if at_once > most:
                continue
            left = make(name, find_rows(window, start, end), messages)
            if not left:
                break
            start = end - left
        right = count_ascending([message[1] for message in messages])
        if right < len(messages):
            return messages[:right], None
        return messages, left


class _Source:
    """Writes what reads a number of entries at once, for bytes and for text.

    For one shape of two fields, and one entry at once, it is the expression of an
    entry, and::

        def make(name, rows, messages, ...):
            for si_0, ci_0, c0_0, s1_0, c1_0, rest in rows:
                if rest: return len(rest)
                if si_0 is not li[len(ci_0)] and si_0 != li[len(ci_0)]: return
                if s1_0 != l1[len(c1_0)]: return
                d_0 = {n0_0: c0_0, n0_1: c1_0}
                messages += (name, ci_0, d_0),
            return 0

    Of several shapes each leaves a mark where its header has matched. What follows depends
    on which mark there is: ``(?(2)this|that)``, so that they share what they capture. All
    that is captured takes time, also if there is nothing in it.

    Attributes:
        expression: The regular expression of the entries.
        targets: What it captures, in order.
    """

    def __init__(
        self, ids: Part, layouts: Sequence[_Layout], maker: MessageFactory, at_once: int
    ) -> None:
        self._ids = ids
        self._layouts = layouts
        self._maker = maker
        self._copies = [f"_{copy}" for copy in range(at_once)]
        self.targets: list[str] = []
        self.expression = b"".join(map(self._entry, self._copies))

    def of_bytes(self) -> tuple[Find, Make]:
        """Make what reads bytes, and decodes what they hold if that is wanted."""
        scope = self._scope() | {"LF": b"\n", "state": b"%d".__mod__, "text": self._maker.text}
        # An ID that is none is found out afterwards.
        texts = (
            ("%s", "%s") if self._maker.encoding is None else ("%s.decode('latin-1')", "text(%s)")
        )
        expression = self.expression + b"|(.+)"
        return re.compile(expression, re.DOTALL).findall, self._function(*texts, scope)

    def of_text(self) -> tuple[Find, Make]:
        """Make what reads text."""
        scope = self._scope() | {"LF": "\n", "state": "%d".__mod__}
        for name in [name for name in scope if name.startswith("l")]:
            scope[name] = [stated.decode() for stated in scope[name]]
        expression = self.expression.decode("latin-1") + "|(.+)"
        return re.compile(expression, re.DOTALL).findall, self._function("%s", "%s", scope)

    def _entry(self, copy: str) -> bytes:
        """Write the expression of an entry, and note what it captures."""
        self.targets += self._ids.targets(f"i{copy}")
        end = b"\r\n" if len(self._layouts) == 1 else b"(\r)\n"
        if len(self._layouts) > 1:
            self.targets += [f"m{layout.number}{copy}" for layout in self._layouts]
        heads = [rb"\*%b%b%b" % (each.header, end, each.name(0)) for each in self._layouts]
        columns = self._columns(0, self._layouts, copy)
        return rb"\*2\r\n%b(?:%b)%b" % (self._ids.expression, b"|".join(heads), columns)

    def _columns(self, at: int, layouts: Sequence[_Layout], copy: str) -> bytes:
        """Write the expression of an entry's columns from one on, for those that may go on."""
        ended = [layout for layout in layouts if len(layout.places) == at]
        others = [layout for layout in layouts if layout not in ended]
        if not others:
            return b""
        expression = self._names(at, others, copy) if at else b""
        for place, part in dict.fromkeys(layout.places[at] for layout in others):
            self.targets += part.targets(f"{place}{copy}")
            elsewhere = [layout for layout in others if layout.places[at][1] is not part]
            expression += self._unless(elsewhere, part.expression, copy)
        return self._unless(ended, expression + self._columns(at + 1, others, copy), copy)

    def _names(self, at: int, layouts: Sequence[_Layout], copy: str) -> bytes:
        """Write the expression for what stands before a column, which depends on the layout."""
        *others, last = layouts
        expression = last.name(at)
        for layout in others:
            if layout.name(at) != last.name(at):
                mark, name = self._mark(layout, copy), layout.name(at)
                expression = b"(?(%d)%b|%b)" % (mark, name, expression)
        return expression

    def _unless(self, layouts: Sequence[_Layout], expression: bytes, copy: str) -> bytes:
        """Have an expression match only where none of these layouts has."""
        for layout in layouts:
            expression = b"(?(%d)|%b)" % (self._mark(layout, copy), expression)
        return expression

    def _mark(self, layout: _Layout, copy: str) -> int:
        return self.targets.index(f"m{layout.number}{copy}") + 1

    def _scope(self) -> dict[str, Any]:
        scope: dict[str, Any] = {"li": self._ids.stated, "fields": self._maker.fields}
        for layout in self._layouts:
            scope.update(layout.scope())
        return scope

    def _function(self, id_text: str, text: str, scope: dict[str, Any]) -> Make:
        messages = [
            f"(name, {id_text % self._ids.value(f'i{copy}')}, d{copy})" for copy in self._copies
        ]
        # Defaults are looked up faster than what is global.
        lines = [
            f"def make(name, rows, messages, {', '.join(f'{name}={name}' for name in scope)}):",
            f" for {', '.join(self.targets)}, rest in rows:",
            "  if rest: return len(rest)",
            *[line for copy in self._copies for line in self._statements(copy, text)],
            f"  messages += {', '.join(messages)},",
            " return 0",
        ]
        # The source is all of names made here; what came from outside is in the scope.
        exec("\n".join(lines), scope)  # noqa: S102
        return scope["make"]  # type: ignore[no-any-return]

    def _statements(self, copy: str, text: str) -> list[str]:
        """Write what checks an entry, and makes its data."""
        lines = [f"  if {self._ids.wrong(f'i{copy}', 'li') or False}: return"]
        for layout in self._layouts:
            is_last = layout is self._layouts[-1]
            condition = "True" if is_last else f"m{layout.number}{copy}"
            lines += [
                f"  {'elif' if layout.number else 'if'} {condition}:",
                f"   if {layout.wrong(copy) or False}: return",
                f"   d{copy} = {layout.data(copy, text)}",
            ]
        return lines
