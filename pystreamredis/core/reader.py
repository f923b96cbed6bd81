"""The work of `next()`: the core that every kind of `Streams` shares, without I/O.

The engine around it makes connections, moves bytes and waits; the reader decides which. A
`next()` that finds no message in the current batch is::

    reader.begin_wait(now)
    while (batch := reader.step(now)) is None:
        connect where reader.may_connect(now, assignment); send; wait until reader.wake_at();
        receive

A batch with nothing in it ends the iteration.

There may be several servers, and several connections to each, each with its own streams
(assignments). Then

- every stream belongs to exactly one assignment, and is read over its connection alone;
- a message is delivered when no stream of any assignment can hold an older one;
- where there are several servers, an assignment whose failure was reported holds back no
  others until it is answered again: its messages are delivered as they arrive, each stream in
  order, and the other assignments go on;
- a wait is not over before every assignment has found nothing for as long as the caller waits.
  An assignment that is down reports the failure of each new attempt.

Most connections only wait for a message to come. So a message costs no more among many
connections: only those that are `active` are looked at.
"""

from __future__ import annotations

from math import inf
from operator import attrgetter

from ..exceptions import ConnectionError
from ..protocol.ids import number_of
from ..protocol.messages import Unmade
from ..starts import parse_streams_at
from . import failures
from .assignment import pauses_of
from .delivery import EMPTY, Batch, Item, Wait
from .events import WARNING, Failed, Log, Phase, Redirected
from .hold import MOST_BLOCK, ExactHold, Hold
from .merge import Queue, find_watermark, release
from .readahead import Request
from .session import Session
from .topology import Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from ..exceptions import RedisError
    from ..options import ConnectionOptions, ReadOptions
    from ..protocol.messages import Message
    from ..starts import Followed, Start, StreamsArgument
    from .assignment import Assignment
    from .events import Event
    from .stream import StreamState

# Number of streams that a description names.
_NAMED = 3


