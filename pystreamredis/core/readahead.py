"""Reads that are on their way, and the streams to which their replies are applied.

Which request a reply answers is decided by the order of sending alone (contract 6.5). The
replies of a connection come in the order of its requests, and bytes that were received before
a request was sent are never its answer. Three checks keep every message, whatever a peer sends:

- a reply is applied to a stream only if the request asked after the stream's last ID, and if
  the stream is still read by this session;
- an entry has to come after that ID, so an old reply is refused;
- while a reply is read that turns out shorter than predicted, the speculative request behind
  it asks after entries that were never received. Its reply must not be mistaken for another
  one, so the connection is dropped.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from ..protocol.encoder import encode_ids, encode_xread_head
from ..protocol.errors import ProtocolError as WireError
from ..protocol.ids import id_of, is_before, is_later, number_of
from .delivery import BATCH_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from typing import Any

    from ..protocol.buffer import Buffer
    from ..protocol.messages import Message, StreamReply
    from ..protocol.values import ServerError
    from ..protocol.xread import XreadParser
    from ..starts import Followed
    from .assignment import Assignment
    from .session import Session
    from .stream import StreamState

last_id_of: attrgetter[Any] = attrgetter("last_id")
_pending_of = attrgetter("pending")


class Request:
    """An XREAD that was sent.

    Attributes:
        streams: The streams that it reads.
        after: The IDs to read after, one for each stream.
        count: The COUNT that it asks for.
        due: Time when its reply is due at the latest, in seconds of the caller's clock.
        blocks: True if the server may wait before it replies.
        wait: Number of the caller's wait in which it was sent.
        is_exact: True as long as it is certain to ask after each stream's last ID.
        is_poll: True if it leaves streams out and does not block, though nothing more is known
            to be there: it is not repeated at once.
        is_speculative: True if it was sent before the reply to the one before was read.
        received_before: Number of bytes that had been received when it was sent, if some of
            them were not read by then; else 0.
        round: The read that it is a part of, where streams are read by hash slot.
        unanswered: Number of parts of the round without an answer.
        put_off: Number of streams that cannot be read for now, since their slot is moving.
        refused: Errors that parts of the round were answered with, and the streams concerned.
    """

    # Most requests are single reads that are answered: these are set only where they differ.
    is_exact = True
    is_poll = False
    is_speculative = False
    received_before = 0
    round: Request | None = None
    unanswered = 1
    put_off = 0
    refused: Sequence[tuple[ServerError, list[StreamState]]] = ()

    def __init__(
        self,
        streams: list[StreamState],
        after: list[bytes],
        count: int,
        now: float,
        block: int | None,
        wait: int,
    ) -> None:
        self.streams = streams
        self.after = after
        self.count = count
        self.due: float = now + (block or 0) / 1000
        self.blocks: bool = block is not None
        self.wait = wait


class ReadAhead:
    """All requests of a connection whose replies are still to come.

    Attributes:
        requests: The requests in the order of sending. The next reply answers the first.
        doubted: Streams of which a nil has to come again before it is believed.
        believe_at: Time when it is believed all the same, in seconds of the caller's clock.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._predictions = assignment.history.predictions
        self.requests: deque[Request] = deque()
        self.doubted: set[StreamState] = set()
        self.believe_at: float = 0.0
        # The beginning of the last request: mostly the same streams are read again.
        self._head = b""
        self._head_of: tuple[list[StreamState], int, int | None] = [], 0, None

    def append(self, request: Request, block: int | None, buffer: Buffer) -> bytes:
        """Append a request to the others, and return its bytes.

        Args:
            request: The request.
            block: How long the server may wait, in ms; None for not at all.
            buffer: What has been received, and was not read yet.
        """
        if buffer.data and len(buffer):
            request.received_before = buffer.fed
        self.requests.append(request)
        head_of = request.streams, request.count, block
        if self._head_of != head_of:
            keys = [stream.key for stream in request.streams]
            self._head_of = head_of
            self._head = encode_xread_head(keys, count=request.count, block=block)
        after = request.after
        if len(after) == 1:
            return b"%b$%d\r\n%b\r\n" % (self._head, len(after[0]), after[0])
        return self._head + encode_ids(after)

    def distrust(self) -> None:
        """Have each stream of each reply checked, after the set of streams was changed."""
        for request in self.requests:
            request.is_exact = False

    def can_speculate(self) -> bool:
        """Return True if one read is on its way, and the next may leave before its reply."""
        if len(self.requests) != 1:
            return False
        request = self.requests[0]
        return request.is_exact and request.round is None and self._predictions.are_useful

    def guess(
        self, parser: XreadParser, unsettled: list[StreamState] | None, now: float
    ) -> Request | None:
        """Make the read to send ahead of the reply that is coming in.

        Args:
            parser: The parser of the reply.
            unsettled: Streams that the merge has to look at; None if all of them.
            now: Time, in seconds of the caller's clock.

        Returns:
            The read; None if that reply does not seem to be full, or all there.
        """
        assignment, request = self._assignment, self.requests[0]
        streams, upstream = assignment.streams, assignment.upstream
        full = [s for s in (streams if unsettled is None else unsettled) if not s.caught_up]
        if request.streams is not streams and request.streams != streams:
            asked = set(request.streams)
            full = [stream for stream in full if stream in asked]
        if not full or upstream.reading.hold or not upstream.may_read_ahead:
            return None
        predicted = parser.predict_last_ids([stream.key for stream in full], request.count)
        if not predicted:
            return None
        ends = dict(zip(full, predicted, strict=True))
        chosen = choose_streams(request, streams, ends, is_alone=upstream.is_alone)
        if not chosen or (assignment.key and len(upstream.topology.group(chosen)) != 1):
            return None
        after = [ends.get(stream) or stream.last_id for stream in chosen]
        count = assignment.history.read_size.count
        made = Request(chosen, after, count, now, None, request.wait)
        made.is_speculative = True
        return made

    def is_doubtful(self, request: Request, now: float) -> bool:
        """Return True for a nil that is not believed before it comes again.

        A reply too many is a nil most often. While history is read it would release messages
        of other streams past those that are still to come: the pending ones, and over other
        connections those that arrive until the mistake is found out, which takes no longer than
        the next reply. A nil at the end of its time to block is an ordinary one. So is the first
        one of a stream whose slot is read in turn with others: each slot without entries would
        cost one more read.
        """
        doubted, upstream = self.doubted, self._assignment.upstream
        behind = {stream for stream in request.streams if not stream.caught_up}
        if self._assignment.key is not None and self._assignment.key[0] is None:
            behind = {stream for stream in behind if stream.last_id != stream.start}
        is_known = behind <= doubted or (request.blocks and now >= request.due)
        doubted.difference_update(request.streams)
        if is_known:
            return False
        if upstream.is_alone and not any(map(_pending_of, upstream.streams)):
            return False
        doubted.update(behind)
        self.believe_at = now + 0.5
        return True

    def confirm(self) -> bool:
        """Compare the speculative request, if there is one, with what was received.

        Returns:
            False if it asks after entries that were not received.
        """
        request = self.requests[0] if self.requests else None
        if request is None or not request.is_speculative:
            return True
        if request.after == list(map(last_id_of, request.streams)):
            self._predictions.right += 1
            return True
        self._predictions.wrong += 1
        request.is_exact = False
        pairs = zip(request.streams, request.after, strict=True)
        return not any(is_later(after, stream.last_id) for stream, after in pairs)


