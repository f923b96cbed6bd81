"""Keeping messages back for a while, so that late ones with smaller IDs are sorted in."""

from __future__ import annotations

from collections import deque

from ..protocol.ids import number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .stream import StreamState


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

    def arrived(self, streams: Iterable[StreamState], now: float) -> None:
        """Take note of the messages that are pending now."""
        if self._seconds and (pending := [stream for stream in streams if stream.pending]):
            largest = max(number_of(stream.last_id) for stream in pending)
            if not self._arrivals or largest > self._arrivals[-1][1]:
                self._arrivals.append((now, largest))

    def limit(self, now: float) -> int | None:
        """Return the largest ID that may be delivered, as a number; None for any."""
        if not self._seconds:
            return None
        while self._arrivals and self._arrivals[0][0] + self._seconds <= now:
            self._limit = max(self._limit, self._arrivals.popleft()[1])
        return self._limit
