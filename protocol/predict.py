"""Prediction of the last IDs of a full XREAD reply, before the reply was read.

The next XREAD can be sent with them while the reply is still to be read. The bytes are
searched for what looks like the heads of streams and entries. A value can look like
either, so a prediction is only a guess, to be compared with the reply.
"""

from __future__ import annotations

import re

from .entries import slice_strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .buffer import Buffer

# Size of entries, in bytes, above which nothing is predicted: a search through such entries
# takes longer than the time that an early request saves.
MAX_ENTRY = 8192
# Number of candidates for the last entry to try, where values look like entries.
_MAX_CANDIDATES = 16
# The bytes that an entry begins with.
_OPENING = b"*2\r\n$"
# The part of an entry before its strings: the ID, and the number of strings.
_match_head = re.compile(
    rb"\*2\r\n\$[0-9]{1,2}\r\n([0-9]{1,19}-[0-9]{1,19})\r\n\*([0-9]{0,10})"
).match


def predict_last_ids(
    buffer: Buffer,
    read: list[bytes],
    rest: tuple[int, int],
    coming: Sequence[tuple[bytes, int]],
    count: int,
) -> list[bytes] | None:
    """Predict the last ID of each stream of a reply; None where it does not look full.

    Args:
        buffer: The bytes of the reply that were not read yet.
        read: The last ID read of each stream that has begun; empty where there is none.
        rest: Of the last of these streams, the number of entries that were not read and
            about how many bytes an entry takes.
        coming: The keys of the streams that have not begun, each with the size of an entry.
        count: The number of entries that each stream has in a full reply.
    """
    missing, size = rest
    expected = sum(size for _, size in coming) * count + missing * size
    # Each piece that comes is not worth a search, and large entries are not either.
    if len(buffer) < expected * 3 // 4 or len(buffer) > MAX_ENTRY * count * (len(coming) + 1):
        return None
    buffer.join()
    data, pos = buffer.data, buffer.pos
    # The bounds of each stream's entries, those of the stream that is being read first.
    starts, ends = [pos], []
    # Most of the entries before a header need not be searched for it.
    skip = 0
    for key, entry_size in coming:
        header = b"$%d\r\n%b\r\n*%d\r\n" % (len(key), key, count)
        start = starts[-1]
        found = data.find(header, start + skip)
        if found < 0:
            found = data.find(header, start, start + skip + len(header))
        if found < 0:
            return None
        ends.append(found)
        starts.append(found + len(header))
        skip = entry_size * count * 31 // 32
    ends.append(len(data))
    heads = [_last_head(data, *span) for span in zip(starts, ends, strict=True)]
    number, size = (count, coming[-1][1]) if coming else (missing, size)
    if not _holds_entries(number, data, starts[-1], heads[-1], number * size):
        return None
    last_ids = [head[1] if head else b"" for head in heads]
    if read:
        # The buffer begins with the rest of the stream that was read last.
        read = [*read[:-1], last_ids[0] or read[-1]]
    predicted = read + last_ids[1:]
    return predicted if all(predicted) else None


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


def _holds_entries(
    number: int, data: bytes, start: int, last: re.Match[bytes] | None, expected: int
) -> bool:
    """Tell whether there seem to be `number` entries from `start` on.

    Args:
        number: The number of entries, of which the first may be there in part only.
        data: The bytes that have come.
        start: Position of the entries.
        last: The head of the last one.
        expected: About how many bytes the entries take.
    """
    if last is None:
        return False
    # Hardly ever does a piece end with an entry, and that near the end of all of them.
    if abs(len(data) - start - expected) <= expected // 16 and _ends_with(data, last):
        return True
    # If all IDs have one length, entries begin with a long text, which is quick to count.
    opening = b"%b%d\r\n" % (_OPENING, len(last[1]))
    if data.count(opening, start) == number:
        return data.rfind(opening) == last.start()
    # An entry is two arrays. Of one that has begun, the second may still be there.
    arrays = data.startswith(b"*", start) + data.count(b"\r\n*", start)
    return arrays // 2 == number


def _ends_with(data: bytes, head: re.Match[bytes]) -> bool:
    """Tell whether an entry with this head seems to end where the data does."""
    strings, start = int(head[2] or 0), head.end() + 2
    # A string takes two lines, unless there is an end of line in it.
    if data.count(b"\r\n", start) == 2 * strings and data.endswith(b"\r\n"):
        return True
    found, end = slice_strings(data, start, strings)
    return len(found) == strings and end == len(data)
