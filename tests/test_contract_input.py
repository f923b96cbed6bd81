"""Contract 7: bad input is told before anything is sent, and hostile replies do no harm."""

from __future__ import annotations

import builtins
import logging
import os
import socket
import threading
import traceback
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pystreamredis
import pystreamredis.asyncio
from pystreamredis import AuthenticationError, ConnectionError, ProtocolError, Redis, Streams
from tests.certificates import Authority
from tests.peer import Expect, Peer
from tests.proxy import Proxy
from tests.pythons import tracemalloc
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tests.peer import Conversation
    from tests.servers import Endpoint

# Made at run time, so that no line of this file that a traceback quotes has it.
SECRET = "-".join(["hunter", "2"])
HERE: dict[str, Any] = {"host": "127.0.0.1", "port": 1}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that was not connected to by the end of the test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening
        listening.setblocking(False)
        # Whoever had connected would be waiting to be accepted.
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_the_listener_notices_connections() -> None:
    """Contract 7: "before anything is sent" can be seen to fail."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        host, port = listening.getsockname()
        with pytest.raises(ConnectionError):
            Streams(host, port, "s", socket_timeout=0.1)
        listening.accept()[0].close()


def named(name: str, value: object) -> dict[str, Any]:
    """One keyword, for type checkers of any type."""
    return {name: value}


def at(listener: socket.socket) -> dict[str, Any]:
    """Where it listens."""
    host, port = listener.getsockname()
    return {"host": host, "port": port}


def told(error: BaseException) -> str:
    """All that is printed of an error."""
    return "".join(traceback.format_exception(error))


# Streams and their starts.


@pytest.mark.parametrize("streams", [None, {}, [], (), set(), frozenset()], ids=repr)
def test_no_streams_at_all(listener: socket.socket, streams: Any) -> None:
    """Contract 7: `ValueError`."""
    host, port = listener.getsockname()
    with pytest.raises(ValueError, match="no streams"):
        Streams(host, port, streams)
    with pytest.raises(ValueError, match="no streams"):
        Redis(host, port).streams(streams)


@pytest.mark.parametrize(
    ("streams", "named"),
    [
        (["abc", "abc"], {}),
        ({"abc": 0}, {"abc": 0}),
        (["abc", b"abc"], {}),
        ({"abc": 0, b"abc": 5}, {}),
        ("abc", {"abc": None}),
        (b"abc", {"abc": None}),
        (["ä", "ä".encode()], {}),
        (["\udcff", b"\xff"], {}),
    ],
    ids=repr,
)
def test_a_stream_given_twice(listener: socket.socket, streams: Any, named: Any) -> None:
    """Contract 7: `ValueError` that names it, also as `str` and `bytes`."""
    name = streams if isinstance(streams, (str, bytes)) else next(iter(streams))
    with pytest.raises(ValueError, match="twice") as caught:
        Streams(**at(listener), streams=streams, **named)
    assert repr(name) in str(caught.value)


BAD_STARTS = [
    (-1, ValueError),
    (2**64, ValueError),
    (str(2**64), ValueError),
    (f"{2**64}-0", ValueError),
    (f"0-{2**64}", ValueError),
    ("9" * 5000, ValueError),
    ("abc", ValueError),
    ("1-2-3", ValueError),
    ("", ValueError),
    ("-", ValueError),
    ("1-", ValueError),
    ("-1", ValueError),
    (">", ValueError),
    ("$$", ValueError),
    (" 1", ValueError),
    ("1\n", ValueError),
    ("1_0", ValueError),
    ("\u0661", ValueError),
    ("1.5", ValueError),
    (b"abc", ValueError),
    (b"\xff", ValueError),
    (datetime(2018, 7, 1), ValueError),  # it is its being naive that is wrong
    (datetime(1969, 12, 31, tzinfo=UTC), ValueError),
    (True, TypeError),
    (False, TypeError),
    (1.5, TypeError),
    (1.0, TypeError),
    ([1], TypeError),
    (object, TypeError),
    (datetime(2018, 7, 1).date(), TypeError),
]


@pytest.mark.parametrize(("start", "kind"), BAD_STARTS, ids=lambda value: repr(value)[:30])
def test_a_bad_start(listener: socket.socket, start: Any, kind: type[Exception]) -> None:
    """Contract 7, 2.2: the error names the stream and the value."""
    host, port = listener.getsockname()
    ways: list[Callable[[], object]] = [
        lambda: Streams(host, port, {"some name": start}),
        lambda: Streams(host, port, {"good": 0, b"some name": start}),
        lambda: Redis(host, port).streams(**{"some name": start}),
    ]
    for way in ways:
        with pytest.raises(kind) as caught:
            way()
        assert type(caught.value) is kind
        assert "some name" in str(caught.value)
        assert repr(start)[:40] in str(caught.value)


@pytest.mark.parametrize("name", [1, None, 1.5, ("a",)], ids=repr)
def test_a_name_that_is_none(listener: socket.socket, name: Any) -> None:
    """Contract 7, 2.1: a stream's name is `str` or `bytes`."""
    with pytest.raises(TypeError) as caught:
        Streams(**at(listener), streams={name: 0, "good": 0})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("streams", [5, 1.5, object()])
