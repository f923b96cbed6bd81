"""The shells whose waits are awaited: what drives the engine for tasks, on whichever event loop.

Whatever was received is given to the reader by the task that wants messages, between two
awaits. So wherever that task is cancelled, nothing is half done.
"""

from __future__ import annotations

from threading import Thread

from ..core.delivery import EMPTY
from ..exceptions import RedisError
from .engine import Engine, Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, ClassVar, Protocol

    from ..core.delivery import Batch
    from ..core.reader import Reader
    from ..starts import Followed
    from .connection import Connection, Watcher
    from .engine import Steps

    class TaskPoller(Watcher, Protocol):
        """A poller whose waits are awaited."""

        async def wait(self, timeout: float | None) -> list[Connection]:
            """Wait until sockets are ready, for some seconds or for ever; return their owners."""
            ...

        def wake(self) -> None:
            """End the wait, if there is one."""
            ...

        def reset(self) -> None:
            """Watch no socket any more."""
            ...

        def close(self) -> None:
            """Free what it holds."""
            ...

        def abandon(self) -> None:
            """Leave everything to the parent of this process, which has the same event loop."""
            ...


class LookUp:
    """A call in a thread of its own: the threads of the event loop may all be busy.

    Args:
        function: The function to call.
        notify: Called in that thread after it; a RuntimeError says that the event loop is closed.
    """

    def __init__(self, function: Callable[[], Any], notify: Callable[[], object]) -> None:
        self._outcome: Callable[[], Any] | None = None

        def work() -> None:
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                outcome = _raising(error)
            else:
                outcome = lambda: value  # noqa: E731
            self._outcome = outcome
            try:
                notify()
            except RuntimeError:
                pass  # the loop was closed meanwhile

        try:
            Thread(target=work, name="pystreamredis look-up", daemon=True).start()
        except RuntimeError as error:
            raise OSError(f"no thread for a look-up: {error}") from error

    def done(self) -> bool:
        """Return True if the call has ended."""
        return self._outcome is not None

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        assert self._outcome is not None  # noqa: S101 - asked for after done()
        return self._outcome()

    def cancel(self) -> None:
        """Do nothing: no thread can be ended."""


def _raising(error: BaseException) -> Callable[[], Any]:
    def outcome() -> Any:
        raise error

    return outcome


class TaskDriver(Engine):
    """Runs the engine's operations for one task at a time; any task may call `close`.

    Attributes:
        get_loop: Function that returns the event loop on which it is called.
        get_task: Function that returns the task that calls it.
        make_event: Maker of an event, which any number of tasks may wait for.
        cancelled: Exception by which the library cancels a task.
    """

    get_loop: ClassVar[staticmethod[[], Any]]
    get_task: ClassVar[staticmethod[[], Any]]
    make_event: ClassVar[type[Any]]
    cancelled: ClassVar[type[BaseException]]
    _poller: TaskPoller

    def __init__(self, reader: Reader, poller: TaskPoller) -> None:
        super().__init__(reader, poller)
        # The event loop, and the process, in which it was first used.
        self._home: tuple[Any, int] | None = None
        # The task that is at work.
        self._task: Any = None
        # True while it changes the streams: then others wait for their turn.
        self._is_changing = False
        # Set once a change was made, or the turn of other tasks has come.
        self._news: Any = None
        # True if an exception was not tidied up after, since another one came amid that.
        self._is_torn = False

    async def run(self, operation: Callable[[], Steps], *, is_change: bool = False) -> Batch:
        """Run an operation of the engine to its end.

        Raises:
            RuntimeError: Another task is at it, or another event loop or process.
            RedisError, ValueError, TypeError: As the operation.
        """
        self._check_home()
        await self._take_turn(is_change=is_change)
        if self.is_closed:
            return EMPTY
        steps, is_cancelled = operation(), False
        self._task = self.get_task()
        self._is_changing = is_change
        try:
            if self._is_torn:
                self._tidy_up()
            timeout = next(steps)
            while True:
                try:
                    ready = await self._poller.wait(timeout)
                except (self.cancelled, GeneratorExit):
                    is_cancelled = True
                    raise
                timeout = steps.send(ready)
        except StopIteration as done:
            batch: Batch = done.value
            return batch
        except RedisError:
            raise
        except BaseException:
            if not is_cancelled:
                # It has come amid the reader's work: what was half done is done again.
                self._is_torn = True
                self._tidy_up()
            raise
        finally:
            # The next task may go on, even where another exception comes amid this.
            try:
                steps.close()
                self.write_log()
            finally:
                self._is_changing = False
                self._task = None
                self._notify()

    async def change(self, begin: Callable[[list[Followed]], object]) -> None:
        """Change the streams, also while another task waits.

        Raises:
            RuntimeError: It is called amid the work of this very task, by `fields`, say.
            RedisError, ValueError, TypeError: As the change.
        """
        self._check_home()
        self._refuse_itself()
        order = Order(begin, self._notify)
        try:
            self.submit(order)
            while not (order.is_done or self.is_closed):
                if self._task is None and not self.is_wanted:
                    await self.run(self.carry_out, is_change=True)
                    continue
                self._poller.wake()
                await self._wait_for_news()
        finally:
            if not (order.is_done or self.is_closed):
                order.is_taken_back = True
                self._attend()
        if order.error is not None:
            raise order.error

    def drop(self, names: Iterable[Followed]) -> None:
        """Drop streams, also while another task waits."""
        self._refuse_itself()
        self._reader.discard(names)
        if self._home is not None and self._home[1] == Engine.forks:
            self.end_unused()
            self._poller.wake()

    def close(self) -> None:
        """End what is under way in whichever task, and free the connections."""
        self.is_closed = True
        if self._home is None:
            return
        if self._home[1] != Engine.forks:
            # The parent's event loop is the same: it would stop watching its sockets, too.
            self._poller.abandon()
            self.disconnect()
            return
        self._poller.wake()
        self.disconnect()
        self._poller.close()

    def _check_home(self) -> None:
        """Belong to this event loop, in this process, from the first use on; refuse another one."""
        here = self.get_loop(), Engine.forks
        self._home = self._home or here
        if self._home != here:
            raise RuntimeError(
                "these connections belong to another event loop, or to the parent of this "
                "process; make a new Streams(streams=positions) on each"
            )

    def _refuse_itself(self) -> None:
        if self._task is not None and self._task is self.get_task():
            raise RuntimeError("streams cannot be added or dropped amid a call of anext()")

    async def _take_turn(self, *, is_change: bool) -> None:
        """Wait while another task changes the streams; it lets others pass who want messages."""
        while self._task is not None:
            if not self._is_changing or self._task is self.get_task():
                raise RuntimeError("another task is iterating, expected one at a time")
            self.want(is_wanted=self.is_wanted or not is_change)
            self._poller.wake()
            try:
                await self._wait_for_news()
            finally:
                if not is_change:
                    self.want(is_wanted=False)
                    self._notify()

    async def _wait_for_news(self) -> None:
        if self._news is None:
            self._news = self.make_event()
        await self._news.wait()

    def _notify(self) -> None:
        """Wake tasks that wait for a change, or for their turn."""
        news, self._news = self._news, None
        if news is not None:
            news.set()

    def _tidy_up(self) -> None:
        self._reader.rewind()
        self.disconnect()
        self._poller.reset()
        self._is_torn = False
