"""The names of `protocol.ids`, for modules that are still to be moved (temporary)."""

from .protocol.ids import (
    ZERO,
    are_even,
    before,
    count_ascending,
    id_of,
    is_before,
    is_id,
    is_later,
    number_of,
    parse_start,
)

__all__ = [
    "ZERO",
    "are_even",
    "before",
    "count_ascending",
    "id_of",
    "is_before",
    "is_id",
    "is_later",
    "number_of",
    "parse_start",
]
