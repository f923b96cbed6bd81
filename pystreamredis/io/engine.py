"""The steps of both shells: connect, send, receive, until there is a batch.

Each operation is a generator. It yields how long to wait for the sockets that are watched, in
seconds (None for ever), and is sent the connections whose sockets are ready. The shells differ
in how they wait, and in nothing else.
"""

from __future__ import annotations

import os
from collections import deque
from functools import partial
from math import inf
from operator import length_hint
from time import monotonic
from weakref import WeakSet

from ..core.delivery import EMPTY
from ..exceptions import RedisError
from .connection import Connection
from .log import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import ClassVar, TypeAlias

    from ..core.assignment import Assignment
    from ..core.delivery import Batch
    from ..core.events import Failed
    from ..core.reader import Reader
    from ..starts import Followed, Start, StreamsArgument
    from .connection import Watcher

    Steps: TypeAlias = Generator[float | None, list[Connection], Batch]


class Order:
    """A change of the streams that some thread or task has asked for.

    Args:
        begin: Makes the change. It is given a list, to which it adds the names of streams whose
            connections have to be established before it is done.
        notify: Called once it is done.

    Attributes:
        added: Those names.
        has_begun: True once the change was made.
        earlier: Failures of their connections that were not reported before it, which are another
            matter, and stay for later.
        is_taken_back: True if whoever has asked for it waits no longer.
        is_done: True once it was carried out.
        error: The exception that it has raised; None if it has succeeded.
    """

    def __init__(
        self, begin: Callable[[list[Followed]], object], notify: Callable[[], object]
    ) -> None:
        self.begin = begin
        self.added: list[Followed] = []
        self.has_begun: bool = False
        self.earlier: list[tuple[Assignment, Failed]] = []
        self.is_taken_back: bool = False
        self.is_done: bool = False
        self.error: Exception | None = None
        self._notify = notify

    def finish(self, error: Exception | None) -> None:
        """Take note of the outcome."""
        self.error = error
        self.is_done = True
        self._notify()


