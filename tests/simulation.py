"""A server, a connection to it and a clock that are all made up: bytes in, bytes out.

For the tests of the core, which has no sockets and no clocks either. `Server` holds
streams and answers XREAD as servers do; `Shell` does for a follower what a driver
does for it, with connections that deliver in chunks of any size and break after any
number of bytes, and with time that passes only while nothing else is left to do.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from itertools import chain, cycle, repeat
from typing import TYPE_CHECKING, Any

from pystreamredis.follower import Follower
from pystreamredis.options import ConnectionOptions, ReadOptions
from pystreamredis.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pystreamredis.source import Part
    from pystreamredis.starts import Start, StreamsArgument

MAX_ID = 2**128 - 1
is_id = re.compile(rb"\d+-\d+").fullmatch
# More exchanges than any wait here takes, so that one without end fails its test.
PATIENCE = 20_000

READING: dict[str, Any] = {
    name: value
    for name, value in (Streams.__init__.__kwdefaults__ or {}).items()
    if name in ReadOptions.__slots__
}


def reading(**options: Any) -> ReadOptions:
    """Make read options with the defaults of `Streams`."""
    return ReadOptions(**(READING | options))


def number(entry_id: bytes | str) -> int:
    """Read an ID, for the server and for what tests expect: the naive way."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    ms, sequence = text.split("-")
    return int(ms) * 2**64 + int(sequence)


def written(entry: int) -> bytes:
    """Write an ID."""
    return f"{entry // 2**64}-{entry % 2**64}".encode()


class Bulk(list[Any]):
    """What RESP3 has as a map and RESP2 as an array of pairs."""


def check_attention(follower: Follower) -> None:
    """See to it that no part is overlooked, nor any time; and take note of what is to be logged."""
    wake_at = follower.wake_at()
    for part in follower.parts:
        assert part in follower.stirred or part.is_settled
        if part.conversation.failure is None and part.wake_at is not None:
            assert wake_at is not None
            assert wake_at <= part.wake_at
        part.conversation.notices.clear()
        check_unsettled(part)
    assert follower.stirred.keys() <= set(follower.parts)


def check_unsettled(part: Part) -> None:
    """See to it that no stream is taken for settled that is not."""
    of_all = [c for c in part.conversation.cursors if c.waiting or not c.complete]
    found = part.conversation.find_unsettled()
    assert sorted(found, key=id) == sorted(of_all, key=id)
    assert set(of_all) <= set(part.find_unsettled()) or part.conversation.answered is not None


