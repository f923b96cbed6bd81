"""Prediction of the last IDs of a full XREAD reply, before the reply was read.

The next XREAD can be sent with them while the reply is still to be read. The bytes are
searched for what looks like the heads of streams and entries, and the last entry must end
where the bytes do. A value can look like either, and a piece of a reply can end with an
entry, so a prediction is only a guess, to be compared with the reply.
"""

from __future__ import annotations

import re

from .entries import slice_strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Number of candidates for the last entry to try, where values look like entries.
_MAX_CANDIDATES = 16
# The most bytes in which entries are counted: for more, the last one is awaited.
_MAX_COUNTED = 131_072
# The bytes that an entry begins with.
_OPENING = b"*2\r\n$"
# The part of an entry before its strings: the ID, and the number of strings.
_match_head = re.compile(
    rb"\*2\r\n\$[0-9]{1,2}\r\n([0-9]{1,19}-[0-9]{1,19})\r\n\*([0-9]{1,10})\r\n"
).match


def predict_last_ids(
    data: bytes, pos: int, keys: Sequence[bytes], sizes: Sequence[int], count: int, left: int
) -> list[bytes] | None:
    """Predict the last IDs of a stream that is being read, and of those to come.

    Args:
        data: The bytes that have come.
        pos: Position of the first one that was not read.
        keys: The keys of the streams to come.
        sizes: About how many bytes an entry of each takes.
        count: The number of entries that each stream has in a full reply.
        left: The number of entries to come of the stream that is being read.

    Returns:
        The stream's that is being read, empty if no entry of it is there, and each other's;
        None if the reply is not full, or does not seem to be all there.
    """
    # The bounds of each stream's entries.
    starts, ends = [pos], []
    # Most of the entries before a header need not be searched for it.
    skip = 0
    for key, size in zip(keys, sizes, strict=True):
        header = b"$%d\r\n%b\r\n*%d\r\n" % (len(key), key, count)
        start = starts[-1]
        found = data.find(header, start + skip)
        if found < 0:
            found = data.find(header, start, start + skip + len(header))
        if found < 0:
            return None
        ends.append(found)
        starts.append(found + len(header))
        skip = size * count * 31 // 32
    heads = [_last_head(data, *span) for span in zip(starts, [*ends, len(data)], strict=True)]
    last = heads[-1]
    if last is None or not all(heads[1:]):
        return None
    strings = int(last[2])
    found_strings, end = slice_strings(data, last.end(), strings)
    if len(found_strings) < strings:
        # The last entry has begun if as many have as there must be, all with IDs of its length.
        opening = b"%b%d\r\n" % (_OPENING, len(last[1]))
        if len(data) - starts[-1] > _MAX_COUNTED or data.count(opening, starts[-1]) != (
            count if keys else left
        ):
            return None
    elif end < len(data):
        return None
    return [head[1] if head else b"" for head in heads]


def _last_head(data: bytes, start: int, end: int) -> re.Match[bytes] | None:
    """Find what looks like the head of the last entry between two positions."""
    at = data.find(_OPENING, start, end)
    if at < 0:
        return None
    # No ID is smaller than the first one, though an ID in a value can be. For a guess the
    # number of digits decides.
    first = _size_and_id(_match_head(data, at))
    for _ in range(_MAX_CANDIDATES):
        # A candidate can be the array of a single field, or part of a value.
        if (end := data.rfind(_OPENING, at, end)) < 0:
            break
        head = _match_head(data, end)
        if head is not None and _size_and_id(head) >= first:
            return head
    return None


def _size_and_id(head: re.Match[bytes] | None) -> tuple[int, bytes]:
    return (len(head[1]), head[1]) if head else (0, b"")
