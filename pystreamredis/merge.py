"""The merge: messages of many streams, sorted by ID as far as is known (contract 3).

The watermark: of a stream that may hold more entries than have come, nothing is
known beyond its last one here. The smallest of these IDs is how far messages of
all streams may be handed over; what lies beyond waits for the next read.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter

from .handover import Batch
from .ids import are_even, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from .cursors import Cursor
    from .protocol.messages import Message
    from .starts import Followed

_id = itemgetter(1)

# About how many messages are sorted at once, and how many of a stream at least.
_BATCH = 8192
_LEAST = 32


def _number(message: Message) -> int:
    return number_of(message[1])


def release(
    cursors: list[Cursor], limit: int | None = None, apart: Iterable[list[Cursor]] = ()
) -> Released:
    """Take out all waiting messages up to the watermark, in ID order.

    Equal IDs come in the order of `cursors`, and after them in that of `apart`.

    Args:
        cursors: The streams.
        limit: An ID, as a number, beyond which none is to be taken anyway.
        apart: Groups of more streams, which hold back no others but those of their own
            group, and are held back by `cursors`.
    """
    watermark = _watermark(cursors, limit)
    runs = [run for cursor in cursors if cursor.waiting and (run := _take(cursor, watermark))]
    for group in apart:
        own = _watermark(group, watermark)
        runs += [run for cursor in group if cursor.waiting and (run := _take(cursor, own))]
    return Released(runs)


class Released:
    """Messages that may be handed over, sorted a batch at a time.

    So what was sorted is still in the processor's caches when it is handed over, and the
    next ones take the memory of those that were.

    Attributes:
        runs: What is left of them: messages of one stream each, in order.
    """

    def __init__(self, runs: list[list[Message]]) -> None:
        self.runs = runs

    def next_batch(self) -> Batch:
        """Take out those that come next; none if none are left."""
        runs = self._take()
        ends = {run[-1][0]: run[-1][1] for run in runs}
        return Batch(runs[0] if len(runs) == 1 else _sorted(runs), ends)

    def discard(self, names: Container[Followed]) -> None:
        """Drop the messages of some streams."""
        self.runs = [run for run in self.runs if run[0][0] not in names]

    def _take(self) -> list[list[Message]]:
        runs = self.runs
        share = max(_LEAST, _BATCH // max(1, len(runs)))
        # No run has more than its share up to the smallest of these.
        bounds = [_number(run[share - 1]) for run in runs if len(run) > share]
        if not bounds:
            self.runs = []
            return runs
        bound, taken = min(bounds), []
        for run in runs:
            if cut := bisect_right(run, bound, hi=min(share, len(run)), key=_number):
                taken.append(run[:cut])
                del run[:cut]
        self.runs = [run for run in runs if run]
        return taken


def _watermark(cursors: list[Cursor], limit: int | None) -> int | None:
    bounds = [bound for cursor in cursors if (bound := cursor.known_up_to()) is not None]
    if limit is not None:
        bounds.append(limit)
    return min(bounds) if bounds else None


def waiting_after(cursor: Cursor, watermark: int) -> int:
    """Count the messages of a stream that lie beyond a watermark."""
    waiting = cursor.waiting
    if not waiting or _number(waiting[-1]) <= watermark:
        return 0
    return len(waiting) - bisect_right(waiting, watermark, key=_number)


def _take(cursor: Cursor, watermark: int | None) -> list[Message]:
    """Take out one stream's messages up to the watermark."""
    waiting = cursor.waiting
    if watermark is None or _number(waiting[-1]) <= watermark:
        cursor.waiting = []
        return waiting
    cut = bisect_right(waiting, watermark, key=_number)
    cursor.waiting = waiting[cut:]
    return waiting[:cut]


def _sorted(runs: list[list[Message]]) -> list[Message]:
    """Merge runs that are in order each. Sorting finds the runs again, in C."""
    batch: list[Message] = []
    for run in runs:
        batch += run
    # Within a run the IDs grow, and with them the number of their ms' digits.
    dashes = {_dash(message[1]) for run in runs for message in (run[0], run[-1])}
    if len(dashes) > 1:
        batch.sort(key=_number)
        return batch
    # Equally long numbers compare as text does.
    batch.sort(key=_id)
    if are_even([message[1] for message in batch]):
        return batch
    # Within one ms there may be sequences of several lengths: the shortest ones that come
    # before the first longer one are smaller than it, and need not be moved.
    lengths = [len(message[1]) for message in batch]
    usual, dash, end = min(lengths), dashes.pop(), 0
    for at, length in enumerate(lengths):
        if length == usual or at < end:
            continue
        ms, end = batch[at][1][:dash], at + 1
        while end < len(batch) and batch[end][1][:dash] == ms:
            end += 1
        batch[at:end] = sorted(batch[at:end], key=_number)
    return batch


def _dash(entry_id: bytes | str) -> int:
    return entry_id.index("-") if isinstance(entry_id, str) else entry_id.index(b"-")
