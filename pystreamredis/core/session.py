"""One connection, from opened to closed: bytes in, commands and events out.

A session has no socket and no clock. Whoever has them passes in what was received and when,
sends what is `outgoing`, and takes the `events`. A session ends with its connection, so nothing
of one connection can reach the next. Since every XREAD names the IDs to read after, nothing is
lost or repeated by that::

    HANDSHAKE -> STARTING (pin "now", look for gaps) -> IDLE <-> READING -> CLOSED
"""

from __future__ import annotations

from math import inf
from operator import attrgetter

from ..exceptions import AuthenticationError, ConnectionError, RedisError
from ..protocol.errors import ProtocolError as WireError
from ..protocol.ids import ZERO
from ..protocol.messages import show
from ..protocol.parser import Parser
from ..protocol.values import NeedData, Push, ServerError
from ..protocol.xread import XreadParser
from . import failures
from .assignment import wants_hello
from .events import DEBUG, WARNING, Failed, Log, Phase, Redirected
from .exchanges import (
    Dialogue,
    Refused,
    describe,
    find_failing_stream,
    find_ids_before_last,
    find_last_ids,
    handshake,
    look_back,
)
from .readahead import ReadAhead, Request, StreamSet, choose_streams, last_id_of
from .slots import ON_THE_MOVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.messages import StreamReply
    from ..protocol.xread import Reply
    from .assignment import Assignment
    from .events import Event
    from .exchanges import Exchange
    from .stream import StreamState

SILENCE = 30.0
"""Seconds without an entry of a stream after which to look whether it lost any."""

# The longest that a read blocks which leaves streams out, in ms: these may be released at any
# moment, and hold others back until they are read again. Nor may reads block for long where more
# streams may come at any moment.
_SHORT = 20

_is_caught_up = attrgetter("caught_up")
_pending_of = attrgetter("pending")


