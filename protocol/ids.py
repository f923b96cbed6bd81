"""Stream IDs, ``<ms>-<sequence>``: two unsigned 64-bit numbers, their text and their order.

Source: https://redis.io/docs/latest/develop/data-types/streams/#entry-ids
"""

from __future__ import annotations

import re
from itertools import islice
from operator import itemgetter, lt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ZERO = b"0-0"
"""The ID before all entries; no entry has it."""

_PART = 64
_MAX_PART = 2**_PART - 1
_DIGITS = b"0123456789"
_split = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})").fullmatch
# The bound on the digits keeps the conversion of a wrong start cheap.
_split_start = re.compile(r"([0-9]{1,99})(?:-([0-9]{1,99}))?").fullmatch


def is_id(entry_id: bytes) -> bool:
    """Tell whether a string is two unsigned 64-bit numbers."""
    found = _split(entry_id)
    return found is not None and max(map(int, found.groups())) <= _MAX_PART


def number_of(entry_id: bytes | str) -> int:
    """Make one 128-bit number of a whole ID; numbers compare as IDs do."""
    if isinstance(entry_id, str):
        entry_id = entry_id.encode("ascii")
    ms, _, sequence = entry_id.partition(b"-")
    return (int(ms) << _PART) | int(sequence)


def id_of(number: int) -> bytes:
    """Make the ID of a number that `number_of` made."""
    return b"%d-%d" % (number >> _PART, number & _MAX_PART)


def before(ms: int) -> bytes:
    """Make the last ID before the time `ms`; reading after it includes that very ms.

    Raises:
        ValueError: `ms` is not an unsigned 64-bit number.
    """
    if not 0 <= ms <= _MAX_PART:
        raise ValueError(f"{ms} is outside of 0 to 2**64 - 1")
    return id_of((ms << _PART) - 1) if ms else ZERO


def is_later(entry_id: bytes, other: bytes) -> bool:
    """Tell whether an ID is larger than another one."""
    if len(entry_id) == len(other) and entry_id.index(b"-") == other.index(b"-"):
        return entry_id > other
    return number_of(entry_id) > number_of(other)


def is_before(entry_id: bytes) -> bool:
    """Tell whether an ID is one that `before` made; in practice no entry has such an ID."""
    return entry_id.endswith(b"-%d" % _MAX_PART)


def parse_start(text: str) -> bytes:
    """Make the ID to read after from ``"<ms>"``, that ms included, or ``"<ms>-<sequence>"``.

    Raises:
        ValueError: The text is neither, or a number has more than 64 bits.
    """
    found = _split_start(text)
    if found is None:
        raise ValueError("it is neither '<ms>' nor '<ms>-<sequence>'")
    ms, sequence = found.groups()
    if sequence is None:
        return before(int(ms))
    if int(ms) > _MAX_PART or int(sequence) > _MAX_PART:
        raise ValueError("a part of it is outside of 0 to 2**64 - 1")
    return b"%d-%d" % (int(ms), int(sequence))


def count_ascending(ids: Sequence[bytes] | Sequence[str]) -> int:
    """Count the strings before the first that is not an ID, or not larger than the one before.

    Args:
        ids: Any strings, all bytes or all text.
    """
    if len(ids) > 1 and _ascend(ids):
        return len(ids)
    last = -1
    for at, entry_id in enumerate(ids):
        line = entry_id if isinstance(entry_id, bytes) else entry_id.encode("ascii", "replace")  # type: ignore[attr-defined]
        if not is_id(line) or number_of(line) <= last:
            return at
        last = number_of(line)
    return len(ids)


def are_even(ids: Sequence[bytes] | Sequence[str]) -> bool:
    """Tell whether all IDs have the same length."""
    return not ids or _are_even(_lines(ids), len(ids))


def _lines(ids: Sequence[Any]) -> bytes:
    """Write each ID as a line."""
    text = b"\n".join(ids) if isinstance(ids[0], bytes) else "\n".join(ids).encode()
    return text + b"\n"


def _are_even(lines: bytes, count: int) -> bool:
    """Tell whether `count` lines have the same length, without a loop over them."""
    size = lines.index(b"\n") + 1
    return lines[size - 1 :: size] == b"\n" * count


def _ascend(ids: Sequence[Any]) -> bool:
    """Tell, for most IDs quickly, whether all are IDs in order; False can mean unknown."""
    count, lines = len(ids), _lines(ids)
    if lines.translate(None, _DIGITS) != b"-\n" * count:
        return False
    dash, size = lines.index(b"-"), lines.index(b"\n")
    if _are_even(lines, count) and lines[dash :: size + 1] == b"-" * count:
        # One dash each, digits before and after it, and too few of them for more than 64 bits.
        if not 0 < dash < size - 1 or size > 20:
            return False
        # All are like the first, so they compare as text does.
        keys: Sequence[Any] = ids
    elif lines[:1] == b"-" or b"\n-" in lines or b"-\n" in lines or max(map(len, ids)) > 20:
        return False
    elif (
        set(map(itemgetter(slice(dash, dash + 1)), ids)) == {ids[0][dash : dash + 1]}
        # No server sends a sequence that begins with zeros.
        and lines.count(b"-0") == lines.count(b"-0\n")
    ):
        # The ms; where these are equal, the length, which is the sequence's; and then that.
        keys = list(zip(map(itemgetter(slice(dash)), ids), map(len, ids), ids, strict=True))
    else:
        keys = list(map(number_of, ids))
    return all(map(lt, keys, islice(keys, 1, None)))
