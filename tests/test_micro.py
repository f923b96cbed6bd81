"""`micro/pystreamredis_micro.py`: the smallest shell, over a simulated server and on MicroPython.

It also takes the contract's tests of `tests.shells.OF_MICRO`, over real sockets.

PYSTREAMREDIS_TEST_MICROPYTHON  the executable; by default the one in PATH
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pystreamredis
from tests.answers import Store, ids
from tests.peer import Conversation, Peer
from tests.servers import LONG
from tests.shells import OF_MICRO, micro
from tests.simulation import Server, number, server_with, written

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(micro.__file__)
MICROPYTHON = os.environ.get("PYSTREAMREDIS_TEST_MICROPYTHON") or shutil.which("micropython")
MPY_CROSS = os.environ.get("PYSTREAMREDIS_TEST_MPY_CROSS") or shutil.which("mpy-cross")

on_micropython = pytest.mark.skipif(MICROPYTHON is None, reason="no micropython is installed")


class Network:
    """Stands for the module `socket`, and for the clock: connections to a simulated server.

    Args:
        server: The server.
        chunks: Sizes of what is received at once, over and over.
        cuts: The number of bytes after which connections break, one after the other.
    """

    SOCK_STREAM = 1

    def __init__(self, server: Server, chunks: list[int], cuts: list[int]) -> None:
        self.server = server
        self.now = 0.0
        self.connections = 0
        self.chunks = cycle(chunks)
        self.cuts = list(cuts)

    def getaddrinfo(self, *_: object) -> list[tuple[int, ...]]:
        return [(2, 1, 0)]

    def socket(self, *_: object) -> Socket:
        return Socket(self)

    def ticks_ms(self) -> int:
        return round(self.now * 1000)

    def sleep_ms(self, ms: int) -> None:
        self.now += ms / 1000


class Socket:
    """One connection, and the file that reads from it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._left: int | None = None

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def connect(self, _: object) -> None:
        network = self._network
        network.connections += 1
        self._left = network.cuts.pop(0) if network.cuts else None
        self._peer = network.server.accept()

    def makefile(self, _: str) -> Socket:
        return self

    def close(self) -> None:
        pass

    def sendall(self, data: bytes) -> None:
        self._peer.receive(data, self._network.now)

    def read(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size and (part := self._take(size - len(parts))):
            parts += part
        return parts

    def readline(self, size: int) -> bytes:
        line = b""
        while len(line) < size and line[-1:] != b"\n" and (byte := self._take(1)):
            line += byte
        return line

    def _take(self, size: int) -> bytes:
        peer, network = self._peer, self._network
        if self._left == 0:
            return b""
        if not peer.sent:
            if peer.deadline is None:
                network.now += self._timeout
                raise OSError(errno.ETIMEDOUT, "timed out")
            network.now = peer.deadline
            peer.work(network.now)
        size = min(size, next(network.chunks), len(peer.sent) if self._left is None else self._left)
        taken, peer.sent = peer.sent[:size], peer.sent[size:]
        if self._left is not None:
            self._left -= len(taken)
        return taken


@pytest.fixture
def read_over(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def make(network: Network, streams: Any, **options: Any) -> Any:
        monkeypatch.setattr(micro, "socket", network)
        monkeypatch.setattr(micro, "ticks_ms", network.ticks_ms)
        monkeypatch.setattr(micro, "sleep_ms", network.sleep_ms)
        return micro.Streams("simulated", 1, streams, **options)

    return make


HISTORY = st.lists(st.integers(1, 5) | st.sampled_from([2**64, 2**64 + 1, 7 * 2**64]), max_size=12)


@settings(deadline=None, max_examples=200)
@given(
    histories=st.lists(HISTORY, min_size=1, max_size=3),
    count=st.integers(1, 4),
    chunks=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 900), max_size=6),
    raises=st.booleans(),
)
def test_any_history_comes_whole_and_in_order_wherever_connections_break(
    histories: list[list[int]], count: int, chunks: list[int], cuts: list[int], raises: bool
) -> None:
    """Contract 2.4, 3.1, 3.2, 5.2, 5.3: and the positions are those of what was delivered."""
    entries: dict[bytes, list[int]] = {}
    for at, steps in enumerate(histories):
        total = 0
        entries[b"s%d" % at] = held = []
        for step in steps:
            total += step
            held.append(total)
    network = Network(server_with(entries), chunks, cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(micro, "socket", network)
        patch.setattr(micro, "ticks_ms", network.ticks_ms)
        patch.setattr(micro, "sleep_ms", network.sleep_ms)
        options: dict[str, Any] = {"block": None, "count": count}
        options["raise_connection_exceptions"] = raises
        streams = None
        found, failures = [], 0
        positions: dict[bytes, Any] = dict.fromkeys(entries, 0)
        for _ in range(500):
            try:
                if streams is None:
                    streams = micro.Streams("simulated", 1, positions, **options)
                message = next(streams)
            except StopIteration:
                break
            except pystreamredis.ConnectionError:
                failures += 1
                continue
            if isinstance(message, pystreamredis.ConnectionError):
                failures += 1
                continue
            found.append((message[0], number(message[1])))
            positions = dict(streams.positions)
            if len(found) % 5 == 4:
                streams = None  # as after a restart
        else:
            raise AssertionError("no end")
    expected = sorted((e, key) for key, held in entries.items() for e in held)
    assert found == [(key, entry) for entry, key in expected]
    assert failures <= len(cuts)
    assert positions.keys() == entries.keys()


@pytest.mark.parametrize("takes_plus", [True, False])
@pytest.mark.parametrize("last", [0, 1, 5 * 2**64 + 3, 2**128 - 2])
def test_now_is_pinned_once(read_over: Callable[..., Any], takes_plus: bool, last: int) -> None:
    """Contract 2.3: also over an outage before the first message."""
    server = Server(takes_plus=takes_plus)
    if last:
        server.add(b"s", last)
    network = Network(server, [1000], [])
    streams = read_over(network, ["s"], block=50, raise_connection_exceptions=False)
    assert streams.positions == {"s": written(last)}
    with pytest.raises(StopIteration):
        next(streams)
    network.cuts = [0]
    server.add(b"s", last + 1)
    assert next(streams)[:2] == ("s", written(last + 1))


def test_messages_that_came_whole_are_delivered_before_the_failure(
    read_over: Callable[..., Any],
) -> None:
    """Contract 5.4: a reply that breaks off loses none, and repeats none."""
    server = server_with({b"s": [1, 2, 3]})
    network = Network(server, [1000], [110])
    streams = read_over(network, {"s": 0}, block=None, raise_connection_exceptions=False)
    items = [next(streams) for _ in range(4)]
    assert [item[1] if isinstance(item, tuple) else "failure" for item in items] == [
        b"0-1",
        b"0-2",
        "failure",
        b"0-3",
    ]
    assert network.connections == 2


def test_a_returned_failure_is_followed_by_the_wait(read_over: Callable[..., Any]) -> None:
    """Contract 5.3."""
    network = Network(server_with({b"s": [1]}), [1000], [0, 0])
    streams = read_over(network, {"s": 0}, block=300, raise_connection_exceptions=False)
    for now in (0.0, 0.3):
        assert isinstance(next(streams), pystreamredis.ConnectionError)
        assert network.now == now
    assert next(streams)[1] == b"0-1"
    assert network.now == 0.6


def test_early_nil_is_not_asked_again_at_once(read_over: Callable[..., Any]) -> None:
    """Contract 6.6."""
    server = Server()
    network = Network(server, [1000], [])
    streams = read_over(network, {"s": 0}, block=1000)
    server.refusals.extend([None] * 1000)
    with pytest.raises(StopIteration):
        next(streams)
    assert len(server.reads) < 40


@pytest.mark.parametrize(
    "reply",
    [
        *(b"HTTP/1.1 400\r\n", b"*2\r\n", b"$5\r\nhello\r\n", b"+OK\r\n", b":1\r\n", b"*x\r\n"),
        b"*1\r\n*2\r\n$1\r\nx\r\n*0\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*99\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1x0\r\n*0\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*1\r\n$1\r\nf\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$999999999\r\n",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nvXX",
        b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n0-0\r\n*0\r\n",
    ],
)
def test_hostile_replies_are_protocol_errors(reply: bytes) -> None:
    """Contract 7; what is right is read over the next connection."""

    def hostile(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.send(reply)

    with Peer(hostile, Store({"s": ids(1)})) as peer:
        streams = micro.Streams(peer.host, peer.port, s=0, block=None, socket_timeout=LONG)
        with pytest.raises(pystreamredis.ProtocolError, match="expected"):
            next(streams)
        assert next(streams)[1] == b"1001-0"
        streams.close()


def test_it_logs_in_and_selects() -> None:
    with Peer(Store({"s": ids(1)})) as peer:
        options: dict[str, Any] = {"username": "u", "password": "p", "db": 3, "block": None}
        with micro.Streams(peer.host, peer.port, s=0, **options) as streams:
            assert len(list(streams)) == 1
        assert peer.commands[:2] == [[b"AUTH", b"u", b"p"], [b"SELECT", b"3"]]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("WRONGPASS no", pystreamredis.AuthenticationError),
        ("WRONGTYPE no", pystreamredis.ResponseError),
        ("LOADING no", pystreamredis.ConnectionError),
        ("ERR max number of clients reached", pystreamredis.ConnectionError),
    ],
)
def test_refusals_are_passing_or_for_good(
    read_over: Callable[..., Any], error: str, expected: type[Exception]
) -> None:
    """Contract 5.1, 5.6: the second kind is raised even where failures are returned."""
    server = Server()
    server.add(b"s", "1-0")
    streams = read_over(Network(server, [1000], []), {"s": 0}, block=None)
    server.refusals.append(f"-{error}")
    with pytest.raises(expected, match=error):
        next(streams)
    assert next(streams)[1] == b"1-0"


