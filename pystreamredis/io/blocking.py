"""The shell for programs that block: a poller for one thread, which another one can wake."""

from __future__ import annotations

import select
import socket
from functools import partial
from threading import Event, current_thread, get_ident, main_thread
from time import monotonic, sleep

from ..core.delivery import EMPTY
from ..exceptions import RedisError
from .connection import READ, WRITE
from .engine import Engine, Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..core.delivery import Batch
    from ..core.reader import Reader
    from ..starts import Followed
    from .connection import Connection
    from .engine import Steps

# The longest wait that every system takes, in seconds.
_LONGEST = 86_400.0
# The longest delay of a signal's handler, in seconds: a signal that comes right before the
# system is asked to wait does not end that wait, and Python runs no handler before its end.
_SLICE = 0.05
_OF_THE_PARENT = (
    "these connections belong to the parent of this process; "
    "make a new Streams(streams=positions) in each process"
)


class Woken(Exception):
    """Another thread has called `Poller.wake`."""


class Called:
    """The outcome of a call, which is made when somebody asks for it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def done(self) -> bool:
        """Return True: it can be asked for."""
        return True

    def result(self) -> Any:
        """Make the call."""
        return self._function()

    def cancel(self) -> None:
        """Do nothing: it was not made."""


class Poller:
    """Watches sockets, among them one of its own that wakes it."""

    def __init__(self) -> None:
        self._is_woken = False
        self._is_nudged = False
        # Set with the former, for waits without a descriptor.
        self._nudge = Event()
        self._wake: socket.socket | None = None
        self._woken: socket.socket | None = None
        self._poll: Any = None
        # By descriptor: the socket, what it is watched for, and its owner.
        self._watched: dict[int, tuple[socket.socket, int, Connection]] = {}
        self._called: list[Connection] = []

    def wake(self) -> None:
        """End every wait from now on; for any thread, and for signal handlers."""
        self._is_woken = True
        self.nudge()

    def nudge(self) -> None:
        """End the wait that is under way, or the next one."""
        self._is_nudged = True
        self._nudge.set()
        if self._wake is not None:
            try:
                self._wake.send(b"\0")
            except OSError:
                pass  # it is full of wakes, or closed: there is no wait to end

    def watch(self, sock: socket.socket, events: int, owner: Connection) -> None:
        """Watch a socket for `READ`, `WRITE` or both from now on, for its owner.

        Raises:
            OSError: No descriptor is left, or too many sockets are watched.
        """
        if self._poll is None:
            self._poll = self._open()
        fd = sock.fileno()
        known = self._watched.get(fd)
        if known is None or known[:2] != (sock, events):
            self._poll.register(fd, events)
            self._watched[fd] = sock, events, owner

    def forget(self, sock: socket.socket) -> None:
        """Stop watching a socket, which is about to be closed."""
        fd = sock.fileno()
        known = self._watched.get(fd)
        if known is not None and known[0] is sock:
            del self._watched[fd]
            self._poll.unregister(fd)

    def look_up(self, function: Callable[[], Any], owner: Connection) -> Called:
        """Have what may block called by the owner, at once."""
        self._called.append(owner)
        return Called(function)

    def wait(self, timeout: float | None) -> list[Connection]:
        """Wait until sockets are ready, for some seconds or for ever; return their owners.

        Raises:
            Woken: Another thread has ended the wait.
        """
        called, self._called = self._called, []
        if called:
            timeout = 0.0
        limit = _LONGEST if timeout is None else min(timeout, _LONGEST)
        if self._poll is None:
            ready: list[tuple[int, int]] = self._sleep(limit)
        else:
            ready = self._poll.poll(min(limit, _SLICE) * 1000) or self._wait(limit)
        if self._is_nudged:
            self._take_nudges()
        watched = self._watched
        if len(ready) == 1 and ready[0][0] in watched:
            return [watched[ready[0][0]][2], *called]
        return [*(watched[fd][2] for fd, _ in ready if fd in watched), *called]

    def _take_nudges(self) -> None:
        if self._is_woken:
            raise Woken
        self._is_nudged = False
        self._nudge.clear()
        if self._woken is not None:
            try:
                self._woken.recv(1024, getattr(socket, "MSG_DONTWAIT", 0))
            except OSError:
                pass  # the nudge came before there was a socket for it

    def reset(self) -> None:
        """Watch no socket any more, whatever was half done."""
        self._watched = {}
        self._called = []
        if self._woken is not None:
            self._poll = _new_poll()
            self._poll.register(self._woken.fileno(), READ)

    def close(self) -> None:
        """Free what it holds."""
        for sock in (self._wake, self._woken):
            if sock is not None:
                sock.close()

    def _open(self) -> Any:
        poll = _new_poll()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        poll.register(self._woken.fileno(), READ)
        if self._is_nudged:
            self.nudge()
        return poll

    def _wait(self, timeout: float) -> list[tuple[int, int]]:
        """Wait on in slices, between which signals are handled: in the main thread.

        `signal.set_wakeup_fd` would do without, but is the application's to set.
        """
        poll, deadline = self._poll, monotonic() + timeout - _SLICE
        slice_ = _SLICE if current_thread() is main_thread() else _LONGEST
        ready: list[tuple[int, int]] = []
        while not ready and (left := deadline - monotonic()) > 0:
            ready = poll.poll(min(left, slice_) * 1000)
        # A process that was stopped meanwhile has not looked since.
        return ready or poll.poll(0)

    def _sleep(self, timeout: float) -> list[tuple[int, int]]:
        """Wait without any descriptor, since there may be none."""
        deadline = monotonic() + timeout
        slice_ = _SLICE if current_thread() is main_thread() else _LONGEST
        while (left := deadline - monotonic()) > 0 and not self._nudge.wait(min(left, slice_)):
            pass
        return []


def _new_poll() -> Any:
    if not hasattr(select, "poll"):
        from .thread_poll import SelectPoll

        return SelectPoll()
    return _Poll(select.poll())


class _Poll:
    """A `select.poll`, by the events of this package."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self.poll = poll.poll
        self.unregister = poll.unregister

    def register(self, fd: int, events: int) -> None:
        """Watch a descriptor."""
        mask = select.POLLIN if events & READ else 0
        self._poll.register(fd, mask | (select.POLLOUT if events & WRITE else 0))