def test_streams_that_are_none(listener: socket.socket, streams: Any) -> None:
    """Contract 7, 2.1: and the error says which argument that was."""
    with pytest.raises(TypeError, match="streams is"):
        Streams(**at(listener), streams=streams)


@pytest.mark.parametrize(
    ("typo", "value", "meant"),
    [
        ("stop_on_timout", True, "stop_on_timeout"),
        ("timeout_respons", "nothing", "timeout_response"),
        ("raise_connection_exception", False, "raise_connection_exceptions"),
        ("decode_response", True, "decode_responses"),
        ("socket_time_out", 1.5, "socket_timeout"),
        ("clientname", "me", "client_name"),
        ("blocks", 1.5, "block"),
    ],
)
def test_a_bad_start_says_which_option_may_have_been_meant(
    listener: socket.socket, typo: str, value: Any, meant: str
) -> None:
    """Contract 7: since every unknown keyword names a stream."""
    with pytest.raises((ValueError, TypeError)) as caught:
        Streams(**at(listener), streams="s", **{typo: value})
    text = str(caught.value)
    assert repr(typo) in text
    assert repr(meant) in text
    assert repr(value) in text


def test_a_bad_start_of_what_resembles_no_option_says_nothing_of_options(
    listener: socket.socket,
) -> None:
    """Contract 7: a hint that is wrong would be worse than none."""
    start: Any = 1.5
    with pytest.raises(TypeError) as caught:
        Streams(**at(listener), zzz=start)
    assert "option" not in str(caught.value)


@pytest.mark.parametrize(("start", "kind"), BAD_STARTS[:5] + BAD_STARTS[-4:], ids=repr)
def test_a_bad_start_is_not_added_either(
    embedded: Endpoint, start: Any, kind: type[Exception]
) -> None:
    """Contract 7, 2.5: and the connection that is there is sent nothing."""
    with Streams(embedded.host, embedded.port, "s", block=None) as streams:
        list(streams)
        before = calls(embedded)
        with pytest.raises(kind, match="some name"):
            streams.add({"good": 0, "some name": start})
        assert calls(embedded) == before
        assert list(streams.positions) == ["s"]


def calls(embedded: Endpoint) -> bytes:
    """How many XREADs the server has run."""
    lines = embedded.command("INFO", "commandstats").splitlines()
    (line,) = [line for line in lines if line.startswith(b"cmdstat_xread:")]
    return bytes(line.partition(b",")[0])


