"""The connection of one conversation, over asyncio: how it is made, used and ended.

It never waits but for its end: whoever waits is woken when there is something to respond to.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

from .link import Link, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ..follower import Follower
    from ..source import Part


class Line:
    """A connection, in whatever state it is: none, one that is being made, or an open one.

    Args:
        follower: Who says what is to be done.
        part: Whose conversation is held over it.
        wake: Called with it when there is something new.
    """

    def __init__(self, follower: Follower, part: Part, wake: Callable[[Line], None]) -> None:
        self._follower = follower
        self._part = part
        self._wake = partial(wake, self)
        self._link: Link | None = None
        # Goes on where a task that waited for it was cancelled: else one that is cancelled
        # again and again would never get a connection.
        self._connecting: asyncio.Task[Link | OSError] | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something to respond to."""
        if self._link is not None:
            return self._link.has_news
        return self._connecting is not None and self._connecting.done()

    def attend(self, now: float) -> None:
        """Do what is due: connect, or send."""
        conversation = self._part.conversation
        if conversation.is_open != (self._link is not None):
            conversation.abandon()
            self._disconnect()
        if self._link is not None:
            self.flush()
            return
        # Here alone, so that no interruption can leave it behind.
        self._part.is_connecting = self._connecting is not None
        if self._follower.may_connect(now, self._part):
            self._connecting = asyncio.get_running_loop().create_task(self._make_link())
            self._connecting.add_done_callback(lambda _: self._wake())
            self._part.is_connecting = True

    def respond(self) -> None:
        """Take in what has come, or the connection that was made."""
        if self._link is not None:
            self._receive(self._link)
        elif self._connecting is not None:
            connecting, self._connecting = self._connecting, None
            self._take(connecting.result())

    def flush(self) -> None:
        """Send what is to be sent."""
        conversation = self._part.conversation
        if self._link is not None and conversation.outgoing:
            self._link.send(conversation.take_outgoing(monotonic()))

    def close(self) -> None:
        """End it, also one that is being made."""
        if self._connecting is not None:
            self._connecting.add_done_callback(_abort)
            self._connecting.cancel()
            self._connecting = None
        self._disconnect()

    def end(self) -> Coroutine[Any, Any, None]:
        """End it; what is returned waits until it has ended."""
        connecting, link = self._connecting, self._link
        self.close()
        return _ended(connecting, link)

    async def _make_link(self) -> Link | OSError:
        conversation, loop = self._part.conversation, asyncio.get_running_loop()
        try:
            # A callable host may take its time.
            options = await loop.run_in_executor(None, conversation.options.located)
        except OSError as error:
            return error
        conversation.options = options
        return await connect(options, self._wake)

    def _take(self, made: Link | OSError) -> None:
        if isinstance(made, OSError):
            self._part.conversation.not_opened(monotonic(), made)
            return
        self._link = made
        self._follower.opened(monotonic(), self._part)

    def _receive(self, link: Link) -> None:
        conversation = self._part.conversation
        if data := link.receive():
            conversation.received(data, monotonic())
            self.flush()
            conversation.process()
        elif link.is_lost:
            conversation.closed(monotonic(), link.error)
        if not conversation.is_open:
            self._disconnect()

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abort()


async def _ended(connecting: asyncio.Task[Link | OSError] | None, link: Link | None) -> None:
    if connecting is not None:
        await asyncio.wait([connecting])
        link = _made_by(connecting)
    if link is not None:
        await link.ended()


def _made_by(connecting: asyncio.Task[Link | OSError]) -> Link | None:
    if connecting.cancelled() or connecting.exception() is not None:
        return None
    made = connecting.result()
    return made if isinstance(made, Link) else None


def _abort(connecting: asyncio.Task[Link | OSError]) -> None:
    """Close a connection that was made though nobody wants it any more."""
    link = _made_by(connecting)
    if link is not None:
        link.abort()
