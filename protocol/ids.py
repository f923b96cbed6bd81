"""Entry IDs, ``<ms>-<sequence>``: what is one, and whether some are in order.

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

_split = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})").fullmatch
_PART = 64
_DIGITS = b"0123456789"


def is_id(entry_id: bytes) -> bool:
    """Whether it is two unsigned 64-bit numbers."""
    found = _split(entry_id)
    return found is not None and max(map(int, found.groups())) < 2**_PART


def number_of(entry_id: bytes | str) -> int:
    """Make one 128-bit number of a whole ID; numbers compare as IDs do."""
    if isinstance(entry_id, str):
        entry_id = entry_id.encode("ascii")
    ms, _, sequence = entry_id.partition(b"-")
    return (int(ms) << _PART) | int(sequence)


def count_ascending(ids: Sequence[bytes] | Sequence[str]) -> int:
    """Count the IDs before the first that is none, or not larger than the one before.

    Args:
        ids: What may be IDs, each with a dash within it: all bytes, or all text.
    """
    if len(ids) < 2:
        return 1 if ids and _is_plain(ids[0]) else 0
    if _ascend(ids):
        return len(ids)
    last = -1
    for at in range(len(ids)):
        if not _is_plain(ids[at]) or number_of(ids[at]) <= last:
            return at
        last = number_of(ids[at])
    return len(ids)


def are_even(ids: Sequence[bytes] | Sequence[str]) -> bool:
    """Whether all of them have the same length."""
    return not ids or _are_even(_lines(ids), len(ids))


def _lines(ids: Sequence[Any]) -> bytes:
    """Write each as a line."""
    text = b"\n".join(ids) if isinstance(ids[0], bytes) else "\n".join(ids).encode()
    return text + b"\n"


def _are_even(lines: bytes, count: int) -> bool:
    """Whether so many lines have the same length, without a look at each."""
    size = lines.index(b"\n") + 1
    return lines[size - 1 :: size] == b"\n" * count


def _is_plain(entry_id: Any) -> bool:
    """Whether nothing but digits is around the dash in it."""
    dash, none = (b"-", b"") if isinstance(entry_id, bytes) else ("-", "")
    digits = entry_id.replace(dash, none, 1)
    return digits.isdigit() and digits.isascii()  # type: ignore[no-any-return]


def _ascend(ids: Sequence[Any]) -> bool:
    count, lines = len(ids), _lines(ids)
    if lines.translate(None, _DIGITS) != b"-\n" * count:
        return False
    dash = lines.index(b"-")
    if _are_even(lines, count) and lines[dash :: len(lines) // count] == b"-" * count:
        # All are like the first, so they compare as text does.
        keys: Sequence[Any] = ids
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