# Options.


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("count", 0, ValueError),
        ("count", -1, ValueError),
        ("count", True, TypeError),
        ("count", 10.0, TypeError),
        ("count", "10", TypeError),
        ("count", None, TypeError),
        ("block", -1, ValueError),
        ("block", 1.5, TypeError),
        ("block", "1", TypeError),
        ("block", False, TypeError),
        ("port", 0, ValueError),
        ("port", -1, ValueError),
        ("port", 65536, ValueError),
        ("port", "6379", TypeError),
        ("port", 6379.0, TypeError),
        ("port", None, TypeError),
        ("port", True, TypeError),
        ("db", -1, ValueError),
        ("db", "0", TypeError),
        ("protocol", 1, ValueError),
        ("protocol", 4, ValueError),
        ("fields", None, TypeError),
        ("host", None, TypeError),
        ("host", "", ValueError),
        ("socket_timeout", 0, ValueError),
        ("socket_timeout", "5", TypeError),
        ("encoding", "no such", ValueError),
        ("encoding_errors", "no such", ValueError),
    ],
)
def test_a_bad_option(
    listener: socket.socket, option: str, value: Any, kind: type[Exception]
) -> None:
    """Contract 7, 1.2: the error names the option and the value."""
    host, port = listener.getsockname()
    options = {"host": host, "port": port, "s": 0} | {option: value}
    with pytest.raises(kind) as caught:
        Streams(**options)
    assert type(caught.value) is kind
    assert option in str(caught.value)
    assert repr(value) in str(caught.value) or not value


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port_are_ports(port: int) -> None:
    """Contract 7: 1 to 65535."""
    assert str(port) in repr(Redis("127.0.0.1", port))


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://{address}/0", "http"),
        ("redis-sentinel://{address}", "redis-sentinel"),
        ("{address}", "scheme"),
        ("", "scheme"),
        ("redis://{address}/0?cuont=5", "cuont"),
        ("redis://{address}?count=5", "count"),
        ("redis://{address}/0?decode_responses=true&s=0", "'s'"),
        ("redis://{address}/zero", "zero"),
        ("redis://{address}?protocol=three", "three"),
        ("redis://{address}?protocol=4", "4"),
        ("redis://{address}?decode_responses=perhaps", "perhaps"),
        ("redis://{address}0000000", "port"),
        ("redis://127.0.0.1:port", "port"),
        ("redis://127.0.0.1:0", "port"),
        ("unix://", "unix"),
    ],
)
def test_a_bad_url(listener: socket.socket, url: str, seen: str) -> None:
    """Contract 7, 1.1: `ValueError` for an unknown scheme or query parameter, which it names."""
    host, port = listener.getsockname()
    text = url.format(address=f"{host}:{port}")
    for make in (lambda: Streams.from_url(text, "s"), lambda: Redis.from_url(text)):
        with pytest.raises(ValueError, match=seen):
            make()


@pytest.mark.parametrize("name", [["a"], {"a"}, None, 5, ("a", "b", "c")], ids=repr)
def test_a_name_to_discard_that_is_none(embedded: Endpoint, name: Any) -> None:
    """Contract 7, 2.5: a list of names is not a name."""
    with Streams(embedded.host, embedded.port, ["a", "b"]) as streams:
        with pytest.raises(TypeError, match=r"^discard\(\) got ") as caught:
            streams.discard("b", name)
        assert repr(name) in str(caught.value)
        assert list(streams.positions) == ["a", "b"]


def test_a_stream_that_was_given_as_the_host() -> None:
    """Contract 7: said where it fails, and only there."""
    with pytest.raises(ValueError, match=r"'Stream0' was taken as the host: .*streams='"):
        Streams("Stream0")
    with pytest.raises(ValueError, match=r"^no streams are given; give at least one$"):
        Streams("redis.example.com")


EARLY = [1, 1530403200, 10**10, "1530403200", b"1530403200"]
LATE = [0, 10**10 + 1, 1530403200000, "1530403200000", "1530403200-0", None, "$"]


@pytest.mark.parametrize("start", EARLY, ids=repr)
def test_a_start_that_may_be_in_seconds_is_a_warning(
    embedded: Endpoint, caplog: pytest.LogCaptureFixture, start: Any
) -> None:
    """Contract 2.2: once, with the stream and the value."""
    with Streams(embedded.host, embedded.port, {"a": start, "b": 0}) as streams:
        list(streams)
        streams.add(c=start)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    ms = int(start)
    assert warnings == [
        f"stream {name!r}: start {ms} is taken as ms, early in 1970; "
        f"if it is in seconds, take {ms}000"
        for name in ("a", "c")
    ]
    assert {r.name for r in caplog.records} == {"pystreamredis"}


@pytest.mark.parametrize("start", LATE, ids=repr)
def test_a_start_that_is_clearly_in_ms_is_no_warning(
    embedded: Endpoint, caplog: pytest.LogCaptureFixture, start: Any
) -> None:
    """Contract 2.2."""
    with Streams(embedded.host, embedded.port, a=start):
        pass
    assert [r for r in caplog.records if r.levelno == logging.WARNING] == []


