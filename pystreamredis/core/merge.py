"""The merge: messages of many streams, sorted by ID as far as is known (contract 3).

Where the server may have more entries of a stream, nothing is known beyond the last one that
was received. The smallest of these last IDs is the watermark: messages of all streams up to it
are released, and the others wait for the next read.
"""

from __future__ import annotations

from operator import itemgetter

from ..protocol.ids import are_even, number_of
from ..protocol.messages import Unmade
from .delivery import BATCH_SIZE, EMPTY, Batch
from .failures import message_error
from .stream import count_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    from ..protocol.messages import Message
    from ..starts import Followed

    class Merged(Protocol):
        """The part of a stream that the merge has to know."""

        last_id: bytes
        pending: list[Message]
        caught_up: bool


LEAST_SHARE = 32
"""The least number of messages of one stream in a batch, if it has so many."""


def _number(message: Message) -> int:
    return number_of(message[1])


def release(
    streams: Sequence[Merged], limit: int | None = None, apart: Iterable[Sequence[Merged]] = ()
) -> list[list[Message]]:
    """Take out all pending messages up to the watermark.

    Messages with equal IDs come in the order of `streams`, then in the order of `apart`.

    Args:
        streams: The streams.
        limit: The largest ID to take, as a number; None for any.
        apart: Groups of more streams. Each is held back by `streams`, and holds back only the
            streams of its own group.

    Returns:
        Runs of messages of one stream each, in order, for `next_batch`.
    """
    watermark = find_watermark(streams, limit)
    runs = _take(streams, watermark)
    for group in apart:
        runs += _take(group, find_watermark(group, watermark))
    return runs


class Queue:
    """Messages that were released and wait for their delivery, and the record of deliveries.

    Attributes:
        runs: Messages of one stream each, in order.
        rest: The rest of a batch with an entry of which no message could be made; it comes
            before the runs.
        has_unmade: True once there was any such entry.
        delivered: Positions at the beginning of the current batch.
        counted: Number of messages delivered before a batch, and that batch: one object, so
            that other threads see both change at once.
    """

    def __init__(self) -> None:
        self.runs: list[list[Message]] = []
        self.rest: list[Message] = []
        self.has_unmade = False
        self.delivered: dict[Followed, bytes | str] = {}
        self.counted: tuple[int, Batch] = (0, EMPTY)

    def next_batch(self) -> Batch:
        """Take out the messages to deliver next.

        Raises:
            MessageError: The next entry could not be made into a message; it is taken out.
        """
        if not self.has_unmade:
            return next_batch(self.runs)
        messages = self.rest or next_batch(self.runs).messages
        unmade = (at for at, message in enumerate(messages) if type(message[2]) is Unmade)
        at = next(unmade, len(messages))
        if at:
            self.rest = messages[at:]
            return Batch.of(messages[:at])
        name, entry_id, entry = messages[0]
        self.rest = messages[1:]
        self.delivered[name] = entry_id
        raise message_error(name, entry_id, entry)

    def discard(self, names: set[Followed]) -> None:
        """Drop the messages of some streams."""
        self.runs = [run for run in self.runs if run[0][0] not in names]
        self.rest = [message for message in self.rest if message[0] not in names]


def next_batch(runs: list[list[Message]]) -> Batch:
    """Take the next messages out of runs; the batch is empty if none are left.

    A batch has some thousands of messages: they are still in the processor's caches when they
    are delivered, and the next ones take the memory of those that were.

    Args:
        runs: Messages of one stream each, in order.
    """
    taken = _next_share(runs)
    ends = {}
    for run in taken:
        last = run[-1]
        ends[last[0]] = last[1]
    return Batch(taken[0] if len(taken) == 1 else _sorted(taken), ends)


def _next_share(runs: list[list[Message]]) -> list[list[Message]]:
    share = max(LEAST_SHARE, BATCH_SIZE // len(runs)) if runs else 0
    if max(map(len, runs), default=0) <= share:
        taken = runs[:]
        runs.clear()
        return taken
    # No run has more than its share up to the smallest of these.
    bound = min([_number(run[share - 1]) for run in runs if len(run) > share])
    cuts = [count_until(run, bound) for run in runs]
    taken = [run[:cut] for run, cut in zip(runs, cuts, strict=True) if cut]
    runs[:] = [run[cut:] for run, cut in zip(runs, cuts, strict=True) if cut < len(run)]
    return taken


def find_watermark(streams: Iterable[Merged], limit: int | None) -> int | None:
    """Find the largest ID up to which every stream is known; None if there is no bound."""
    for stream in streams:
        if not stream.caught_up:
            bound = number_of(stream.last_id)
            limit = bound if limit is None else min(limit, bound)
    return limit


def _take(streams: Iterable[Merged], watermark: int | None) -> list[list[Message]]:
    """Take out each stream's messages up to the watermark."""
    taken = []
    for stream in streams:
        run, left = stream.pending, []
        if not run:
            continue
        cut = len(run) if watermark is None else count_until(run, watermark)
        if cut < len(run):
            run, left = run[:cut], run[cut:]
        if run:
            taken.append(run)
        stream.pending = left
    return taken


def _sorted(runs: list[list[Message]]) -> list[Message]:
    """Merge runs, each of which is in order. Sorting finds the runs again, in C."""
    batch: list[Message] = []
    for run in runs:
        batch += run
    # Within a run the IDs grow, and with them the number of their ms' digits.
    dashes = {_dash(message[1]) for run in runs for message in (run[0], run[-1])}
    if len(dashes) > 1:
        batch.sort(key=_number)
        return batch
    # Numbers of equal length compare as their texts do.
    batch.sort(key=itemgetter(1))
    if are_even([message[1] for message in batch]):
        return batch
    # Within one ms, sequences may have several lengths. The shortest ones before the first
    # longer one are smaller than it, and need not be moved.
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
