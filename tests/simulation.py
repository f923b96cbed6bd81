"""Simulated servers, connections and time, for tests of the core and the engine.

`Server` holds streams and answers XREAD as servers do. `Simulation` drives the engine as the
shells do, over connections that deliver in chunks of any size and break after any number of
bytes, with time that passes only while nothing else is left to do.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from itertools import chain, cycle, repeat
from typing import TYPE_CHECKING, Any, cast

from pystreamredis.core.events import Phase
from pystreamredis.core.reader import Reader
from pystreamredis.io.engine import Engine, Order
from pystreamredis.options import ConnectionOptions, ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pystreamredis.core.assignment import Assignment
    from pystreamredis.core.delivery import Batch
    from pystreamredis.core.session import Session
    from pystreamredis.io.engine import Steps
    from pystreamredis.starts import Followed, Start, StreamsArgument

MAX_ID = 2**128 - 1
is_id = re.compile(rb"\d+-\d+").fullmatch
# More exchanges than any wait here takes, so that one without end fails its test.
PATIENCE = 20_000


def reading(**options: Any) -> ReadOptions:
    """Make read options; the others have their defaults."""
    return ReadOptions(**options)


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


def numbers_of(items: Iterable[Any], name: object = None) -> list[int]:
    """List the IDs of messages, of one stream or of all; other items are left out."""
    return [number(m[1]) for m in items if isinstance(m, tuple) and name in (None, m[0])]


def check_attention(reader: Reader) -> None:
    """Check that no connection is overlooked, nor any time."""
    wake_at = reader.wake_at()
    for assignment in reader.assignments:
        session = assignment.session
        assert assignment in reader.active or (session is not None and session.is_parked)
        own = assignment.next_try_at if session is None else session.wake_at
        if assignment.failure is None and own is not None:
            assert wake_at is not None
            assert wake_at <= own
        check_unsettled(assignment)
    assert reader.active.keys() <= set(reader.assignments)


def check_unsettled(assignment: Assignment) -> None:
    """Check that the merge looks at every stream that has a part in it."""
    of_all = [s for s in assignment.streams if s.pending or not s.caught_up]
    assert sorted(assignment.find_unsettled(), key=id) == sorted(of_all, key=id)


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

    def accept(self) -> Peer:
        """Accept a connection."""
        return Peer(self)

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


def server_with(entries: Mapping[bytes, Iterable[int]]) -> Server:
    """Make a server with entries, whose IDs are given as numbers."""
    server = Server()
    for key, ids in entries.items():
        for entry in ids:
            server.add(key, written(entry))
    return server


class Peer:
    """The server's side of one connection."""

    def __init__(self, server: Server) -> None:
        self.resp = 2
        self.closes = False
        # Sent before each reply in RESP3, to be skipped.
        self.noise = b""
        # When the client that is blocked gets nil.
        self.deadline: float | None = None
        self.server = server
        self._is_known = server.password is None
        self.blocked: Read | None = None
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
        if self.blocked is not None and not self._unblock(now):
            return
        while self._commands and self.blocked is None:
            self.server.before_each()
            command = self._commands.popleft()
            self.server.log.append(command)
            self._answer(command, now)

    def unblock(self, reply: Any = None) -> None:
        """CLIENT UNBLOCK, and whatever else ends a blocking read before its time."""
        assert self.blocked is not None, "no read is blocked"
        self.blocked = self.deadline = None
        self._reply(reply)

    def _unblock(self, now: float) -> bool:
        assert self.blocked is not None
        entries = self.server.entries(self.blocked)
        if entries is None and (self.deadline is None or now < self.deadline):
            return False
        if entries and self.server.wakes_with_one_key:
            del entries[1:]
        self.unblock(entries)
        return True

    def _reply(self, value: Any) -> None:
        noise = self.noise if self.resp == 3 else b""
        self.sent += noise + (value.raw if isinstance(value, Raw) else encode(value, self.resp))

    def _answer(self, command: list[bytes], now: float) -> None:
        name = command[0]
        if name in self.server.unknown:
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
        self._is_known = self.server.password in (None, password)
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
        elif self.server.refusals:
            self._reply(self.server.refusals.popleft())
        elif (error := self.server.refusal(read)) is not None:
            self._reply(error)
        elif (entries := self.server.entries(read)) is not None or read.block is None:
            self._reply(entries)
        else:
            self.blocked = read
            self.deadline = now + read.block / 1000 if read.block else None