class StreamSet:
    """The streams of a session, to which replies are applied.

    Attributes:
        names: The name of each stream in messages, by its key.
        unsettled: Streams that the merge has to look at; None if all of them.
    """

    def __init__(self, session: Session, assignment: Assignment) -> None:
        self._session = session
        self._assignment = assignment
        self._by_name: dict[Followed, StreamState] = {}
        self.names: dict[bytes, Followed] = {}
        self.unsettled: list[StreamState] | None = None

    def assign(self) -> list[StreamState]:
        """Read the streams that the assignment has now; return those that are new."""
        streams = self._assignment.streams
        come = [stream for stream in streams if stream.session is not self._session]
        for stream in come:
            stream.session = self._session
            self.names[stream.key] = stream.name
        self._by_name = {stream.name: stream for stream in streams}
        self.unsettled = None
        return come

    def forget_names(self) -> None:
        """Forget the streams that have left, once no reply can have them any more."""
        if len(self.names) > len(self._by_name):
            keys = {stream.key for stream in self._assignment.streams}
            for key in self.names.keys() - keys:
                del self.names[key]

    def find_unsettled(self) -> list[StreamState]:
        """List the streams that the merge has to look at.

        Nothing of the others is pending here, nor left at the server. Where they are many,
        they need not be looked at for each message.
        """
        unsettled = self._assignment.streams if self.unsettled is None else self.unsettled
        self.unsettled = [s for s in unsettled if s.pending or not s.caught_up]
        return self.unsettled

    def take_only_run(self) -> list[Message] | None:
        """Take out the pending messages if all are of the only stream that others wait for."""
        unsettled = self.unsettled
        if unsettled is None or len(unsettled) != 1 or len(unsettled[0].pending) > BATCH_SIZE:
            return None
        stream = unsettled[0]
        run, stream.pending = stream.pending, []
        if stream.caught_up:
            self.unsettled = []
        return run

    def distrust(self, streams: list[StreamState]) -> list[StreamState]:
        """Take note that these streams may have more entries; return those that are read here."""
        here = [stream for stream in streams if stream.session is self._session]
        for stream in here:
            stream.caught_up = False
        self.unsettled = None
        return here

    def apply(self, replies: list[StreamReply], request: Request, now: float) -> bool:
        """Make the entries of a reply pending; return True if there are any.

        The whole reply is checked before any of it is applied.

        Raises:
            WireError: An entry is not after the ID that was asked for, or its stream was not
                asked for.
        """
        streams, read, by_name = self._assignment.streams, request.streams, self._by_name
        asked: Container[Followed] = by_name
        if request.is_exact and (read is streams or read == streams):
            read = self.find_unsettled() if self.unsettled != [] else []
        else:
            asked = {stream.name for stream in read}  # also those that were dropped since
            read = self._select(request)
            by_name = {stream.name: stream for stream in read}
            self.unsettled = None
        fresh: list[tuple[StreamState, list[Message], bool]] = []
        ends: dict[StreamState, bytes] = {}
        found = 0
        for name, messages in replies:
            stream = by_name.get(name)
            if stream is None and name not in asked:
                raise WireError(f"entries of stream {name!r}, expected those that were asked for")
            if stream is not None and messages:
                fresh.append((stream, messages, len(messages) < request.count))
                ends[stream] = _check(stream, messages, ends.get(stream) or stream.last_id)
                found += len(messages)
        if by_name is not self._by_name:
            # Nothing is known any more of the other streams, but for those that other parts of
            # a round read.
            for stream in streams if request.round is None else request.streams:
                stream.caught_up = stream.caught_up and stream.session is not self._session
        for stream in read:
            stream.caught_up = True
        for stream, messages, is_last in fresh:
            stream.pending = stream.pending + messages if stream.pending else messages
            stream.last_id = ends[stream]
            stream.caught_up = is_last
            stream.passed = None if messages else stream.passed
            stream.last_activity = now
            stream.reported_gap = None
        if (before := self.unsettled) is not None:
            self.unsettled = list(dict.fromkeys([*before, *ends]) if before else ends)
        return found > 0

    def _select(self, request: Request) -> list[StreamState]:
        """List the streams of a request to which its reply applies."""
        if request.is_exact:
            return request.streams
        pairs = zip(request.streams, request.after, strict=True)
        return [s for s, after in pairs if s.session is self._session and s.last_id == after]