def test_a_start_of_one_source_alone_may_be_in_seconds_as_well(
    embedded: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    sources = {"x": Redis(embedded.host, embedded.port)}
    Streams.from_sources(sources, {"x": {"a": 1530403200}}).close()
    assert [r for r in caplog.records if "take 1530403200000" in r.getMessage()] != []


def test_a_source_may_have_the_name_of_a_secret(embedded: Endpoint) -> None:
    """Contract 2.1: and its streams stand under that name."""
    sources = {"auth": Redis(embedded.host, embedded.port)}
    streams = Streams.from_sources(sources, **named("auth", {"a": 0}))
    assert streams.positions == {"auth": {"a": b"0-0"}}
    streams.close()


@pytest.mark.parametrize("bad", [{"count": 0}, {"port": 0}, {"zzz": "abc"}], ids=repr)
def test_a_report_with_local_variables_can_be_made(bad: dict[str, Any]) -> None:
    """What is not complete has a `repr`, too."""
    with pytest.raises(ValueError, match=next(iter(bad))) as caught:
        Streams(**(HERE | {"s": 0} | bad))
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "".join(report.format())
    for kind in (pystreamredis.Streams, pystreamredis.asyncio.Streams):
        assert repr(kind.__new__(kind)) == "<Streams that is not complete>"
    assert repr(pystreamredis.Redis.__new__(pystreamredis.Redis)) == "<Redis that is not complete>"


# Passwords.


def test_a_password_is_in_no_repr() -> None:
    """Contract 7: of anything that holds it."""
    r = Redis("127.0.0.1", 1, username="user", password=SECRET)
    streams = r.streams("s", raise_connection_exceptions=False)
    failure = next(streams)
    streams.close()
    assert isinstance(failure, ConnectionError)
    assert SECRET not in f"{r!r} {r!s} {streams!r} {failure!r} {told(failure)}"
    assert SECRET not in repr(Redis.from_url(f"redis://user:{SECRET}@127.0.0.1:1/0"))


URL = f"redis://me:{SECRET}@127.0.0.1:1"
FAILURES: dict[str, Callable[[], object]] = {
    "a bad option": lambda: Streams(**HERE, s=0, password=SECRET, count=0),
    "a bad connection option": lambda: Streams(**HERE, s=0, password=SECRET, db=-1),
    "a bad start": lambda: Streams(**HERE, s=-1, password=SECRET.encode()),
    "no streams": lambda: Streams(**HERE, password=SECRET),
    "an option of redis-py": lambda: Streams(**HERE, s=0, password=SECRET, retry=None),
    "a failed connection": lambda: Streams(**HERE, s=0, password=SECRET),
    "a password of another type": lambda: Streams(**HERE, s=0, **named("password", [SECRET])),
    "a misspelt password": lambda: Streams(**HERE, s=0, passwrod=SECRET),
    "a host that is a URL": lambda: Streams(URL, s=0),
    "a handle": lambda: Redis(**{**HERE, "port": 0}, password=SECRET),
    "a handle with a secret": lambda: Redis(**HERE, **named("pwd", SECRET)),
    "a handle with a stream": lambda: Redis(**HERE, password=SECRET, **named("s", 0)),
    "a handle that is a URL": lambda: Redis(URL),
    "streams of a handle": lambda: Redis(**HERE, password=SECRET).streams(s=0),
    "a URL": lambda: Streams.from_url(URL, s=0),
    "a URL and a bad option": lambda: Streams.from_url(URL, s=0, block=-1),
    "a URL and a password": lambda: Streams.from_url("redis://127.0.0.1:1", s=0, password=SECRET),
    "a bad URL": lambda: Streams.from_url(f"{URL}?unknown=1", s=0),
    "a bad URL of a handle": lambda: Redis.from_url(f"{URL}/zero"),
    "a secret in the query": lambda: Redis.from_url(f"redis://127.0.0.1?auth={SECRET}"),
    "sources": lambda: Streams.from_sources({"a": Redis(**HERE, password=SECRET)}, s=0),
    "a secret for sources": lambda: Streams.from_sources({"a": Redis(**HERE)}, "s", token=SECRET),
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_no_frame_of_a_constructor_has_a_password_in_its_locals(
    fail: Callable[[], object],
) -> None:
    """Contract 7: error reporters show the local variables of each frame."""
    with pytest.raises((ValueError, TypeError, ConnectionError)) as caught:
        fail()
    assert SECRET not in told(caught.value)
    frames = list(frames_of(caught.value))
    assert frames
    for frame in frames:
        assert SECRET not in repr(frame.f_locals), frame.f_code.co_qualname


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """The library's frames in the tracebacks of an error, and of all that led to it."""
    folder = os.path.dirname(pystreamredis.__file__)
    while True:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename.startswith(folder):
                yield frame
        cause = error.__cause__ or error.__context__
        if cause is None:
            return
        error = cause


@pytest.mark.parametrize(
    "name",
    ["auth", "pwd", "passwd", "token", "secret", "pass", "credentials", "api_key", "Password2"],
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_what_may_be_a_secret_is_not_shown(name: str, kind: Callable[[str], Any]) -> None:
    """Contract 7: given under a keyword that is not an option, and so as a start."""
    ways: list[Callable[[], object]] = [
        lambda: Streams(**HERE, **named(name, kind(SECRET))),
        lambda: Redis(**HERE).streams(**named(name, kind(SECRET))),
        lambda: Streams(**HERE, streams={name: kind(SECRET)}),
    ]
    for make in ways:
        with pytest.raises(ValueError, match=rf"^stream '{name}': start \(not shown\); ") as caught:
            make()
        assert SECRET not in told(caught.value)


@pytest.mark.parametrize("name", ["auth", "token", "passengers", "authors"])
def test_a_stream_may_have_such_a_name(embedded: Endpoint, name: str) -> None:
    """Contract 2.1: its start counts, whatever kind it is."""
    embedded.command("XADD", name, "1-1", "f", "v")
    starts: list[Any] = [0, "0", b"0-0"]
    for start in starts:
        with Streams(embedded.host, embedded.port, block=None, **named(name, start)) as streams:
            streams.discard(name)
            streams.add(**named(name, start))
            assert [message[1] for message in streams] == [b"1-1"]


def test_an_error_about_names_that_are_no_text_can_be_printed() -> None:
    """Contract 7: surrogates, as file names have them, are escaped."""
    ways: list[Callable[[], object]] = [
        lambda: Streams(**HERE, streams={"\udcff": -1}),
        lambda: Streams(**HERE, streams=["\udcff", "\udcff"]),
        lambda: Streams(**HERE, streams="s", **named("\udcff", "\udcfe")),
        lambda: Streams("\udcff", s=0),
        lambda: Streams(unix_socket_path="/nowhere/\udcff", s=0),
        lambda: Redis(**HERE, **named("\udcff", 0)),
        lambda: Redis.from_url("redis://h/0?\udcff=1"),
    ]
    for way in ways:
        with pytest.raises((ValueError, TypeError, ConnectionError)) as caught:
            way()
        str(caught.value).encode()


@contextmanager
def redirecting(path: Path, reply: bytes) -> Iterator[None]:
    """Listen at a unix socket, and answer the first command of each connection with this."""
    ended = threading.Event()

    def accept(listener: socket.socket) -> None:
        while not ended.is_set():
            with suppress(OSError), listener.accept()[0] as sock:
                sock.settimeout(LONG)
                while (data := sock.recv(65536)) and not ended.is_set():
                    sock.sendall(b"+OK\r\n" if b"AUTH" in data else reply)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.05)
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
    thread.join(LONG)


@pytest.mark.parametrize("raising", [True, False])
def test_a_redirection_never_leaves_a_unix_socket(
    listener: socket.socket, tmp_path: Path, *, raising: bool
) -> None:
    """Contract 7: credentials meant for a local server are not sent over a network."""
    host, port = listener.getsockname()
    path = tmp_path / "s"
    options: dict[str, Any] = {"block": 10, "raise_connection_exceptions": raising}
    with redirecting(path, f"-MOVED 1 {host}:{port}\r\n".encode()):
        r = Redis(unix_socket_path=str(path), password=SECRET)
        with r.streams(s=0, **options) as streams:
            failures = [failure_of(streams) for _ in range(2)]
    for failure in failures:
        assert f"unix:{path} redirects to {host}:{port}" in str(failure)


def failure_of(streams: Streams) -> ConnectionError:
    """The failure that comes next, returned or raised."""
    for _ in range(100):
        try:
            item = next(streams, None)
        except ConnectionError as error:
            return error
        if isinstance(item, ConnectionError):
            return item
    raise AssertionError("no failure in 100 tries")


def test_a_redirection_never_leaves_tls(tmp_path: Path) -> None:
    """Contract 7: the node is asked for TLS, and sent nothing in clear."""
    authority = Authority(tmp_path)
    context = authority.sign("server", "IP:127.0.0.1").server_context()

    def look(conversation: Conversation) -> None:
        conversation.wait_for_bytes()
        conversation.close()

    with Peer(look) as other:
        moved = f"-MOVED 1 {other.host}:{other.port}\r\n".encode()
        with (
            Peer([Expect("AUTH"), b"+OK\r\n", Expect("XREAD"), moved]) as peer,
            Proxy(peer.host, peer.port, ssl_context=context) as proxy,
        ):
            r = Redis(
                proxy.host, proxy.port, ssl=True, ssl_ca_certs=authority.certfile, password=SECRET
            )
            with r.streams(s=0, block=10, raise_connection_exceptions=False) as streams:
                assert f"{other.host}:{other.port}" in str(failure_of(streams))
        assert other.connections > 0
        assert other.commands == []


def test_renewed_certificates_are_taken_up_without_a_restart(
    embedded: Endpoint, tmp_path: Path
) -> None:
    """Contract 5.4: by a reader that lives, and by a handle that was made before."""
    authorities = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        authorities.append(Authority(tmp_path / name))
    contexts = [a.sign("server", "IP:127.0.0.1").server_context() for a in authorities]
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Path(authorities[0].certfile).read_bytes())
    embedded.command("XADD", "s", "1-0", "f", "v")
    with Proxy(embedded.host, embedded.port, ssl_context=contexts[0]) as proxy:
        r = Redis(proxy.host, proxy.port, ssl=True, ssl_ca_certs=str(trusted))
        options: dict[str, Any] = {"block": 10, "raise_connection_exceptions": False}
        with r.streams(s=0, **options) as streams:
            assert next(streams)[1] == b"1-0"
            proxy.ssl_context = contexts[1]
            proxy.drop_all()
            # The first failure is the lost connection, the second one that of the certificate.
            failures = [failure_of(streams) for _ in range(2)]
            assert "certificate verify failed" in str(failures[1])
            trusted.unlink()
            assert "ssl_ca_certs" in str(failure_of(streams))
            trusted.write_bytes(Path(authorities[1].certfile).read_bytes())
            embedded.command("XADD", "s", "2-0", "f", "v")
            assert next(streams)[1] == b"2-0"
        with r.streams(s=0, block=None) as streams:
            assert len(list(streams)) == 2


def test_what_a_callable_password_raises_is_a_failed_connection(embedded: Endpoint) -> None:
    """Contract 5.1: both classes, with address and cause; the next try asks again."""
    asked: list[Any] = [OSError("the vault is away"), [SECRET], KeyError(SECRET), None]

    def password() -> Any:
        found = asked.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    embedded.command("XADD", "s", "1-1", "f", "v")
    with Streams(
        embedded.host,
        embedded.port,
        s=0,
        password=password,
        block=10,
        raise_connection_exceptions=False,
    ) as streams:
        failures = [next(streams) for _ in range(3)]
        message = next(streams)
        assert isinstance(message, tuple)
        assert message[1] == b"1-1"
    for failure in failures:
        assert isinstance(failure, ConnectionError)
        assert f"{embedded.host}:{embedded.port}" in str(failure)
        assert SECRET not in str(failure)
        assert failure.__cause__ is not None
    assert "the vault is away" in str(failures[0])


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_wrong_password_is_in_no_error_text_and_no_log(
    embedded: Endpoint, caplog: pytest.LogCaptureFixture, protocol: int
) -> None:
    """Contract 7: nor is it in the chain of causes that a traceback prints."""
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"username": "nobody", "password": SECRET, "protocol": protocol}
    with pytest.raises(AuthenticationError) as caught:
        Streams(embedded.host, embedded.port, "s", **options)
    assert SECRET not in told(caught.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:{secret}@127.0.0.1:1?unknown=5",
        "redis://user:{secret}@127.0.0.1:port",
        "redis://user:{secret}@127.0.0.1:1/zero",
        "redis://user:{secret}@127.0.0.1:99999",
        "redis://user:{secret}@[127.0.0.1:1",
        "http://user:{secret}@127.0.0.1:1",
        "user:{secret}@127.0.0.1:1",
        "redis//user:{secret}@127.0.0.1:1",
        "unix://user:{secret}@",
        "redis://127.0.0.1:1?password={secret}&protocol=9",
        # A password whose special characters nobody has escaped.
        "redis://user:a/{secret}@127.0.0.1:1",
        "redis://user:1/{secret}@127.0.0.1:1",
        "redis://user:1?{secret}@127.0.0.1:1",
        "redis://user:[{secret}@127.0.0.1:1",
    ],
)
def test_a_password_in_a_url_that_cannot_be_read_is_not_told(url: str) -> None:
    """Contract 7: error texts name the part at fault, and never the URL."""
    with pytest.raises(ValueError, match=r"url|protocol") as caught:
        Redis.from_url(url.format(secret=SECRET))
    assert SECRET not in told(caught.value)


