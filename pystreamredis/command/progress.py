"""Progress through the history: the text of the line that a terminal shows meanwhile."""

from __future__ import annotations

from collections import deque

# Time over which speed is measured, in seconds.
_WINDOW = 5.0
# Time, in ms, before which IDs were given by hand: no server had streams in 2001.
FIRST_CLOCK = 1_000_000_000_000
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Progress:
    """Counts messages, and estimates the time left from the times of their IDs.

    Args:
        now: The current time, in seconds since the epoch.
        until: The end of the messages to read, in ms.
        limit: The number of messages to read, if that is limited.
    """

    def __init__(self, now: float, until: int, limit: int | None = None) -> None:
        self._until = until
        self._limit = limit
        # Time of reading, number of messages so far, time of the last message.
        self._samples: deque[tuple[float, int, int]] = deque()
        self._began = now

    def add_sample(self, count: int, ms: int, now: float) -> None:
        """Add a sample: `count` messages are printed so far, the last one of time `ms`."""
        samples = self._samples
        samples.append((now, count, ms))
        while len(samples) > 2 and samples[1][0] <= now - _WINDOW:
            samples.popleft()

    @property
    def is_over(self) -> bool:
        """True if the last message is at the end of the time to read."""
        return bool(self._samples) and self._samples[-1][2] >= self._until

    def line(self, now: float, width: int) -> str:
        """Format the line, in at most `width` columns.

        ``1,234,567 messages, 84,000/s, 3 d 4 h behind, 12 s left``
        """
        _, count, ms = self._samples[-1]
        speed, pace = self._speeds()
        parts = [f"{count:,} messages", f"{speed:,.0f}/s"]
        if ms >= FIRST_CLOCK:
            parts.append(f"{duration(now - ms / 1000)} behind")
        left = self._left(count, ms, speed, pace)
        if left is not None:
            parts.append(f"{duration(left)} left")
        while len(parts) > 1 and len(", ".join(parts)) > width:
            parts.pop(1)
        return ", ".join(parts)[: max(0, width)]

    def _speeds(self) -> tuple[float, float]:
        """Return the messages, and the ms of their time, that are read in a second."""
        since, count, ms = self._samples[-1]
        if len(self._samples) == 1:
            return count / max(since - self._began, 0.001), 0.0
        first, first_count, first_ms = self._samples[0]
        seconds = max(since - first, 0.001)
        return (count - first_count) / seconds, (ms - first_ms) / seconds

    def _left(self, count: int, ms: int, speed: float, pace: float) -> float | None:
        estimates = []
        if ms >= FIRST_CLOCK and pace > 0:
            estimates.append(max(0.0, (self._until - ms) / pace))
        if self._limit is not None and speed > 0:
            estimates.append((self._limit - count) / speed)
        return min(estimates, default=None)


def duration(seconds: float) -> str:
    """Format a time in its two largest units: ``3 d 4 h``, ``12 s``."""
    rest = max(0, int(seconds))
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        number, rest = divmod(rest, size)
        if number or (parts and len(parts) < 2):
            parts.append((number, unit))
    shown = [f"{number} {unit}" for number, unit in parts[:2] if number]
    return " ".join(shown) or "0 s"