class Reader:
    """Several streams, read over one or more connections.

    Args:
        servers: The addresses of the servers, and how to log in, by the caller's name for
            each of them, or None for the only one.
        reading: How to read.

    Attributes:
        assignments: The streams of each connection, and its state. A changed set of
            connections is another list.
        active: The assignments in which something has happened, or has to be done.
        batch: The messages that are being delivered.
        log: Lines for the log.
        has_streams: True if any streams are followed.
        hold: The messages that are kept back; None if none ever are.
    """

    def __init__(
        self, servers: Mapping[str | None, ConnectionOptions], reading: ReadOptions
    ) -> None:
        self._upstreams = {
            name: Upstream(name, options, reading) for name, options in servers.items()
        }
        self._reading = reading
        self._wait = Wait(reading.block)
        self._exact = ExactHold() if reading.hold == "exact" else None
        self.hold: Hold | ExactHold | None = self._exact
        if isinstance(reading.hold, int) and reading.hold:
            self.hold = Hold(reading.hold)
        self.assignments: list[Assignment] = []
        self.active: dict[Assignment, None] = {}
        self.batch: Batch = EMPTY
        self.log: list[Log] = []
        self.has_streams: bool = False
        # Deadline of the first reply that a parked connection waits for.
        self._parked_until = inf
        # Reads that were answered, and not looked at yet.
        self._completed: list[tuple[Assignment, Request]] = []
        # Messages to deliver after the batch.
        self._queue = Queue()
        self._failures: list[RedisError] = []
        # True if messages may have become deliverable, though no read was answered.
        self._may_release = False
        # Number of outages, and time of the last answer.
        self._outages = 0
        self._answered_at: float | None = None
        self._look_over()

    def __repr__(self) -> str:
        names = [repr(stream.name) for stream in self._streams]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        addresses = [assignment.options.address for assignment in self.assignments]
        of = f"of {', '.join(names[:_NAMED])}{more}" if names else "of no streams"
        return f"{of} at {', '.join(dict.fromkeys(addresses))}"

    # The set of streams.

    def add(
        self,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
        added: list[Followed] | None = None,
    ) -> None:
        """Follow more streams.

        Args:
            streams: Names, or names and start values, as the constructor of `Streams` takes them.
            named_streams: The same as keywords.
            added: A list to add their names to, before anything is changed.

        Raises:
            ValueError, TypeError: A stream is followed already, or a name or a start is not
                valid; then none is added.
        """
        given = parse_streams_at(self._upstreams, streams, named_streams)
        made = {
            name: upstream.make_streams(given[name]) for name, upstream in self._upstreams.items()
        }
        come = [stream for fresh in made.values() for stream in fresh]
        if added is not None:
            added += [stream.name for stream in come]
        place = max((stream.place for stream in self._streams), default=0)
        for rank, stream in enumerate(come, place + 1):
            stream.place = rank
        for name, upstream in self._upstreams.items():
            if made[name]:
                upstream.add(made[name])
        self._look_over()

    def discard(self, names: Iterable[Followed]) -> None:
        """Drop streams, and their messages that were not delivered."""
        names = list(names)
        dropped: set[Followed] = set()
        for upstream in self._upstreams.values():
            dropped |= upstream.discard(names)
        if not dropped:
            return
        self._look_over()
        self._queue.discard(dropped)
        rest = self.batch.take_back()
        self._install(Batch.of([message for message in rest if message[0] not in dropped]))
        for name in dropped:
            self._queue.delivered.pop(name, None)

    @property
    def positions(self) -> dict[Any, Any]:
        """The ID of the last message of each stream that was delivered, or its start."""
        current = self.batch.delivered()
        found = {
            name: upstream.positions(self._queue.delivered, current)
            for name, upstream in self._upstreams.items()
        }
        return found.get(None, found)

    @property
    def _streams(self) -> list[StreamState]:
        return [stream for upstream in self._upstreams.values() for stream in upstream.streams]

    @property
    def caught_up(self) -> bool:
        """True if the last reads found no more than what was delivered since."""
        if self._queue.runs or self._queue.rest or not self.batch.is_over:
            return False
        return all(stream.caught_up and not stream.pending for stream in self._streams)

    def stats(self, now: float) -> dict[str, Any]:
        """Return figures about the reading so far, for any thread."""
        before, batch = self._queue.counted
        answered_at, used = self._answered_at, [a for a in self.assignments if a.streams]
        streams = {}
        for name, upstream in self._upstreams.items():
            at = self.positions if name is None else self.positions[name]
            streams.update({s.name: upstream.figures_of(s, at) for s in upstream.streams})
        return {
            "connected": all(map(_is_connected, used)),
            "outages": self._outages,
            "answered": None if answered_at is None else max(0.0, now - answered_at),
            "delivered": before + batch.count,
            "gaps": sum(stream.gaps for stream in self._streams),
            "late": 0 if self._exact is None else self._exact.late,
            "streams": streams,
        }

    @property
    def complete_until(self) -> int | None:
        """The ms up to which all messages were delivered, with ``hold="exact"``; None before."""
        if self._exact is None:
            raise ValueError('complete_until is known with hold="exact" only')
        complete = ((self._exact.complete + 1) >> 64) - 1
        batch = self.batch
        if batch.is_over and not self._queue.runs and not self._queue.rest:
            return complete if complete >= 0 else None
        delivered = {**self._queue.delivered, **batch.delivered()}
        newest = max((number_of(at) >> 64 for at in delivered.values()), default=0)
        return min(complete, newest - 1) if newest else None

    # Questions of the engine.

    def begin_wait(self, now: float) -> None:
        """Take note that the caller asks for a message, and the batch has none left."""
        # Free the delivered messages before the next ones are received.
        if self.batch is not EMPTY:
            self._install(EMPTY)
        self._wait.begin(now)
        for assignment in self.active:
            if assignment.must_pause:
                # Not kept where the caller's iterator of pauses raises an exception.
                pauses, assignment.pauses = assignment.pauses or self._pauses(), None
                assignment.retry_at = now + next(pauses)
                assignment.pauses = pauses
                assignment.must_pause = False

    def step(self, now: float) -> Batch | None:
        """Return the next batch; None if something has to be sent or received first.

        Raises:
            RedisError: A failure, if failures are to be raised.
        """
        if self._queue.runs or self._queue.rest:
            return self._install(self._queue.next_batch())
        if len(self.assignments) > 1:
            self._park()
        self._take_events(now)
        if self._completed or self._may_release or self.hold is not None:
            batch = self._release(now)
            if batch is not None:
                return self._install(batch)
        for assignment in list(self.active):
            failure = assignment.failure
            if failure is not None and self._is_news(assignment, failure):
                return self._deliver_failure(assignment, failure)
        if self._failures:
            return self.report(self._failures.pop(0))
        if now >= self._wait.ends_at and self._is_over():
            if not self._reading.stop_on_timeout:
                return self._install(EMPTY)
            return self._install(Item(self._reading.timeout_response, in_batches=[]))
        self._ask_for_caller(now)
        return None

    def assignments_of(self, names: Iterable[Followed] | None) -> list[Assignment]:
        """List the assignments of any of these streams; None for all."""
        if names is None:
            return self.assignments
        wanted = set(names)
        return [
            assignment
            for assignment in self.assignments
            if any(stream.name in wanted for stream in assignment.streams)
        ]

    def join(self, names: list[Followed], *, is_done: bool) -> None:
        """Have streams that are being added hold back no others, or count as all others do."""
        for assignment in self.assignments_of(names):
            is_new = all(stream.name in names for stream in assignment.streams)
            assignment.is_joining = is_new and not is_done

    def read_ahead(self, *, is_allowed: bool) -> None:
        """Have reads sent before the reply to the last one was read, or not."""
        for upstream in self._upstreams.values():
            upstream.may_read_ahead = is_allowed

    def is_establishing(self, now: float, names: Iterable[Followed] | None = None) -> bool:
        """Return True if connections are still to be made ready.

        Args:
            now: Time, in seconds of the caller's clock.
            names: The streams to be read over them; None for all.

        Raises:
            RedisError: A failure, if failures are to be raised.
        """
        names = None if names is None else list(names)
        self._take_events(now)
        for assignment in self.assignments_of(names):
            failure = assignment.failure
            if failure is None or not self._is_raised(failure.error):
                continue
            if self._is_news(assignment, failure):
                assignment.failure = None
                raise failure.error
        if self._failures:
            if self._is_raised(self._failures[0]):
                raise self._failures.pop(0)
            return False
        is_ready = True
        for assignment in self.assignments_of(names):
            session = assignment.session
            if session is not None and not session.is_ready:
                session.dialogue.prepare(now)
            if assignment.streams and assignment.failure is None:
                is_ready = is_ready and session is not None and session.is_ready
        return not is_ready

    def may_connect(self, now: float, assignment: Assignment) -> bool:
        """Return True if a connection has to be made now."""
        if assignment.is_connecting or assignment.session is not None or not assignment.streams:
            return False
        return assignment.failure is None and now >= assignment.retry_at

    def wake_at(self) -> float | None:
        """Return the time until which to wait for bytes, or for another try to connect."""
        earliest = self._parked_until
        for assignment in self.active:
            if assignment.failure is not None:
                continue
            session = assignment.session
            time = assignment.next_try_at if session is None else session.wake_at
            if time is not None and time < earliest:
                earliest = time
        held_until = None if self.hold is None else self.hold.due_at
        if held_until is not None and any(a.session is not None for a in self.assignments):
            earliest = min(earliest, held_until)
        return None if earliest == inf else earliest

    # Reports of the engine.

    def opened(
        self,
        now: float,
        assignment: Assignment,
        address: str,
        ask: Callable[[], None] | None = None,
    ) -> Session:
        """Take note of a new connection. If it is the only one, the wait begins here.

        Args:
            now: Time, in seconds of the caller's clock.
            assignment: The streams to read over it.
            address: Address of the peer.
            ask: As for the `Session`.
        """
        if not any(other.session is not None for other in self.assignments):
            self._wait.restart(now)
        assignment.history.opened(address, now)
        assignment.session = session = Session(assignment, address, now, ask)
        self.active[assignment] = None
        return session

    def not_opened(
        self, now: float, assignment: Assignment, address: str, cause: Exception
    ) -> None:
        """Take note that no connection could be made."""
        error = failures.not_connected(assignment.options, address, cause)
        error.__cause__ = cause
        assignment.failure = Failed(error, now)
        self._log_failure(assignment, Failed(error, now))
        self.active[assignment] = None
        self._may_release = True

    def woke(self, now: float) -> None:
        """Take note that nothing came until `wake_at`."""
        # Reads of parked connections may have been answered since their deadline was noted.
        self._look_at(self.assignments)
        for assignment in self.assignments:
            session = assignment.session
            if session is None:
                continue
            wake_at = session.wake_at
            if wake_at is None or now < wake_at or session.phase is Phase.CLOSED:
                continue
            if session.phase is Phase.IDLE:
                session.poll_not_before = session.repeat_at = 0.0
            else:
                session.time_out(now)
                self._may_release = True

    def report(self, error: RedisError) -> Batch:
        """Raise a failure, or return it as what is delivered next."""
        if self._is_raised(error):
            raise error
        return self._install(Item(error, in_batches=error))

    @property
    def pause(self) -> float:
        """Seconds before another try to connect."""
        return next(self._pauses())

    def _pauses(self) -> Iterator[float]:
        return pauses_of(self._reading.block, self._reading.retry_delay)

    def rewind(self) -> None:
        """Forget what was not delivered: it will be read again, over new connections.

        For an interruption at any point, after which nothing is certain but the streams of
        each upstream and the positions.
        """
        self._install(EMPTY)
        followed = {stream.name for stream in self._streams}
        self._queue.delivered = {n: at for n, at in self._queue.delivered.items() if n in followed}
        self._queue.runs, self._queue.rest = [], []
        self._completed = []
        for assignment in self.assignments:
            self.disconnect(assignment)
        for upstream in self._upstreams.values():
            upstream.rewind(self._queue.delivered)
        self._look_over()

    def disconnect(self, assignment: Assignment) -> None:
        """Give up a connection, and what is on its way over it."""
        session, assignment.session = assignment.session, None
        if session is not None:
            session.close()
            self.active[assignment] = None

    # Events.

    def _look_over(self) -> None:
        """Take note of changed connections of the upstreams."""
        assignments: list[Assignment] = []
        for upstream in self._upstreams.values():
            assignments += upstream.topology.assignments
            self._failures += upstream.failures
            upstream.failures = []
        # A connection without streams is of no use, and how it ends would be reported.
        used = {assignment for assignment in assignments if assignment.streams}
        for unused in {*self.assignments, *assignments} - used:
            self.disconnect(unused)
        for assignment in assignments:
            assignment.history.read_size.share(self._reading.max_bytes, len(assignments))
        self._look_at(self.assignments if assignments == self.assignments else assignments)
        self.has_streams = any(assignment.streams for assignment in assignments)
        if self._exact is not None:
            self._exact.forget()
        # Streams that were dropped or moved apart may have held messages back.
        self._may_release = True

    def _look_at(self, assignments: list[Assignment]) -> None:
        """Have these assignments, and look at each of them, whatever was known before."""
        self.assignments, self.active = assignments, dict.fromkeys(assignments)
        self._parked_until = inf

    def _park(self) -> None:
        """Stop looking at connections that only wait for a reply."""
        if self._reading.block is None:
            return  # each connection is asked whenever the caller asks
        for assignment in list(self.active):
            session = assignment.session
            if session is None or not session.is_parked or session.streams.find_unsettled():
                continue
            del self.active[assignment]
            deadline = session.wake_at
            if deadline is not None and deadline < self._parked_until:
                self._parked_until = deadline

    def _take_events(self, now: float) -> None:
        redirected: list[tuple[Assignment, Redirected]] = []
        changed: dict[Upstream, None] = {}
        for assignment in self.active:
            session = assignment.session
            if session is None or not (session.events or session.phase is Phase.CLOSED):
                continue
            events, session.events = session.events, []
            for event in events:
                if type(event) is Request:
                    self._completed.append((assignment, event))
                    self._answered_at = now
                    assignment.is_down = assignment.is_down and not event.streams
                    is_alone = assignment.key is None and len(self.assignments) == 1
                    if not is_alone and assignment.upstream.topology.answered(assignment, event):
                        changed[assignment.upstream] = None
                elif isinstance(event, Redirected):
                    redirected.append((assignment, event))
                else:
                    self._handle(assignment, event)
            if session.phase is Phase.CLOSED:
                assignment.session = None
                self._may_release = True
        if redirected or changed:
            self._rearrange(redirected, changed)

    def _rearrange(
        self, redirected: list[tuple[Assignment, Redirected]], changed: Iterable[Upstream]
    ) -> None:
        """Read streams where they live by now."""
        for assignment, event in redirected:
            assignment.upstream.redirect(assignment, event)
        for upstream in changed:
            upstream.topology.assign(upstream.streams)
        self._look_over()

    def _handle(self, assignment: Assignment, event: Event) -> None:
        """Take note of an event that no message depends on."""
        if isinstance(event, Log):
            self.log.append(event)
        elif isinstance(event, Unmade):
            self._queue.has_unmade = True
        elif isinstance(event, Failed):
            assignment.failure = event
            self._may_release = True
            if isinstance(event.error, ConnectionError):
                self._log_failure(assignment, event)

    def _log_failure(self, assignment: Assignment, event: Failed) -> None:
        line = assignment.history.failed(event.error, event.time)
        self.log.append(line)
        # Further failures of an outage are no warnings.
        self._outages += line.level == WARNING

    # Deliveries.

    def _install(self, batch: Batch) -> Batch:
        queue, before = self._queue, self.batch
        number = queue.counted[0]
        # In this order, so that no other thread sees positions go back.
        if before is not EMPTY:
            queue.delivered.update(before.delivered())
            number += before.count
        queue.counted = number, batch
        self.batch = batch
        return batch

    def _release(self, now: float) -> Batch | None:
        """Take out the messages that became deliverable since the last time."""
        completed, hold = self._completed, self.hold
        if completed:
            self._completed = []
        elif not self._may_release and hold is not None and hold.due_at is None:
            return None
        self._may_release = False
        if hold is None and len(self.assignments) == 1 and not self._queue.has_unmade:
            session = self.assignments[0].session
            run = None if session is None else session.streams.take_only_run()
            if run:
                if session is not None and session.streams.unsettled:
                    self._ask_ahead(now)
                return Batch(run, {run[0][0]: run[-1][1]})
        limit = self._hold_back(completed, now)
        self._queue.runs = self._merge(limit)
        if self._exact is not None:
            known = None
            if limit is not None:
                known = find_watermark(self._find_unsettled(self.active), limit)
            line = self._exact.released(self._queue.runs, known)
            self.log += [line] if line is not None else []
        if self._queue.runs:
            # The next reads are on their way while the caller works through this batch.
            self._ask_ahead(now)
            return self._queue.next_batch()
        self._note_nothing(completed, now)
        return None

    def _note_nothing(self, completed: list[tuple[Assignment, Request]], now: float) -> None:
        """Take note of answered reads after which there is nothing to deliver."""
        is_holding = self.hold is not None and self.hold.is_holding
        for assignment, request in completed:
            if is_holding:
                session = assignment.session
                if session and len(self.assignments) > 1 and not session.expects_more:
                    # Other connections are waited for.
                    session.rest_until(now + 0.001)
                continue
            streams = assignment.streams
            is_all = len(request.streams) + request.put_off == len(streams)
            # Pending messages may be waiting for other connections, so this read was not empty.
            if is_all and (len(self.assignments) == 1 or not any(s.pending for s in streams)):
                assignment.found_nothing = request, now

    def _hold_back(self, completed: list[tuple[Assignment, Request]], now: float) -> int | None:
        """Return the largest ID that may be delivered, as a number; None for any."""
        if self.hold is None:
            return None
        self.hold.arrived(completed, self._find_unsettled(self.active), now)
        limit = self.hold.limit(self.assignments, now)
        # Messages that are held back are delivered before a failure is.
        return None if any(assignment.failure for assignment in self.active) else limit

    def _merge(self, limit: int | None) -> list[list[Message]]:
        for assignment in self.active:
            if assignment.is_down or assignment.held_apart:
                return self._merge_apart(limit)
        return release(self._find_unsettled(self.active), limit)

    def _merge_apart(self, limit: int | None) -> list[list[Message]]:
        """Merge where some streams hold back no others."""
        down: dict[object, list[Assignment]] = {a.server: [] for a in self.active if a.is_down}
        up: list[Assignment] = []
        for assignment in self.active:
            down.get(assignment.server, up).append(assignment)
        groups = [self._find_unsettled(assignments) for assignments in down.values()]
        groups += [group for assignment in up for group in assignment.held_apart]
        apart = {stream for group in groups for stream in group}
        known = self._find_unsettled(up)
        return release([stream for stream in known if stream not in apart], limit, groups)

    def _find_unsettled(self, assignments: Iterable[Assignment]) -> list[StreamState]:
        """List the streams that the merge has to look at, in their order."""
        found: list[StreamState] = []
        for assignment in assignments:
            if not assignment.is_joining:
                found += assignment.find_unsettled()
        found.sort(key=attrgetter("place"))
        return found

    def _deliver_failure(self, assignment: Assignment, failure: Failed) -> Batch:
        assignment.failure = None
        # Connections to one server keep the order that a single one would. A cluster knows itself
        # which of its nodes are down.
        if not (assignment.upstream.is_cluster and isinstance(failure.error, ConnectionError)):
            assignment.is_down = len({a.server for a in self.assignments}) > 1
        # Messages that were held back by these streams alone are released.
        self._may_release = len(self.assignments) > 1
        is_raised = self._is_raised(failure.error)
        # A caller that goes on at once would see nothing but failures of this one.
        others_go_on = assignment.is_down and any(map(_goes_on, self.assignments))
        assignment.must_pause = not is_raised or (others_go_on and assignment.session is None)
        if assignment.upstream.is_cluster:
            # Cluster retries do not wait for the caller's next call.
            assignment.must_pause = False
        return self.report(failure.error)

    def _is_raised(self, error: RedisError) -> bool:
        return self._reading.raise_connection_exceptions or not isinstance(error, ConnectionError)

    def _is_news(self, assignment: Assignment, failure: Failed) -> bool:
        """Return True if a failure has to be reported; a cluster may ask elsewhere instead."""
        if not isinstance(failure.error, ConnectionError) or not assignment.upstream.is_cluster:
            return True
        is_news = assignment.upstream.topology.failed(assignment, failure.time)
        self._look_over()
        return is_news

    # Reads.

    def _ask_ahead(self, now: float) -> None:
        """Send the next reads ahead of time, wherever streams have more entries.

        After a reply that was not full the messages are delivered first (contract 6.4).
        """
        for assignment in self.active:
            session = assignment.session
            if session is not None and session.expects_more:
                block = self._limit_block(assignment, self._wait.block_ahead)
                session.ask(now, block, self._wait.number)

    def _ask_for_caller(self, now: float) -> None:
        """Send the next reads, wherever none is on its way, while the caller waits."""
        wait, held_until = self._wait, None if self.hold is None else self.hold.due_at
        for assignment in self.active:
            session = assignment.session
            if session is None or session.phase is not Phase.IDLE or not assignment.streams:
                continue
            block = wait.block_for_caller(now, held_until)
            if assignment.found_nothing is not None and self._has_found_nothing(assignment):
                # Other connections have not waited for long enough. They may even wait for this
                # one, where a slot is moving.
                if wait.block is None and all(s.caught_up for s in assignment.find_unsettled()):
                    continue
                block = wait.block_ahead
            if len(self.assignments) > 1:
                block = self._limit_block(assignment, block)
            poll_at = self._exact.poll_at(assignment) if self._exact is not None else None
            if poll_at is not None:
                if now < poll_at:
                    session.rest_until(poll_at)
                    continue
                block = None
            session.ask(now, block, wait.number)

    def _limit_block(self, assignment: Assignment, block: int | None) -> int | None:
        """Return how long a read may block, where others may wait for what it finds."""
        if block is None or len(self.assignments) == 1:
            return block
        if self._exact is not None:
            block = min(block, MOST_BLOCK)
        count = assignment.history.read_size.count
        unsettled = assignment.find_unsettled()
        is_behind = any(not s.caught_up and len(s.pending) < count for s in unsettled)
        return None if is_behind else block

    def _is_over(self) -> bool:
        """Return True if reads have found nothing for as long as the caller would wait."""
        is_awaited = False
        for assignment in self.assignments:
            if not assignment.streams or assignment.is_joining:
                continue
            if self._reading.block is None and assignment.is_down:
                continue
            is_awaited = True
            if not self._has_found_nothing(assignment):
                return False
        return is_awaited

    def _has_found_nothing(self, assignment: Assignment) -> bool:
        """Return True if this assignment has, for all of that time."""
        block = self._reading.block
        if assignment.found_nothing is None or block == 0:
            return False
        if self.hold is not None and self.hold.is_holding:
            return False
        request, answered_at = assignment.found_nothing
        if block is None:
            return request.wait == self._wait.number
        return answered_at >= self._wait.ends_at


def _is_connected(assignment: Assignment) -> bool:
    """Return True if a connection is logged in, though streams may have come to it since."""
    session = assignment.session
    return session is not None and (session.is_ready or assignment.history.is_answered)


def _goes_on(assignment: Assignment) -> bool:
    """Return True if an assignment is read, or may be as soon as it is connected."""
    if assignment.session is not None:
        return True
    return bool(assignment.streams) and assignment.failure is None and not assignment.is_down
