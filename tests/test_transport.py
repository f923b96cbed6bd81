"""`pystreamredis.transport`: connections of every kind, and how each of them fails."""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from pystreamredis.options import ConnectionOptions
from pystreamredis.transport import TlsTransport, Transport, connecting
from pystreamredis.waiting import READ, WRITE, Waiter, Woken
from tests.peer import closed_port
from tests.waits import connect, forget_all, wait_for

from .certificates import Authority

# Longer than anything here may take: a test that comes near it has failed.
LONG = 60.0

Handler = Callable[[socket.socket], object]

needs_dontwait = pytest.mark.skipif(
    not hasattr(socket, "MSG_DONTWAIT"), reason="this system has sockets block, or not"
)


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    with closing(Waiter()) as waiter:
        yield waiter


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


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


def receive(transport: Transport, waiter: Waiter, size: int | None = None) -> bytes:
    """Receive `size` bytes, or all there are, the way that a driver does."""
    received = b""
    deadline = monotonic() + LONG
    while size is None or len(received) < size:
        assert transport.has_pending() or wait_for(
            waiter, transport.sock, transport.events, deadline - monotonic()
        )
        data = transport.receive()
        if data == b"":
            return received
        received += data or b""
    return received


def reset(sock: socket.socket) -> None:
    """Make the end of the connection a reset instead of an orderly close."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Ways to connect.


def test_bytes_go_to_a_tcp_peer_and_come_back(waiter: Waiter) -> None:
    def echo(sock: socket.socket) -> None:
        sock.sendall(sock.recv(100))

    with (
        serving(listen(), echo) as address,
        closing(connect(options_for(address), waiter)) as transport,
    ):
        transport.send(b"PING")
        assert receive(transport, waiter) == b"PING"
        forget_all(waiter)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_bytes_go_to_a_unix_socket_and_come_back(
    waiter: Waiter, tmp_path: Path, as_bytes: bool
) -> None:
    """Contract 1.2: `unix_socket_path`."""
    path = str(tmp_path / "socket")
    listener = listen(socket.AF_UNIX, path)
    options = ConnectionOptions(unix_socket_path=path.encode() if as_bytes else path)
    with (
        serving(listener, lambda sock: sock.sendall(sock.recv(100))),
        closing(connect(options, waiter)) as transport,
    ):
        transport.send(b"PING")
        assert receive(transport, waiter) == b"PING"
        forget_all(waiter)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_is_connected_to(waiter: Waiter) -> None:
    try:
        listener = listen(socket.AF_INET6, ("::1", 0))
    except OSError:
        pytest.skip("needs ::1")
    with (
        serving(listener, lambda sock: sock.sendall(b"hello")) as address,
        closing(connect(options_for(address, "::1"), waiter)) as transport,
    ):
        assert receive(transport, waiter) == b"hello"
        forget_all(waiter)


@pytest.mark.parametrize("keepalive", [True, False])
def test_tcp_sends_at_once_and_is_kept_alive_as_asked(waiter: Waiter, keepalive: bool) -> None:
    """Contract 1.2: `socket_keepalive`."""
    with serving(listen(), read_to_end) as address:
        options = options_for(address, socket_keepalive=keepalive)
        with closing(connect(options, waiter)) as transport:
            sock = transport.sock
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert bool(alive) is keepalive
            forget_all(waiter)


def test_the_next_address_of_a_host_is_tried_when_one_fails(
    waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for localhost, which is ::1 first and 127.0.0.1 then."""
    with serving(listen(), read_to_end) as address:
        port = address[1]
        dead = dead_address()
        resolve_to(monkeypatch, dead, ("127.0.0.1", port))
        with closing(connect(ConnectionOptions("some.host"), waiter)) as transport:
            assert transport.sock.getpeername()[1] == port
            forget_all(waiter)


def dead_address() -> tuple[str, int]:
    """An address at which nobody listens, and nobody will."""
    return "127.0.0.1", closed_port()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


# Ways to fail. Sockets that are left open would be warned of, and warnings are errors.


def test_a_refused_connection_is_the_systems_error(waiter: Waiter) -> None:
    host, port = dead_address()
    with pytest.raises(ConnectionRefusedError) as caught:
        connect(ConnectionOptions(host, port), waiter)
    assert caught.value.errno == errno.ECONNREFUSED


