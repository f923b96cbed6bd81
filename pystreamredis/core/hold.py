"""Keeping messages back for a while, so that late ones with smaller IDs are sorted in."""

from __future__ import annotations

from collections import deque

from ..protocol.ids import number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .stream import StreamState


class Hold:
    """Knows which messages have been kept back for long enough (contract 3.3).

    Args:
        ms: For how long to keep each of them, in ms; 0 keeps none.
    """

    def __init__(self, ms: int) -> None:
        self._seconds = ms / 1000
        # When messages came, and the largest ID among them, as a number.
        self._arrivals: deque[tuple[float, int]] = deque()
        self._limit = -1

    @property
    def due_at(self) -> float | None:
        """When the next messages will have been kept for long enough; None if none are."""
        return self._arrivals[0][0] + self._seconds if self._arrivals else None

    def arrived(self, streams: Iterable[StreamState], now: float) -> None:
        """Take note of the messages that wait now."""
        if self._seconds and (pending := [stream for stream in streams if stream.pending]):
            largest = max(number_of(stream.last_id) for stream in pending)
            if not self._arrivals or largest > self._arrivals[-1][1]:
                self._arrivals.append((now, largest))

    def limit(self, now: float) -> int | None:
        """The largest ID, as a number, that may be handed over; None for any."""
        if not self._seconds:
            return None
        while self._arrivals and self._arrivals[0][0] + self._seconds <= now:
            self._limit = max(self._limit, self._arrivals.popleft()[1])
        return self._limit
