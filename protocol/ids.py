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
        ids: What may be IDs, each with a dash in it: all bytes, or all text.
    """
    if _ascend(ids):
        return len(ids)
    if not _ascend(ids[:1]):
        return 0
    return next(at for at in range(1, len(ids)) if not _ascend(ids[at - 1 : at + 1]))


def _ascend(ids: Sequence[Any]) -> bool:
    if not ids:
        return True
    joined = ids[0][:0].join(ids)
    ascii_ids = joined if isinstance(joined, bytes) else joined.encode()
    if ascii_ids.translate(None, _DIGITS) != b"-" * len(ids):
        return False
    if len(ids) == 1:
        return True
    lengths = list(map(len, ids))
    dash = ascii_ids.index(b"-")
    # What stands at its place in all of them: a longer ms between two that are equally long
    # would compare well as text.
    if is_even := len(set(lengths)) == 1:
        column = joined[dash :: lengths[0]]
    else:
        column = joined[:0].join(map(itemgetter(slice(dash, dash + 1)), ids))
    if column.count(column[:1]) < len(ids):
        keys: list[Any] = list(map(number_of, ids))
    elif is_even:
        keys = list(ids)
    else:
        # The ms; where these are equal, the length, which is the sequence's; and then that.
        keys = list(zip(map(itemgetter(slice(dash)), ids), lengths, ids, strict=True))
    return all(map(lt, keys, islice(keys, 1, None)))
