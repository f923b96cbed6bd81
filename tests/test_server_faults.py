"""What happens to real servers, one by one, under a reader that waits or works.

Together and at random they are what `tests.soak` makes. What concerns single streams is in
`test_contract_stream_faults`; servers that refuse from the start are in
`test_contract_failures`, and so are `kill -9` and a server that stands still for long.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Thread, Timer
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import AuthenticationError, ConnectionError, Streams, TimeoutError
from tests.conftest import embedded_kinds
from tests.peer import closed_port
from tests.scripted import next_item
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import Server, StartServer

RAISING = pytest.mark.parametrize("raising", [True, False])
NAME = "under-test"


@pytest.fixture(params=embedded_kinds())
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server that can be started here."""
    name: str = request.param
    return name


@pytest.fixture
def own(start_server: StartServer, kind: str) -> Server:
    """A server of the test's own, which keeps what it has."""
    return start_server("--appendonly", "yes", "--appendfsync", "always", kind=kind)


def follow(server: Server, *, raising: bool = True, **options: Any) -> Streams:
    """Follow streams of a server that knows the connection by its name."""
    options = server.options | {"block": 50, "client_name": NAME} | options
    return Streams(**options, raise_connection_exceptions=raising)


def write(server: Server, stream: str, *numbers: int) -> None:
    server.pipeline([("XADD", stream, f"{number}-0", "f", "v") for number in numbers])


def clients(server: Server) -> list[dict[str, str]]:
    """The readers that are connected to the server."""
    lines = server.command("CLIENT", "LIST").decode().splitlines()
    found = [dict(item.split("=", 1) for item in line.split()) for line in lines]
    return [each for each in found if each["name"] == NAME]


def blocked(server: Server) -> list[str]:
    """Those that wait."""
    return [each["id"] for each in clients(server) if "b" in each["flags"]]