class Engine:
    """Moves bytes between a reader and its connections.

    Args:
        reader: Whoever says what to send, and what replies mean.
        poller: Whoever watches sockets.
        connect: Maker of connections.
        clock: Clock, in seconds; None for the system's.

    Attributes:
        is_closed: True once no operation shall go on.
        is_wanted: True if somebody who wants messages waits until no change is carried out.
        forks: Number of forks between this process and the first.
        made: All engines that are in use.
    """

    forks = 0
    made: ClassVar[WeakSet[Engine]] = WeakSet()

    def __init__(
        self,
        reader: Reader,
        poller: Watcher,
        *,
        connect: type[Connection] = Connection,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.is_closed = False
        self.is_wanted: bool = False
        self._reader = reader
        self._poller = poller
        self._connect = connect
        self._clock = monotonic if clock is None else clock
        self._connections: dict[Assignment, Connection] = {}
        # The assignments that the connections are of.
        self._assignments: list[Assignment] = []
        # Time of the last look at what is due, and the time when the next thing is.
        self._looked_at = 0.0
        self._due_at = inf
        # Changes of the streams that others have asked for while somebody waits.
        self._orders: deque[Order] = deque()
        # Connections that may have more bytes than a poller sees.
        self._pending: list[Connection] = []
        Engine.made.add(self)

    def leave_to_parent(self) -> None:
        """Deliver nothing of what was read: after a fork it is the parent's."""
        self._reader.batch.take_back()

    def establish(self) -> Steps:
        """Connect, log in, and pin "now".

        Raises:
            RedisError: That failed, and failures are to be raised.
        """
        reader = self._reader
        try:
            while reader.is_establishing(self._clock()) and not self.is_closed:
                yield from self._move()
        except RedisError:
            self.end_unused()
            raise
        return reader.batch

    def add(
        self, streams: StreamsArgument | None, named_streams: Mapping[str, Start]
    ) -> Callable[[list[Followed]], object]:
        """Return the change that follows more streams; if it fails, none is added.

        It raises what `Reader.add` raises, and then has changed nothing, or the RedisError of
        their connections.
        """
        return partial(self._reader.add, streams, named_streams)

    def discard(self, names: Iterable[Followed], _: object = None) -> None:
        """Drop streams; no connection has to be established for that."""
        self._reader.discard(names)
        self.end_unused()

    def submit(self, order: Order) -> None:
        """Have a change carried out by whoever is at work."""
        self._orders.append(order)

    def want(self, *, is_wanted: bool) -> None:
        """Have whoever carries out changes stop for whoever wants messages, or go on."""
        self.is_wanted = is_wanted

    def carry_out(self) -> Steps:
        """Carry out the changes that were asked for, as long as nobody wants messages."""
        # The messages that were delivered last are still in memory.
        self._reader.read_ahead(is_allowed=False)
        try:
            self._attend()
            while self._orders and not (self.is_closed or self.is_wanted):
                yield from self._move()
                self._attend()
        finally:
            self._reader.read_ahead(is_allowed=True)
        return self._reader.batch

    def settle(self) -> Steps:
        """Take back the changes that nobody waits for any longer."""
        self._attend()
        return self._reader.batch
        yield  # a generator, as the other operations

    def _begin(self, order: Order) -> None:
        order.begin(order.added)
        order.has_begun = True
        for assignment in self._reader.assignments_of(order.added):
            if assignment.failure is not None:
                order.earlier.append((assignment, assignment.failure))
                assignment.failure = None
        self._reader.join(order.added, is_done=False)

    def _attend(self) -> None:
        """Begin the changes that were asked for, and end those that are done, without waiting."""
        reader, clock = self._reader, self._clock
        for order in list(self._orders):
            error: Exception | None = None
            try:
                if not (order.has_begun or order.is_taken_back):
                    self._begin(order)
                is_waiting = order.added and not order.is_taken_back
                if is_waiting and reader.is_establishing(clock(), order.added):
                    continue
            except Exception as caught:  # noqa: BLE001 - raised where it was asked for
                error = caught
            if order.added and (error is not None or order.is_taken_back):
                self.discard(order.added)
            elif order.added:
                reader.join(order.added, is_done=True)
            for assignment, failure in order.earlier:
                assignment.failure = assignment.failure or failure
            self._orders.remove(order)
            order.finish(error)

    def write_log(self) -> None:
        """Log what the reader has to say."""
        if self._reader.log:
            lines, self._reader.log = self._reader.log, []
            write([(line.level, line.text) for line in lines])

    def end_unused(self) -> None:
        """End the connections without a session, and those over which no stream is read.

        The next operation would end most of them; nobody knows when that is.
        """
        for assignment, connection in list(self._connections.items()):
            if not assignment.streams:
                self._reader.disconnect(assignment)
                self._end(assignment)
            elif connection.session not in (None, assignment.session):
                self._end(assignment)
        self._match()

    def disconnect(self) -> None:
        """End all connections."""
        # None is forgotten before it is closed: an interruption may come at any point.
        for connection in list(self._connections.values()):
            connection.close()
        self._connections = {}
        self._assignments = []
        self._pending = []

    def next_batch(self) -> Steps:  # noqa: C901
        """Wait for what is delivered next; a batch with nothing in it is the end.

        Raises:
            RedisError: A failure, if failures are to be raised; the next call goes on.
            ValueError: No streams are left.
        """
        reader, clock = self._reader, self._clock
        if length_hint(reader.batch.iterator):
            return reader.batch  # what another thread has left of it when it dropped a stream
        reader.begin_wait(clock())
        while not self.is_closed:
            if self._orders:
                self._attend()
            if not reader.has_streams:
                raise ValueError("no streams left to follow; call add() first")
            try:
                batch = reader.step(clock())
            except RedisError:
                self.end_unused()
                raise
            if batch is not None:
                if not batch.messages:  # a failure, say
                    self.end_unused()
                for assignment in reader.active:
                    session = assignment.session
                    if session is not None and session.outgoing:
                        self._connections[assignment].flush()
                return batch
            timeout = self._prepare(clock())
            if timeout is None or timeout >= 0:
                self._respond((yield timeout), timeout)
        return EMPTY

    def _move(self) -> Generator[float | None, list[Connection], None]:
        """Connect, send, wait and receive, once."""
        timeout = self._prepare(self._clock())
        if timeout is None or timeout >= 0:
            self._respond((yield timeout), timeout)

    def _respond(self, ready: list[Connection], timeout: float | None) -> None:
        """Have connections respond to what has come, or take note that nothing has."""
        if self.is_closed:
            return
        if self._pending:
            ready += [connection for connection in self._pending if connection not in ready]
        self._pending = []
        for connection in ready:
            if connection.respond():
                self._pending.append(connection)
        if timeout is not None and (not ready or self._due_at <= self._looked_at):
            # Later bytes were not seen yet, since a look-up of a host may take its time.
            self._end_overdue(ready, self._looked_at if ready else self._clock())
        if self._reader.log:
            self.write_log()

    def _end_overdue(self, ready: list[Connection], now: float) -> None:
        """Give up what should have come by now, and was not among what is ready."""
        self._reader.woke(now)
        for connection in list(self._connections.values()):
            deadline = connection.deadline
            if deadline is not None and deadline <= now and connection not in ready:
                connection.expire()
            connection.close_if_over()

    def _prepare(self, now: float) -> float | None:
        """Do what is due: connect, and send.

        Returns:
            How long to wait after that, in seconds; None for ever. Less than 0 if something
            has changed, so that the reader has to be asked again.
        """
        reader, connections = self._reader, self._connections
        if self._assignments is not reader.assignments:
            self._match()
        until = reader.wake_at()
        for assignment in reader.active:
            connection = connections.get(assignment)
            session = assignment.session
            if connection is None:
                if not reader.may_connect(now, assignment):
                    continue
                connection = self._connect(reader, assignment, self._poller)
                connections[assignment] = connection
                connection.begin()
            elif session is not None and session is connection.session:
                if not (session.outgoing and connection.send()):
                    continue
            elif connection.session is None and assignment.is_connecting and assignment.streams:
                until = min(connection.deadline or inf, inf if until is None else until)
                continue
            else:
                self._end(assignment)
            return -1.0
        self._looked_at = now
        self._due_at = until = inf if until is None else until
        if self._pending:
            return 0.0
        return None if until == inf else max(0.0, until - now)

    def _match(self) -> None:
        """End the connections of assignments that are gone."""
        assignments = self._reader.assignments
        for assignment in self._connections.keys() - set(assignments):
            self._end(assignment)
        self._assignments = assignments

    def _end(self, assignment: Assignment) -> None:
        connection = self._connections[assignment]
        connection.close()
        del self._connections[assignment]
        if connection in self._pending:
            self._pending.remove(connection)


def _note_fork() -> None:
    Engine.forks += 1
    for engine in list(Engine.made):
        engine.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
