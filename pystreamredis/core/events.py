"""Events of a session: everything that the reader has to know of a connection."""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from ..exceptions import RedisError
    from ..protocol.messages import Unmade
    from ..protocol.values import ServerError
    from .readahead import Request
    from .stream import StreamState

# The levels of `logging`, which is not imported for them.
DEBUG, INFO, WARNING = 10, 20, 30


class Phase(Enum):
    """The work of a session; each phase excludes the others."""

    HANDSHAKE = "logs in"
    STARTING = "asks for what it has to know before it reads"
    IDLE = "has nothing on its way"
    READING = "waits for the reply to a read"
    CLOSED = "is of no more use"


class Redirected:
    """The server does not serve some streams, or not for now.

    Attributes:
        error: The server's reply.
        streams: The streams concerned.
        time: Time of the reply, in seconds of the caller's clock.
    """

    __slots__ = ("error", "streams", "time")

    def __init__(self, error: ServerError, streams: list[StreamState], time: float) -> None:
        self.error: ServerError = error
        self.streams: list[StreamState] = streams
        self.time: float = time


class Failed:
    """Something went wrong. What was received before may be pending.

    Attributes:
        error: The error for the caller.
        time: Time of the failure, in seconds of the caller's clock.
    """

    __slots__ = ("error", "time")

    def __init__(self, error: RedisError, time: float) -> None:
        self.error: RedisError = error
        self.time: float = time


class Log:
    """A line for the log.

    Attributes:
        level: Level, as in `logging`.
        text: The line.
    """

    __slots__ = ("level", "text")

    def __init__(self, level: int, text: str) -> None:
        self.level: int = level
        self.text: str = text


if TYPE_CHECKING:
    Event: TypeAlias = Request | Unmade | Redirected | Failed | Log
    """Whatever a session may report.

    A request is a read that was answered, and whose entries are pending; of reads by hash slot,
    all that were sent together. `Unmade`: an entry is pending of which no message could be made.
    """
