"""The same iterator for ``async for``: `Streams` and `Redis` on an asyncio event loop.

::

    from pystreamredis.asyncio import Streams

    async with Streams("localhost", 6379, Stream0=0, Stream1=None) as streams:
        async for message in streams:
            print(message)
"""

from .streams import Redis, Streams, StrictRedis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .hub import Hub
else:

    def __getattr__(name):
        # Most programs need none.
        if name != "Hub":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .hub import Hub

        globals()["Hub"] = Hub
        return Hub


__all__ = ["Hub", "Redis", "Streams", "StrictRedis"]
