"""`pystreamredis.io.connection`: connections of every kind, and how each of them fails.

A connection is driven by hand, over a poller for one thread. In the place of the core there is
a reader that only takes note.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from pystreamredis.core.events import Phase
from pystreamredis.io.blocking import Poller, Woken
from pystreamredis.io.connection import READ, WRITE, Connection
from pystreamredis.options import ConnectionOptions
from tests.certificates import Authority
from tests.peer import closed_port
from tests.servers import LONG

Handler = Callable[[socket.socket], object]


class Session:
    """Takes note of what is received, and has bytes to send."""

    def __init__(self) -> None:
        self.phase = Phase.IDLE
        self.outgoing: list[bytes] = []
        self.received = b""
        self.pieces: list[int] = []
        self.ends: list[OSError | None] = []
        self.processed = 0
        # Calls of `process` after which more can be read.
        self.more = 0

    def receive(self, data: bytes, now: float) -> bool:
        self.received += data
        self.pieces.append(len(data))
        return True

    def process(self) -> bool:
        self.processed += 1
        self.more -= 1
        return self.more >= 0

    def lose(self, now: float, error: OSError | None = None) -> None:
        self.ends.append(error)
        self.phase = Phase.CLOSED

    def take_outgoing(self, now: float) -> bytes:
        data, self.outgoing = b"".join(self.outgoing), []
        return data


class Reader:
    """Takes note of connections that are made, and of those that cannot be made."""

    def __init__(self) -> None:
        self.active: dict[Any, None] = {}
        self.addresses: list[str] = []
        self.failures: list[Exception] = []
        self.session: Session | None = None
        self.first_phase = Phase.IDLE

    def opened(self, now: float, assignment: Any, address: str, ask: object = None) -> Session:
        self.addresses.append(address)
        self.session = Session()
        self.session.phase = self.first_phase
        return self.session

    def not_opened(self, now: float, assignment: Any, address: str, cause: Exception) -> None:
        self.addresses.append(address)
        self.failures.append(cause)


class Assignment:
    """The address of a server."""

    def __init__(self, options: ConnectionOptions) -> None:
        self.options = options
        self.is_connecting = False
        self.history = SimpleNamespace(address_turn=0)


class Sockets(Poller):
    """A poller that shows what it watches."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[socket.socket, int] = {}

    def watch(self, sock: socket.socket, events: int, owner: Connection) -> None:
        super().watch(sock, events, owner)
        self.watched[sock] = events

    def forget(self, sock: socket.socket) -> None:
        super().forget(sock)
        self.watched.pop(sock, None)


class Rig:
    """A connection, and what is around it."""

    def __init__(self, options: ConnectionOptions, poller: Sockets, turn: int = 0) -> None:
        self.reader = Reader()
        self.assignment = Assignment(options)
        self.assignment.history.address_turn = turn
        self.poller = poller
        reader: Any = self.reader
        assignment: Any = self.assignment
        self.connection = Connection(reader, assignment, poller)

    @property
    def session(self) -> Session:
        assert self.reader.session is not None
        return self.reader.session

    @property
    def sock(self) -> socket.socket:
        """The only socket that is watched."""
        (sock,) = self.poller.watched
        return sock

    @property
    def events(self) -> int:
        return self.poller.watched[self.sock]

    def step(self, timeout: float = LONG) -> bool:
        """Wait, and let the connection respond; return True if it has more."""
        more = False
        for owner in self.poller.wait(timeout):
            assert owner is self.connection
            more = owner.respond()
        return more

    def connect(self) -> Rig:
        """Connect; raise what keeps it from that."""
        self.connection.begin()
        for _ in range(1000):
            if self.reader.failures:
                raise self.reader.failures[0]
            if self.connection.session is not None:
                return self
            deadline = self.connection.deadline
            left = LONG if deadline is None else deadline - monotonic()
            if left <= 0:
                self.connection.expire()
            else:
                self.step(left)
        raise AssertionError("it connects without end")

    def receive(self, size: int | None = None) -> bytes:
        """Receive `size` bytes, or all there are until the end."""
        session, more = self.session, False
        while not session.ends and (size is None or len(session.received) < size):
            more = self.connection.respond() if more else self.step()
        if session.ends and session.ends[0] is not None:
            raise session.ends[0]
        return session.received

    def send(self, data: bytes) -> None:
        self.session.outgoing.append(data)
        self.connection.flush()


@pytest.fixture
def poller() -> Iterator[Sockets]:
    with closing(Sockets()) as poller:
        yield poller
        # Sockets that are left open would be warned of, and warnings are errors.
        assert poller.watched == {}
        gc.collect()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def connected(options: ConnectionOptions, poller: Sockets) -> Iterator[Rig]:
    rig = Rig(options, poller)
    with closing(rig.connection):
        yield rig.connect()


