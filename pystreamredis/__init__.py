"""One iterator over many Redis streams: merged in ID order, nothing lost, nothing twice.

::

    from pystreamredis import Streams

    for message in Streams("localhost", 6379, Stream0=0, Stream1=None):
        print(message)

The way of the data: bytes -> `protocol` -> `session` -> `merge` -> `next()`.
"""

from .client import Redis, StrictRedis
from .exceptions import (
    AuthenticationError,
    ConnectionError,
    ProtocolError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from .streams import Streams

__all__ = [
    "AuthenticationError",
    "ConnectionError",
    "ProtocolError",
    "Redis",
    "RedisError",
    "ResponseError",
    "Streams",
    "StrictRedis",
    "TimeoutError",
]

__version__ = "0.1.0"
