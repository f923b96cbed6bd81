"""One iterator over many Redis streams: merged in ID order, nothing lost, nothing twice.

::

    from pystreamredis import Streams

    for message in Streams("localhost", 6379, Stream0=0, Stream1=None):
        print(message)

The way of the data: bytes -> `protocol` -> `session` -> `merge` -> `next()`.
"""

from .exceptions import (
    AuthenticationError,
    ConnectionError,
    MessageError,
    ProtocolError,
    RedisError,
    ResponseError,
    TimeoutError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .hub import Hub
    from .starts import Last
    from .streams import Redis, Streams, StrictRedis
else:  # unseen by type checkers, to whom any name would be there

    def __getattr__(name):
        # Not before it is asked for: the command would be deaf to Ctrl-C that long.
        if name not in {*__all__, "protocol"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "Hub":
            from .hub import Hub

            return Hub
        from .starts import Last
        from .streams import Redis, Streams, StrictRedis

        globals().update(Last=Last, Redis=Redis, Streams=Streams, StrictRedis=StrictRedis)
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "AuthenticationError",
    "ConnectionError",
    "Hub",
    "Last",
    "MessageError",
    "ProtocolError",
    "Redis",
    "RedisError",
    "ResponseError",
    "Streams",
    "StrictRedis",
    "TimeoutError",
]

__version__ = "0.1.0"