class Session:
    """One connection with a server, and the streams that are read over it.

    Attributes:
        address: Address of the peer, for people.
        phase: What the session does.
        outgoing: Commands to send.
        events: What has happened since someone last took note.
        poll_not_before: Time before which no read is sent, in seconds of the caller's clock.
        streams: The streams that are read.

    Args:
        assignment: The streams to read, where to read them, and the record of earlier
            connections.
        address: Address of the peer.
        now: Time, in seconds of the caller's clock.
        ask: The function that asks the caller's callable for credentials, after which somebody
            calls `log_in`; None if they can be had at once.
    """

    def __init__(
        self,
        assignment: Assignment,
        address: str,
        now: float,
        ask: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.phase: Phase = Phase.HANDSHAKE
        self.outgoing: list[bytes] = []
        self.events: list[Event] = []
        self.poll_not_before: float = 0.0
        self._assignment = assignment
        self._ahead = ReadAhead(assignment.history.predictions)
        self._values = Parser()
        self.streams: StreamSet = StreamSet(self, assignment)
        self._replies = self._make_parser()
        self._dialogue: Dialogue | None = None
        self._ask = ask
        # Time to log in again.
        self._login_at = inf
        # Bytes received since the last reply was complete.
        self._reply_size = 0
        self._last_received = self._last_activity = now
        # Time to look next for streams that are silent for too long.
        self._check_at = 0.0
        # Streams that have to be prepared before they are read.
        self._newcomers: list[StreamState] = []
        self.assign()
        self._newcomers = []
        self._begin_login(now)

    # Questions of the reader.

    @property
    def is_ready(self) -> bool:
        """True if the session is logged in, and the start of each stream is known."""
        return self.phase in (Phase.IDLE, Phase.READING) and not self._newcomers

    @property
    def is_parked(self) -> bool:
        """True if nothing is to be done before a reply comes."""
        return self.phase is Phase.READING and not (self.events or self.outgoing)

    @property
    def expects_more(self) -> bool:
        """True if nothing is on its way, though streams have more entries."""
        if self.phase is not Phase.IDLE or self.streams.unsettled == [] or self._newcomers:
            return False
        return not all(map(_is_caught_up, self.streams.find_unsettled()))

    @property
    def may_block(self) -> bool:
        """True if the server may wait before it answers the read that is on its way."""
        return self.phase is Phase.READING and self._ahead.requests[0].blocks

    @property
    def wake_at(self) -> float | None:
        """Time until which to wait for bytes, or before the next read; None for ever.

        While anything is awaited, silence until then means that the peer is gone.
        """
        phase, requests = self.phase, self._ahead.requests
        if phase is Phase.IDLE:
            return self.poll_not_before or None
        if phase is Phase.CLOSED:
            # It may have failed by itself, before anything was sent.
            return 0.0 if self.events else None
        timeout = self._assignment.options.socket_timeout
        if timeout is None or not (requests or self._dialogue):
            return None
        due = requests[0].due if requests else 0.0
        deadline = max(due, self._last_activity) + timeout
        return min(deadline, self._ahead.believe_at) if self._ahead.doubted else deadline

    @property
    def expects_nothing(self) -> bool:
        """True if nothing is on its way but what is outgoing, and the server has answered before.

        Bytes that come before that is sent are no answer to it. Before the first answer they
        may say why there will be none: servers that have too many clients do so.
        """
        if not self._assignment.history.is_answered or self.phase is Phase.CLOSED:
            return False
        return self._dialogue is not None or len(self.outgoing) == len(self._ahead.requests)

    # Orders of the reader.

    def take_outgoing(self, now: float) -> bytes:
        """Take out the bytes to send, at the time when they are sent."""
        self._last_activity = now
        data = self.outgoing[0] if len(self.outgoing) == 1 else b"".join(self.outgoing)
        self.outgoing.clear()
        return data

    def assign(self) -> None:
        """Read the streams that the assignment has now."""
        come = self.streams.assign()
        self._newcomers = [s for s in self._newcomers if s.session is self] + come
        # Replies that are on their way may be for streams that have left, or come back.
        self._ahead.distrust()

    def rest_until(self, time: float) -> None:
        """Send no read before that time."""
        self.poll_not_before = max(self.poll_not_before, time)

    def prepare(self, now: float) -> bool:
        """Begin what has to be done before the next read, if nothing is on its way.

        Returns:
            True if the next read has to wait.
        """
        if self.phase is not Phase.IDLE or now < self.poll_not_before:
            return True
        self.poll_not_before = 0.0
        if now >= self._login_at:
            self._begin_login(now)
        elif self._newcomers:
            newcomers, self._newcomers = self._newcomers, []
            self.streams.forget_names()
            self._run(self._prepare(newcomers))
        elif now >= self._check_at:
            self._check_at = min(now + SILENCE / 4, self._login_at)
            streams = self._assignment.streams
            silent = [stream for stream in streams if now - stream.last_activity >= SILENCE]
            for stream in silent:
                stream.last_activity = now
            if silent:
                self._run(self._check_gaps(silent))
        return self.phase is not Phase.IDLE or self.poll_not_before > 0

    def log_in(self, outcome: Callable[[], object] | None = None) -> None:
        """Log in with what the caller's callable has returned, or raised."""
        if self.phase is not Phase.CLOSED:
            self.poll_not_before = 0.0
            self._run(self._log_in(outcome))

    def ask(self, now: float, block: int | None, wait: int) -> None:
        """Send the next XREADs, one for each group of streams that one XREAD may name.

        Streams with COUNT messages pending are left out. While messages wait for what other
        streams hold, no read blocks: its very answer releases them.

        Nothing is sent while something else has to be done before (`prepare`).

        Args:
            now: Time, in seconds of the caller's clock.
            block: How long the server may wait, in ms; None for not at all.
            wait: Number of the caller's wait.
        """
        if now >= self._check_at or self._newcomers or self.poll_not_before:
            if self.prepare(now):
                return
        elif self.phase is not Phase.IDLE:
            return
        assignment = self._assignment
        asked = streams = assignment.streams
        count, is_poll = assignment.history.read_size.count, False
        if assignment.is_lane:
            block = block and min(block, _SHORT)
        unsettled = self.streams.unsettled
        if any(map(_pending_of, streams if unsettled is None else unsettled)):
            asked, block, is_poll = _leave_out(streams, count, block)
        if self._newcomers:
            asked = [stream for stream in asked if stream.start is not None]
        if not asked:
            return
        groups = [asked] if assignment.key is None else assignment.upstream.topology.group(asked)
        if len(groups) == 1:
            request = Request(asked, list(map(last_id_of, asked)), count, now, block, wait)
            request.is_poll = is_poll
            self.outgoing.append(self._ahead.append(request, block, self._values.buffer))
            self.phase = Phase.READING
            return
        whole = Request(asked, [], count, now, None, wait)
        whole.unanswered = len(groups)
        whole.is_poll = is_poll
        for group in groups:
            request = Request(group, list(map(last_id_of, group)), count, now, None, wait)
            request.round = whole
            self.outgoing.append(self._ahead.append(request, None, self._values.buffer))
            self.phase = Phase.READING

    def receive(self, data: bytes, now: float) -> bool:
        """Take in received bytes.

        While streams have more entries, the next read leaves before the reply is read, so
        that the server works at the same time.

        Returns:
            True if `process` has to read them, as soon as what is `outgoing` now was sent.
        """
        self._last_received = now
        self._reply_size += len(data)
        requests = self._ahead.requests
        # A reply of one entry is not full, so no read leaves before it is read.
        if self.phase is Phase.READING and len(requests) == 1 and requests[0].count > 1:
            message = self._replies.read_lone(data)
            if message is not None:
                try:
                    self._answer([(message[0], [message])], requests[0])
                except WireError as error:
                    self._refuse(error)
                return False
        self._values.buffer.feed(data)
        # Nothing is unsettled while messages come one by one.
        if self.streams.unsettled != [] and self._ahead.can_speculate() and not self._newcomers:
            self._speculate(now)
        return True

    def receive_early(self, data: bytes, now: float) -> None:
        """Take in bytes that were received before anything `outgoing` was sent."""
        self._last_received = now
        buffer = self._values.buffer
        buffer.feed(data)
        if self._dialogue is not None:
            self._dialogue.received_before = buffer.fed
        for request in self._ahead.requests:
            request.received_before = buffer.fed

    def process(self) -> bool:
        """Read what was received, up to the end of a reply to a read.

        Entries of one read at a time are pending before they are released, or more of a stream
        could be held than is allowed (contract 3.4).

        Returns:
            True if more can be read, by another call after `receive`.
        """
        forget, ahead = self._values.buffer.forget, self._ahead.requests
        try:
            while self._read_value() if self._dialogue or not ahead else self._read_reply():
                if self.phase is Phase.CLOSED or forget():
                    return False
                if ahead and self.events:
                    return True
            if self.phase is not Phase.CLOSED and self._last_activity < self._last_received:
                self._note_part()
        except WireError as error:
            self._refuse(error)
        return False

    def lose(self, now: float, cause: Exception | None = None) -> None:
        """Take note that the connection has ended: the peer has closed it, or by an error."""
        assignment = self._assignment
        if self._dialogue is not None and self._dialogue.is_hello:
            # Some proxies close the connection on a command that they do not know.
            assignment.history.says_hello = False
            self._drop("the peer closed the connection on HELLO")
            return
        missing = self._replies.expecting()
        is_understood = assignment.history.is_understood or self._values.consumed > 0
        assignment.history.is_understood = is_understood
        self._break_off()
        failure = failures.connection_lost(
            assignment.options, self.address, cause, missing=missing, is_understood=is_understood
        )
        self._fail(failure, now, cause)

    def time_out(self, now: float) -> None:
        """Take note that nothing came until `wake_at`."""
        ahead = self._ahead
        if ahead.doubted and now >= ahead.believe_at:
            for stream in self.streams.distrust(list(ahead.doubted)):
                stream.caught_up = True
            ahead.doubted.clear()
            return
        options, seconds = self._assignment.options, now - self._last_activity
        self._break_off()
        self._fail(failures.no_reply(options, self.address, seconds), now)

    def close(self) -> None:
        """End the session: nothing is applied, and nothing is awaited any more."""
        self.phase = Phase.CLOSED
        self.outgoing.clear()
        if self._dialogue is not None:
            self._dialogue.close()
        self._dialogue = None
        # Received bytes may have a password in them, or be many.
        self._values = Parser()
        self._replies = self._make_parser()

    def _make_parser(self) -> XreadParser:
        factory = self._assignment.upstream.factory
        return XreadParser(self.streams.names, factory, values=self._values)

    # Reads.

    def _speculate(self, now: float) -> None:
        """Send the next read if the reply that is coming in seems to be full, and where it ends."""
        assignment, request = self._assignment, self._ahead.requests[0]
        streams = assignment.streams
        unsettled = self.streams.unsettled
        full = [s for s in (streams if unsettled is None else unsettled) if not s.caught_up]
        if request.streams != streams:
            asked = set(request.streams)
            full = [stream for stream in full if stream in asked]
        if not full or assignment.upstream.reading.hold or now >= self._login_at:
            return
        predicted = self._replies.predict_last_ids([s.key for s in full], request.count)
        if not predicted:
            return
        ends = dict(zip(full, predicted, strict=True))
        chosen = choose_streams(request, streams, ends)
        if len(assignment.upstream.topology.group(chosen)) != 1:
            return
        after = [ends.get(stream, stream.last_id) for stream in chosen]
        count = assignment.history.read_size.count
        guess = Request(chosen, after, count, now, None, request.wait)
        guess.is_speculative = True
        self.outgoing.append(self._ahead.append(guess, None, self._values.buffer))

    def _read_reply(self) -> bool:
        """Read the reply to the oldest request; return False if it is not all there."""
        request, values = self._ahead.requests[0], self._values
        if request.received_before and values.consumed < request.received_before:
            return self._read_value()
        self._replies.max_entries = request.count
        reply = self._replies.next_reply()
        if isinstance(reply, NeedData):
            read_size = self._assignment.history.read_size
            if read_size.is_exceeded(self._reply_size):
                size = self._reply_size
                read_size.exceeded(size, sum(self._apply_partial()), len(request.streams))
                self._drop(f"gave up a reply of more than {size} bytes, to ask for fewer entries")
            return False
        self._answer(reply, request)
        return True

    def _answer(self, reply: Reply, request: Request) -> None:
        """Take the reply to the oldest request."""
        ahead = self._ahead.requests
        ahead.popleft()
        self._last_activity = self._last_received
        if not ahead:
            if (not reply or isinstance(reply, ServerError)) and self._replies.is_within_reply:
                raise WireError("a reply that nobody asked for, right after the reply to a read")
            self.phase = Phase.IDLE
        whole, size = request.round or request, self._reply_size
        self._reply_size = 0
        is_doubtful = not reply and self._is_doubtful(request)
        if is_doubtful:
            self._note_answer()
        if is_doubtful and whole is request:
            self._confirm()
            return
        if isinstance(reply, ServerError):
            self._assignment.history.is_understood = True
            whole.refused = [*whole.refused, (reply, request.streams)]
        elif not is_doubtful:
            self._take(reply or [], request, size)
        whole.unanswered -= 1
        if whole.unanswered or self.phase is Phase.CLOSED:
            return
        if whole.after and not whole.refused:
            self.events.append(whole)
        else:
            self._complete(whole)

    def _take(self, replies: list[StreamReply], request: Request, size: int) -> None:
        """Take entries, which came in so many bytes."""
        history = self._assignment.history
        if not history.is_answered:
            self._note_answer()
        if replies and self._ahead.doubted:
            self._ahead.doubted.difference_update(request.streams)
        if not self.streams.apply(replies, request, self._last_received):
            self._rest_after_nothing(request)
        if self._replies.unmade:
            self._note_unmade()
        read_size = history.read_size
        if size > read_size.max_reply or read_size.count < read_size.most:
            read_size.completed(size)
        if self._ahead.requests:
            self._confirm()

    def _confirm(self) -> None:
        if not self._ahead.confirm():
            self._drop("a read was sent ahead of entries that have not come")

    def _rest_after_nothing(self, request: Request) -> None:
        """Pause after a read that has found nothing sooner than it should."""
        if request.blocks and self._last_received < request.due:
            # Some servers and proxies take no notice of BLOCK: at most 20 such reads a second.
            self.rest_until(min(request.due, self._last_received + 0.05))
        elif request.is_poll:
            self.rest_until(self._last_received + _SHORT / 1000)

    def _is_doubtful(self, request: Request) -> bool:
        """Return True for a nil that is not believed before it comes again.

        A reply too many is a nil most often. While history is read it would release messages
        of other streams past those that are still to come: the pending ones, and over other
        connections those that arrive until the mistake is found out, which takes no longer than
        the next reply. A nil at the end of its time to block is an ordinary one. So is the first
        one of a stream whose slot is read in turn with others: each slot without entries would
        cost one more read.
        """
        doubted, upstream = self._ahead.doubted, self._assignment.upstream
        behind = {stream for stream in request.streams if not stream.caught_up}
        if self._assignment.key is not None and self._assignment.key[0] is None:
            behind = {stream for stream in behind if stream.last_id != stream.start}
        is_known = behind <= doubted or (request.blocks and self._last_received >= request.due)
        doubted.difference_update(request.streams)
        if is_known:
            return False
        is_alone = upstream.name is None and len(upstream.topology.assignments) == 1
        if is_alone and not any(map(_pending_of, upstream.streams)):
            return False
        doubted.update(behind)
        self._ahead.believe_at = self._last_received + 0.5
        return True

    def _note_unmade(self) -> None:
        self.events += [message[2] for message in self._replies.unmade]
        self._replies.unmade.clear()

    def _break_off(self) -> None:
        """Apply what has come of a reply that breaks off, and ask for less the next time."""
        history, dialogue = self._assignment.history, self._dialogue
        if not self._replies.is_within_reply:
            return
        if dialogue is not None and dialogue.max_entries:
            history.look_back_size = dialogue.max_entries // 2
        elif self._ahead.requests:
            history.read_size.broke(max(self._apply_partial(), default=0))

    def _apply_partial(self) -> list[int]:
        """Apply the whole entries of a reply that does not come to its end.

        Returns:
            The number of entries of each stream.
        """
        replies, request = self._replies.take_partial(), self._ahead.requests[0]
        try:
            self.streams.apply(replies, request, self._last_received)
            self._note_unmade()
        except WireError:
            return []
        # The rest of the reply is unknown; streams that have left are read elsewhere.
        self.streams.distrust(request.streams)
        return [len(messages) for _, messages in replies]

    def _note_answer(self) -> None:
        history = self._assignment.history
        if not history.is_answered:
            history.is_answered = history.is_understood = True
            self._assignment.pauses = None
            self.events.append(history.answered())

    def _note_part(self) -> None:
        """Take note of bytes that complete nothing. Pushes are no answer, however many come."""
        if self._replies.is_within_reply:
            self._last_activity = self._last_received
        elif (deadline := self.wake_at) is not None and self._last_received >= deadline:
            self.time_out(self._last_received)

    def _complete(self, request: Request) -> None:
        """Take note that all parts of a read were answered."""
        if not request.after:
            self._rest_after_round(request)
        if not request.refused:
            self.events.append(request)
            return
        failed = {stream for _, streams in request.refused for stream in streams}
        request.streams = [stream for stream in request.streams if stream not in failed]
        for error, streams in request.refused:
            if error.code in ON_THE_MOVE:
                request.put_off += len(streams)
        if request.streams or request.put_off:
            self.events.append(request)
        faults = [fault for fault in request.refused if not self._redirect(*fault)]
        # The others are reported when they are read again.
        for error, streams in faults[:1]:
            positions = {stream.key: stream.last_id for stream in streams}
            self._run(self._diagnose(error, positions))

    def _rest_after_round(self, request: Request) -> None:
        """Pause after a round of reads that has found all there is in several slots."""
        upstream = self._assignment.upstream
        rests = upstream.reading.block is not None or request.is_poll
        if rests and all(map(_is_caught_up, request.streams)):
            slots = len(upstream.topology.group(request.streams))
            # So many reads take a node 1 or 2 % of its time.
            self.rest_until(self._last_received + max(0.01, slots * 0.0005))

    def _redirect(self, error: ServerError, streams: list[StreamState]) -> bool:
        """Report an error if it only says that streams are read elsewhere, or later."""
        if not self._assignment.upstream.topology.is_redirection(error):
            return False
        # Streams that have left since are read elsewhere already.
        here = self.streams.distrust(streams)
        self.events.append(Redirected(error, here, self._last_received))
        return True

    # Exchanges.

    def _read_value(self) -> bool:
        """Read one value that is no reply to a read; return False if it is not all there."""
        start = self._values.consumed
        value = self._values.next_value()
        if isinstance(value, NeedData):
            return False
        if isinstance(value, Push):
            return True
        dialogue = self._dialogue
        if dialogue is None or start < dialogue.received_before:
            raise WireError(f"a reply that nobody asked for: {show(value)}")
        dialogue.is_hello = False
        self._reply_size = 0
        self._assignment.history.is_understood = True
        self._last_activity = self._last_received
        if self.phase is Phase.STARTING and not isinstance(value, ServerError):
            self._note_answer()
        dialogue.replies.append(value)
        if len(dialogue.replies) == dialogue.awaited:
            if self._replies.is_within_reply:
                raise WireError("more replies than commands, expected one for each")
            self._advance(dialogue)
        return True

    def _run(self, exchange: Exchange[None]) -> None:
        """Begin an exchange; nothing is read before its end."""
        if self.phase is not Phase.HANDSHAKE:
            self.phase = Phase.STARTING
        self._dialogue = Dialogue(exchange)
        self._advance(self._dialogue)

    def _advance(self, dialogue: Dialogue) -> None:
        try:
            commands = dialogue.advance()
        except StopIteration:
            self._dialogue = None
            self.phase = Phase.IDLE
        except WireError:
            raise
        except RedisError as failure:
            self._fail(failure, self._last_received)
        except Exception as error:  # noqa: BLE001 - a callable of the caller may raise anything
            self._fail(failures.login_failed(self.address, error), self._last_received, error)
        else:
            buffer = self._values.buffer
            dialogue.received_before = buffer.fed if len(buffer) else 0
            self.outgoing += commands

    def _begin_login(self, now: float) -> None:
        """Log in, at first or again; nothing is read before there are credentials."""
        self._login_at = now + (self._assignment.options.credentials_max_age or inf)
        if self._ask is None:
            self.log_in()
            return
        self.poll_not_before = inf
        try:
            self._ask()
        except Exception as error:  # noqa: BLE001 - there may be no thread for it
            self._fail(failures.login_failed(self.address, error), now, error)

    def _log_in(self, outcome: Callable[[], object] | None) -> Exchange[None]:
        """Log in; at first, prepare all streams as well."""
        options, history = self._assignment.options, self._assignment.history
        is_first, is_unknown = self.phase is Phase.HANDSHAKE, False
        dialogue, hello = self._dialogue, is_first and history.says_hello
        if dialogue is not None:
            login = options.credentials(outcome)
            dialogue.is_hello = hello
            history.is_secret_sent = history.is_secret_sent or login[1] is not None
            is_unknown = yield from handshake(options, self.address, login, hello=hello)
        if is_first:
            # The next connection may be to a server that knows HELLO.
            history.says_hello = wants_hello(options) and not is_unknown
            self.phase = Phase.STARTING
            yield from self._prepare(self._assignment.streams)

    def _prepare(self, streams: list[StreamState]) -> Exchange[None]:
        """Check what was lost since streams were read last, and pin "now" where it is due."""
        known = [stream for stream in streams if stream.was_read]
        for stream in streams:
            stream.was_read = True
            stream.last_activity = self._last_received
        yield from self._check_gaps(known)
        unpinned = [stream for stream in streams if stream.start is None]
        for group in self._assignment.upstream.topology.group(unpinned):
            try:
                starts = yield from _find_starts(group)
            except Refused as refused:
                if not self._redirect(refused.error, group):
                    keys = dict.fromkeys((stream.key for stream in group), ZERO)
                    raise (yield from self._find_cause(refused.error, keys)) from None
                self._newcomers += group
            else:
                for stream in group:
                    stream.start = stream.last_id = starts[stream.key]

    def _check_gaps(self, streams: list[StreamState]) -> Exchange[None]:
        """Check whether streams have lost entries, and log each gap once."""
        upstream = self._assignment.upstream
        history, dialogue = self._assignment.history, self._dialogue
        if not history.look_back_size:
            history.look_back_size = 1
            return
        for group in upstream.topology.group([s for s in streams if s.is_at_entry]):
            positions = {stream.key: stream.last_id for stream in group}
            most = min(history.look_back_size, 2 * len(group))
            if dialogue is not None:
                dialogue.max_entries = most
            try:
                gaps = yield from look_back(positions, most)
            except Refused as refused:
                if upstream.topology.is_redirection(refused.error):
                    return  # the next read is refused, too
                raise failures.refusal(refused.error, self.address, "XREAD") from None
            for stream in group:
                gap = gaps.get(stream.key)
                if gap is None:
                    continue
                if stream.reported_gap != gap.kind:
                    stream.reported_gap = gap.kind
                    stream.gaps += 1
                    self.events.append(Log(WARNING, describe(stream, gap, self.address)))
                restarts = upstream.reading.on_rewind == "restart"
                if gap.kind == "rewound" and restarts and stream.is_released:
                    stream.start = ZERO
                    stream.restart(ZERO)
                    self.streams.unsettled = None

    def _diagnose(self, error: ServerError, positions: dict[bytes, bytes]) -> Exchange[None]:
        """Report why an XREAD was refused; what a retry may repair costs the connection."""
        failure = yield from self._find_cause(error, positions)
        if isinstance(failure, (ConnectionError, AuthenticationError)):
            raise failure
        self.events.append(Failed(failure, self._last_received))

    def _find_cause(
        self, error: ServerError, positions: dict[bytes, bytes]
    ) -> Exchange[RedisError]:
        """Make the error for a refused XREAD, with the failing stream if it is one stream."""
        failure = failures.refusal(error, self.address, "XREAD")
        if isinstance(failure, (ConnectionError, AuthenticationError)):
            return failure
        if not failures.may_be_one_stream(error):
            return failure
        key = yield from find_failing_stream(positions, error)
        name = None if key is None else self.streams.names[key]
        return failure if key is None else failures.refusal(error, self.address, "XREAD", name)

    # Ends.

    def _refuse(self, error: WireError) -> None:
        """Give up a connection over which something came that is not RESP, or no reply."""
        # The reply before may have been one too many, so nothing is known of the streams.
        self.streams.distrust(self._assignment.streams)
        is_secret_sent = self._assignment.history.is_secret_sent
        failure = failures.not_resp(self.address, error, is_secret_sent=is_secret_sent)
        self._fail(failure, self._last_received)

    def _drop(self, reason: str) -> None:
        """Close for a reason of its own, for the reader to connect again at once."""
        self.close()
        self.events.append(Log(DEBUG, f"{self._assignment.options.address}: {reason}"))

    def _fail(self, failure: RedisError, now: float, cause: Exception | None = None) -> None:
        # The place in the code helps nobody, and the frame of a login has the password.
        failure.with_traceback(None).__cause__ = cause or failure.__cause__
        self.close()
        self.events.append(Failed(failure, now))


def _find_starts(streams: list[StreamState]) -> Exchange[dict[bytes, bytes]]:
    """Find the ID after which each of these streams starts, counted from its end."""
    starts = yield from find_last_ids([stream.key for stream in streams])
    for number in {stream.from_end for stream in streams} - {0}:
        last = {s.key: starts[s.key] for s in streams if s.from_end == number}
        starts |= yield from find_ids_before_last(last, number)
    return starts


def _leave_out(
    streams: list[StreamState], count: int, block: int | None
) -> tuple[list[StreamState], int | None, bool]:
    """Leave streams out of a read that have COUNT messages pending.

    Returns:
        The streams to read, how long the read may block, and True if the read would be repeated
        without a pause, since it neither blocks nor has anything to catch up with.
    """
    asked = [stream for stream in streams if len(stream.pending) < count]
    is_partial = len(asked) < len(streams)
    if is_partial:
        for stream in streams:
            stream.caught_up = stream.caught_up and len(stream.pending) < count
        # Not for less either: after the caller's wait for a connection that is down, `block` is 1.
        block = block and _SHORT
    is_behind = not all(map(_is_caught_up, asked))
    return asked, None if is_behind else block, block is None and not is_behind and is_partial
