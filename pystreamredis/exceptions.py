"""The errors, all of them below `RedisError`.

::

    RedisError
    ├── ConnectionError        also the built-in ConnectionError: worth another try
    │   ├── TimeoutError       also the built-in TimeoutError: no reply in time
    │   └── ProtocolError      what came was not RESP, or no reply to XREAD
    └── ResponseError          the server refused, and would refuse again
        └── AuthenticationError
"""

from __future__ import annotations

import builtins


class RedisError(Exception):
    """Anything that goes wrong between this reader and a server."""


class ConnectionError(RedisError, builtins.ConnectionError):
    """The connection failed, or the server cannot serve it for now.

    The object that raised it stays good: its next read connects again and goes on
    after the last message that was handed over.
    """


class TimeoutError(ConnectionError, builtins.TimeoutError):
    """The peer was silent for longer than `socket_timeout` (seconds) allows."""


class ProtocolError(ConnectionError):
    """The peer sent what is not RESP, or is no reply to an XREAD."""


class ResponseError(RedisError):
    """The server refused, in a way that another try cannot mend.

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
        stream: str | bytes | tuple[str, str | bytes] | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.stream = stream


class AuthenticationError(ResponseError):
    """The server wants other credentials than it was given (WRONGPASS, NOAUTH)."""
