"""The same iterator for ``async for`` on trio: `Streams` and `Redis`.

::

    from pystreamredis.trio import Streams

    async with Streams("localhost", 6379, Stream0=0, Stream1=None) as streams:
        async for message in streams:
            print(message)
"""

from .streams import Redis, Streams, StrictRedis

__all__ = ["Redis", "Streams", "StrictRedis"]
