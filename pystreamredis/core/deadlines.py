"""The caller's wait: how long reads may block, when it is over, and when to try again."""

from __future__ import annotations

from itertools import chain, repeat
from math import ceil, inf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..options import RetryDelay

# The longest that one XREAD blocks, in ms. A peer that is dead is noticed no later than this
# and socket_timeout; proxies and balancers often close connections that are silent for 30 s.
_SLICE = 20_000
# The pause before another try to connect where `block` is 0, in ms.
_PAUSE = 1000
# The random part of a pause, in parts of it at most.
_JITTER = 0.5


def add_jitter(pause: float) -> float:
    """Make a pause longer by a random part, so that readers do not come back all at once."""
    from random import random  # slow to import, and needed after failures alone

    return pause * (1 + _JITTER * random())  # noqa: S311


class Wait:
    """The wait of the caller for a message.

    Attributes:
        block: How long the caller waits, in ms; 0 for ever, None for not at all.
        number: Number of the wait.
        ends_at: Time when the caller has waited for long enough, in seconds of the caller's
            clock.
        block_ahead: How long a read may block that is sent ahead of the caller's next wait,
            in ms; None for not at all.

    Args:
        block: The caller's `block`.
        retry_delay: The caller's `retry_delay`.
    """

    __slots__ = ("_retry_delay", "_seconds", "block", "block_ahead", "ends_at", "number")

    def __init__(self, block: int | None, retry_delay: RetryDelay | None = None) -> None:
        self.block = block
        self._retry_delay = retry_delay
        self.block_ahead = block if block is None else min(block or _SLICE, _SLICE)
        self.number = 0
        self._seconds = inf if block == 0 else (block or 0) / 1000
        self.ends_at = inf

    def begin(self, now: float) -> None:
        """Begin to wait."""
        self.number += 1
        self.ends_at = now + self._seconds

    def restart(self, now: float) -> None:
        """Have the wait count from here."""
        self.ends_at = now + self._seconds

    def block_for_caller(self, now: float, held_until: float | None) -> int | None:
        """Return how long a read may block while the caller waits, in ms.

        Args:
            now: Time, in seconds of the caller's clock.
            held_until: Time when the first message held back is released, if there is one:
                nothing is over before.
        """
        if held_until is None:
            if not self.block:
                return self.block_ahead
            until = self.ends_at
        else:
            until = held_until if self.block == 0 else max(self.ends_at, held_until)
        return min(_SLICE, max(1, ceil((until - now) * 1000)))

    def pauses(self) -> Iterator[float]:
        """Yield the pauses before each try to connect in one outage, in seconds.

        Raises:
            TypeError: A callable `retry_delay` has given something that is not a time.
        """
        given = self._retry_delay
        delay = (0 if self.block is None else self.block or _PAUSE) if given is None else given
        delays: Iterable[object] = (delay,)
        if callable(delay):
            delays, delay = delay(), _PAUSE
        # The last one is repeated.
        for ms in chain(delays, repeat(None)):
            if ms is not None:
                if not isinstance(ms, (int, float)) or not 0 <= ms < inf:
                    raise TypeError(f"retry_delay() gave {ms!r}, but must give numbers of ms")
                delay = ms
            yield add_jitter(delay / 1000)
