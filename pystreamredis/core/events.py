"""Events of a session: everything that the reader has to know of a connection."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..exceptions import RedisError
    from ..protocol import ServerError
    from .readahead import Request
    from .stream import StreamState

# The levels of `logging`, which is not imported for them.
DEBUG, INFO, WARNING = 10, 20, 30


class Answered:
    """The server has answered its first XREAD over this connection.

    A connection that was merely made proves little: proxies accept connections for a server
    that is away, and a server that loads its data lets clients log in.
    """


class Completed:
    """A read was answered, and its entries are pending.

    Attributes:
        request: The read; of reads by hash slot, all that were sent together.
    """

    __slots__ = ("request",)

    def __init__(self, request: Request) -> None:
        self.request = request


class Unmakable:
    """Entries are pending of which no message could be made."""


class Redirected:
    """The server does not serve some streams, or not for now.

    Attributes:
        error: The server's reply.
        streams: The streams concerned.
        time: Time of the reply, in seconds of the caller's clock.
    """

    __slots__ = ("error", "streams", "time")

    def __init__(self, error: ServerError, streams: list[StreamState], time: float) -> None:
        self.error = error
        self.streams = streams
        self.time = time


class Failed:
    """Something went wrong. What was received before may be pending.

    Attributes:
        error: The error for the caller.
        time: Time of the failure, in seconds of the caller's clock.
    """

    __slots__ = ("error", "time")

    def __init__(self, error: RedisError, time: float) -> None:
        self.error = error
        self.time = time


class Dropped:
    """The session has closed itself for a reason of its own: connect again at once.

    Attributes:
        reason: The reason, for the log.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Log:
    """A line for the log.

    Attributes:
        level: Level, as in `logging`.
        text: The line.
    """

    __slots__ = ("level", "text")

    def __init__(self, level: int, text: str) -> None:
        self.level = level
        self.text = text


Event = Answered | Completed | Unmakable | Redirected | Failed | Dropped | Log
"""Whatever a session may report."""