def test_a_refused_tls_connection_is_the_systems_error(waiter: Waiter) -> None:
    host, port = dead_address()
    with pytest.raises(ConnectionRefusedError):
        connect(ConnectionOptions(host, port, ssl=True), waiter)


def test_the_last_addresss_error_is_told_when_all_fail(
    waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, dead_address(), dead_address())
    with pytest.raises(ConnectionRefusedError):
        connect(ConnectionOptions("some.host"), waiter)


def test_a_host_without_addresses_is_an_oserror(
    waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch)
    with pytest.raises(OSError, match="no addresses"):
        connect(ConnectionOptions("some.host"), waiter)


@pytest.mark.parametrize(
    "host",
    ["a" * 64 + ".example", "a..example", ".example", "fe80::1%no-such-interface"],
    ids=["label too long", "empty label", "leading dot", "no such interface"],
)
def test_a_host_that_cannot_be_resolved_is_an_oserror(waiter: Waiter, host: str) -> None:
    """These fail before anybody is asked over the network."""
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        connect(ConnectionOptions(host), waiter)


def test_an_unknown_host_is_an_oserror(waiter: Waiter, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        connect(ConnectionOptions("some.host"), waiter)


@pytest.mark.parametrize("name", ["nothing here", "x" * 300])
def test_a_unix_socket_that_is_not_there_is_an_oserror(
    waiter: Waiter, tmp_path: Path, name: str
) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        connect(ConnectionOptions(unix_socket_path=str(tmp_path / name)), waiter)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where Linux is silent")
def test_a_peer_that_does_not_accept_is_given_up_on_in_time(waiter: Waiter) -> None:
    """Contract 1.2: `socket_connect_timeout`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # Fill the queue: what does not fit in is left without an answer.
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            options = options_for(listener.getsockname(), socket_connect_timeout=0.2)
            began = monotonic()
            with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
                connect(options, waiter)
            assert 0.19 <= monotonic() - began < LONG
        finally:
            for filler in fillers:
                filler.close()


def test_a_wake_ends_a_connect_and_leaves_no_socket_behind(waiter: Waiter) -> None:
    """Contract 4.4."""
    with listen() as listener:
        waiter.wake()
        with pytest.raises(Woken):
            connect(options_for(listener.getsockname()), waiter)


# Sending and receiving.


def test_nothing_is_received_when_nothing_has_come(waiter: Waiter) -> None:
    with (
        serving(listen(), read_to_end) as address,
        closing(connect(options_for(address), waiter)) as transport,
    ):
        assert transport.receive() is None
        assert not transport.has_pending()
        forget_all(waiter)


class MadeUp:
    """A socket in whose stead something is said each time that bytes are received."""

    def __init__(self, *said: int | OSError, blocks: bool = False) -> None:
        self.said = list(said)
        self.blocks = blocks
        # With which flags it was asked.
        self.flags: list[int] = []

    def getblocking(self) -> bool:
        return self.blocks

    def recv_into(self, buffer: memoryview, size: int, flags: int) -> int:
        assert size == 0  # all of it
        self.flags.append(flags)
        said = self.said.pop(0)
        if isinstance(said, OSError):
            raise said
        buffer[:said] = b"x" * said
        return said

    def recv(self, size: int, flags: int) -> bytes:
        room = bytearray(size)
        return bytes(room[: self.recv_into(memoryview(room), 0, flags)])


@pytest.mark.parametrize(
    ("said", "received", "left"),
    [
        ((100, BlockingIOError()), 100, 1),
        ((20_000, BlockingIOError()), 20_000, 0),
        ((20_000, 16_384, 5, BlockingIOError()), 36_389, 1),
        ((20_000, 0), 20_000, 0),
        ((20_000, ConnectionResetError()), 20_000, 0),
        ((16_384,) * 6, 65_536, 2),
    ],
)
def test_what_is_there_is_received_at_once(
    said: tuple[int | OSError, ...], received: int, left: int
) -> None:
    """Little shows that no more is there; and peers that never stop are not waited for."""
    sock: Any = MadeUp(*said)
    assert Transport(sock, (BlockingIOError,)).receive() == b"x" * received
    assert len(sock.said) == left


FLOOD = [65_536] * 21


def test_the_more_comes_the_more_is_received_at_once() -> None:
    sock: Any = MadeUp(*FLOOD, 1_048_576, 65_536, 65_535, 100, BlockingIOError())
    transport = Transport(sock, (BlockingIOError,))
    received = [transport.receive() for _ in range(7)]
    sizes = [65_536, 262_144, 1_048_576, 1_048_576, 65_536, 65_535, 100]
    assert received == [b"x" * size for size in sizes]
    assert len(sock.said) == 1


def test_a_flood_ends_where_nothing_is_there() -> None:
    sock: Any = MadeUp(*FLOOD, BlockingIOError(), 20_000, 5, 7, ConnectionResetError())
    transport = Transport(sock, (BlockingIOError,))
    sizes = [len(transport.receive() or b"") for _ in range(6)]
    assert sizes == [65_536, 262_144, 1_048_576, 0, 20_005, 7]
    with pytest.raises(ConnectionResetError):
        transport.receive()


def test_an_error_and_the_end_are_seen_in_a_flood() -> None:
    sock: Any = MadeUp(*FLOOD, ConnectionResetError(), 0)
    transport = Transport(sock, (BlockingIOError,))
    for _ in range(3):
        transport.receive()
    with pytest.raises(ConnectionResetError):
        transport.receive()
    assert transport.receive() == b""


@needs_dontwait
def test_one_that_can_wait_does_so_for_the_first_bytes_alone() -> None:
    sock: Any = MadeUp(20_000, 20_000, 5, 20_000, BlockingIOError(), blocks=True)
    transport = Transport(sock, (BlockingIOError,))
    assert transport.can_wait
    assert len(transport.wait_and_receive() or b"") == 40_005
    assert len(transport.receive() or b"") == 20_000
    assert sock.flags == [0] + [socket.MSG_DONTWAIT] * 4


@needs_dontwait
def test_one_that_can_wait_does_so_in_a_flood() -> None:
    sock: Any = MadeUp(*FLOOD, 65_536, 65_536, blocks=True)
    transport = Transport(sock, (BlockingIOError,))
    for _ in range(3):
        transport.receive()
    transport.wait_and_receive()
    transport.receive()
    assert sock.flags[-2:] == [0, socket.MSG_DONTWAIT]


@needs_dontwait
def test_it_does_so_again_once_something_has_come() -> None:
    sock: Any = MadeUp(BlockingIOError(), 5, 0, 5, BlockingIOError(), blocks=True)
    transport = Transport(sock, (BlockingIOError,))
    assert transport.wait_and_receive() is None
    assert not transport.can_wait
    for came, can_wait in [(True, True), (False, False), (True, True), (False, False)]:
        assert bool(transport.receive()) is came
        assert transport.can_wait is can_wait


def test_one_that_cannot_wait_never_does() -> None:
    sock: Any = MadeUp(5, 5)
    transport = Transport(sock, (BlockingIOError,))
    assert not transport.can_wait
    assert transport.receive() == b"x" * 5
    assert not transport.can_wait


@needs_dontwait
def test_a_wait_by_receiving_ends(waiter: Waiter) -> None:
    with (
        serving(listen(), say_hello) as address,
        closing(connect(options_for(address), waiter)) as transport,
    ):
        assert transport.can_wait
        # Nor is any other call for long, where the system has it block all the same.
        assert any(transport.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))
        assert transport.wait_and_receive() == b"hello"
        assert transport.wait_and_receive() is None
        forget_all(waiter)


@needs_dontwait
@pytest.mark.parametrize("reason", ["no bound", "another struct", "pretends"])
def test_no_wait_by_receiving_can_be_for_ever(
    waiter: Waiter, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "no bound":
        monkeypatch.setattr("pystreamredis.transport.SLICE", 0)
    elif reason == "another struct":
        short = SimpleNamespace(pack=lambda *_: b"\0")
        monkeypatch.setattr("pystreamredis.transport.struct", short)
    else:
        system = SimpleNamespace(get_blocking=lambda _: False)
        monkeypatch.setattr("pystreamredis.transport.os", system)
    with (
        serving(listen(), read_to_end) as address,
        closing(connect(options_for(address), waiter)) as transport,
    ):
        assert not transport.can_wait
        assert not transport.sock.getblocking()
        assert transport.receive() is None
        forget_all(waiter)


def test_a_closed_connection_is_received_as_its_end(waiter: Waiter) -> None:
    with (
        serving(listen(), lambda sock: sock.sendall(b"last words")) as address,
        closing(connect(options_for(address), waiter)) as transport,
    ):
        assert receive(transport, waiter) == b"last words"
        assert transport.receive() == b""
        forget_all(waiter)


def test_a_reset_connection_is_an_oserror(waiter: Waiter) -> None:
    with (
        serving(listen(), reset) as address,
        # It may come while the connection is made, or after that.
        pytest.raises(ConnectionResetError),
        closing(connect(options_for(address), waiter)) as transport,
    ):
        receive(transport, waiter)
    forget_all(waiter)


def test_what_the_kernel_does_not_take_is_sent_later_and_in_order(waiter: Waiter) -> None:
    sent = b"".join(b"%08d" % number for number in range(1_000_000))
    start_reading = threading.Event()
    received: list[bytes] = []

    def read_late(sock: socket.socket) -> None:
        start_reading.wait(LONG)
        received.append(read_to_end(sock))

    with (
        serving(listen(), read_late) as address,
        closing(connect(options_for(address), waiter)) as transport,
    ):
        transport.send(sent[:-8])
        assert transport.events == READ | WRITE
        transport.send(sent[-8:])
        start_reading.set()
        deadline = monotonic() + LONG
        while transport.events & WRITE:
            assert wait_for(waiter, transport.sock, transport.events, deadline - monotonic())
            transport.send()
        assert transport.events == READ
        forget_all(waiter)
    assert received == [sent]


# TLS.


def tls_handler(context: ssl.SSLContext, handler: Handler) -> Handler:
    def serve(sock: socket.socket) -> None:
        try:
            with context.wrap_socket(sock, server_side=True) as tls:
                handler(tls)
        except OSError:
            pass  # the client has refused; that is what such a test is about

    return serve


@contextmanager
def tls_serving(context: ssl.SSLContext, handler: Handler = read_to_end) -> Iterator[Any]:
    with serving(listen(), tls_handler(context, handler)) as address:
        yield address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_with_a_certificate_for_the_host(
    waiter: Waiter, authority: Authority, monkeypatch: pytest.MonkeyPatch, host: str
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
        with closing(connect(options, waiter)) as transport:
            assert isinstance(transport, TlsTransport)
            assert transport.receive() is None
            deadline = monotonic() + LONG
            transport.send(large)
            while transport.events & WRITE:
                assert wait_for(waiter, transport.sock, transport.events, deadline - monotonic())
                transport.send()
            assert receive(transport, waiter, len(large)) == large
            forget_all(waiter)


def test_decrypted_bytes_that_no_wait_would_tell_of_are_pending(
    waiter: Waiter, authority: Authority
) -> None:
    certificate = authority.sign("pending", "IP:127.0.0.1")
    with tls_serving(
        certificate.server_context(), lambda sock: sock.sendall(b"0123456789")
    ) as address:
        options = options_for(address, ssl=True, ssl_ca_certs=authority.certfile)
        with closing(connect(options, waiter)) as transport:
            deadline = monotonic() + LONG
            first = None
            while first is None and monotonic() < deadline:
                wait_for(waiter, transport.sock, READ, deadline - monotonic())
                try:
                    first = transport.sock.recv(4)
                except ssl.SSLWantReadError:
                    continue
            assert first == b"0123"
            assert transport.has_pending()
            assert transport.receive() == b"456789"
            assert not transport.has_pending()
            forget_all(waiter)


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
    waiter: Waiter, authority: Authority, names: str, expired: bool, trusted: bool, reason: str
) -> None:
    """Contract 5.1: a TLS failure is an error of the connection, and so an `OSError` here."""
    certificate = authority.sign("bad", names, expired=expired)
    with tls_serving(certificate.server_context()) as address:
        ca_certs = authority.certfile if trusted else None
        options = options_for(address, ssl=True, ssl_ca_certs=ca_certs)
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            connect(options, waiter)


def test_a_certificate_signed_by_itself_is_refused(waiter: Waiter, authority: Authority) -> None:
    with tls_serving(authority.server_context()) as address:
        options = options_for(address, ssl=True)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"self[- ]signed"):
            connect(options, waiter)


def test_the_host_is_not_compared_when_told_so_but_the_authority_is(
    waiter: Waiter, authority: Authority
) -> None:
    """Contract 1.2: `ssl_check_hostname`."""
    certificate = authority.sign("unchecked", "DNS:other.example")
    context = certificate.server_context()
    with tls_serving(context) as address:
        options = options_for(
            address, ssl=True, ssl_ca_certs=authority.certfile, ssl_check_hostname=False
        )
        with closing(connect(options, waiter)):
            forget_all(waiter)
    with tls_serving(context) as address:
        options = options_for(address, ssl=True, ssl_check_hostname=False)
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(options, waiter)


def test_the_clients_certificate_is_shown(waiter: Waiter, authority: Authority) -> None:
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
        with closing(connect(options, waiter)) as transport:
            assert receive(transport, waiter, 7) == b"welcome"
            forget_all(waiter)
    assert shown[0]["subjectAltName"] == (("DNS", "a.client"),)


def test_a_server_that_misses_the_clients_certificate_ends_it_with_an_oserror(
    waiter: Waiter, authority: Authority
) -> None:
    """With TLS 1.3 the client learns of it after its handshake, when it reads."""
    certificate = authority.sign("wanting", "IP:127.0.0.1")
    context = certificate.server_context(clients_from=authority.certfile)
    with tls_serving(context) as address:
        options = options_for(address, ssl=True, ssl_ca_certs=authority.certfile)
        with pytest.raises(OSError, match=r"(?i)certificate|reset"):
            connect_and_read(options, waiter)


def connect_and_read(options: ConnectionOptions, waiter: Waiter) -> bytes:
    with closing(connect(options, waiter)) as transport:
        try:
            return receive(transport, waiter)
        finally:
            forget_all(waiter)


def test_an_ssl_context_of_ones_own_is_used_as_it_is(waiter: Waiter, authority: Authority) -> None:
    """Contract 1.2: `ssl` may be an `ssl.SSLContext`."""
    certificate = authority.sign("own", "DNS:other.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with tls_serving(certificate.server_context(), lambda sock: sock.sendall(b"ok")) as address:
        assert connect_and_read(options_for(address, ssl=context), waiter) == b"ok"


@pytest.mark.parametrize(
    "handler",
    [
        lambda sock: (sock.recv(1), sock.sendall(b"-ERR unknown command\r\n")),
        lambda sock: sock.recv(100),
        reset,
    ],
    ids=["answers in plain text", "closes", "resets"],
)
def test_a_peer_without_tls_is_an_oserror(waiter: Waiter, handler: Handler) -> None:
    with serving(listen(), handler) as address, pytest.raises(OSError):  # noqa: PT011 - the system's
        connect(options_for(address, ssl=True), waiter)


def test_a_tls_peer_that_is_silent_is_given_up_on_in_time(waiter: Waiter) -> None:
    """Contract 1.2, 5.5: connecting includes the handshake."""
    with serving(listen(), read_to_end) as address:
        options = options_for(address, ssl=True, socket_connect_timeout=0.2)
        began = monotonic()
        with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
            connect(options, waiter)
        assert 0.19 <= monotonic() - began < LONG


def test_a_socket_is_wrapped_before_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that is reset meanwhile, Python's `wrap_socket` loses the descriptor."""
    wrap = ssl.SSLContext.wrap_socket
    connected = []

    def see(context: ssl.SSLContext, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
        connected.append(sock.getsockname()[1] > 0)
        return wrap(context, sock, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", see)
    with listen() as listener:
        steps = connecting(options_for(listener.getsockname(), ssl=True))
        next(steps)
        steps.close()
    assert connected == [False]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_reset_amid_the_tls_handshake_leaves_no_socket_behind(
    monkeypatch: pytest.MonkeyPatch, at: int
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
        steps = connecting(options_for(listener.getsockname(), ssl=True))
        sock = next(steps)[0]
        if at == 0:
            reset_by_peer()
        if at == 2:
            assert steps.send(True)[1] == READ
            reset_by_peer()
        with pytest.raises(ConnectionResetError):
            steps.send(True)
    assert sock.fileno() == -1


def test_a_wake_ends_a_tls_handshake_and_leaves_no_socket_behind(waiter: Waiter) -> None:
    """Contract 4.4."""
    timer = threading.Timer(0.1, waiter.wake)
    with serving(listen(), read_to_end) as address:
        timer.start()
        with pytest.raises(Woken):
            connect(options_for(address, ssl=True), waiter)
    timer.join()


def test_connecting_step_by_step_waits_for_nobody() -> None:
    """Whoever drives it may do other things meanwhile, and give it up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        steps = connecting(ConnectionOptions("127.0.0.1", server.getsockname()[1]))
        sock, events, deadline = next(steps)
        assert events == WRITE
        assert deadline is not None
        steps.close()
        assert sock.fileno() == -1
