"""`Redis`: an address and credentials to hold, for ``r.streams(...)``."""

from __future__ import annotations

from .construction import RedisBase
from .streams import Streams


class Redis(RedisBase):
    """A server's address, and how to log in. It is no general client.

    It connects to nothing by itself: each `streams` makes a connection of its own.

    Args:
        host: As all the others, like the connection options of `Streams`.
    """

    _kind = Streams


StrictRedis = Redis