def choose_streams(
    request: Request,
    streams: list[StreamState],
    ends: dict[StreamState, bytes],
    *,
    is_alone: bool,
) -> list[StreamState]:
    """Choose the streams of the read after a reply that is predicted to end at some IDs.

    A stream is left out that could be left with more than twice COUNT messages pending. Messages
    that other connections hold back stay pending whatever is read here.

    Args:
        request: The read whose reply is coming in.
        streams: All streams of the session.
        ends: The predicted last IDs of the streams that are full in that reply.
        is_alone: True if no other connection holds messages back.
    """
    if not any(map(_pending_of, streams)):
        return streams
    asked = set(request.streams)
    left_out = [] if request.streams == streams else [s for s in streams if s not in asked]
    count = request.count
    if not is_alone:
        beyond = {stream for stream in request.streams if stream.pending}
        beyond.update(stream for stream in left_out if len(stream.pending) > count)
    else:
        bounds = [*ends.values(), *map(last_id_of, left_out)]
        watermark = min(map(number_of, bounds))
        beyond = {stream for stream in ends if stream.count_after(watermark)}
        beyond.update(s for s in left_out if s.count_after(watermark) > count)
    return [stream for stream in streams if stream not in beyond] if beyond else streams


def _check(stream: StreamState, messages: list[Message], last_id: bytes) -> bytes:
    """Check that messages are after an ID; return the ID of the last one.

    Redis before 5.0.8 reads from the start of a ms after its largest sequence, which is what
    a start time is asked for by. Entries up to that ID are removed.

    Raises:
        WireError: They are not.
    """
    first: Any = messages[0][1]
    last: Any = messages[-1][1]
    if isinstance(first, str):
        first, last = first.encode("ascii"), last.encode("ascii")
    if is_later(first, last_id):
        if stream.passed is None:
            return bytes(last)
    elif is_before(last_id) and first.partition(b"-")[0] == last_id.partition(b"-")[0]:
        stream.passed = last_id
    else:
        text = f"entry {first!r} of stream {stream.name!r}, expected one after {last_id!r}"
        raise WireError(text)
    bound = number_of(stream.passed)
    messages[:] = [message for message in messages if number_of(message[1]) > bound]
    return bytes(last) if messages else id_of(bound - 1)