def encode(value: Any, resp: int) -> bytes:
    """Encode a reply: bytes, str for a simple string or an error, None, list or `Bulk`."""
    if value is None:
        return b"_\r\n" if resp == 3 else b"*-1\r\n"
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, str):
        return f"{value}\r\n".encode()
    parts = [encode(item, resp) for item in (chain(*value) if _is_map(value, resp) else value)]
    if _is_map(value, resp):
        return b"%%%d\r\n" % (len(parts) // 2) + b"".join(parts)
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def _is_map(value: Any, resp: int) -> bool:
    return resp == 3 and isinstance(value, Bulk)


def commands_in(data: bytes) -> list[list[bytes]]:
    """Take whole commands apart."""
    commands = []
    while data:
        head, _, data = data.partition(b"\r\n")
        assert head[:1] == b"*", head
        command = []
        for _ in range(int(head[1:])):
            head, _, data = data.partition(b"\r\n")
            assert head[:1] == b"$", head
            size = int(head[1:])
            assert data[size : size + 2] == b"\r\n", data
            command.append(data[:size])
            data = data[size + 2 :]
        commands.append(command)
    return commands


class Read:
    """An XREAD, taken apart."""

    def __init__(self, command: list[bytes]) -> None:
        self.count: int | None = None
        self.block: int | None = None
        options = iter(command[1:])
        for option in options:
            if option == b"STREAMS":
                break
            value = int(next(options))
            if option == b"COUNT":
                self.count = value
            else:
                assert option == b"BLOCK", command
                self.block = value
        rest = list(options)
        half = len(rest) // 2
        self.keys, self.ids = rest[:half], rest[half:]
        self.is_whole = half > 0 and len(rest) % 2 == 0

    @property
    def positions(self) -> dict[bytes, bytes]:
        return dict(zip(self.keys, self.ids, strict=True))


class Server:
    """Streams in memory.

    Attributes:
        log: Every command that came.
        refusals: What the next XREADs are answered with: an error, or any other value.
        at_fault: For some keys the error that every XREAD with one of them ends in.
        password: What AUTH and HELLO are compared with; None if there is none.
        unknown: Commands that it does not know.
        before_each: Is called before each command.
        wakes_with_one_key: A read that was blocked is answered for one key alone, as
            servers up to 7.0 do.
    """

    def __init__(self, *, takes_plus: bool = True, loses_tail: bool = False) -> None:
        self.takes_plus = takes_plus
        # As Redis 7.4.0 does: "+" finds nothing once the last entry was deleted.
        self.loses_tail = loses_tail
        self.streams: dict[bytes, dict[int, tuple[bytes, ...]]] = {}
        self.log: list[list[bytes]] = []
        self.refusals: deque[Any] = deque()
        self.at_fault: dict[bytes, str] = {}
        self.password: bytes | None = None
        self.unknown: set[bytes] = set()
        self.before_each: Callable[[], None] = lambda: None
        self.wakes_with_one_key = False
        self._tails: dict[bytes, int] = {}

    def add(self, key: bytes, entry_id: bytes | str | int, *fields: bytes) -> int:
        """XADD."""
        entry = entry_id if isinstance(entry_id, int) else number(entry_id)
        stream = self.streams.setdefault(key, {})
        assert self._tails.get(key, 0) < entry, "IDs of a stream must grow"
        stream[entry] = fields or (b"n", b"%d" % len(stream))
        self._tails[key] = entry
        return entry

    def delete(self, key: bytes, entry: int) -> None:
        """XDEL."""
        del self.streams[key][entry]

    @property
    def reads(self) -> list[Read]:
        """Every XREAD that came."""
        return [Read(command) for command in self.log if command[0] == b"XREAD"]

    def entries(self, read: Read) -> Any:
        """Answer an XREAD that need not wait."""
        found = Bulk()
        for key, after in read.positions.items():
            entries = self._after(key, after)[: read.count]
            if entries:
                stream = self.streams[key]
                found.append([key, [[written(e), list(stream[e])] for e in entries]])
        return found or None

    def _after(self, key: bytes, after: bytes) -> list[int]:
        stream = self.streams.get(key, {})
        if after != b"+":
            return [entry for entry in stream if entry > number(after)]
        tail = self._tails.get(key) if self.loses_tail else max(stream, default=None)
        return [tail] if tail in stream else []

    def refusal(self, read: Read) -> str | None:
        """Say why an XREAD is refused, if it is."""
        if not read.is_whole:
            return "-ERR wrong number of arguments for 'xread' command"
        known = {b"+"} if self.takes_plus else set()
        if not all(is_id(entry_id) or entry_id in known for entry_id in read.ids):
            return "-ERR Invalid stream ID specified as stream command argument"
        return next((self.at_fault[key] for key in read.keys if key in self.at_fault), None)


class Peer:
    """The server's side of one connection."""

    def __init__(self, server: Server) -> None:
        self.resp = 2
        self.closes = False
        # Sent before each reply in RESP3, to be skipped.
        self.noise = b""
        # When the client that is blocked gets nil.
        self.deadline: float | None = None
        self._server = server
        self._is_known = server.password is None
        self._blocked: Read | None = None
        self._commands: deque[list[bytes]] = deque()
        self.sent = b""

    def receive(self, data: bytes, now: float) -> None:
        """Take in commands."""
        if self.closes:
            return
        self._commands.extend(commands_in(data))
        self.work(now)

    def work(self, now: float) -> None:
        """Answer what can be answered now."""
        if self._blocked is not None and not self._unblock(now):
            return
        while self._commands and self._blocked is None:
            self._server.before_each()
            command = self._commands.popleft()
            self._server.log.append(command)
            self._answer(command, now)

    def unblock(self, reply: Any = None) -> None:
        """CLIENT UNBLOCK, and whatever else ends a blocking read before its time."""
        assert self._blocked is not None, "no read is blocked"
        self._blocked = self.deadline = None
        self._reply(reply)

    def _unblock(self, now: float) -> bool:
        assert self._blocked is not None
        entries = self._server.entries(self._blocked)
        if entries is None and (self.deadline is None or now < self.deadline):
            return False
        if entries and self._server.wakes_with_one_key:
            del entries[1:]
        self.unblock(entries)
        return True

    def _reply(self, value: Any) -> None:
        noise = self.noise if self.resp == 3 else b""
        self.sent += noise + (value.raw if isinstance(value, Raw) else encode(value, self.resp))

    def _answer(self, command: list[bytes], now: float) -> None:
        name = command[0]
        if name in self._server.unknown:
            # Word for word, the arguments included.
            told = " ".join(f"'{argument.decode()}'" for argument in command[1:])
            self._reply(f"-ERR unknown command '{name.decode()}', with args beginning with: {told}")
        elif name == b"XREAD":
            self._read(Read(command), now)
        elif name == b"HELLO":
            self._hello(command)
        elif name == b"AUTH":
            self._reply(self._log_in(command[-1]) or "+OK")
        else:
            self._reply("+OK")

    def _log_in(self, password: bytes) -> str | None:
        self._is_known = self._server.password in (None, password)
        return None if self._is_known else "-WRONGPASS invalid username-password pair"

    def _hello(self, command: list[bytes]) -> None:
        error = self._log_in(command[4]) if b"AUTH" in command else None
        if error is not None or not self._is_known:
            self._reply(error or "-NOAUTH HELLO must be called with the client authenticated")
            return
        self.resp = int(command[1])
        self._reply(Bulk([[b"server", b"redis"], [b"modules", []]]))

    def _read(self, read: Read, now: float) -> None:
        if not self._is_known:
            self._reply("-NOAUTH Authentication required.")
        elif self._server.refusals:
            self._reply(self._server.refusals.popleft())
        elif (error := self._server.refusal(read)) is not None:
            self._reply(error)
        elif (entries := self._server.entries(read)) is not None or read.block is None:
            self._reply(entries)
        else:
            self._blocked = read
            self.deadline = now + read.block / 1000 if read.block else None


class Raw:
    """A reply as it is on the wire."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


class Shell:
    """Does for a follower what a driver does, but with a `Server` and a clock of its own.

    Args:
        server: The server.
        streams: What to follow.
        chunks: Of how many bytes each piece of a reply is, over and over.
        cuts: After how many bytes received each connection breaks; None for never,
            which is what those are like that no cut is left for.
        connection: Connection options.
        read: Read options.

    Attributes:
        now: The time, in seconds.
        failures: What the next attempts to connect end in, None for success.
        attempts: When it was tried to connect.
        is_deaf: The peer sends nothing any more, nor does it close.
        ends: What the connections that are cut end in; None for the end of the stream.
        most_held: How many messages of one stream were held at most.
    """

    def __init__(
        self,
        server: Server,
        streams: StreamsArgument | None = None,
        *,
        chunks: Iterable[int] = (),
        cuts: Iterable[int | None] = (),
        connection: Mapping[str, Any] | None = None,
        **read: Any,
    ) -> None:
        self.server = server
        self.now = 1000.0
        self.failures: deque[OSError | None] = deque()
        self.attempts: list[float] = []
        self.is_deaf = False
        self.peer: Peer | None = None
        self.noise = b""
        self.closes_on: bytes | None = None
        self.ends: OSError | None = ConnectionResetError(104, "connection reset by peer")
        self.most_held = 0
        options = ConnectionOptions(**(connection or {}))
        self.follower = Follower({None: options}, reading(**read), ("count", "block", "password"))
        self._chunks: Iterator[int] = cycle(tuple(chunks) or (2**20,))
        self._cuts: Iterator[int | None] = chain(cuts, repeat(None))
        self._left: int | None = None
        self._events: list[tuple[float, Callable[[], object]]] = []
        if streams is not None:
            self.follower.add(streams, {})

    def at(self, seconds: float, event: Callable[[], object]) -> None:
        """Let something happen that many seconds from now."""
        self._events.append((self.now + seconds, event))
        self._events.sort(key=lambda event: event[0])

    def sleep(self, seconds: float) -> None:
        """Let the caller work for some time, in which the server goes on."""
        until = self.now + seconds
        for _ in range(PATIENCE):
            if not self._pass_time(until):
                return
        raise AssertionError("time does not pass")

    def establish(self) -> Shell:
        """Do as a constructor does."""
        for _ in range(PATIENCE):
            if not self.follower.is_establishing():
                return self
            self._exchange()
        raise AssertionError("the conversation is never ready")

    def add(self, **named: Start) -> None:
        """Do as `Streams.add` does."""
        self.follower.add(None, named)
        self._disconnect()
        self.follower.parts[0].conversation.abandon()
        self.establish()

    def next(self) -> Any:
        """Do as `Streams.__next__` does."""
        for message in self.follower.batch.iterator:
            return message
        follower = self.follower
        follower.begin_wait(self.now)
        for _ in range(PATIENCE):
            batch = follower.step(self.now)
            check_unsettled(follower.parts[0])
            if batch is not None:
                self._note_what_is_held()
                self._flush()
                return next(batch.iterator)
            self._exchange()
        raise AssertionError("it waits without end")

    def take(self, how_many: int) -> list[Any]:
        """Take some messages."""
        return [self.next() for _ in range(how_many)]

    def rest(self) -> list[Any]:
        """Take all messages until the iteration ends."""
        messages = []
        while True:
            try:
                messages.append(self.next())
            except StopIteration:
                return messages

    def _note_what_is_held(self) -> None:
        held = Counter(message[0] for message in self.follower.batch.messages)
        for cursor in self.follower.parts[0].conversation.cursors:
            held[cursor.name] += len(cursor.waiting)
        self.most_held = max(self.most_held, *held.values(), 0)

    def _exchange(self) -> None:
        if self.peer is not None:
            self._communicate(self.peer)
        elif self.follower.may_connect(self.now, self.follower.parts[0]):
            self._connect()
        else:
            wake_at = self.follower.wake_at()
            assert wake_at is not None, "nothing to wait for"
            self.sleep(wake_at - self.now)
        if not self.follower.parts[0].conversation.is_open:
            self._disconnect()

    def _connect(self) -> None:
        self.attempts.append(self.now)
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            self.follower.parts[0].conversation.not_opened(self.now, failure)
            return
        self.peer = Peer(self.server)
        self.peer.noise = self.noise
        self._left = next(self._cuts)
        self.follower.opened(self.now, self.follower.parts[0])

    def _communicate(self, peer: Peer) -> None:
        self._flush()
        conversation = self.follower.parts[0].conversation
        if self.peer is None or not (self._is_readable(peer) or self._wait(peer)):
            self.follower.woke(self.now)
        elif self._left == 0:
            conversation.closed(self.now, self.ends)
        elif peer.sent:
            data = self._chunk(peer)
            conversation.received(data, self.now)
            self._flush()
            conversation.process()
        else:
            conversation.closed(self.now)

    def _is_readable(self, peer: Peer) -> bool:
        return not self.is_deaf and bool(peer.sent or peer.closes or self._left == 0)

    def _wait(self, peer: Peer) -> bool:
        """Let time pass until something can be read; False if it was waited too long."""
        for _ in range(PATIENCE):
            wake_at = self.follower.wake_at()
            if not self._pass_time(wake_at):
                return False
            if self._is_readable(peer):
                return True
        raise AssertionError("the server has nothing to say")

    def _pass_time(self, until: float | None) -> bool:
        """Go on to the next thing that happens; False if that is none before `until`."""
        deadline = self.peer.deadline if self.peer is not None else None
        times = [event[0] for event in self._events[:1]]
        times += [] if deadline is None else [deadline]
        if until is not None and (not times or until < min(times)):
            self.now = max(self.now, until)
            return False
        assert times, "nothing will ever happen"
        self.now = max(self.now, min(times))
        if self._events and self._events[0][0] <= self.now:
            self._events.pop(0)[1]()
        if self.peer is not None:
            self.peer.work(self.now)
        return True

    def _chunk(self, peer: Peer) -> bytes:
        size = next(self._chunks)
        if self._left is not None:
            size = min(size, self._left)
        data, peer.sent = peer.sent[:size], peer.sent[size:]
        if self._left is not None:
            self._left -= len(data)
        return data

    def _flush(self) -> None:
        if self.peer is None:
            return
        data = self.follower.parts[0].conversation.take_outgoing()
        if self.closes_on is not None and self.closes_on in data:
            self.peer.closes = True
            return
        self.peer.receive(data, self.now)

    def interrupt(self) -> None:
        """Do as a driver does when Ctrl-C comes in the middle of something."""
        self._disconnect()
        self.follower.rewind()

    def _disconnect(self) -> None:
        self.peer = None
