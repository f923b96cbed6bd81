"""A reader without sockets, to be fed bytes over one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pystreamredis.core.events import Phase
from pystreamredis.core.reader import Reader
from pystreamredis.options import ConnectionOptions
from tests.simulation import reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pystreamredis.starts import StreamsArgument

# More batches than any number of bytes here makes.
PATIENCE = 10_000


class FedReader:
    """A reader whose connection is open.

    Args:
        streams: The streams to follow.
        connection: Connection options.
        read: Read options.

    Attributes:
        reader: The reader.
    """

    def __init__(
        self, streams: StreamsArgument, connection: Mapping[str, Any] | None = None, **read: Any
    ) -> None:
        options = ConnectionOptions(**(connection or {}))
        self.reader = Reader({None: options}, reading(**read))
        self.reader.add(streams, {})
        self.connect(0.0)

    def connect(self, now: float) -> None:
        """Open a connection."""
        assignment = self.reader.assignments[0]
        self.session = self.reader.opened(now, assignment, assignment.options.address)

    @property
    def is_open(self) -> bool:
        """True until the connection has ended."""
        return self.session.phase is not Phase.CLOSED

    def ask(self, now: float) -> None:
        """Ask for a message as a caller does; what is sent is discarded."""
        if not self.reader.is_establishing(now):
            self.reader.begin_wait(now)
            assert self.reader.step(now) is None, "a message out of nothing"
        self.session.take_outgoing(now)

    def feed(self, data: bytes, now: float) -> bytes:
        """Let bytes come; return what was sent before they were read."""
        self.session.receive(data, now)
        sent = self.session.take_outgoing(now)
        while self.session.process():
            pass
        return sent

    def take(self, now: float) -> Iterator[Any]:
        """Take what is delivered, until there is nothing more to deliver.

        Raises:
            RedisError: A failure.
        """
        if self.reader.is_establishing(now):
            return
        for _ in range(PATIENCE):
            batch = self.reader.step(now)
            if batch is None:
                return
            items = list(batch.iterator)
            if not items:
                return
            yield from items
        raise AssertionError("it delivers without end")