class Driver(Engine):
    """Runs the engine's operations for one thread at a time; any thread may call `close`."""

    _poller: Poller

    def __init__(self, reader: Reader, poller: Poller | None = None) -> None:
        super().__init__(reader, poller or Poller())
        # Taken away by the thread that uses it. No signal can come between that and a `try`, as
        # it can after each call, and in Python 3.14 on the way into `with lock`.
        self._is_free = True
        # True if an interruption was not tidied up after, since another one came amid that.
        self._is_torn = False
        self._forks = Engine.forks
        # The thread that is at work, and True if it changes the streams: then others wait for
        # their turn. One object, since others look at any moment.
        self._owner: tuple[int, bool] | None = None

    def run(self, operation: Callable[[], Steps], *, is_change: bool = False) -> Batch:  # noqa: C901
        """Run an operation of the engine to its end.

        Raises:
            RuntimeError: Another thread is at it, or the process has forked since.
            RedisError, ValueError, TypeError: As the operation.
        """
        if self._forks != Engine.forks:
            raise RuntimeError(_OF_THE_PARENT)
        owner = get_ident(), is_change
        while True:
            try:
                del self._is_free
            except AttributeError:
                if not self._may_try_again(is_change=is_change):
                    return EMPTY
            else:
                break
        steps: Steps | None = None
        try:
            # No call comes between that and this, so no signal either.
            self._owner = owner
            if self.is_closed:
                return EMPTY
            if self._is_torn:
                self._tidy_up()
            steps = operation()
            wait = self._poller.wait
            timeout = next(steps)
            while True:
                timeout = steps.send(wait(timeout))
        except StopIteration as done:
            batch: Batch = done.value
            return batch
        except Woken:
            return EMPTY
        except RedisError:
            raise
        except BaseException:
            # An interruption can come anywhere: what was half done is done again.
            self._is_torn = True
            self._tidy_up()
            raise
        finally:
            # The next thread may go on, even where another interruption comes amid this.
            try:
                if steps is not None:
                    steps.close()
                if self._reader.log:
                    self.write_log()
            finally:
                self._owner = None
                self._is_free = True
                if self.is_closed:
                    self._dispose()

    def _may_try_again(self, *, is_change: bool) -> bool:
        """Wait for a moment while another thread changes the streams.

        Returns:
            False if it is closed.

        Raises:
            RuntimeError: Another thread waits for messages.
        """
        if self.is_closed:  # by a thread that has it for a moment
            return False
        owner = self._owner  # None if it has just begun, or is done
        if owner is None or (owner[1] and owner[0] != get_ident()):
            try:
                if not is_change:
                    self.want(is_wanted=True)
                    self._poller.nudge()
                sleep(0.001)
            finally:
                self.want(is_wanted=False)
            return True
        raise RuntimeError("another thread is iterating, expected one at a time") from None

    def change(self, begin: Callable[[list[Followed]], object]) -> None:
        """Change the streams, also while another thread waits.

        Raises:
            RuntimeError: It is called amid the work of this very thread, by `fields` or a signal
                handler, say.
            RedisError, ValueError, TypeError: As the change.
        """
        if self._forks != Engine.forks:
            raise RuntimeError(_OF_THE_PARENT)
        if self._owner is not None and self._owner[0] == get_ident():
            raise RuntimeError("streams cannot be added or dropped amid a call of next()")
        is_done = Event()
        order = Order(begin, is_done.set)
        try:
            self.submit(order)
            while not (order.is_done or self.is_closed):
                if self._is_at_work:
                    self._poller.nudge()
                    is_done.wait(_SLICE)
                else:
                    self._run_if_free(self.carry_out)
        finally:
            if not (order.is_done or self.is_closed):
                order.is_taken_back = True
                self._poller.nudge()
                self._run_if_free(self.settle)
        if order.error is not None:
            raise order.error

    def drop(self, names: Iterable[Followed]) -> None:
        """Drop streams, also while another thread waits."""
        self.change(partial(self.discard, names))

    @property
    def _is_at_work(self) -> bool:
        return not getattr(self, "_is_free", False)

    def _run_if_free(self, operation: Callable[[], Steps]) -> None:
        try:
            self.run(operation, is_change=True)
        except RuntimeError:
            if not self._is_at_work:
                raise

    def close(self) -> None:
        """End what is under way in whichever thread, and free the connections."""
        if not self.is_closed:
            self.is_closed = True
            if self._forks == Engine.forks:  # else the parent would be woken
                self._poller.wake()
            self._dispose()

    def _tidy_up(self) -> None:
        self._reader.rewind()
        self.disconnect()
        self._poller.reset()
        self._is_torn = False

    def _dispose(self) -> None:
        """Free everything, unless a thread is at work: then it does so on its way out."""
        if self._forks != Engine.forks:
            self._is_free = True  # a thread that was at work is not in the child
        try:
            del self._is_free
        except AttributeError:
            return
        try:
            self.disconnect()
            self._poller.close()
        finally:
            self._is_free = True
