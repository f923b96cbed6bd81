"""One connection, from opened to closed: bytes in, commands and events out.

A session has no socket and no clock. Whoever has them passes in what was received and when,
sends what is `outgoing`, and takes the `events`. A session ends with its connection, so nothing
of one connection can reach the next. Since every XREAD names the IDs to read after, nothing is
lost or repeated by that::

    HANDSHAKE -> STARTING (pin "now", look for gaps) -> IDLE <-> READING -> CLOSED
"""

from __future__ import annotations

from operator import attrgetter

from ..exceptions import RedisError
from ..protocol.errors import ProtocolError as WireError
from ..protocol.messages import show
from ..protocol.parser import Parser
from ..protocol.values import NeedData, Push, ServerError
from ..protocol.xread import XreadParser
from . import failures
from .events import DEBUG, Failed, Log, Phase
from .exchanges import Dialogue
from .readahead import ReadAhead, Request, StreamSet, last_id_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.messages import StreamReply
    from ..protocol.xread import Reply
    from .assignment import Assignment
    from .events import Event
    from .stream import StreamState

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
        assignment: The streams to read, where, and the record of earlier connections.
        phase: What the session does.
        outgoing: Commands to send.
        events: What has happened since someone last took note.
        poll_not_before: Time before which no read is sent, in seconds of the caller's clock.
        repeat_at: Time before which no read is sent that leaves streams out, and does not block.
        last_received: Time when bytes were received last.
        values: The parser of single values, with all that was received.
        streams: The streams that are read.
        dialogue: All that is asked besides reads.

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
        self.assignment: Assignment = assignment
        self.phase: Phase = Phase.HANDSHAKE
        self.outgoing: list[bytes] = []
        self.events: list[Event] = []
        self.poll_not_before: float = 0.0
        self.repeat_at: float = 0.0
        self.last_received: float = now
        self.values: Parser = Parser()
        self.streams: StreamSet = StreamSet(self, assignment)
        self.dialogue: Dialogue = Dialogue(self, ask)
        self._ahead = ReadAhead(assignment)
        self._replies = XreadParser(
            self.streams.names, assignment.upstream.factory, values=self.values
        )
        # Bytes received since the last reply was complete.
        self._reply_size = 0
        self._last_activity = now
        self.assign()
        # Logging in prepares all streams.
        self.dialogue.newcomers = []
        self.dialogue.begin_login(now)

    # Questions of the reader.

    @property
    def is_ready(self) -> bool:
        """True if the session is logged in, and the start of each stream is known."""
        return self.phase in (Phase.IDLE, Phase.READING) and not self.dialogue.newcomers

    @property
    def is_parked(self) -> bool:
        """True if nothing is to be done before a reply comes."""
        return self.phase is Phase.READING and not (self.events or self.outgoing)

    @property
    def expects_more(self) -> bool:
        """True if nothing is on its way, though streams have more entries."""
        if self.phase is not Phase.IDLE or self.streams.unsettled == [] or self.dialogue.newcomers:
            return False
        return not all(map(_is_caught_up, self.streams.find_unsettled()))

    @property
    def may_block(self) -> bool:
        """True if the server may wait before it answers the read that is on its way."""
        return self.phase is Phase.READING and self._ahead.requests[0].blocks

    def is_late(self, now: float) -> bool:
        """Return True if a reply was due before that time, and is not there."""
        requests = self._ahead.requests
        return bool(requests) and requests[0].due < now

    @property
    def wake_at(self) -> float | None:
        """Time until which to wait for bytes, or before the next read; None for ever.

        While anything is awaited, silence until then means that the peer is gone.
        """
        phase, requests = self.phase, self._ahead.requests
        if phase is Phase.IDLE:
            return self.poll_not_before or self.repeat_at or None
        if phase is Phase.CLOSED:
            # It may have failed by itself, before anything was sent.
            return 0.0 if self.events else None
        timeout = self.assignment.options.socket_timeout
        if timeout is None or not (requests or self.dialogue.exchange):
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
        if not self.assignment.history.is_answered or self.phase is Phase.CLOSED:
            return False
        return self.dialogue.exchange is not None or len(self.outgoing) == len(self._ahead.requests)

    # Orders of the reader.

    def take_outgoing(self, now: float) -> bytes:
        """Take out the bytes to send, at the time when they are sent."""
        self._last_activity = now
        data = self.outgoing[0] if len(self.outgoing) == 1 else b"".join(self.outgoing)
        self.outgoing.clear()
        return data

    def assign(self) -> None:
        """Read the streams that the assignment has now."""
        dialogue, come = self.dialogue, self.streams.assign()
        dialogue.newcomers = [s for s in dialogue.newcomers if s.session is self] + come
        # Replies that are on their way may be for streams that have left, or come back.
        self._ahead.distrust()

    def rest_until(self, time: float) -> None:
        """Send no read before that time."""
        self.poll_not_before = max(self.poll_not_before, time)

    def ask(self, now: float, block: int | None, wait: int) -> None:  # noqa: C901
        """Send the next XREADs, one for each group of streams that one XREAD may name.

        Streams with COUNT messages pending are left out. While messages wait for what other
        streams hold, no read blocks: its very answer releases them.

        Nothing is sent while something else has to be done before (`Dialogue.prepare`).

        Args:
            now: Time, in seconds of the caller's clock.
            block: How long the server may wait, in ms; None for not at all.
            wait: Number of the caller's wait.
        """
        dialogue = self.dialogue
        if now >= dialogue.check_at or dialogue.newcomers or self.poll_not_before:
            if dialogue.prepare(now):
                return
        elif self.phase is not Phase.IDLE:
            return
        assignment = self.assignment
        asked = streams = assignment.streams
        count, is_poll = assignment.history.read_size.count, False
        if assignment.is_lane:
            block = block and min(block, _SHORT)
        unsettled = self.streams.unsettled
        if unsettled != [] and any(map(_pending_of, unsettled or streams)):
            asked, block, is_poll = _leave_out(streams, count, block)
            if is_poll and now < self.repeat_at:
                asked = []
        self.repeat_at = self.repeat_at if is_poll else 0.0
        if dialogue.newcomers:
            asked = [stream for stream in asked if stream.start is not None]
        if not asked:
            return
        groups = assignment.key and assignment.upstream.topology.group(asked)
        if not groups or len(groups) == 1:
            request = Request(asked, list(map(last_id_of, asked)), count, now, block, wait)
            request.is_poll = is_poll
            self.outgoing.append(self._ahead.append(request, block, self.values.buffer))
            self.phase = Phase.READING
            return
        whole = Request(asked, [], count, now, None, wait)
        whole.unanswered = len(groups)
        whole.is_poll = is_poll
        for group in groups:
            request = Request(group, list(map(last_id_of, group)), count, now, None, wait)
            request.round = whole
            self.outgoing.append(self._ahead.append(request, None, self.values.buffer))
            self.phase = Phase.READING

    def receive(self, data: bytes, now: float) -> bool:
        """Take in received bytes.

        While streams have more entries, the next read leaves before the reply is read, so
        that the server works at the same time.

        Returns:
            True if `process` has to read them, as soon as what is `outgoing` now was sent.
        """
        self.last_received = now
        self._reply_size += len(data)
        requests, unsettled = self._ahead.requests, self.streams.unsettled
        is_live = unsettled == [] and self.phase is Phase.READING
        # Messages come one by one. A reply of one entry is not full, so no read leaves before it
        # is read.
        if is_live and len(requests) == 1 and requests[0].count > 1:
            message = self._replies.read_lone(data)
            if message is not None:
                try:
                    self._answer([(message[0], [message])], requests[0])
                except WireError as error:
                    self._refuse(error)
                return False
        self.values.buffer.feed(data)
        if unsettled != [] and self._ahead.can_speculate():
            dialogue = self.dialogue
            if not dialogue.newcomers and now < dialogue.login_at:
                guess = self._ahead.guess(self._replies, unsettled, now)
                if guess is not None:
                    self.outgoing.append(self._ahead.append(guess, None, self.values.buffer))
        return True

    def receive_early(self, data: bytes, now: float) -> None:
        """Take in bytes that were received before anything `outgoing` was sent."""
        self.last_received = now
        buffer = self.values.buffer
        buffer.feed(data)
        self.dialogue.received_before = buffer.fed
        for request in self._ahead.requests:
            request.received_before = buffer.fed

    def process(self) -> bool:
        """Read what was received, up to the end of a reply to a read.

        Entries of one read at a time are pending before they are released, or more of a stream
        could be held than is allowed (contract 3.4).

        Returns:
            True if more can be read, by another call after `receive`.
        """
        forget, ahead, dialogue = self.values.buffer.forget, self._ahead.requests, self.dialogue
        try:
            while self._read_value() if dialogue.exchange or not ahead else self._read_reply():
                if self.phase is Phase.CLOSED or forget():
                    return False
                if ahead and self.events:
                    return True
            if self.phase is not Phase.CLOSED and self._last_activity < self.last_received:
                self._note_part()
        except WireError as error:
            self._refuse(error)
        return False

    def lose(self, now: float, cause: Exception | None = None) -> None:
        """Take note that the connection has ended: the peer has closed it, or by an error."""
        assignment = self.assignment
        if self.dialogue.is_hello:
            # Some proxies close the connection on a command that they do not know.
            assignment.history.says_hello = False
            self.close("the peer closed the connection on HELLO")
            return
        missing = self._replies.expecting()
        is_understood = assignment.history.is_understood or self.values.consumed > 0
        assignment.history.is_understood = is_understood
        self._break_off()
        failure = failures.connection_lost(
            assignment.options, self.address, cause, missing=missing, is_understood=is_understood
        )
        self.fail(failure, now, cause)

    def time_out(self, now: float) -> None:
        """Take note that nothing came until `wake_at`."""
        ahead = self._ahead
        if ahead.doubted and now >= ahead.believe_at:
            for stream in self.streams.distrust(list(ahead.doubted)):
                stream.caught_up = True
            ahead.doubted.clear()
            return
        options, seconds = self.assignment.options, now - self._last_activity
        self._break_off()
        self.fail(failures.no_reply(options, self.address, seconds), now)

    def close(self, reason: str = "") -> None:
        """End the session: nothing is applied, and nothing is awaited any more.

        Args:
            reason: A reason of its own, to be logged; then the reader connects again at once.
        """
        self.phase = Phase.CLOSED
        self.outgoing.clear()
        self.dialogue.close()
        # Received bytes may have a password in them, or be many.
        self.values = Parser()
        self._replies = XreadParser({}, values=self.values)
        if reason:
            self.events.append(Log(DEBUG, f"{self.assignment.options.address}: {reason}"))

    def fail(self, failure: RedisError, now: float, cause: Exception | None = None) -> None:
        """End the session by a failure, which happened at that time."""
        # The place in the code helps nobody, and the frame of a login has the password.
        failure.with_traceback(None).__cause__ = cause or failure.__cause__
        self.close()
        self.events.append(Failed(failure, now))

    def note_answer(self) -> None:
        """Take note that the server has answered."""
        history = self.assignment.history
        if not history.is_answered:
            history.is_answered = history.is_understood = True
            self.assignment.pauses = None
            self.events.append(history.answered())

    # Reads.

    def _read_reply(self) -> bool:
        """Read the reply to the oldest request; return False if it is not all there."""
        request, values = self._ahead.requests[0], self.values
        if request.received_before and values.consumed < request.received_before:
            return self._read_value()
        self._replies.max_entries = request.count
        reply = self._replies.next_reply()
        if isinstance(reply, NeedData):
            read_size = self.assignment.history.read_size
            if read_size.is_exceeded(self._reply_size):
                size = self._reply_size
                read_size.exceeded(size, sum(self._apply_partial()), len(request.streams))
                self.close(f"gave up a reply of more than {size} bytes, to ask for fewer entries")
            return False
        self._answer(reply, request)
        return True

    def _answer(self, reply: Reply, request: Request) -> None:
        """Take the reply to the oldest request."""
        ahead = self._ahead.requests
        ahead.popleft()
        self._last_activity = self.last_received
        if not ahead:
            if (not reply or isinstance(reply, ServerError)) and self._replies.is_within_reply:
                raise WireError("a reply that nobody asked for, right after the reply to a read")
            self.phase = Phase.IDLE
        whole, size = request.round or request, self._reply_size
        self._reply_size = 0
        if isinstance(reply, ServerError):
            self.assignment.history.is_understood = True
            whole.refused = [*whole.refused, (reply, request.streams)]
        elif reply or not self._ahead.is_doubtful(request, self.last_received):
            self._take(reply or [], request, size)
        else:
            self.note_answer()
            if whole is request:
                self._confirm()
                return
        whole.unanswered -= 1
        if whole.unanswered or self.phase is Phase.CLOSED:
            return
        if not whole.after:
            self.rest_until(_end_of_pause_after_round(self.assignment, whole, self.last_received))
        if whole.refused:
            self.dialogue.explain(whole)
        else:
            self.events.append(whole)

    def _take(self, replies: list[StreamReply], request: Request, size: int) -> None:
        """Take entries, which came in so many bytes."""
        history, doubted = self.assignment.history, self._ahead.doubted
        if not history.is_answered:
            self.note_answer()
        if replies and doubted:
            doubted.difference_update(request.streams)
        if not self.streams.apply(replies, request, self.last_received):
            now = self.last_received
            if request.is_poll:
                self.repeat_at = now + _SHORT / 1000
            elif request.blocks and now < request.due:
                # Some servers and proxies take no notice of BLOCK: at most 20 such reads a second.
                self.rest_until(min(request.due, now + 0.05))
        if self._replies.unmade:
            self._note_unmade()
        read_size = history.read_size
        if size > read_size.max_reply or read_size.count < read_size.most:
            read_size.completed(size)
        if self._ahead.requests:
            self._confirm()

    def _confirm(self) -> None:
        if not self._ahead.confirm():
            self.close("a read was sent ahead of entries that have not come")

    def _note_unmade(self) -> None:
        self.events += [message[2] for message in self._replies.unmade]
        self._replies.unmade.clear()

    def _break_off(self) -> None:
        """Apply what has come of a reply that breaks off, and ask for less the next time."""
        history, dialogue = self.assignment.history, self.dialogue
        if not self._replies.is_within_reply:
            return
        if dialogue.exchange is not None and dialogue.max_entries:
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
            self.streams.apply(replies, request, self.last_received)
            self._note_unmade()
        except WireError:
            return []
        # The rest of the reply is unknown; streams that have left are read elsewhere.
        self.streams.distrust(request.streams)
        return [len(messages) for _, messages in replies]

    def _note_part(self) -> None:
        """Take note of bytes that complete nothing. Pushes are no answer, however many come."""
        if self._replies.is_within_reply:
            self._last_activity = self.last_received
        elif (deadline := self.wake_at) is not None and self.last_received >= deadline:
            self.time_out(self.last_received)

    def _read_value(self) -> bool:
        """Read one value that is no reply to a read; return False if it is not all there."""
        start = self.values.consumed
        value = self.values.next_value()
        if isinstance(value, NeedData):
            return False
        if isinstance(value, Push):
            return True
        dialogue = self.dialogue
        if dialogue.exchange is None or start < dialogue.received_before:
            raise WireError(f"a reply that nobody asked for: {show(value)}")
        self._reply_size = 0
        self._last_activity = self.last_received
        if dialogue.take(value):
            if self._replies.is_within_reply:
                raise WireError("more replies than commands, expected one for each")
            dialogue.advance()
        return True

    def _refuse(self, error: WireError) -> None:
        """Give up a connection over which something came that is not RESP, or no reply."""
        # The reply before may have been one too many, so nothing is known of the streams.
        self.streams.distrust(self.assignment.streams)
        is_secret_sent = self.assignment.history.is_secret_sent
        failure = failures.not_resp(self.address, error, is_secret_sent=is_secret_sent)
        self.fail(failure, self.last_received)


def _end_of_pause_after_round(assignment: Assignment, request: Request, now: float) -> float:
    """Return the end of the pause after reads of several slots; 0 if there is none."""
    upstream = assignment.upstream
    rests = upstream.reading.block is not None or request.is_poll
    if not (rests and all(map(_is_caught_up, request.streams))):
        return 0.0
    # So many reads take a node 1 or 2 % of its time.
    return now + max(0.01, len(upstream.topology.group(request.streams)) * 0.0005)


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
