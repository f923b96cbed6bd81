"""Servers for `Peer` that hold streams, answer XREAD, and may be told to misbehave.

``with Peer(Store({"s": ids(40)}, send)) as peer: ...``. Each answer goes through ``send``, which
may send something else, in pieces, later, or not at all.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from threading import Condition
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from pystreamredis import ConnectionError, ResponseError
from tests.peer import Conversation, Peer
from tests.resp import Error, Simple, encode
from tests.servers import LONG

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

# The replies that nobody asked for, by name; None stands for the answer itself, a second time.
SURPLUS: dict[str, bytes | None] = {
    "nil": b"*-1\r\n",
    "null": b"_\r\n",
    "empty array": b"*0\r\n",
    "empty map": b"%0\r\n",
    "status": b"+OK\r\n",
    "integer": b":1\r\n",
    "error": b"-ERR unknown command 'PROXY'\r\n",
    "doubled": None,
}
# The longest wait for something that the reader may leave undone, in seconds.
_SHORT = 0.3
# The most failures and timeouts between two messages.
_PATIENCE = 80


class Request(NamedTuple):
    """An XREAD.

    Attributes:
        number: The place among all XREADs of the store, from 1 on.
        connection: The number of its connection, from 0 on.
        limit: What COUNT says.
    """

    number: int
    connection: int
    limit: int | None
    block: int | None
    keys: list[str]
    after: list[str]


# Sends what the third argument returns, or what it likes. The third argument waits as BLOCK says.
Send = Callable[[Conversation, Request, Callable[[], bytes]], object]
Entry = tuple[str, list[bytes]]


def send_plainly(conversation: Conversation, _: Request, answer: Callable[[], bytes]) -> None:
    """Send the answer."""
    conversation.send(answer())


def ids(count: int, first: int = 1001) -> list[str]:
    """Return that many IDs, all of one length."""
    return [f"{ms}-0" for ms in range(first, first + count)]


def number(entry_id: str) -> int:
    """Return the number by which an ID is compared."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms) << 64 | int(sequence)


