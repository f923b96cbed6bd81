"""`Redis` for asyncio: an address and credentials to hold, for ``r.streams(...)``."""

from __future__ import annotations

from ..construction import RedisBase
from .streams import Streams


class Redis(RedisBase):
    """A server's address, and how to log in, as `pystreamredis.Redis`.

    What its `streams` returns is not connected yet, as after the constructor of `Streams`.
    """

    _kind = Streams


StrictRedis = Redis