def listen(family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen()
    listener.settimeout(LONG)
    return listener


@contextmanager
def serving(listener: socket.socket, handler: Handler) -> Iterator[Any]:
    """Accept one connection and let `handler` have it, in a thread; gives the address."""

    def serve() -> None:
        # Nobody else closes it: a connection may be over before it was accepted.
        with listener:
            sock, _ = listener.accept()
        with sock:
            sock.settimeout(LONG)
            handler(sock)

    # Asked for now: the listener may be gone when the caller wants to know.
    address = listener.getsockname()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield address
    finally:
        thread.join(LONG)
        assert not thread.is_alive()


def read_to_end(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def say_hello(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    read_to_end(sock)


def options_for(address: Any, host: str = "127.0.0.1", **more: Any) -> ConnectionOptions:
    return ConnectionOptions(host, address[1], **more)


def reset(sock: socket.socket) -> None:
    """Make the end of the connection a reset instead of an orderly close."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Ways to connect.


def test_bytes_go_to_a_tcp_peer_and_come_back(poller: Sockets) -> None:
    def echo(sock: socket.socket) -> None:
        sock.sendall(sock.recv(100))

    with serving(listen(), echo) as address, connected(options_for(address), poller) as rig:
        rig.send(b"PING")
        assert rig.receive() == b"PING"
        assert rig.session.processed == 1
        assert rig.assignment in rig.reader.active
        assert rig.reader.addresses == [f"127.0.0.1:{address[1]}"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
@pytest.mark.parametrize("as_bytes", [False, True])
def test_bytes_go_to_a_unix_socket_and_come_back(
    poller: Sockets, tmp_path: Path, as_bytes: bool
) -> None:
    """Contract 1.2: `unix_socket_path`."""
    path = str(tmp_path / "socket")
    listener = listen(socket.AF_UNIX, path)
    options = ConnectionOptions(unix_socket_path=path.encode() if as_bytes else path)
    with (
        serving(listener, lambda sock: sock.sendall(sock.recv(100))),
        connected(options, poller) as rig,
    ):
        rig.send(b"PING")
        assert rig.receive() == b"PING"


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_is_connected_to(poller: Sockets) -> None:
    try:
        listener = listen(socket.AF_INET6, ("::1", 0))
    except OSError:
        pytest.skip("needs ::1")
    with (
        serving(listener, lambda sock: sock.sendall(b"hello")) as address,
        connected(options_for(address, "::1"), poller) as rig,
    ):
        assert rig.receive() == b"hello"


@pytest.mark.parametrize("keepalive", [True, False])
def test_tcp_sends_at_once_and_is_kept_alive_as_asked(poller: Sockets, keepalive: bool) -> None:
    """Contract 1.2: `socket_keepalive`."""
    with serving(listen(), read_to_end) as address:
        options = options_for(address, socket_keepalive=keepalive)
        with connected(options, poller) as rig:
            assert rig.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            alive = rig.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert bool(alive) is keepalive


def test_the_next_address_of_a_host_is_tried_when_one_fails(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for localhost, which is ::1 first and 127.0.0.1 then."""
    with serving(listen(), read_to_end) as address:
        port = address[1]
        dead = dead_address()
        resolve_to(monkeypatch, dead, ("127.0.0.1", port))
        with connected(ConnectionOptions("some.host"), poller) as rig:
            assert rig.sock.getpeername()[1] == port
            # The next connection begins with the address that took this one.
            assert rig.assignment.history.address_turn == 1
            assert rig.reader.addresses == ["some.host:6379 (127.0.0.1)"]


@pytest.mark.parametrize("turn", [1, 3])
def test_the_address_whose_turn_it_is_is_tried_first(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    """Contract 5.4."""
    with serving(listen(), read_to_end) as address:
        resolve_to(monkeypatch, dead_address(), ("127.0.0.1", address[1]))
        rig = Rig(ConnectionOptions("some.host"), poller, turn)
        with closing(rig.connect().connection):
            assert rig.assignment.history.address_turn == turn


def dead_address() -> tuple[str, int]:
    """An address at which nobody listens, and nobody will."""
    return "127.0.0.1", closed_port()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_the_address_that_a_callable_names_is_connected_to(poller: Sockets) -> None:
    """Contract 5.1: and it is the one that texts name from then on."""
    with serving(listen(), read_to_end) as address:
        options = ConnectionOptions(lambda: ("127.0.0.1", address[1]))
        with connected(options, poller) as rig:
            assert rig.assignment.options.port == address[1]


def test_what_a_callable_host_raises_is_the_failure(poller: Sockets) -> None:
    """Contract 5.1."""

    def fail() -> tuple[str, int]:
        raise LookupError("nobody knows")

    with pytest.raises(OSError, match="LookupError: nobody knows"):
        Rig(ConnectionOptions(fail), poller).connect()


# Ways to fail.


def test_a_refused_connection_is_the_systems_error(poller: Sockets) -> None:
    host, port = dead_address()
    rig = Rig(ConnectionOptions(host, port), poller)
    with pytest.raises(ConnectionRefusedError) as caught:
        rig.connect()
    assert caught.value.errno == errno.ECONNREFUSED
    assert rig.reader.addresses == [f"{host}:{port}"]
    assert not rig.assignment.is_connecting


def test_a_refused_tls_connection_is_the_systems_error(poller: Sockets) -> None:
    host, port = dead_address()
    with pytest.raises(ConnectionRefusedError):
        Rig(ConnectionOptions(host, port, ssl=True), poller).connect()


def test_an_error_is_named_in_the_words_of_windows(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its strerror() knows no error of a socket, and errorTab not all of them."""
    host, port = dead_address()
    for table, text in (({errno.ECONNREFUSED: "nobody"}, "nobody"), ({}, "system: 111")):
        monkeypatch.setattr(socket, "errorTab", table, raising=False)
        words = "system: {}".format
        monkeypatch.setattr(ctypes, "FormatError", words, raising=False)
        with pytest.raises(ConnectionRefusedError, match=text):
            Rig(ConnectionOptions(host, port), poller).connect()


def test_the_last_addresss_error_is_reported_when_all_fail(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = dead_address()
    resolve_to(monkeypatch, dead, ("127.0.0.2", dead[1]))
    rig = Rig(ConnectionOptions("some.host"), poller)
    with pytest.raises(ConnectionRefusedError):
        rig.connect()
    assert rig.reader.addresses == ["some.host:6379 (127.0.0.2)"]
    assert len(rig.reader.failures) == 1


def test_a_host_without_addresses_is_an_oserror(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch)
    with pytest.raises(OSError, match="no addresses"):
        Rig(ConnectionOptions("some.host"), poller).connect()


@pytest.mark.parametrize(
    "host",
    ["a" * 64 + ".example", "a..example", ".example", "fe80::1%no-such-interface"],
    ids=["label too long", "empty label", "leading dot", "no such interface"],
)
def test_a_host_that_cannot_be_resolved_is_an_oserror(poller: Sockets, host: str) -> None:
    """These fail before anybody is asked over the network."""
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        Rig(ConnectionOptions(host), poller).connect()


def test_an_unknown_host_is_an_oserror(poller: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        Rig(ConnectionOptions("some.host"), poller).connect()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
def test_an_address_of_digits_is_not_looked_up(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """There may be no thread for it."""
    monkeypatch.setattr(poller, "look_up", None)
    rig = Rig(ConnectionOptions(host, closed_port()), poller)
    with closing(rig.connection):
        rig.connection.begin()
    assert not any(isinstance(failure, TypeError) for failure in rig.reader.failures)


def test_a_look_up_that_cannot_begin_is_a_failure(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no thread for a look-up")

    monkeypatch.setattr(poller, "look_up", fail)
    with pytest.raises(OSError, match="no thread"):
        Rig(ConnectionOptions("some.host"), poller).connect()


class SlowPoller(Sockets):
    """One whose look-ups are over when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_done = False

    def look_up(self, function: Callable[[], Any], owner: Connection) -> Any:
        return SimpleNamespace(done=lambda: self.is_done, result=function, cancel=lambda: None)


def test_a_look_up_goes_on_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SlowPoller()) as poller, serving(listen(), read_to_end) as address:
        resolve_to(monkeypatch, ("127.0.0.1", address[1]))
        rig = Rig(ConnectionOptions("some.host"), poller)
        rig.connection.begin()
        rig.connection.respond()
        assert poller.watched == {}
        assert rig.assignment.is_connecting
        poller.is_done = True
        rig.connection.respond()
        rig.step()
        assert rig.connection.session is not None
        rig.connection.close()


def test_a_look_up_that_ends_after_its_connection_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_to(monkeypatch, dead_address())
    with closing(SlowPoller()) as poller:
        rig = Rig(ConnectionOptions("some.host"), poller)
        rig.connection.begin()
        rig.connection.close()
        poller.is_done = True
        rig.connection.respond()
        assert poller.watched == {}
        assert rig.reader.addresses == []


def test_a_look_up_counts_within_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.5."""
    resolve_to(monkeypatch, dead_address())
    with closing(SlowPoller()) as poller:
        rig = Rig(ConnectionOptions("some.host", socket_connect_timeout=7), poller)
        before = monotonic()
        rig.connection.begin()
        assert rig.connection.deadline is not None
        assert before + 7 <= rig.connection.deadline <= monotonic() + 7
        rig.connection.expire()
        assert isinstance(rig.reader.failures[0], TimeoutError)
        poller.is_done = True
        rig.connection.respond()
        assert len(rig.reader.failures) == 1


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
@pytest.mark.parametrize("name", ["nothing here", "x" * 300])
def test_a_unix_socket_that_is_not_there_is_an_oserror(
    poller: Sockets, tmp_path: Path, name: str
) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        Rig(ConnectionOptions(unix_socket_path=str(tmp_path / name)), poller).connect()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where Linux is silent")
def test_a_peer_that_does_not_accept_is_given_up_on_in_time(poller: Sockets) -> None:
    """Contract 1.2: `socket_connect_timeout`."""
    with full_listener() as address:
        rig = Rig(options_for(address, socket_connect_timeout=7), poller)
        rig.connection.begin()
        assert rig.events == WRITE
        sock = rig.sock
        rig.connection.expire()
        assert sock.fileno() == -1
        (failure,) = rig.reader.failures
        assert isinstance(failure, TimeoutError)
        assert str(failure) == "no answer within 7 s"


@contextmanager
def full_listener() -> Iterator[Any]:
    """One that leaves further connections without an answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield listener.getsockname()
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where Linux is silent")
def test_each_address_of_a_host_has_time_of_its_own(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_listener() as full, serving(listen(), read_to_end) as address:
        resolve_to(monkeypatch, full, ("127.0.0.1", address[1]))
        rig = Rig(ConnectionOptions("some.host", socket_connect_timeout=7), poller)
        rig.connection.begin()
        while not poller.watched:
            rig.step()
        first = rig.connection.deadline
        rig.connection.expire()
        assert rig.reader.failures == []
        assert rig.connection.deadline is not None
        assert first is not None
        assert rig.connection.deadline > first
        rig.step()
        assert rig.connection.session is not None
        assert rig.connection.deadline is None
        rig.connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where Linux is silent")
def test_without_a_timeout_there_is_no_deadline(poller: Sockets) -> None:
    with full_listener() as address:
        rig = Rig(options_for(address, socket_timeout=None), poller)
        rig.connection.begin()
        assert rig.connection.deadline is None
        rig.connection.close()


def test_a_connection_closed_amid_connecting_leaves_no_socket(poller: Sockets) -> None:
    """Contract 4.4: whoever drives it may give it up."""
    with listen() as listener:
        rig = Rig(options_for(listener.getsockname()), poller)
        rig.connection.begin()
        sock = rig.sock
        assert rig.assignment.is_connecting
        rig.connection.close()
        assert sock.fileno() == -1
        assert not rig.assignment.is_connecting
        assert rig.connection.respond() is False
        rig.connection.expire()
        rig.connection.flush()
        rig.connection.close()
        assert not rig.connection.fetch()


def test_a_wake_ends_a_connect(poller: Sockets) -> None:
    """Contract 4.4."""
    with listen() as listener:
        poller.wake()
        rig = Rig(options_for(listener.getsockname()), poller)
        with closing(rig.connection), pytest.raises(Woken):
            rig.connect()


@pytest.mark.parametrize(
    ("step", "tls"),
    [
        *[(step, False) for step in ("socket", "setblocking", "connect_ex", "watch")],
        *[(step, True) for step in ("socket", "wrap", "connect_ex", "watch")],
    ],
)
def test_a_system_that_fails_at_any_step_is_left_no_socket(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch, step: str, tls: bool
) -> None:
    """Contract 5.1: no descriptor, no memory, too many sockets."""
    error = OSError(errno.EMFILE, "Too many open files")
    made: list[socket.socket] = []
    make, wrap = socket.socket.__init__, ssl.SSLContext.wrap_socket

    def note(sock: socket.socket, *args: Any, **options: Any) -> None:
        make(sock, *args, **options)
        made.append(sock)

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    with listen() as listener:
        rig = Rig(options_for(listener.getsockname(), ssl=tls), poller)
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "__init__", fail if step == "socket" else note)
            patched.setattr(ssl.SSLContext, "wrap_socket", fail if step == "wrap" else wrap)
            if step in ("setblocking", "connect_ex"):
                patched.setattr(ssl.SSLSocket if tls else socket.socket, step, fail, raising=False)
            if step == "watch":
                patched.setattr(poller, "watch", fail)
            rig.connection.begin()
        assert rig.reader.failures == [error]
        assert all(sock.fileno() == -1 for sock in made)


def test_a_socket_that_cannot_be_watched_once_connected_is_closed(poller: Sockets) -> None:
    class Poller(Sockets):
        def watch(self, sock: socket.socket, events: int, owner: Connection) -> None:
            if events == READ:
                raise error
            super().watch(sock, events, owner)

    error = OSError("too many sockets")
    with serving(listen(), read_to_end) as address, closing(Poller()) as few:
        rig = Rig(options_for(address), few)
        with pytest.raises(OSError, match="too many sockets"):
            rig.connect()
        assert few.watched == {}


def test_a_session_that_ends_at_once_ends_its_connection(poller: Sockets) -> None:
    """A callable password that raises, say."""
    with serving(listen(), read_to_end) as address:
        rig = Rig(options_for(address), poller)
        rig.reader.first_phase = Phase.CLOSED
        rig.connect()
        assert poller.watched == {}


@pytest.mark.parametrize("phase", list(Phase))
def test_only_a_session_that_has_ended_ends_its_connection(poller: Sockets, phase: Phase) -> None:
    with serving(listen(), read_to_end) as address, connected(options_for(address), poller) as rig:
        rig.connection.close_if_over()
        rig.session.phase = phase
        rig.connection.close_if_over()
        assert bool(poller.watched) is (phase is not Phase.CLOSED)


# Sending and receiving.


def test_nothing_is_received_when_nothing_has_come(poller: Sockets) -> None:
    with serving(listen(), read_to_end) as address, connected(options_for(address), poller) as rig:
        assert rig.connection.respond() is False
        assert rig.session.pieces == []
        assert rig.session.ends == []
        assert rig.connection.fetch()


class MadeUp:
    """A socket that says something each time that bytes are received or sent."""

    def __init__(self, *said: int | OSError) -> None:
        self.said = list(said)
        self.sizes: list[int] = []
        self.sent: list[bytes] = []
        self.is_closed = False

    def _say(self) -> int:
        said = self.said.pop(0)
        if isinstance(said, OSError):
            raise said
        return said

    def recv(self, size: int) -> bytes:
        self.sizes.append(size)
        said = self._say()
        assert said <= size
        return b"x" * said

    def send(self, data: bytes) -> int:
        self.sent.append(data)
        return self._say()

    def fileno(self) -> int:
        return 99

    def setblocking(self, value: bool) -> None:
        assert not value

    def connect_ex(self, address: Any) -> int:
        return 0

    def setsockopt(self, *_: int) -> None: ...

    def close(self) -> None:
        self.is_closed = True


class Watched:
    """A poller that only takes note."""

    def __init__(self) -> None:
        self.watched: list[int] = []
        self.error: OSError | None = None

    def watch(self, sock: Any, events: int, owner: Any) -> None:
        if self.error is not None:
            raise self.error
        self.watched.append(events)

    def forget(self, sock: Any) -> None:
        self.watched.append(0)


@pytest.fixture
def over(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Rig, MadeUp]]:
    """Connect over a socket that is made up."""

    def connect(*said: int | OSError) -> tuple[Rig, MadeUp]:
        sock = MadeUp(*said)
        monkeypatch.setattr(socket, "socket", lambda *_: sock)
        watched: Any = Watched()
        rig = Rig(ConnectionOptions("127.0.0.1"), watched)
        rig.connection.begin()
        assert watched.watched == [READ]
        return rig, sock

    return connect


Over = Callable[..., tuple[Rig, MadeUp]]
FEW, MOST = 65_536, 1_048_576


@pytest.mark.parametrize(
    ("said", "received", "left"),
    [
        ((100, BlockingIOError()), 100, 1),
        ((20_000, BlockingIOError()), 20_000, 1),
        ((FEW, BlockingIOError()), FEW, 0),
        ((FEW, 5, BlockingIOError()), FEW + 5, 1),
        ((FEW, 0), FEW, 0),
        ((FEW, ConnectionResetError()), FEW, 0),
        ((FEW, MOST, 1), FEW + MOST, 1),
    ],
)
def test_what_is_there_is_received_at_once(
    over: Over, said: tuple[int | OSError, ...], received: int, left: int
) -> None:
    """Little shows that no more is there; and peers that never stop are not waited for."""
    rig, sock = over(*said)
    rig.connection.respond()
    assert rig.session.pieces == [received]
    assert rig.session.ends == []
    assert len(sock.said) == left
    rig.connection.close()


def test_more_is_asked_for_while_large_replies_come(over: Over) -> None:
    rig, sock = over(FEW, MOST, MOST, FEW, FEW - 1, 100, 7)
    for _ in range(5):
        rig.connection.respond()
    assert rig.session.pieces == [FEW + MOST, MOST, FEW, FEW - 1, 100]
    assert sock.sizes == [FEW, MOST, MOST, MOST, MOST, FEW]
    rig.connection.close()


def test_a_flood_ends_where_nothing_is_there(over: Over) -> None:
    rig, sock = over(FEW, MOST, BlockingIOError(), 7)
    for _ in range(3):
        rig.connection.respond()
    assert sock.sizes[-1] == FEW
    assert rig.session.pieces == [FEW + MOST, 7]
    rig.connection.close()


@pytest.mark.parametrize("end", [0, ConnectionResetError()])
def test_the_end_of_the_stream_ends_the_connection(over: Over, end: int | OSError) -> None:
    rig, sock = over(5, end)
    rig.connection.respond()
    rig.connection.respond()
    assert rig.session.ends == [None if end == 0 else end]
    assert sock.is_closed
    assert rig.connection.respond() is False
    rig.connection.flush()


def test_bytes_fetched_before_they_are_asked_for_come_first(over: Over) -> None:
    rig, sock = over(1, 2, 3, 4, 5)
    assert [rig.connection.fetch() for _ in range(4)] == [True] * 4
    # There is a limit, beyond which the peer has to wait.
    assert not rig.connection.fetch()
    assert sock.said == [5]
    assert [rig.connection.respond() for _ in range(5)] == [True, True, True, False, False]
    assert rig.session.pieces == [1, 2, 3, 4, 5]
    rig.connection.close()


def test_nothing_is_kept_of_a_fetch_that_finds_nothing(over: Over) -> None:
    rig, _ = over(BlockingIOError(), 7)
    assert rig.connection.fetch()
    rig.connection.respond()
    assert rig.session.pieces == [7]
    rig.connection.close()


@pytest.mark.parametrize("end", [0, ConnectionResetError()])
def test_the_end_that_was_fetched_comes_after_the_bytes(over: Over, end: int | OSError) -> None:
    rig, sock = over(3, end)
    assert rig.connection.fetch()
    assert not rig.connection.fetch()
    assert rig.connection.respond()
    assert rig.session.ends == []
    assert not rig.connection.respond()
    assert rig.session.ends == [None if end == 0 else end]
    assert sock.is_closed


def test_what_a_session_left_unread_is_read_before_more_is_received(over: Over) -> None:
    rig, _ = over(3, 4)
    rig.session.more = 2
    assert [rig.connection.respond() for _ in range(4)] == [True, True, False, False]
    assert rig.session.pieces == [3, 0, 0, 4]
    assert rig.session.ends == []
    rig.connection.close()


def test_a_connection_is_broken_off_after_what_was_received(over: Over) -> None:
    """The event loop cannot watch its socket any more, say."""
    rig, sock = over(3)
    rig.connection.fetch()
    error = OSError("cannot be watched")
    rig.connection.break_off(error)
    assert rig.connection.respond()
    rig.connection.respond()
    assert rig.session.pieces == [3]
    assert rig.session.ends == [error]
    assert sock.is_closed


def test_a_connection_is_broken_off_while_it_is_made(poller: Sockets) -> None:
    with listen() as listener:
        rig = Rig(options_for(listener.getsockname()), poller)
        rig.connection.begin()
        sock, error = rig.sock, OSError("cannot be watched")
        rig.connection.break_off(error)
        assert rig.reader.failures == [error]
        assert sock.fileno() == -1


def test_what_the_system_does_not_take_is_sent_later_and_in_order(over: Over) -> None:
    rig, sock = over(4, BlockingIOError(), 3, 6)
    watched: Any = rig.poller
    rig.send(b"abcdef")
    assert watched.watched[1:] == [READ | WRITE]
    # Nothing is fetched: what a peer says to the rest of a request is not awaited yet.
    assert not rig.connection.fetch()
    rig.send(b"ghi")
    rig.connection.flush()
    rig.connection.flush()
    assert sock.sent == [b"abcdef", b"efghi", b"efghi", b"hi"]
    assert watched.watched[1:] == [READ | WRITE] * 3 + [READ]
    rig.connection.close()


def test_a_response_sends_what_could_not_be_sent(over: Over) -> None:
    rig, sock = over(BlockingIOError(), BlockingIOError(), 3)
    rig.send(b"abc")
    rig.connection.respond()
    assert sock.sent == [b"abc", b"abc"]
    rig.connection.close()


def test_what_a_session_has_to_send_after_bytes_is_sent_at_once(over: Over) -> None:
    rig, sock = over(2, 5)
    rig.session.outgoing.append(b"XREAD")
    rig.connection.respond()
    assert sock.sent == [b"XREAD"]
    rig.connection.close()


def test_nothing_is_sent_where_there_is_nothing_to_send(over: Over) -> None:
    rig, sock = over()
    rig.connection.flush()
    assert sock.sent == []
    rig.connection.close()


def test_replies_are_read_though_nothing_can_be_sent_any_more(over: Over) -> None:
    """What ends them says why."""
    rig, _ = over(BrokenPipeError(), 5, 0)
    rig.send(b"abc")
    assert rig.session.ends == []
    rig.connection.respond()
    rig.connection.respond()
    assert rig.session.pieces == [5]
    assert rig.session.ends == [None]


def test_a_socket_that_cannot_be_watched_for_sending_is_lost(over: Over) -> None:
    rig, sock = over(1)
    watched: Any = rig.poller
    watched.error = OSError("too many sockets")
    rig.send(b"abc")
    assert rig.session.ends == [watched.error]
    assert sock.is_closed


def test_a_closed_connection_is_received_as_its_end(poller: Sockets) -> None:
    with (
        serving(listen(), lambda sock: sock.sendall(b"last words")) as address,
        connected(options_for(address), poller) as rig,
    ):
        assert rig.receive() == b"last words"
        assert rig.session.ends == [None]
        assert poller.watched == {}


def test_a_reset_connection_is_an_oserror(poller: Sockets) -> None:
    with (
        serving(listen(), reset) as address,
        # It may come while the connection is made, or after that.
        pytest.raises(ConnectionResetError),
        connected(options_for(address), poller) as rig,
    ):
        rig.receive()


def test_a_large_request_reaches_a_peer_that_reads_late(poller: Sockets) -> None:
    sent = b"".join(b"%08d" % number for number in range(1_000_000))
    start_reading = threading.Event()
    received: list[bytes] = []

    def read_late(sock: socket.socket) -> None:
        start_reading.wait(LONG)
        received.append(read_to_end(sock))

    with serving(listen(), read_late) as address, connected(options_for(address), poller) as rig:
        rig.send(sent[:-8])
        assert rig.events == READ | WRITE
        rig.send(sent[-8:])
        start_reading.set()
        while rig.events & WRITE:
            rig.step()
        assert rig.events == READ
    assert received == [sent]


# TLS.


def tls_handler(context: ssl.SSLContext, handler: Handler) -> Handler:
    def serve(sock: socket.socket) -> None:
        # The client may refuse; that is what such a test is about.
        with suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
            handler(tls)

    return serve


@contextmanager
def tls_serving(context: ssl.SSLContext, handler: Handler = read_to_end) -> Iterator[Any]:
    with serving(listen(), tls_handler(context, handler)) as address:
        yield address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_with_a_certificate_for_the_host(
    poller: Sockets, authority: Authority, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Contract 1.2: `ssl` and `ssl_ca_certs`; large data in both directions."""
    certificate = authority.sign("right", "DNS:localhost,IP:127.0.0.1")
    large = bytes(range(256)) * 8192

    def echo(sock: socket.socket) -> None:
        received = b""
        while len(received) < len(large):
            received += sock.recv(65536)
        sock.sendall(received)

    with tls_serving(certificate.server_context(), echo) as address:
        resolve_to(monkeypatch, ("127.0.0.1", address[1]))
        options = options_for(address, host, ssl=True, ssl_ca_certs=authority.certfile)
        with connected(options, poller) as rig:
            assert isinstance(rig.sock, ssl.SSLSocket)
            rig.connection.respond()
            rig.send(large)
            while rig.events & WRITE:
                rig.step()
            assert rig.receive(len(large)) == large


def test_decrypted_bytes_that_no_poller_sees_are_pending(
    poller: Sockets, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 5.5: where a call receives less than TLS has decrypted."""
    receive = ssl.SSLSocket.recv
    monkeypatch.setattr(ssl.SSLSocket, "recv", lambda sock, size: receive(sock, min(size, 50)))
    certificate = authority.sign("pending", "IP:127.0.0.1")
    with tls_serving(
        certificate.server_context(), lambda sock: sock.sendall(b"x" * 16_000)
    ) as address:
        options = options_for(address, ssl=True, ssl_ca_certs=authority.certfile)
        with connected(options, poller) as rig:
            more = False
            while not rig.session.received:
                more = rig.step()
            while more:
                more = rig.connection.respond()
            assert len(rig.session.received) == 16_000


@pytest.mark.parametrize(
    ("names", "expired", "trusted", "reason"),
    [
        ("DNS:other.example,IP:127.0.0.2", False, True, "127.0.0.1"),
        ("IP:127.0.0.1", False, False, "verify failed"),
        ("IP:127.0.0.1", True, True, "expired"),
    ],
    ids=["of another host", "of an unknown authority", "expired"],
)
def test_a_certificate_that_is_not_good_is_refused(
    poller: Sockets, authority: Authority, names: str, expired: bool, trusted: bool, reason: str
) -> None:
    """Contract 5.1: a TLS failure is an error of the connection, and so an `OSError` here."""
    certificate = authority.sign("bad", names, expired=expired)
    with tls_serving(certificate.server_context()) as address:
        ca_certs = authority.certfile if trusted else None
        options = options_for(address, ssl=True, ssl_ca_certs=ca_certs)
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            Rig(options, poller).connect()


def test_a_certificate_signed_by_itself_is_refused(poller: Sockets, authority: Authority) -> None:
    with tls_serving(authority.server_context()) as address:
        options = options_for(address, ssl=True)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"self[- ]signed"):
            Rig(options, poller).connect()


def test_the_host_is_not_compared_when_told_so_but_the_authority_is(
    poller: Sockets, authority: Authority
) -> None:
    """Contract 1.2: `ssl_check_hostname`."""
    certificate = authority.sign("unchecked", "DNS:other.example")
    context = certificate.server_context()
    with tls_serving(context) as address:
        options = options_for(
            address, ssl=True, ssl_ca_certs=authority.certfile, ssl_check_hostname=False
        )
        with connected(options, poller):
            pass
    with tls_serving(context) as address:
        options = options_for(address, ssl=True, ssl_check_hostname=False)
        with pytest.raises(ssl.SSLCertVerificationError):
            Rig(options, poller).connect()


def test_the_clients_certificate_is_shown(poller: Sockets, authority: Authority) -> None:
    """Contract 1.2: `ssl_certfile` and `ssl_keyfile`."""
    certificate = authority.sign("server", "IP:127.0.0.1")
    client = authority.sign("client", "DNS:a.client")
    shown: list[Any] = []

    def remember(sock: socket.socket) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        shown.append(sock.getpeercert())
        sock.sendall(b"welcome")

    context = certificate.server_context(clients_from=authority.certfile)
    with tls_serving(context, remember) as address:
        options = options_for(
            address,
            ssl=True,
            ssl_ca_certs=authority.certfile,
            ssl_certfile=client.certfile,
            ssl_keyfile=client.keyfile,
        )
        with connected(options, poller) as rig:
            assert rig.receive(7) == b"welcome"
    assert shown[0]["subjectAltName"] == (("DNS", "a.client"),)


def test_a_server_that_misses_the_clients_certificate_ends_it_with_an_oserror(
    poller: Sockets, authority: Authority
) -> None:
    """With TLS 1.3 the client learns of it after its handshake, when it reads."""
    certificate = authority.sign("wanting", "IP:127.0.0.1")
    context = certificate.server_context(clients_from=authority.certfile)
    with tls_serving(context) as address:
        options = options_for(address, ssl=True, ssl_ca_certs=authority.certfile)
        with (
            pytest.raises(OSError, match=r"(?i)certificate|reset"),
            connected(options, poller) as rig,
        ):
            rig.receive()


def test_an_ssl_context_of_ones_own_is_used_as_it_is(poller: Sockets, authority: Authority) -> None:
    """Contract 1.2: `ssl` may be an `ssl.SSLContext`."""
    certificate = authority.sign("own", "DNS:other.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        tls_serving(certificate.server_context(), lambda sock: sock.sendall(b"ok")) as address,
        connected(options_for(address, ssl=context), poller) as rig,
    ):
        assert rig.receive(2) == b"ok"


@pytest.mark.parametrize(
    "handler",
    [
        lambda sock: (sock.recv(1), sock.sendall(b"-ERR unknown command\r\n")),
        lambda sock: sock.recv(100),
        reset,
    ],
    ids=["answers in plain text", "closes", "resets"],
)
def test_a_peer_without_tls_is_an_oserror(poller: Sockets, handler: Handler) -> None:
    with serving(listen(), handler) as address, pytest.raises(OSError):  # noqa: PT011 - the system's
        Rig(options_for(address, ssl=True), poller).connect()


def test_a_tls_peer_that_is_silent_is_given_up_on_at_the_deadline(poller: Sockets) -> None:
    """Contract 1.2, 5.5: connecting includes the handshake."""
    with serving(listen(), read_to_end) as address:
        rig = Rig(options_for(address, ssl=True, socket_connect_timeout=7), poller)
        rig.connection.begin()
        while rig.events != READ:
            rig.step()
        sock = rig.sock
        rig.connection.expire()
        assert isinstance(rig.reader.failures[0], TimeoutError)
        assert sock.fileno() == -1


def test_a_tls_handshake_that_is_given_up_leaves_no_socket(poller: Sockets) -> None:
    """Contract 4.4."""
    with serving(listen(), read_to_end) as address:
        rig = Rig(options_for(address, ssl=True), poller)
        rig.connection.begin()
        while rig.events != READ:
            rig.step()
        sock = rig.sock
        rig.connection.close()
        assert sock.fileno() == -1
        assert rig.reader.failures == []


def test_a_socket_is_wrapped_before_it_is_connected(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that is reset meanwhile, Python's `wrap_socket` loses the descriptor."""
    wrap = ssl.SSLContext.wrap_socket
    connected = []

    def see(context: ssl.SSLContext, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
        connected.append(sock.getsockname()[1] > 0)
        return wrap(context, sock, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", see)
    with listen() as listener:
        rig = Rig(options_for(listener.getsockname(), ssl=True), poller)
        rig.connection.begin()
        rig.connection.close()
    assert connected == [False]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_reset_amid_the_tls_handshake_leaves_no_socket_behind(
    poller: Sockets, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Once it is connected, right before the first step, and after it."""
    handshake = ssl.SSLSocket.do_handshake

    def reset_first(sock: ssl.SSLSocket) -> None:
        if at == 1:
            reset_by_peer()
        handshake(sock)

    def reset_by_peer() -> None:
        accepted, _ = listener.accept()
        reset(accepted)
        accepted.close()

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", reset_first)
    with listen() as listener:
        rig = Rig(options_for(listener.getsockname(), ssl=True), poller)
        rig.connection.begin()
        sock = rig.sock
        if at == 0:
            reset_by_peer()
        if at == 2:
            while rig.events != READ:
                rig.step()
            reset_by_peer()
        while not rig.reader.failures:
            rig.step()
    assert isinstance(rig.reader.failures[0], ConnectionResetError)
    assert sock.fileno() == -1


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_many_connections_leave_no_descriptor(poller: Sockets, authority: Authority) -> None:
    certificate = authority.sign("many", "IP:127.0.0.1")

    def connect_once() -> None:
        with tls_serving(certificate.server_context()) as address:
            options = options_for(address, ssl=True, ssl_ca_certs=authority.certfile)
            with connected(options, poller):
                pass

    connect_once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        connect_once()
    assert len(os.listdir("/proc/self/fd")) == before