class Store:
    """The streams of a server, and its side of each connection.

    Args:
        streams: Names, and the IDs of their entries, or pairs of ID and strings.
        send: Sends each answer.
        knows_plus: Whether "+" may be read after.

    Attributes:
        requests: The XREADs that came.
    """

    def __init__(
        self,
        streams: Mapping[str, Iterable[str | Entry]],
        send: Send = send_plainly,
        *,
        knows_plus: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self._send = send
        self._knows_plus = knows_plus
        self._streams: dict[str, list[Entry]] = {}
        self._changed = Condition()
        for stream, entries in streams.items():
            self._streams[stream] = [e if isinstance(e, tuple) else (e, []) for e in entries]

    def __call__(self, conversation: Conversation) -> None:
        while not conversation.closed:
            request = self.receive(conversation)
            if request is not None:
                self._send(conversation, request, partial(self.answer, conversation, request))

    def receive(self, conversation: Conversation) -> Request | None:
        """Wait for a command, and answer it unless it is an XREAD."""
        command = [word.decode() for word in conversation.expect()]
        if command[0] != "XREAD":
            is_hello = command[0] == "HELLO"
            conversation.reply({"server": "redis"} if is_hello else Simple("OK"))
            return None
        with self._changed:
            request = parse(command, len(self.requests) + 1, conversation.number)
            self.requests.append(request)
        return request

    def add(self, stream: str, entry_id: str, *strings: bytes) -> None:
        """Add an entry, and wake who waits for one."""
        with self._changed:
            self._streams.setdefault(stream, []).append((entry_id, list(strings)))
            self._changed.notify_all()

    def ids_of(self, stream: str) -> list[str]:
        """Return the IDs of a stream."""
        return [entry_id for entry_id, _ in self._streams.get(stream, ())]

    def answer(self, conversation: Conversation, request: Request) -> bytes:
        """Make the answer to an XREAD, after the wait that it asks for."""
        if not request.keys or len(request.keys) != len(request.after):
            return encode(Error("ERR wrong number of arguments for 'xread' command"))
        if "+" in request.after and not self._knows_plus:
            return encode(Error("ERR Invalid stream ID specified as stream command argument"))
        until = monotonic() + (LONG if request.block == 0 else (request.block or 0) / 1000)
        with self._changed:
            while not (found := self._find(request)):
                left = until - monotonic()
                if left <= 0 or conversation.over.is_set():
                    break
                self._changed.wait(min(left, 0.05))
        return encode(found or None)

    def _find(self, request: Request) -> list[Any]:
        found = []
        for key, after in zip(request.keys, request.after, strict=True):
            held = self._streams.get(key, [])
            if after == "+":
                entries = held[-1:]
            else:
                entries = [e for e in held if number(e[0]) > number(after)][: request.limit]
            if entries:
                found.append([key, [[e[0], e[1] or ["f", "v"]] for e in entries]])
        return found


def parse(command: list[str], place: int, connection: int) -> Request:
    """Take an XREAD apart."""
    at = command.index("STREAMS")
    options = dict(zip(command[1:at:2], command[2:at:2], strict=True))
    rest = command[at + 1 :]
    count, block = (options.get(name) for name in ("COUNT", "BLOCK"))
    return Request(
        place,
        connection,
        None if count is None else int(count),
        None if block is None else int(block),
        rest[: len(rest) // 2],
        rest[len(rest) // 2 :],
    )


def slot_of(key: str) -> int:
    """Return the slot of a key without braces."""
    return crc_hqx(key.encode(), 0) % 16384


class Nodes:
    """Two nodes of a cluster with the same streams, each of which answers for its own.

    Args:
        home: The number of the node that has each stream. It may be changed at any time.
    """

    def __init__(
        self, streams: Mapping[str, Iterable[str | Entry]], home: dict[str, int], send: Send
    ) -> None:
        self.home = home
        self._store = Store(streams, send)
        self._send = send
        self._stack = ExitStack()
        self.peers: list[Peer] = []

    @property
    def store(self) -> Store:
        return self._store

    @property
    def options(self) -> dict[str, Any]:
        """The options that lead to the first node."""
        return {"host": self.peers[0].host, "port": self.peers[0].port}

    def __enter__(self) -> Self:
        for place in range(2):
            self.peers.append(self._stack.enter_context(Peer(self._script_of(place))))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def _script_of(self, place: int) -> Callable[[Conversation], None]:
        def script(conversation: Conversation) -> None:
            while not conversation.closed:
                request = self._store.receive(conversation)
                if request is not None:
                    self._answer(place, conversation, request)

        return script

    def _answer(self, place: int, conversation: Conversation, request: Request) -> None:
        if (refusal := self.refusal(place, request)) is not None:
            conversation.send(refusal)
            return

        def answer() -> bytes:
            found = self._store.answer(conversation, request)
            # The slot may have moved meanwhile.
            return self.refusal(place, request) or found

        self._send(conversation, request, answer)

    def refusal(self, place: int, request: Request) -> bytes | None:
        """Return the error of a node that is asked for what it has not."""
        slots = {slot_of(key) for key in request.keys}
        if len(slots) > 1:
            return b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
        home = self.home[request.keys[0]]
        if home == place:
            return None
        return f"-MOVED {slots.pop()} 127.0.0.1:{self.peers[home].port}\r\n".encode()


def has_more_within_moments(conversation: Conversation) -> bool:
    """Wait until the reader has sent more, as it may; return whether it has."""
    return conversation.wait_for_bytes(_SHORT)


class Collected(NamedTuple):
    """What came of a reader.

    Attributes:
        messages: The messages.
        failures: The errors in between, returned or raised.
    """

    messages: list[Any]
    failures: list[BaseException]

    @property
    def ids(self) -> dict[Any, list[str]]:
        """The IDs of each stream, in the order in which they came."""
        found: dict[Any, list[str]] = {}
        for name, entry_id, _ in self.messages:
            found.setdefault(name, []).append(entry_id.decode())
        return found


def collect(streams: Any, count: int | None = None, *, quiet: int = 1) -> Collected:
    """Take messages, over all failures, ends and timeouts that a retry gets past.

    Args:
        count: How many messages to wait for; None is until it is quiet.
        quiet: How many ends in a row are quiet.
    """
    found = Collected([], [])
    ends = others = 0
    while count is None or len(found.messages) < count:
        try:
            item = next(streams)
        except StopIteration:
            item = None
        except (ConnectionError, ResponseError) as error:
            item = error
        if isinstance(item, tuple):
            found.messages.append(item)
            ends = others = 0
            continue
        others += 1
        assert others < _PATIENCE, (found.failures[-3:], found.ids)
        if isinstance(item, BaseException):
            found.failures.append(item)
            ends = 0
            continue
        ends += 1
        if count is None and ends >= quiet:
            break
    return found


def positions_of(streams: Any) -> dict[str, str]:
    """Return the positions as text."""
    return {
        name: position if isinstance(position, str) else position.decode()
        for name, position in streams.positions.items()
    }
