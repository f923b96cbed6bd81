"""Keeping messages back for a while, so that late ones with smaller IDs are sorted in."""

from __future__ import annotations

from collections import deque
from math import inf
from operator import attrgetter

from ..protocol.ids import number_of
from .events import WARNING, Log
from .stream import count_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..protocol.messages import Message
    from .assignment import Assignment
    from .readahead import Request
    from .stream import StreamState

# A full ms in seconds, and some more: clocks may differ in their rates by a thousandth.
_FULL_MS = 0.0011
# The longest that reads block over several connections, in ms: each has to be answered before an
# entry that came over another one is known to be the smallest.
MOST_BLOCK = 10
_LATE = (
    "a message came though larger IDs had been complete, so it is not sorted in: hold='exact' "
    "needs IDs that one server makes by '*', and a clock that is never set back"
)
_is_caught_up = attrgetter("caught_up")


class Hold:
    """The messages that are kept back, and the time of each (contract 3.3).

    Args:
        ms: Time to keep each message back, in ms; 0 keeps none.
    """

    def __init__(self, ms: int) -> None:
        self._seconds = ms / 1000
        # Times of arrival, each with the largest ID that had arrived, as a number.
        self._arrivals: deque[tuple[float, int]] = deque()
        self._limit = -1

    @property
    def due_at(self) -> float | None:
        """Time when the next messages are released; None if none are kept back."""
        return self._arrivals[0][0] + self._seconds if self._arrivals else None

    @property
    def is_holding(self) -> bool:
        """True if messages are kept back."""
        return bool(self._arrivals)

    def arrived(
        self,
        completed: list[tuple[Assignment, Request]],
        streams: list[StreamState],
        now: float,
    ) -> None:
        """Take note of answered reads, and of the messages that are pending now."""
        pending = [stream for stream in streams if stream.pending]
        if self._seconds and completed and pending:
            largest = max(number_of(stream.last_id) for stream in pending)
            if not self._arrivals or largest > self._arrivals[-1][1]:
                self._arrivals.append((now, largest))

    def limit(self, assignments: list[Assignment], now: float) -> int | None:  # noqa: ARG002
        """Return the largest ID that may be delivered, as a number; None for any."""
        if not self._seconds:
            return None
        while self._arrivals and self._arrivals[0][0] + self._seconds <= now:
            self._limit = max(self._limit, self._arrivals.popleft()[1])
        return self._limit


class ExactHold:
    """The messages that are kept back until no smaller ID can come any more (contract 3.3).

    A server makes the IDs of ``*`` by one clock, which it reads for each command. So a read of
    all streams that is executed when the clock shows some ms finds every entry of the ms before.
    It is known to show a ms once an entry of it was received, and the next one a full ms later.
    A read that blocks proves nothing: it is answered for the stream alone that has woken it.

    Attributes:
        due_at: Time when the next messages are released: by answers alone, so never.
        complete: The largest ID up to which every entry was released, as a number.
        late: Number of messages that came after that, with smaller IDs.
    """

    due_at: float | None = None

    def __init__(self) -> None:
        self.complete: int = -1
        self.late: int = 0
        # The largest ID up to which the last read of each connection was complete.
        self._bounds: dict[Assignment, float] = {}
        # Times when a larger ms than ever before was received, each with that ms. Older ones
        # than these may be forgotten: then a read is taken to prove less than it does.
        self._arrivals: deque[tuple[float, int]] = deque([(-inf, -1)], maxlen=1024)
        self._streams: list[StreamState] = []

    @property
    def is_holding(self) -> bool:
        """True if messages are kept back."""
        return any(stream.pending for stream in self._streams)

    def forget(self) -> None:
        """Forget what reads have proved, after streams have moved between connections."""
        self._bounds.clear()

    def arrived(
        self,
        completed: list[tuple[Assignment, Request]],
        streams: list[StreamState],
        now: float,
    ) -> None:
        """Take note of answered reads, and of the messages that are pending now."""
        self._streams = streams
        newest = max((number_of(s.last_id) >> 64 for s in streams if s.pending), default=-1)
        if newest > self._arrivals[-1][1]:
            self._arrivals.append((now, newest))
        for assignment, request in completed:
            asked = set(request.streams)
            left_out = [stream for stream in assignment.streams if stream not in asked]
            # The merge itself knows how far streams are read that are not caught up.
            if not request.blocks and not any(map(_is_caught_up, left_out)):
                bound = self._prove(request)
                self._bounds[assignment] = max(bound, self._bounds.get(assignment, -1))

    def _prove(self, request: Request) -> int:
        """Return the largest ID up to which a read was complete, as a number."""
        sent_at = request.due
        own = [number_of(s.last_id) >> 64 for s in request.streams if s.pending]
        # The ms of its own entries began before it was executed.
        begun = max((ms for time, ms in self._arrivals if time <= sent_at), default=-1)
        over = max((ms for time, ms in self._arrivals if time + _FULL_MS <= sent_at), default=-1)
        return (max(begun, over + 1, *own) << 64) - 1

    def limit(self, assignments: list[Assignment], now: float) -> int:  # noqa: ARG002
        """Return the largest ID that may be delivered, as a number."""
        bounds = [
            self._bounds.get(assignment, -1)
            for assignment in assignments
            if any(map(_is_caught_up, assignment.streams)) and not assignment.is_down
        ]
        return int(min(bounds, default=2**128))

    def poll_at(self, assignment: Assignment) -> float | None:
        """Return the time to send the next read that releases messages; None if none would."""
        pending = [stream.pending[0][1] for stream in self._streams if stream.pending]
        time, newest = self._arrivals[-1]
        bound = self._bounds.get(assignment, -1)
        if not pending or bound >= ((newest + 1) << 64) - 1:
            return None
        has_older = any(number_of(first) >> 64 < newest for first in pending)
        if has_older and bound < (newest << 64) - 1:
            return 0.0
        return time + _FULL_MS if all(map(_is_caught_up, assignment.streams)) else 0.0

    def released(self, runs: list[list[Message]], limit: int | None) -> Log | None:
        """Take note of released messages, and up to which ID all were.

        Args:
            runs: Messages of one stream each, in order.
            limit: The largest ID up to which all entries are known; None if that is unknown.

        Returns:
            A line for the log if messages are late for the first time.
        """
        before, complete = self.late, self.complete
        for run in runs:
            if number_of(run[0][1]) <= complete:
                self.late += count_until(run, complete)
        if limit is not None:
            self.complete = max(complete, limit)
        return Log(WARNING, _LATE) if self.late and not before else None
