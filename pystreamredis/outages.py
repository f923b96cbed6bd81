"""What is to be told of connections: that one is there, that it was lost, and for how long.

One is there once the server has answered an XREAD over it: proxies accept connections
for a server that is away, and one that loads its data lets a client log in.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .exceptions import RedisError

    Notice = tuple[int, str]

# The levels of `logging`, which is not imported for them.
DEBUG, INFO, WARNING = 10, 20, 30


class Outages:
    """The connections to one server, one after the other.

    Attributes:
        notices: What is to be logged: levels and texts, the oldest first.
    """

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._address = ""
        self._opened_at = 0.0
        self._lost_at: float | None = None

    def opened(self, address: str, now: float) -> None:
        """A connection was made; nothing was answered yet."""
        self._address = address
        self._opened_at = now

    def answered(self) -> None:
        """The server has answered an XREAD, the first one over this connection."""
        text = f"connected to {self._address}"
        if self._lost_at is not None:
            text += f" after an outage of {self._opened_at - self._lost_at:.1f} s"
            self._lost_at = None
        self.notices.append((INFO, text))

    def failed(self, failure: RedisError, now: float) -> None:
        """A connection was lost, or none could be made.

        That begins an outage, and is a warning, unless it was one more try amid one.
        """
        if self._lost_at is None:
            self._lost_at = now
            self.notices.append((WARNING, str(failure)))
            return
        self.notices.append((DEBUG, f"{failure} (for {now - self._lost_at:.1f} s now)"))