class Raw:
    """A reply as it is on the wire."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


class Link:
    """A simulated connection: what the engine takes for `Connection`.

    Attributes:
        peer: The server's side of it; None if there is none.
        left: Number of bytes that it still delivers; None if it does not break.
    """

    def __init__(self, reader: Reader, assignment: Assignment, simulation: Simulation) -> None:
        self.session: Session | None = None
        self.deadline: float | None = None
        self.peer: Peer | None = None
        self.left: int | None = None
        self._reader = reader
        self._assignment = assignment
        self._simulation = simulation
        self._has_more = False

    def begin(self) -> None:
        """Connect, or fail at once."""
        simulation, assignment = self._simulation, self._assignment
        now, options = simulation.now, assignment.options
        simulation.attempts.append(now)
        simulation.addresses.append(options.address)
        failure = simulation.failures.popleft() if simulation.failures else None
        server = simulation.servers.get(options.address, simulation.server)
        if failure is None and not self.names.isdisjoint(simulation.unreachable):
            failure = ConnectionRefusedError(111, "Connection refused")
        if failure is not None:
            self._reader.not_opened(now, assignment, options.address, failure)
            return
        self.peer = server.accept()
        self.peer.noise = simulation.noise
        self.left = simulation.next_cut()
        simulation.links.append(self)
        simulation.most_links = max(simulation.most_links, len(simulation.links))
        self.session = self._reader.opened(now, assignment, options.address)
        self.close_if_over()

    def respond(self) -> bool:
        """Receive what the peer has sent, or notice the end of the connection."""
        session, peer, now = self.session, self.peer, self._simulation.now
        if session is None or peer is None:
            return False
        self._reader.active[self._assignment] = None
        if self.left == 0 and not self._has_more:
            session.lose(now, self._simulation.ends)
        elif peer.sent or self._has_more:
            data = b"" if self._has_more else self._simulation.take_chunk(self)
            if session.receive(data, now):
                self.flush()
                self._has_more = session.process()
        elif peer.closes:
            session.lose(now)
        self.close_if_over()
        return self._has_more

    def expire(self) -> None:
        """Give up to connect."""
        raise AssertionError("a simulated connection is made at once")

    def send(self) -> bool:
        """Pass it on, after what the peer has sent before, if anything."""
        session, peer = self.session, self.peer
        has_come = session is not None and session.expects_nothing and self.is_readable
        if session is None or peer is None or not peer.sent or not has_come:
            self.flush()
            return False
        session.receive_early(self._simulation.take_chunk(self), self._simulation.now)
        self.flush()
        while session.process():
            pass
        self.close_if_over()
        return True

    def flush(self) -> None:
        """Pass to the peer what the session has to send."""
        if self.session is None or self.peer is None or not self.session.outgoing:
            return
        data = self.session.take_outgoing(self._simulation.now)
        closes_on = self._simulation.closes_on
        if closes_on is not None and closes_on in data:
            self.peer.closes = True
            return
        self.peer.receive(data, self._simulation.now)

    def close(self) -> None:
        """End it."""
        self.peer = None
        if self in self._simulation.links:
            self._simulation.links.remove(self)

    def close_if_over(self) -> None:
        """End it if its session has ended."""
        if self.session is not None and self.session.phase is Phase.CLOSED:
            self.close()

    @property
    def names(self) -> set[object]:
        """Names by which a test may mean this connection: the address, and its streams."""
        assignment = self._assignment
        return {assignment.options.address, *(stream.name for stream in assignment.streams)}

    @property
    def is_readable(self) -> bool:
        """True if there is something to receive."""
        simulation = self._simulation
        if self.peer is None or simulation.is_deaf:
            return False
        if simulation.silent and not self.names.isdisjoint(simulation.silent):
            return False
        return bool(self.peer.sent or self.peer.closes or self.left == 0)


class Simulation:
    """A poller without sockets: drives the engine with a clock of its own.

    Time passes only while nothing else is left to do.

    Args:
        server: The server at every address that `servers` does not have.
        streams: The streams to follow.
        chunks: Sizes of the pieces of replies, over and over, in bytes.
        cuts: Numbers of bytes after which connections break, one after the other; None for
            never, which is also what the connections after these do.
        connection: Connection options.
        sources: Connection options for each of several sources instead.
        servers: Servers by address, ``"host:port"``.
        read: Read options.

    Attributes:
        now: The time, in seconds.
        failures: The outcomes of the next attempts to connect, None for success.
        attempts: The times of attempts to connect.
        addresses: The addresses of these attempts.
        unreachable: Addresses at which nobody listens, or streams whose connections fail.
        silent: Addresses, or streams, over whose connections nothing comes.
        is_deaf: True if peers neither send anything any more, nor close.
        ends: The error of connections that are cut; None for the end of the stream.
        most_held: The most messages of one stream that were held.
        links: The open connections.
        most_links: The most connections that were open at once.
    """

    def __init__(
        self,
        server: Server,
        streams: StreamsArgument | None = None,
        *,
        chunks: Iterable[int] = (),
        cuts: Iterable[int | None] = (),
        connection: Mapping[str, Any] | None = None,
        sources: Mapping[str | None, Mapping[str, Any]] | None = None,
        servers: Mapping[str, Server] | None = None,
        **read: Any,
    ) -> None:
        self.server = server
        self.servers = dict(servers or {})
        self.now = 1000.0
        self.failures: deque[OSError | None] = deque()
        self.attempts: list[float] = []
        self.addresses: list[str] = []
        self.unreachable: set[object] = set()
        self.silent: set[object] = set()
        self.is_deaf = False
        self.noise = b""
        self.closes_on: bytes | None = None
        self.ends: OSError | None = ConnectionResetError(104, "connection reset by peer")
        self.most_held = 0
        self.links: list[Link] = []
        self.most_links = 0
        given = sources or {None: connection or {}}
        options = {name: ConnectionOptions(**each) for name, each in given.items()}
        self.reader = Reader(options, reading(**read))
        self.engine = Engine(
            self.reader, cast("Any", self), connect=cast("Any", Link), clock=lambda: self.now
        )
        self._chunks: Iterator[int] = cycle(tuple(chunks) or (2**20,))
        self._cuts: Iterator[int | None] = chain(cuts, repeat(None))
        self._events: list[tuple[float, Callable[[], object]]] = []
        if streams is not None:
            self.reader.add(streams, {})

    @property
    def peer(self) -> Peer | None:
        """The server's side of the only connection."""
        return self.links[0].peer if self.links else None

    def at(self, seconds: float, event: Callable[[], object]) -> None:
        """Let something happen that many seconds from now."""
        self._events.append((self.now + seconds, event))
        self._events.sort(key=lambda event: event[0])

    def sleep(self, seconds: float) -> None:
        """Let the caller work for some time, in which the servers go on."""
        until = self.now + seconds
        for _ in range(PATIENCE):
            if not self._pass_time(until):
                return
        raise AssertionError("time does not pass")

    def run(self, steps: Steps) -> Batch:
        """Run an operation of the engine to its end."""
        try:
            timeout = next(steps)
            for _ in range(PATIENCE):
                timeout = steps.send(cast("Any", self._wait(timeout)))
        except StopIteration as done:
            batch: Batch = done.value
            return batch
        finally:
            steps.close()
        raise AssertionError("it waits without end")

    def establish(self) -> Simulation:
        """Do as a constructor does."""
        self.run(self.engine.establish())
        return self

    def add(self, streams: StreamsArgument | None = None, **named: Start) -> None:
        """Do as `Streams.add` does."""
        order = Order(self.engine.add(streams, named), lambda: None)
        self.engine.submit(order)
        self.run(self.engine.carry_out())
        if order.error is not None:
            raise order.error

    def discard(self, *names: Followed) -> None:
        """Do as `Streams.discard` does."""
        self.reader.discard(names)

    def next(self) -> Any:
        """Do as `Streams.__next__` does."""
        for message in self.reader.batch.iterator:
            return message
        batch = self.run(self.engine.next_batch())
        check_attention(self.reader)
        self._note_held()
        return next(batch.iterator)

    def cut(self, name: object = None) -> None:
        """Break the connections to an address, or those of a stream, or all of them."""
        for link in self.links:
            if name is None or name in link.names:
                link.left = 0

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

    def interrupt(self) -> None:
        """Do as a shell does when Ctrl-C comes in the middle of something."""
        self.reader.rewind()
        self.engine.disconnect()

    def next_cut(self) -> int | None:
        """Return the number of bytes after which the next connection breaks."""
        return next(self._cuts)

    def take_chunk(self, link: Link) -> bytes:
        """Take out the next piece of what the peer of a connection has sent."""
        assert link.peer is not None
        size = next(self._chunks)
        if link.left is not None:
            size = min(size, link.left)
        data, link.peer.sent = link.peer.sent[:size], link.peer.sent[size:]
        if link.left is not None:
            link.left -= len(data)
        return data

    def _wait(self, timeout: float | None) -> list[Link]:
        """Let time pass until something can be read, or for `timeout` seconds."""
        until = None if timeout is None else self.now + timeout
        for _ in range(PATIENCE):
            ready = [link for link in self.links if link.is_readable]
            if ready or not self._pass_time(until):
                return ready
        raise AssertionError("the server has nothing to say")

    def _pass_time(self, until: float | None) -> bool:
        """Go on to the next thing that happens; return False if that is none before `until`."""
        peers = [link.peer for link in self.links if link.peer is not None]
        times = [event[0] for event in self._events[:1]]
        times += [peer.deadline for peer in peers if peer.deadline is not None]
        if until is not None and (not times or until < min(times)):
            self.now = max(self.now, until)
            return False
        assert times, "nothing will ever happen"
        self.now = max(self.now, min(times))
        if self._events and self._events[0][0] <= self.now:
            self._events.pop(0)[1]()
        for link in list(self.links):
            if link.peer is not None:
                link.peer.work(self.now)
        return True

    def _note_held(self) -> None:
        held = Counter(message[0] for message in self.reader.batch.messages)
        for assignment in self.reader.assignments:
            for stream in assignment.streams:
                held[stream.name] += len(stream.pending)
        self.most_held = max(self.most_held, *held.values(), 0)
