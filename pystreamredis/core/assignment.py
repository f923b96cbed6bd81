"""The streams that are read over one connection, and the record of its connections.

A session ends with its connection; an assignment stays, and is read over the next one.
"""

from __future__ import annotations

from itertools import chain, repeat
from math import inf

from .events import DEBUG, INFO, WARNING, Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    from ..exceptions import RedisError
    from ..options import ConnectionOptions, RetryDelay
    from .events import Failed
    from .readahead import Request
    from .session import Session
    from .stream import StreamState
    from .topology import Upstream

    Key: TypeAlias = tuple[int | None, str]


# The most entries that are asked for at once when streams are looked back at.
_LOOK_BACK = 1000
# The smallest reply that COUNT is lowered for, in bytes.
_SMALL = 65_536
# The pause before another try to connect where `block` is 0, in ms.
_PAUSE = 1000


def add_jitter(pause: float) -> float:
    """Make a pause longer by up to a half: readers should not come back all at once."""
    try:
        from random import random  # slow to import, and needed after failures alone
    except OSError:  # no descriptor is left to read it
        return pause
    return pause * (1 + random() / 2)  # noqa: S311


def pauses_of(block: int | None, retry_delay: RetryDelay | None) -> Iterator[float]:
    """Yield the pauses before each try to connect in one outage, in seconds.

    Raises:
        TypeError: A callable `retry_delay` has given something that is not a time.
    """
    delay = retry_delay
    if delay is None:
        delay = 0 if block is None else block or _PAUSE
    delays: Iterable[object] = (delay,)
    if callable(delay):
        delays, delay = delay(), _PAUSE
    # The last one is repeated.
    for ms in chain(delays, repeat(None)):
        if ms is not None:
            if not isinstance(ms, (int, float)) or not 0 <= ms < inf:
                raise TypeError(f"retry_delay() gave {ms!r}, but must give numbers of ms")
            delay = ms
        yield add_jitter(delay / 1000)


class Predictions:
    """The record of predicted last IDs at one server, over all of its connections."""

    def __init__(self) -> None:
        self.right = 0
        self.wrong = 0

    @property
    def are_useful(self) -> bool:
        """True unless predictions fail so often that they cost more than they bring."""
        return self.wrong <= 1 + self.right // 16


