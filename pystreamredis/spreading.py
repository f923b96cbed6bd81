"""Over how many connections streams are read, and which of them over which.

XREAD names all its streams each time, and servers look at each of them, and each waiting
client, by name: so a message costs the more the more streams share its connection, and a
connection costs both sides something as well. Measured, some hundred streams for each are
best, see docs/explanation/growing.rst.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from math import ceil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    Stream = TypeVar("Stream")

# How many streams share a connection, and how many connections there are at most, unless
# the caller says otherwise.
_SHARE = 100
_MOST = 100


def connections_for(streams: int, wanted: int | None) -> int:
    """Say how many connections so many streams get; the caller may have asked for some number."""
    most = min(_MOST, ceil(streams / _SHARE)) if wanted is None else min(wanted, streams)
    return max(1, most)


def spread(streams: Iterable[Stream], shares: list[list[Stream]]) -> None:
    """Add each stream to the share that is the smallest by then."""
    sizes = [(len(share), at) for at, share in enumerate(shares)]
    heapify(sizes)
    for stream in streams:
        size, at = sizes[0]
        shares[at].append(stream)
        heapreplace(sizes, (size + 1, at))
