r"""Patterns: a window of entries whose schemas are known is read by one call into C.

A schema is the names of an entry's fields, in their order. They stand in a regular
expression literally, and only IDs, lengths and values are captured. A value is all up to
the next CR or, where values were seen that hold CR, up to the next CRLF that a header may
follow. Each length that is stated is compared with the length of what was captured, before
a message is made. So it is right for the reason that `entries` gives, whatever it matches.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice

from .ids import count_ascending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from .messages import Message, MessageFactory

    Names: TypeAlias = tuple[bytes, ...]

# How many schemas one pattern may have, fields in all of them, and bytes of names. To compile
# a larger one takes milliseconds, in which nothing else is done.
_MAX_SCHEMAS = 8
_MAX_FIELDS = 32
_MAX_NAMES = 512
# The most patterns that are kept.
_MAX_PATTERNS = 32

_ID = rb"\*2\r\n\$([0-9]{1,2})\r\n([0-9]{1,19}-[0-9]{1,19})\r\n"
_VALUE = rb"\$([0-9]{1,9}+)\r\n([^\r]*+)\r\n"
# The same, up to a CR before what may follow the value.
_CR_VALUE = rb"\$([0-9]{1,9}+)\r\n([^\r]*+(?:\r(?!\n%b)[^\r]*+)*+)\r\n"
_NEXT_ENTRY = rb"(?:\*2\r\n\$|\Z)"


# The longest value of which the length is compared; an entry with a longer one is sliced.
_MAX_LENGTH = 4096


@cache
def _stated(*, is_text: bool) -> list[Any]:
    """Return the digits that state each length, made when the first pattern is."""
    return [("%d" if is_text else b"%d") % length for length in range(_MAX_LENGTH + 1)]


class Pattern:
    """Reads windows of entries of some schemas.

    Attributes:
        schemas: The schemas.
        has_cr: Whether values may hold CR.
    """

    def __init__(self, schemas: Sequence[Names], factory: MessageFactory, *, has_cr: bool) -> None:
        self.schemas = list(schemas)
        self.has_cr = has_cr
        self._factory = factory
        self._targets: list[str] = []
        expression = self._write() + b"|(.+)"
        self._match = re.compile(expression, re.DOTALL)
        self._make = self._function(is_text=False)
        self._match_text: re.Pattern[str] | None = None
        if factory.is_ascii_based:
            # Where each byte is one letter, all the lengths hold for letters as well.
            self._match_text = re.compile(expression.decode("latin-1"), re.DOTALL)
            self._make_text = self._function(is_text=True)

    @staticmethod
    def can_read(schemas: Sequence[Names]) -> bool:
        """Tell whether there may be a pattern of these schemas."""
        return (
            0 < len(schemas) <= _MAX_SCHEMAS
            and all(schemas)
            and sum(map(len, schemas)) <= _MAX_FIELDS
            and sum(len(name) for names in schemas for name in names) <= _MAX_NAMES
        )

    def read(
        self, name: object, data: bytes, start: int, end: int, most: int
    ) -> tuple[list[Message], int]:
        """Read entries, up to the first that the pattern does not match, or that is not right.

        Returns:
            Their messages, and the position after them.
        """
        messages: list[Message] = []
        match: Any = self._match
        window: Any
        make, window, base, bounds = self._make, data, 0, (start, end)
        if self._match_text is not None and (piece := data[start:end]).isascii():
            match, make, window = self._match_text, self._make_text, piece.decode()
            base, bounds = start, (0, end - start)
        rest = make(name, match.findall(window, *bounds), messages.append)
        number = min(most, count_ascending([entry_id for _, entry_id, _ in messages]))
        if rest is not None and number == len(messages):
            return messages, end - rest
        if not number:
            return [], start
        del messages[number:]
        last = next(islice(match.finditer(window, *bounds), number - 1, None))
        return messages, base + last.end()

    # How it is written. Of several schemas, each leaves a mark where the header of its
    # fields has matched. What follows depends on the mark, ``(?(3)this|that)``, so that they
    # share what they capture: all that is captured takes time, also if nothing is in it.

    def _write(self) -> bytes:
        end = b"\r\n" if len(self.schemas) == 1 else b"(\r)\n"
        self._targets = ["si", "ci"]
        if len(self.schemas) > 1:
            self._targets += [f"m{at}" for at in range(len(self.schemas))]
        heads = [rb"\*%d%b%b" % (2 * len(names), end, _literal(names[0])) for names in self.schemas]
        return rb"%b(?:%b)%b" % (_ID, b"|".join(heads), self._columns(0, self.schemas))

    def _columns(self, at: int, schemas: list[Names]) -> bytes:
        """Write the expression of the values from one on, for the schemas that have it."""
        others = [names for names in schemas if len(names) > at]
        if not others:
            return b""
        *first, last = others
        expression = _literal(last[at]) if at else b""
        for names in first if at else ():
            if names[at] != last[at]:
                expression = b"(?(%d)%b|%b)" % (
                    self._mark(names),
                    _literal(names[at]),
                    expression,
                )
        self._targets += [f"s{at}", f"c{at}"]
        expression += _CR_VALUE % self._after(at, others) if self.has_cr else _VALUE
        expression += self._columns(at + 1, others)
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
            return literals.pop()
        return b"[$*]"

    def _mark(self, names: Names) -> int:
        return 3 + self.schemas.index(names)

    def _function(self, *, is_text: bool) -> Callable[..., int | None]:
        """Make the function that compares lengths, and makes messages of rows."""
        factory = self._factory
        decodes = factory.encoding is not None and not is_text
        scope: dict[str, Any] = {
            "stated": _stated(is_text=is_text),
            "fields": factory.fields,
            "encoding": factory.encoding,
            "errors": factory.errors,
        }
        entry_id = "ci.decode()" if decodes else "ci"
        lines = [
            " try:",
            f"  for {', '.join(self._targets)}, rest in rows:",
            "   if rest: return len(rest)",
            "   if si != stated[len(ci)]: return None",
        ]
        for number, names in enumerate(self.schemas):
            wrong = [f"s{at} != stated[len(c{at})]" for at in range(len(names))]
            value = "str(c%d, encoding, errors)" if decodes else "c%d"
            scope |= {f"n{number}_{at}": factory.item(name) for at, name in enumerate(names)}
            pairs = [(f"n{number}_{at}", value % at) for at in range(len(names))]
            is_last = number == len(self.schemas) - 1
            lines += [
                f"   {'elif' if number else 'if'} {'True' if is_last else f'm{number}'}:",
                f"    if {' or '.join(wrong)}: return None",
                f"    append((name, {entry_id}, {self._data(pairs)}))",
            ]
        arguments = ", ".join(f"{each}={each}" for each in scope)
        source = [
            f"def make(name, rows, append, {arguments}):",
            *lines,
            " except IndexError: return None",
            " return 0",
        ]
        # The source is made of names from here alone; what came from outside is in the scope.
        exec("\n".join(source), scope)  # noqa: S102
        return scope["make"]  # type: ignore[no-any-return]

    def _data(self, pairs: list[tuple[str, str]]) -> str:
        """Write the expression for the data."""
        if self._factory.fields is dict:
            return "{" + ", ".join(f"{name}: {value}" for name, value in pairs) + "}"
        source = "[" + ", ".join(f"({name}, {value})" for name, value in pairs) + "]"
        return source if self._factory.fields is list else f"fields({source})"


def _literal(name: bytes) -> bytes:
    return re.escape(b"$%d\r\n%b\r\n" % (len(name), name))


class Patterns:
    """The patterns in use, which streams with the same schemas share."""

    def __init__(self, factory: MessageFactory) -> None:
        self._factory = factory
        self._patterns: dict[tuple[bool, frozenset[Names]], Pattern] = {}
        self._by_names: dict[Names, Pattern] = {}

    def find(self, names: Names) -> Pattern | None:
        """Find a pattern that reads a schema."""
        return self._by_names.get(names)

    def get(self, schemas: Sequence[Names], *, has_cr: bool) -> Pattern:
        """Return the pattern of some schemas, made at need."""
        key = has_cr, frozenset(schemas)
        pattern = self._patterns.get(key)
        if pattern is None:
            if len(self._patterns) >= _MAX_PATTERNS:
                self._patterns.clear()
                self._by_names.clear()
            pattern = self._patterns[key] = Pattern(schemas, self._factory, has_cr=has_cr)
            self._by_names.update(dict.fromkeys(schemas, pattern))
        return pattern
