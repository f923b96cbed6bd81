r"""Expressions for what was seen at one place of entries, and how lengths are compared.

Each way of matching knows three things: its regular expression, the condition under
which what it has captured is not right, and where in that the value is. Which way is
taken depends on the lengths seen and on whether any CR was; `patterns` says why each
is right.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    Part: TypeAlias = "Fixed | Known | Varied"

# How many lengths of values that may hold anything a pattern may list.
_KNOWN_LENGTHS = 256
# Up to which length a list tells how it is stated.
_LISTED = 1024
# By how much shorter than those seen a value may be without being read one by one.
_SLACK = 8
# After how many values of one length to think that all of them have it.
_SURE = 32
# Makes a repeat give nothing back once it has matched, where `re` knows that.
_FIRM = b"+" if sys.version_info >= (3, 11) else b""
_LONGEST = 10**9 - 1

# How lengths are stated. The single digits are such as matching makes them: one object
# each, quick to compare.
_STATED = [b"0123456789"[n : n + 1] for n in range(10)] + [b"%d" % n for n in range(10, _LISTED)]


class Fixed:
    """What always has one length. Nothing is left to compare."""

    def __init__(self, length: int, body: bytes) -> None:
        self.expression = rb"\$%d\r\n(%b)\r\n" % (length, body)
        self.stated: Sequence[bytes] = ()

    def targets(self, at: str) -> list[str]:
        """Name what it captures."""
        return [f"c{at}"]

    def wrong(self, _at: str, _table: str) -> str:
        """Write the condition under which the lengths differ."""
        return ""

    def value(self, at: str) -> str:
        """Write the expression for what was taken."""
        return f"c{at}"


class Known:
    """What has one of some lengths, which the pattern lists, each with so many bytes."""

    def __init__(self, lengths: Iterable[int]) -> None:
        digits = [b"%d" % length for length in lengths]
        self.expression = rb"\$(%b)\r\n" % _one_of(b"", digits)
        self.stated: Sequence[bytes] = ()
        starts = {len(stated) + 2 for stated in digits}
        self._start = starts.pop() if len(starts) == 1 else None

    def targets(self, at: str) -> list[str]:
        """Name what it captures: the length, CRLF, and the value."""
        return [f"c{at}"]

    def wrong(self, _at: str, _table: str) -> str:
        """Write the condition under which the lengths differ: they cannot."""
        return ""

    def value(self, at: str) -> str:
        """Write the expression for what was taken."""
        start = f"c{at}.index(LF) + 1" if self._start is None else str(self._start)
        return f"c{at}[{start}:]"


class Varied:
    """What has no CR, or none behind its beginning; the lengths are compared afterwards.

    Args:
        low: The shortest length seen.
        high: The longest.
        begin: The expression for its beginning, of at most `sure` bytes.
        sure: How many these are.
        more: How many bytes other than CR follow, at least and at most.
    """

    def __init__(self, low: int, high: int, begin: bytes, sure: int, more: tuple[int, int]) -> None:
        common, digits = b"", rb"[0-9]{1,9}" + _FIRM
        # How each length is stated, of which digits that all have in common are left out.
        self.stated: Sequence[bytes] = ()
        if high < _LISTED and low // 10 == high // 10:
            tens = low // 10
            common, digits = _STATED[tens] if tens else b"", b"."
            self.stated = [b""] * (tens * 10) + _STATED[:10]
        elif high < _LISTED:
            self.stated = _STATED
        self._is_digit = digits == b"."
        least, most = more
        if self.stated:
            most = min(most, len(self.stated) - 1 - sure)
        body = rb"%b[^\r]{%d,%d}%b" % (begin, least, most, _FIRM)
        self.expression = rb"\$%b(%b)\r\n(%b)\r\n" % (common, digits, body)

    def targets(self, at: str) -> list[str]:
        """Name what it captures: the length as stated, and what was taken."""
        return [f"s{at}", f"c{at}"]

    def wrong(self, at: str, table: str) -> str:
        """Write the condition under which the lengths differ."""
        if not self.stated:
            return f"s{at} != state(len(c{at}))"
        stated = f"{table}[len(c{at})]"
        if self._is_digit:
            return f"s{at} is not {stated} and s{at} != {stated}"
        return f"s{at} != {stated}"

    def value(self, at: str) -> str:
        """Write the expression for what was taken."""
        return f"c{at}"


class Column:
    """What was seen at one place of a shape, or of several."""

    __slots__ = ("_values", "has_cr", "lengths")

    def __init__(self) -> None:
        self._values = 0
        self.lengths: set[int] = set()
        self.has_cr = False

    def learn(self, value: bytes) -> None:
        """Take note of one more value."""
        self._values += 1
        self.lengths.add(len(value))
        if not self.has_cr and b"\r" in value:
            self.has_cr = True

    def take_in(self, other: Column) -> None:
        """Take note of what another has seen."""
        self._values += other._values
        self.lengths |= other.lengths
        self.has_cr |= other.has_cr

    def part(self) -> Part | None:
        """Say how to match it; None if there is no way."""
        low, high = min(self.lengths), max(self.lengths)
        if low == high and self._values >= _SURE:
            return Fixed(low, _any(low))
        if not self.has_cr:
            sure = max(0, low - (high - low) - _SLACK)
            return Varied(low, high, _any(sure), sure, (0, _LONGEST))
        if len(self.lengths) > _KNOWN_LENGTHS:
            return None
        # Where they are close, those around them are expected as well.
        near = range(max(0, low - 1), high + 2)
        return Known(near if len(near) <= _KNOWN_LENGTHS else self.lengths)


class Ids:
    """What was seen of the IDs."""

    __slots__ = ("dashes", "lengths")

    def __init__(self) -> None:
        self.lengths: set[int] = set()
        self.dashes: set[int] = set()

    def learn(self, entry_id: bytes) -> None:
        """Take note of one more ID."""
        self.lengths.add(len(entry_id))
        self.dashes.add(entry_id.index(b"-"))

    def part(self) -> Part | None:
        """Say how to match them; None for numbers so large that their size is to be looked at."""
        low, high, dash = min(self.lengths), max(self.lengths), max(self.dashes)
        if dash > 19 or high - min(self.dashes) > 20:
            return None
        if len(self.dashes) > 1:
            return Varied(0, _LISTED - 1, rb"[0-9]{1,19}-", 20, (1, 19))
        if low == high:
            return Fixed(low, _any(dash) + b"-" + _any(low - dash - 1))
        return Varied(low, high, _any(dash) + b"-", dash + 1, (1, 19))


def _any(length: int) -> bytes:
    """Write the expression for so many bytes, whatever they are."""
    return b"." * length if length < 2 else b".{%d}%b" % (length, _FIRM)


def _one_of(begun: bytes, ends: list[bytes]) -> bytes:
    """Write the expression for one of some lengths, CRLF, and that many bytes.

    Args:
        begun: The digits that all of them begin with.
        ends: The digits of each after these.
    """
    if ends == [b""]:
        return rb"\r\n" + _any(int(begun))
    branches = [
        digit + _one_of(begun + digit, [end[1:] for end in ends if end[:1] == digit])
        for digit in sorted({end[:1] for end in ends if end})
    ]
    if b"" in ends:
        branches.append(_one_of(begun, [b""]))
    return b"(?:%b)" % b"|".join(branches)