@pytest.mark.parametrize(
    ("start", "after"),
    [(0, 0), ("0", 0), (b"0-5", 5), ("1-2", 2**64 + 2), (7, 7 * 2**64 - 1), ("7", 7 * 2**64 - 1)],
)
def test_starts_are_those_of_the_contract(start: Any, after: int) -> None:
    """Contract 2.2."""
    assert micro.parse_start(start) == after


@pytest.mark.parametrize("start", [None, "$", b"$"])
def test_now_is_a_start(start: Any) -> None:
    assert micro.parse_start(start) is None


@pytest.mark.parametrize("start", [True, 1.5, -1, 2**64, "abc", "1-2-3", "-1", "5-", b"", [1]])
def test_other_starts_are_refused(start: Any) -> None:
    """Contract 7."""
    with pytest.raises((TypeError, ValueError)):
        micro.parse_start(start)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"streams": ["s", b"s"]}, {"s": 0, "count": 0}, {"s": 0, "block": -1}, {"streams": []}],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"stream|count"):
        micro.Streams("localhost", 1, **arguments)


def test_it_is_small() -> None:
    assert len(FILE.read_text("utf-8").splitlines()) <= 400


# On MicroPython.

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from pystreamredis_micro import ConnectionError, Streams
streams = Streams("127.0.0.1", int(sys.argv[1]), {{"a": 0, "b": 0}}, block=50,
                  raise_connection_exceptions=False)
