"""The errors, all of them below `RedisError`.

::

    RedisError
    ├── ConnectionError        also the built-in ConnectionError: worth another try
    │   ├── TimeoutError       also the built-in TimeoutError: no reply in time
    │   └── ProtocolError      what came was not RESP, or no reply to XREAD
    ├── ResponseError          the server refused, and would refuse again
    │   └── AuthenticationError
    └── MessageError           an entry that `fields` or the decoding cannot take
"""

from __future__ import annotations

import builtins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Stream: TypeAlias = str | bytes | tuple[str, str | bytes]


class RedisError(Exception):
    """Anything that goes wrong between this reader and a server."""

    def __reduce__(self) -> Any:
        # Exception's own would call the class, which may require keywords.
        return _rebuild, (type(self), self.args), self.__dict__ or None


class ConnectionError(RedisError, builtins.ConnectionError):
    """The connection failed, or the server cannot serve it for now.

    The object that raised it stays good: its next read connects again and goes on
    after the last message that was delivered.
    """


class TimeoutError(ConnectionError, builtins.TimeoutError):
    """The peer was silent for longer than `socket_timeout` (seconds) allows."""


class ProtocolError(ConnectionError):
    """The peer sent what is not RESP, or is no reply to an XREAD."""


class ResponseError(RedisError):
    """The server refused, in a way that another try cannot repair.

    Attributes:
        code: The first word of the server's answer: ``"WRONGTYPE"``, ``"NOPERM"``, ``"ERR"``.
        stream: The name of the stream at fault, as in its messages; None if the refusal is
            not about one stream.
    """

    def __init__(
        self,
        text: str,
        *,
        code: str = "ERR",
        stream: Stream | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.stream = stream


class AuthenticationError(ResponseError):
    """The server wants other credentials than it was given (WRONGPASS, NOAUTH)."""


class MessageError(RedisError):
    """An entry of which no message can be made: `fields` raised, or strict decoding failed.

    All messages before it were delivered. The next read goes on after it. `__cause__` is what
    was raised; like that of any exception, it stays behind where the error is pickled.

    Attributes:
        stream: The name of the stream, as in its messages.
        id: The ID of the entry, as in messages.
        pairs: The entry's fields and values in wire order, as the server sent them.
    """

    def __init__(
        self,
        text: str,
        *,
        stream: Stream,
        id: bytes | str,  # noqa: A002
        pairs: list[tuple[bytes, bytes]],
    ) -> None:
        super().__init__(text)
        self.stream = stream
        self.id = id
        self.pairs = pairs


def _rebuild(kind: type[RedisError], args: tuple[Any, ...]) -> RedisError:
    """Make an error without a call of its `__init__`: its attributes are set by the caller."""
    return kind.__new__(kind, *args)
