"""Reads that are on their way, and how many entries to ask for.

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
from ..protocol.ids import is_later, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.buffer import Buffer
    from ..protocol.values import ServerError
    from .stream import StreamState

last_id_of = attrgetter("last_id")

# Growth of COUNT after replies that left room, and the replies that have to come whole before
# it grows again after one that broke off: they double each time.
_GROWTH = 4
_MOST_PATIENCE = 1024
# The smallest reply that COUNT is lowered for, in bytes.
_SMALL = 65_536


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
        self.due = now + (block or 0) / 1000
        self.blocks = block is not None
        self.wait = wait


class Predictions:
    """The record of predicted last IDs at one server, over all of its connections."""

    __slots__ = ("right", "wrong")

    def __init__(self) -> None:
        self.right = 0
        self.wrong = 0

    @property
    def are_useful(self) -> bool:
        """True unless predictions fail so often that they cost more than they bring."""
        return self.wrong <= 1 + self.right // 16


class ReadAhead:
    """All requests of a connection whose replies are still to come.

    Attributes:
        requests: The requests in the order of sending. The next reply answers the first.
        doubted: Streams of which a nil has to come again before it is believed.
    """

    __slots__ = ("_head", "_head_of", "_predictions", "doubted", "requests")

    def __init__(self, predictions: Predictions) -> None:
        self._predictions = predictions
        self.requests: deque[Request] = deque()
        self.doubted: set[StreamState] = set()
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


def choose_streams(
    request: Request, streams: list[StreamState], ends: dict[StreamState, bytes]
) -> list[StreamState]:
    """Choose the streams of the read after a reply that is predicted to end at some IDs.

    A stream is left out that would be left with more than COUNT messages pending. While other
    connections hold messages back, so is one that has any pending now.

    Args:
        request: The read whose reply is coming in.
        streams: All streams of the session.
        ends: The predicted last IDs of the streams that are full in that reply.
    """
    asked = set(request.streams)
    left_out = [] if request.streams == streams else [s for s in streams if s not in asked]
    bounds = [*ends.values(), *map(last_id_of, left_out)]
    watermark = min(map(number_of, bounds))
    count = request.count
    beyond = {stream for stream in ends if stream.count_after(watermark)}
    # The stream that is behind holds back no message of its own, so others do.
    if min((*ends, *left_out), key=_last_number_of).pending:
        beyond.update(stream for stream in ends if stream.pending)
    beyond.update(s for s in left_out if s.count_after(watermark) > count)
    return [stream for stream in streams if stream not in beyond] if beyond else streams


class ReadSize:
    """The COUNT of a connection's reads: the caller's, or less where replies demand it.

    Args:
        most: The COUNT that the caller allows.

    Attributes:
        most: The COUNT that the caller allows.
        count: The COUNT of the next read.
        max_reply: The size that a reply should have at most, in bytes.
    """

    __slots__ = ("_patience", "_whole", "count", "max_reply", "most")

    def __init__(self, most: int) -> None:
        self.count = most
        self.max_reply = _SMALL
        self.most = most
        self._whole = 0
        self._patience = 1

    def share(self, max_bytes: int, connections: int) -> None:
        """Set the share of one connection of the memory for all of them.

        A reply is in memory as bytes and as messages, and the next one may come beside it.
        """
        self.max_reply = max(_SMALL, max_bytes // (4 * connections))

    def is_exceeded(self, size: int) -> bool:
        """Return True if a reply of so many bytes, and still more, should be given up."""
        return size > 2 * self.max_reply and self.count > 1

    def completed(self, size: int) -> None:
        """Adapt to a reply of so many bytes that came whole."""
        if size > self.max_reply:
            self.count = max(1, self.count * self.max_reply // size)
        elif self.count < self.most:
            self._whole += 1
            more = min(self.most, self.count + 1 + self.count // _GROWTH)
            if self._whole >= self._patience and size * more <= self.max_reply * self.count:
                self.count = more
                self._whole = 0

    def exceeded(self, size: int, entries: int, streams: int) -> None:
        """Adapt to a reply that was given up after so many bytes and entries of the streams."""
        per_count = size * streams // max(1, entries)
        self.count = max(1, min(self.count // 2, self.max_reply // max(1, per_count)))
        self._whole = 0

    def broke(self, entries: int) -> None:
        """Adapt to a reply that broke off after so many entries of its fullest stream."""
        self.count = max(1, (min(entries, self.count) or self.count) // 2)
        self._patience = min(2 * self._patience, _MOST_PATIENCE)
        self._whole = 0


def _last_number_of(stream: StreamState) -> int:
    return number_of(stream.last_id)
