"""A reader on an event loop, whose waits are cancelled now and then, as the blocking one's are
interrupted."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from tests.shells import AsyncStreams, ask, wait_for

if TYPE_CHECKING:
    from pystreamredis.asyncio import Streams


class CancelledStreams(AsyncStreams):
    """Looks like the blocking `Streams`; a wait may be cancelled once before it is waited out.

    Attributes:
        cancelled: How many waits ended so.
    """

    cancelled = 0
    random = Random(0)

    def __next__(self) -> Any:
        for message in wait_for(self._ask(self._inner)):
            return message
        raise StopIteration

    async def _ask(self, inner: Streams) -> tuple[Any, ...]:
        task = asyncio.ensure_future(ask(inner))
        await asyncio.wait({task}, timeout=self.random.choice([None, 0, 0.001, 0.02]))
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():  # what has come all the same is not to be lost by the caller
            return task.result()
        self.cancelled += 1
        return await ask(inner)
