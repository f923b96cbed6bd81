"""Stream IDs: two unsigned 64-bit numbers, ``<ms>-<sequence>``, and their order.

Source: https://redis.io/docs/latest/develop/data-types/streams/#entry-ids
"""

from __future__ import annotations

import re

from .protocol.ids import are_even as are_even
from .protocol.ids import number_of as number_of

ZERO = b"0-0"
"""The ID before all entries: no entry has it."""

_PART = 64
_MAX_PART = 2**_PART - 1
# Digits that are too many, too; those without end would take long to read.
_split = re.compile(r"([0-9]{1,99})(?:-([0-9]{1,99}))?").fullmatch


def id_of(number: int) -> bytes:
    """Make the ID of such a number."""
    return b"%d-%d" % (number >> _PART, number & _MAX_PART)


def before(ms: int) -> bytes:
    """Make the last ID before the time `ms`: reading after it takes that very ms in.

    Raises:
        ValueError: `ms` is no unsigned 64-bit number.
    """
    if not 0 <= ms <= _MAX_PART:
        raise ValueError(f"{ms} is outside of 0 to 2**64 - 1")
    return id_of((ms << _PART) - 1) if ms else ZERO


def is_later(entry_id: bytes, other: bytes) -> bool:
    """Whether an ID is larger than another one."""
    if len(entry_id) == len(other) and entry_id.index(b"-") == other.index(b"-"):
        return entry_id > other
    return number_of(entry_id) > number_of(other)


def is_before(entry_id: bytes) -> bool:
    """Whether an ID is such a last one before a time, which no entry has in practice."""
    return entry_id.endswith(b"-%d" % _MAX_PART)


def parse_start(text: str) -> bytes:
    """Make the ID to read after of ``"<ms>"``, that ms included, or ``"<ms>-<sequence>"``.

    Raises:
        ValueError: It is neither, or a number has more than 64 bits.
    """
    found = _split(text)
    if found is None:
        raise ValueError("it is neither '<ms>' nor '<ms>-<sequence>'")
    ms, sequence = found.groups()
    if sequence is None:
        return before(int(ms))
    if int(ms) > _MAX_PART or int(sequence) > _MAX_PART:
        raise ValueError("a part of it is outside of 0 to 2**64 - 1")
    return b"%d-%d" % (int(ms), int(sequence))
