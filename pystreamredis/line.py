"""The connection of one conversation, for programs that block: how it is made, used and ended.

It never waits: it says which socket to watch, and is told when that is ready.
"""

from __future__ import annotations

from time import monotonic

from .transport import connecting

try:
    from signal import ITIMER_PROF, ITIMER_REAL, getitimer
except ImportError:  # on Windows, where none can wait
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .follower import Follower
    from .source import Part
    from .transport import Connecting, Transport
    from .waiting import Waiter


class Line:
    """A connection, in whatever state it is: none, one that is being made, or an open one.

    Args:
        follower: Who says what is to be done.
        part: Whose conversation is held over it.
        waiter: Who waits for its socket.

    Attributes:
        deadline: Until when the connection that is being made has to get further; None
            for ever, or if there is none.
    """

    def __init__(self, follower: Follower, part: Part, waiter: Waiter) -> None:
        self.deadline: float | None = None
        self._follower = follower
        self._part = part
        self._waiter = waiter
        self._transport: Transport | None = None
        self._steps: Connecting[Transport] | None = None
        self._watched: socket.socket | None = None

    @property
    def has_work(self) -> bool:
        """Whether it is to be attended to: there is something to send, or it is not open."""
        conversation = self._part.conversation
        return bool(conversation.outgoing) or self._transport is None or not conversation.is_open

    @property
    def has_pending(self) -> bool:
        """Whether bytes can be received that no wait would tell of."""
        return self._transport is not None and self._transport.has_pending()

    @property
    def can_wait(self) -> bool:
        """Whether it is open, and can itself wait for what comes over it, for `SLICE` at most."""
        transport, conversation = self._transport, self._part.conversation
        if transport is None or not transport.can_wait or transport.unsent:
            return False
        if not conversation.is_open:
            return False
        # Each signal has such a wait begin anew, unless its handler raises. (The interval, too:
        # nothing is left of one that has just expired.)
        return getitimer(ITIMER_REAL) == getitimer(ITIMER_PROF) == (0, 0)

    def attend(self, now: float) -> bool:
        """Do what is due: connect, or send; return whether that has changed anything."""
        conversation = self._part.conversation
        if conversation.is_open != (self._transport is not None):
            # An interruption has come between the one's end and the other's.
            conversation.abandon()
            self.close()
        if self._transport is not None:
            self.flush()
            return False
        if self._steps is not None:
            is_late = self.deadline is not None and now >= self.deadline
            return is_late and self._go_on(self._steps, is_ready=False)
        # Here alone, so that no interruption can leave it behind.
        self._part.is_connecting = False
        return self._follower.may_connect(now, self._part) and self._begin()

    def respond(self) -> None:
        """Its socket is ready: take in what has come, or go on to connect."""
        if self._steps is not None:
            self._go_on(self._steps, is_ready=True)
        elif self._transport is not None:
            self._receive(self._transport.receive)
            self.flush()

    def wait_and_respond(self) -> None:
        """Wait for what comes over it, for `SLICE` at most, and take it in.

        Nothing is unsent then (`can_wait`), and what is to be sent next `attend` will send.
        """
        if self._transport is not None:
            self._receive(self._transport.wait_and_receive)

    def flush(self) -> None:
        """Send what is to be sent."""
        transport = self._transport
        if transport is None or not (self._part.conversation.outgoing or transport.unsent):
            return
        was_full = bool(transport.unsent)
        try:
            transport.send(self._part.conversation.take_outgoing(monotonic()))
        except OSError:
            # Its answers up to here are still to be read; what ends them says why.
            pass
        if was_full or transport.unsent:
            self._watch(transport.sock, transport.events)

    def close(self) -> None:
        """End it, also one that is being made."""
        if self._watched is not None:
            self._waiter.forget(self._watched)
            self._watched = None
        steps, self._steps = self._steps, None
        self.deadline = None
        if steps is not None:
            steps.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _begin(self) -> bool:
        conversation = self._part.conversation
        try:
            conversation.options = conversation.options.located()
        except OSError as error:
            conversation.not_opened(monotonic(), error)
            return True
        self._steps = connecting(conversation.options)
        self._part.is_connecting = True
        return self._go_on(self._steps, None)

    def _go_on(self, steps: Connecting[Transport], is_ready: bool | None) -> bool:
        """Take one more step to connect; return whether that was the last."""
        try:
            sock, events, self.deadline = steps.send(is_ready)
        except StopIteration as made:
            self._transport = made.value
            self._steps = self.deadline = None
            self._watch(made.value.sock, made.value.events)
            self._follower.opened(monotonic(), self._part)
        except OSError as error:
            self.close()
            self._part.conversation.not_opened(monotonic(), error)
        else:
            self._watch(sock, events)
            return False
        return True

    def _receive(self, receive: Callable[[], bytes | None]) -> None:
        conversation = self._part.conversation
        try:
            data = receive()
        except OSError as error:
            conversation.closed(monotonic(), error)
        else:
            if data:
                conversation.received(data, monotonic())
                if conversation.outgoing:
                    self.flush()
                conversation.process()
            elif data is not None:
                conversation.closed(monotonic())
        if not conversation.is_open:
            self.close()

    def _watch(self, sock: socket.socket, events: int) -> None:
        if self._watched is not None and self._watched is not sock:
            self._waiter.forget(self._watched)
        self._watched = sock
        self._waiter.watch(sock, events, self)