def test_a_password_of_a_wrong_type_is_not_told(listener: socket.socket) -> None:
    """Contract 7: the type alone is."""
    password: Any = [SECRET]
    with pytest.raises(TypeError, match="password") as caught:
        Streams(**at(listener), streams="s", password=password)
    assert SECRET not in told(caught.value)


def test_a_password_for_a_misspelt_option_is_not_told(listener: socket.socket) -> None:
    """Contract 7: it is taken for the start of a stream, and is a password all the same."""
    pasword: Any = {"pasword": SECRET}
    with pytest.raises(ValueError, match="pasword") as caught:
        Streams(**at(listener), streams="s", **pasword)
    assert "'password'" in str(caught.value)
    assert SECRET not in told(caught.value)


# Hostile replies.


ENTRY = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        ENTRY + b"$1\r\nf\r\n$5\r\nv\r\n-nothing",
        ENTRY + b"$1\r\nf\r\n$1\r\nvv\r\n",
        ENTRY + b"$1\r\nf\r\n$x\r\nv\r\n",
        ENTRY + b"$1\r\nf\r\n$-5\r\nv\r\n",
        ENTRY + b"$1\r\nf\r\n$99999999999999999999\r\nv\r\n",
        ENTRY + b"$1\r\nf\r\n:1\r\n",
        b"*x\r\n",
        b"*1\r\n*2\r\n$1\r\nt\r\n*0\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\nabc\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
        b"*1\r\n" * 5000,
        b"*1\r\n*2\r\n$1\r\ns\r\n" + b"*1\r\n" * 5000,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n",
        b":5\r\n",
        b"\x00\x01\x02\r\n",
        b"$3\r\nabc\r\n",
    ],
    ids=lambda reply: repr(reply)[:60],
)
def test_a_hostile_reply_is_a_protocol_error(reply: bytes) -> None:
    """Contract 7: which is a ConnectionError, also the built-in one, and names the address."""
    with (
        Peer([Expect("XREAD"), reply]) as peer,
        Streams(peer.host, peer.port, s=0, socket_timeout=LONG) as streams,
    ):
        with pytest.raises(ProtocolError) as caught:
            next(streams)
        assert isinstance(caught.value, (ConnectionError, builtins.ConnectionError))
        assert f"{peer.host}:{peer.port}" in str(caught.value)
        assert streams.positions == {"s": b"0-0"}


@pytest.mark.parametrize(
    "reply",
    [
        ENTRY + b"$1\r\nf\r\n$536870911\r\nv",
        ENTRY + b"$1\r\nf\r\n$9999999999\r\nv",
        b"*2147483647\r\n*2\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*2147483647\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2147483646\r\n",
        b"%2147483647\r\n",
    ],
    ids=lambda reply: repr(reply)[:60],
)
def test_what_is_only_announced_takes_no_memory(reply: bytes) -> None:
    """Contract 7: gigabytes announced end in an error, of one kind or the other."""
    with (
        Peer([Expect("XREAD"), reply]) as peer,
        Streams(peer.host, peer.port, s=0, block=None, socket_timeout=0.2) as streams,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ConnectionError):
                next(streams)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()