@contextmanager
def meanwhile(server: Server, *commands: tuple[Any, ...]) -> Iterator[None]:
    """Have the server run commands once a reader waits at it."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            wait_until(lambda: bool(blocked(server)))
            client = blocked(server)[0]
            for command in commands:
                server.command(*(client if word is NAME else word for word in command))
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    thread = Thread(target=run)
    thread.start()
    yield
    thread.join(LONG)
    assert failures == []


def later(action: Callable[[], object]) -> Timer:
    """Do it soon, in another thread."""
    timer = Timer(0.3, action)
    timer.start()
    return timer


class Found:
    """What came of a reader: the numbers of messages, and failures."""

    def __init__(self, streams: Streams) -> None:
        self.numbers: list[int] = []
        self.failures: list[Any] = []
        self._streams = streams

    def read(self, upto: int) -> None:
        """Read over failures until that number has come, or for too long."""
        deadline = monotonic() + LONG
        while upto not in self.numbers and monotonic() < deadline:
            self._read_one()

    def _read_one(self) -> None:
        try:
            item = next_item(self._streams)
        except StopIteration:
            return
        if isinstance(item, tuple):
            self.numbers.append(int(item[1].partition(b"-")[0]))
        else:
            self.failures.append(item)

    def read_until_it_fails(self) -> None:
        """Read until a failure has come, or for too long."""
        deadline = monotonic() + LONG
        while not self.failures and monotonic() < deadline:
            self._read_one()

    def texts(self) -> str:
        return "\n".join(map(str, self.failures))


# The connection alone.


@RAISING
def test_a_reader_that_is_killed_while_it_waits(own: Server, raising: bool) -> None:
    """CLIENT KILL: contract 5.2, 5.3."""
    with follow(own, raising=raising, s=0, block=1500) as streams:
        found = Found(streams)
        with meanwhile(own, ("CLIENT", "KILL", "ID", NAME), ("XADD", "s", "1-0", "f", "v")):
            found.read(1)
        assert found.numbers == [1]
        assert len(found.failures) == 1
        assert "closed the connection" in found.texts()


@pytest.mark.parametrize("block", [0, 600_000])
def test_a_wait_that_the_server_ends_goes_on(own: Server, block: int) -> None:
    """CLIENT UNBLOCK ... TIMEOUT looks like a timeout, and is none: contract 4.1, 4.2."""
    commands = ("CLIENT", "UNBLOCK", NAME, "TIMEOUT"), ("XADD", "s", "1-0", "f", "v")
    with follow(own, s=0, block=block) as streams, meanwhile(own, *commands):
        assert next(streams)[1] == b"1-0"


@RAISING
def test_a_caller_that_is_slower_than_the_servers_idle_timeout(
    start_server: StartServer, kind: str, raising: bool
) -> None:
    """`timeout 1`: the connection is gone when the caller comes back, and no message is."""
    server = start_server("--timeout", "1", kind=kind)
    write(server, "s", *range(1, 8))
    with follow(server, raising=raising, s=0, count=2, block=None) as streams:
        found = Found(streams)
        found.read(1)
        wait_until(lambda: clients(server) == [])
        found.read(7)
        assert found.numbers == [1, 2, 3, 4, 5, 6, 7]
        assert len(found.failures) == 1


def test_a_reader_that_waits_longer_than_the_servers_idle_timeout(
    start_server: StartServer, kind: str
) -> None:
    """Servers spare those that wait, and so no failure comes of it."""
    server = start_server("--timeout", "1", kind=kind)
    with follow(server, s=0, block=2500) as streams:
        assert list(streams) == []
        write(server, "s", 1)
        assert next(streams)[1] == b"1-0"


# The server as a whole.


def test_a_server_that_stands_still_for_less_than_socket_timeout(own: Server) -> None:
    """SIGSTOP and SIGCONT: contract 5.5: late is not lost."""
    with follow(own, s=0, block=100) as streams:
        write(own, "s", 1)
        found = Found(streams)
        found.read(1)
        own.suspend()
        thread = later(own.resume)
        assert next(streams, None) is None
        thread.join()
        write(own, "s", 2)
        found.read(2)
        assert (found.numbers, found.failures) == ([1, 2], [])


@RAISING
def test_a_server_that_pauses_its_clients(own: Server, raising: bool) -> None:
    """CLIENT PAUSE, for less and for more than `socket_timeout`."""
    for timeout, pause, has_failed in ((LONG, 500, False), (0.2, 2000, True)):
        write(own, "s", 1)
        with follow(own, raising=raising, s=0, socket_timeout=timeout) as streams:
            found = Found(streams)
            found.read(1)
            own.command("CLIENT", "PAUSE", pause)
            thread = Thread(target=write, args=(own, "s", 2))
            thread.start()
            found.read(2)
            thread.join()
        assert found.numbers == [1, 2]
        assert bool(found.failures) is has_failed
        assert {type(failure) for failure in found.failures} <= {TimeoutError}
        own.command("DEL", "s")


@RAISING
def test_a_master_that_turns_replica(own: Server, raising: bool) -> None:
    """REPLICAOF: those that wait get -UNBLOCKED; a replica is read like a master."""
    write(own, "s", 1)
    with follow(own, raising=raising, s=0, block=1500) as streams:
        found = Found(streams)
        found.read(1)
        with meanwhile(
            own,
            ("REPLICAOF", "127.0.0.1", closed_port()),
            ("REPLICAOF", "NO", "ONE"),
            ("XADD", "s", "2-0", "f", "v"),
        ):
            found.read(2)
        assert found.numbers == [1, 2]
        assert "UNBLOCKED" in found.texts()
        assert all(isinstance(failure, ConnectionError) for failure in found.failures)


@RAISING
def test_a_server_that_loads_much_after_a_kill(
    start_server: StartServer, kind: str, raising: bool
) -> None:
    """LOADING, for as long as it takes: contract 5.1, and then all is there once."""
    server = start_server(
        *("--appendonly", "yes", "--appendfsync", "always", "--key-load-delay", "400"), kind=kind
    )
    write(server, "s", *range(1, 6001))
    with follow(server, raising=raising, s=0, block=20, count=1000) as streams:
        found = Found(streams)
        found.read(10)
        server.kill()
        thread = Thread(target=server.start)
        thread.start()
        found.read(6000)
        thread.join()
        assert "LOADING" in found.texts()
        assert found.numbers == list(range(1, 6001))


# Accounts.


@RAISING
def test_a_user_who_is_deleted_and_comes_back(own: Server, raising: bool) -> None:
    """ACL changes under a running reader: contract 5.6: raised in both modes, and repaired."""

    def let_in() -> None:
        own.command("ACL", "SETUSER", "someone", "on", ">secret", "~*", "+xread")

    let_in()
    write(own, "s", 1)
    account = {"username": "someone", "password": "secret"}
    with follow(own, raising=raising, s=0, block=500, **account) as streams:
        found = Found(streams)
        found.read(1)
        with meanwhile(own, ("ACL", "DELUSER", "someone")):
            found.read_until_it_fails()
        assert isinstance(found.failures.pop(), ConnectionError)
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                next(streams)
        let_in()
        write(own, "s", 2)
        found.read(2)
        assert (found.numbers, found.failures) == ([1, 2], [])


# One stream.


def test_a_stream_that_is_deleted_and_created_again_while_a_reader_waits(own: Server) -> None:
    """DEL: as clocks go on, what comes next has greater IDs, and so it comes."""
    write(own, "s", 1)
    with follow(own, s=0, block=1500) as streams:
        found = Found(streams)
        found.read(1)
        with meanwhile(own, ("DEL", "s"), ("XADD", "s", "2-0", "f", "v")):
            found.read(2)
        assert (found.numbers, found.failures) == ([1, 2], [])