class ReadSize:
    """The COUNT of a connection's reads: the caller's, or less where replies demand it.

    Args:
        most: The COUNT that the caller allows.

    Attributes:
        most: The COUNT that the caller allows.
        count: The COUNT of the next read.
        max_reply: The size that a reply should have at most, in bytes.
    """

    def __init__(self, most: int) -> None:
        self.count: int = most
        self.max_reply: int = _SMALL
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
            # After a reply that broke off, the replies that have to come whole before COUNT
            # grows again double each time.
            more = min(self.most, self.count + 1 + self.count // 4)
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
        self._patience = min(2 * self._patience, 1024)
        self._whole = 0


def wants_hello(options: ConnectionOptions) -> bool:
    """Return True if an option needs HELLO."""
    return options.protocol != 2 or options.client_name is not None


class Outages:
    """The outages of one server, or of each node of a cluster, and the lines for the log.

    Many connections lead to one server: the first to fail, and the first to be answered again, are
    what is worth a line. The others are for debugging.
    """

    def __init__(self) -> None:
        # Servers that have answered.
        self._known: set[str] = set()
        # By server: time when the outage began, and when the last one was over.
        self._lost_at: dict[str, float] = {}
        self._over_at: dict[str, float] = {}

    def answered(self, server: str, address: str, opened_at: float) -> Log:
        """Take note of the first answer over a connection; return a line for the log."""
        text = f"connected to {address}"
        lost_at = self._lost_at.pop(server, None)
        # In an outage of one node, another one may take its place.
        is_new = server not in self._known and (self._lost_at or not self._known)
        self._known.add(server)
        if lost_at is not None:
            self._over_at[server] = opened_at
            text += f" after an outage of {max(0.0, opened_at - lost_at):.1f} s"
        return Log(DEBUG if lost_at is None and not is_new else INFO, text)

    def failed(self, server: str, failure: RedisError, opened_at: float, now: float) -> Log:
        """Take note of a failure; return a line for the log.

        A failure begins an outage, and is a warning, unless it is one more amid an outage, or that
        of a connection from before the last one, which was noticed late.
        """
        lost_at = self._lost_at.get(server)
        if lost_at is not None:
            return Log(DEBUG, f"{failure} (for {now - lost_at:.1f} s now)")
        if opened_at < self._over_at.get(server, 0.0):
            return Log(DEBUG, str(failure))
        self._lost_at[server] = now
        return Log(WARNING, str(failure))


class History:
    """The record of the connections of one assignment, one after the other.

    Attributes:
        predictions: The record of predicted last IDs.
        read_size: COUNT, as far as replies have shown what is possible.
        look_back_size: The most entries to ask for at once when streams are looked back at.
            Less after a reply that broke off; 0 if a single entry did, which leaves out one
            look back.
        says_hello: True if the next connection begins with HELLO.
        is_secret_sent: True once a password was sent: some peers repeat it.
        is_understood: True once a peer has sent RESP.
        is_answered: True once an XREAD was answered over the last connection.
        address_turn: Number of the host's addresses to try later, since they were of no use.

    Args:
        options: Options of the connections.
        count: The most entries of each stream that one read asks for.
        outages: The outages of the server or cluster.
        server: The node of the cluster; the only server has no name, wherever it is found.
    """

    def __init__(
        self, options: ConnectionOptions, count: int, outages: Outages, server: str = ""
    ) -> None:
        self.predictions: Predictions = Predictions()
        self.read_size: ReadSize = ReadSize(count)
        self.look_back_size = _LOOK_BACK
        self.says_hello: bool = wants_hello(options)
        self.is_secret_sent = False
        self.is_understood = False
        self.is_answered: bool = False
        self.address_turn: int = 0
        self._outages = outages
        self._server = server
        self._address = ""
        self._opened_at = 0.0

    def opened(self, address: str, now: float) -> None:
        """Take note of a new connection; nothing was answered yet."""
        self._address = address
        self._opened_at = now
        self.is_answered = False

    def answered(self) -> Log:
        """Take note of the first answer over a connection; return a line for the log."""
        return self._outages.answered(self._server, self._address, self._opened_at)

    def failed(self, failure: RedisError, now: float) -> Log:
        """Take note of a failure; return a line for the log.

        An address that was of no use has its turn again after the host's other ones.
        """
        if not self.is_answered:
            self.address_turn += 1
        opened_at, self._opened_at = self._opened_at, now
        return self._outages.failed(self._server, failure, opened_at, now)


class Assignment:
    """The streams that are read over one connection, and the state of that connection.

    Attributes:
        upstream: The server or cluster.
        options: The address of the server, and how to log in. Whoever connects replaces them
            by those of where the server is by then.
        streams: The streams. A changed set of streams is another list.
        key: Hash slot and address, in a cluster.
        session: The open connection, if there is one.
        history: The record of earlier connections.
        failure: The failure that was not reported yet; no connection is tried before that.
        retry_at: Time before which no connection is tried, in seconds.
        is_connecting: True while a connection is being made.
        is_down: True from the report of a failure to the next answer.
        must_pause: True if the next try has to wait, once the caller asks again.
        pauses: The pauses before the next tries of the outage; None if there is none.
        found_nothing: The last read that found nothing, and the time of its answer.
        is_joining: True while all of its streams are being added: the others go on without them.
        is_lane: True if it is for streams that were added while all other connections waited.
        held_apart: Streams that hold back no others but their own group, though their server
            is not down.
    """

    def __init__(self, upstream: Upstream, options: ConnectionOptions, key: Key | None) -> None:
        self.upstream = upstream
        self.options = options
        self.key = key
        self.streams: list[StreamState] = []
        self.session: Session | None = None
        server = "" if key is None else options.address
        self.history: History = History(options, upstream.reading.count, upstream.outages, server)
        self.failure: Failed | None = None
        self.retry_at: float = 0.0
        self.is_connecting = False
        self.is_down = False
        self.is_joining: bool = False
        self.is_lane = False
        self.must_pause = False
        self.pauses: Iterator[float] | None = None
        self.found_nothing: tuple[Request, float] | None = None
        self.held_apart: list[list[StreamState]] = []

    @property
    def server(self) -> object:
        """The key of what keeps an order of its own: one server, or a connection to a cluster."""
        return self if self.key is not None else (self.upstream, self.options.address)

    @property
    def next_try_at(self) -> float | None:
        """Time of the next try to connect; None if there is none, or one is under way."""
        return None if self.is_connecting or not self.streams else self.retry_at

    def assign(self, streams: list[StreamState]) -> None:
        """Read exactly these streams from now on."""
        gone = set(self.streams).difference(streams)
        self.streams = streams
        if self.session is None:
            return
        for stream in gone:
            if stream.session is self.session:
                stream.session = None
        self.session.assign()

    def find_unsettled(self) -> list[StreamState]:
        """List the streams that the merge has to look at."""
        if self.session is not None:
            return self.session.streams.find_unsettled()
        return [stream for stream in self.streams if stream.pending or not stream.caught_up]
