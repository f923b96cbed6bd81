"""The caller's wait: how long reads may block, when it is over, and when to try again."""

from __future__ import annotations

from math import ceil, inf

# The longest that one XREAD blocks, in ms. A peer that is dead is noticed no later than this
# and socket_timeout; proxies and balancers often close connections that are silent for 30 s.
_SLICE = 20_000
# The pause before another try to connect where `block` is 0, in ms.
_PAUSE = 1000


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
    """

    __slots__ = ("_seconds", "block", "block_ahead", "ends_at", "number")

    def __init__(self, block: int | None) -> None:
        self.block = block
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

    @property
    def pause(self) -> float:
        """Seconds before another try to connect."""
        return 0.0 if self.block is None else (self.block or _PAUSE) / 1000