failures = 0
for item in streams:
    if isinstance(item, ConnectionError):
        failures += 1
    else:
        print(item[0], item[1].decode())
print(failures, sorted(streams.positions.items()))
"""


def run_micropython(folder: Path, place: Path, port: int, heap: str) -> list[str]:
    program = place / "program.py"
    program.write_text(PROGRAM.format(folder=str(folder)))
    done = subprocess.run(
        [str(MICROPYTHON), "-X", f"heapsize={heap}", str(program), str(port)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def breaking(store: Store) -> Callable[[Conversation], None]:
    """Serve; the first three connections break within their second reply."""

    def send(conversation: Conversation, request: Any, answer: Callable[[], bytes]) -> None:
        data = answer()
        if conversation.number < 3 and request.number % 2 == 0:
            conversation.send(data[: len(data) * 2 // 3])
            conversation.close()
            return
        conversation.send(data)

    store._send = send
    return store


def check_on_micropython(folder: Path, place: Path, heap: str) -> None:
    streams = {"a": ids(60), "b": ids(40, 1031)}
    with Peer(breaking(Store(streams))) as peer:
        *lines, end = run_micropython(folder, place, peer.port, heap)
    expected = sorted((entry, name) for name, held in streams.items() for entry in held)
    assert lines == [f"{name} {entry}" for entry, name in expected]
    assert end == "3 [('a', b'1060-0'), ('b', b'1070-0')]"


@on_micropython
def test_micropython_loses_and_repeats_nothing_over_broken_connections(tmp_path: Path) -> None:
    check_on_micropython(FILE.parent, tmp_path, "192k")


@on_micropython
@pytest.mark.skipif(MPY_CROSS is None, reason="no mpy-cross is installed")
def test_a_heap_of_48_kb_is_enough(tmp_path: Path) -> None:
    """Compiled beforehand, on the 64-bit port, where an object takes twice the bytes."""
    target = tmp_path / "pystreamredis_micro.mpy"
    subprocess.run([str(MPY_CROSS), "-o", str(target), str(FILE)], check=True)
    check_on_micropython(tmp_path, tmp_path, "48k")


def test_the_tests_that_it_shares_exist() -> None:
    tests = "".join(
        path.read_text("utf-8") for path in Path(__file__).parent.glob("test_contract_*.py")
    )
    assert [name for name in OF_MICRO if f"def {name}(" not in tests] == []
