"""`host` as a callable: where the server is is asked at every connect (contract 1.2, 5, 7)."""

from __future__ import annotations

import logging
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Redis, Streams
from tests.answers import Store
from tests.peer import Peer, closed_port
from tests.servers import LONG

if TYPE_CHECKING:
    from tests.servers import Server, StartServer


class Directory:
    """Says where the server is, as a service of that kind does; counts how often it was asked."""

    def __init__(self, *says: Any) -> None:
        self.says = list(says)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said


def at(server: Server) -> tuple[str, int]:
    return server.host, server.port


def fill(*servers: Server) -> None:
    for server in servers:
        server.pipeline([["XADD", "s", f"{i}-0", "f", "v"] for i in range(1, 4)])


def drain(streams: Streams) -> tuple[list[bytes], list[Exception]]:
    """Read on until there is nothing more: the IDs, and what was raised."""
    read: list[bytes] = []
    failed: list[Exception] = []
    for _ in range(4):
        try:
            for _, entry_id, _ in streams:
                read.append(entry_id)
        except (ConnectionError, TypeError) as error:
            failed.append(error)
    return read, failed


def test_the_server_is_where_the_callable_says(one_server: Server) -> None:
    fill(one_server)
    directory = Directory(at(one_server))
    with Streams(directory, s=0, block=None) as streams:
        assert [entry_id for _, entry_id, _ in streams] == [b"1-0", b"2-0", b"3-0"]
    assert directory.asked == 1  # at the connect, and not at each read


def test_it_is_asked_again_at_each_connect(start_server: StartServer) -> None:
    """Contract 5.2: the next one connects again and goes on after the last message."""
    first, second = start_server(), start_server()
    fill(first, second)
    directory = Directory(at(first), at(second))
    with Streams(directory, s=0, count=1, block=100) as streams:
        assert next(streams)[1] == b"1-0"
        first.kill()
        read, failed = drain(streams)  # what had come before the end is handed over first
        assert read == [b"2-0", b"3-0"]
        assert [first.address in str(failure) for failure in failed] == [True]
        assert directory.asked == 2
        second.command("XADD", "s", "4-0", "f", "v")
        assert next(streams)[1] == b"4-0"


def test_objects_that_share_a_callable_each_ask_it(start_server: StartServer) -> None:
    """What one has found out is not the other's address."""
    first, second = start_server(), start_server()
    fill(first, second)
    r = Redis(Directory(at(first), at(second)))
    with r.streams(s=0) as one, r.streams(s=0) as two:
        assert (first.address in repr(one), second.address in repr(two)) == (True, True)
        assert next(one)[1] == next(two)[1] == b"1-0"


@pytest.mark.parametrize(
    "cause",
    [OSError("the directory is away"), LookupError("no master"), ValueError("half a file")],
    ids=repr,
)
def test_what_it_raises_is_a_connection_that_failed(cause: Exception, one_server: Server) -> None:
    """Contract 5.1: both classes, and the cause is chained."""
    fill(one_server)
    directory = Directory(cause, at(one_server))
    with pytest.raises(ConnectionError) as caught:
        Streams(directory, s=0)
    assert str(caught.value) == (
        f"cannot connect to wherever host() says: host() raised {type(cause).__name__}: {cause}"
    )
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__cause__ is cause
    directory = Directory(cause, at(one_server))
    with Streams(directory, s=0, block=10, raise_connection_exceptions=False) as streams:
        failure, message = next(streams), next(streams)
        assert isinstance(failure, ConnectionError)
        assert isinstance(message, tuple)
        assert message[1] == b"1-0"


def test_a_failure_names_the_address_that_was_found(one_server: Server) -> None:
    """Contract 5.1: its text names the address and the cause."""
    port = closed_port()
    directory = Directory(("127.0.0.1", port), KeyError("lost"), at(one_server))
    options: dict[str, Any] = {"block": 10, "raise_connection_exceptions": False}
    with Streams(directory, s=0, **options) as streams:
        refused, unknown = next(streams), next(streams)
        assert str(refused).startswith(f"cannot connect to 127.0.0.1:{port}: ")
        assert str(unknown).startswith(f"cannot connect to 127.0.0.1:{port}: host() raised KeyErr")


@pytest.mark.parametrize(
    ("found", "cause", "text"),
    [
        ("localhost", None, "must return a tuple of host and port"),
        (None, None, "must return a tuple of host and port"),
        (("localhost",), None, "must return a tuple of host and port"),
        ((b"localhost", 6379), TypeError, "host is of type bytes, but must be a str"),
        (("localhost", "6379"), TypeError, "port is '6379', but must be an int"),
        (("localhost", True), TypeError, "port is True, but must be an int"),
        (("", 6379), ValueError, "host is empty"),
        (("redis://localhost", 6379), ValueError, "host is a URL"),
        (("localhost:6379", 6379), ValueError, "host has a port in it"),
        (("localhost", 0), ValueError, "port is 0, but must be from 1 to 65535"),
        (("localhost", 65536), ValueError, "port is 65536, but must be from 1 to 65535"),
    ],
)
@pytest.mark.parametrize("raising", [True, False])
def test_what_is_not_an_address_is_a_failure_of_the_connection(
    found: Any, cause: type[Exception] | None, text: str, *, raising: bool
) -> None:
    """Contract 5.1: before anything is sent, with the value."""
    if raising:
        with pytest.raises(ConnectionError) as caught:
            Streams(Directory(found), s=0)
        failure: Any = caught.value
    else:
        with Streams(Directory(found), s=0, raise_connection_exceptions=False) as streams:
            failure = next(streams)
    assert type(failure) is ConnectionError
    assert f": host() returned {found!r}" in str(failure)
    assert text in str(failure)
    assert failure.__cause__ is not None
    chained = failure.__cause__.__cause__
    assert chained is None if cause is None else type(chained) is cause


def test_after_what_is_not_an_address_the_object_is_as_good_as_before(
    start_server: StartServer,
) -> None:
    server = start_server()
    fill(server)
    with Streams(Directory(at(server), 5, at(server)), s=0, count=1, block=100) as streams:
        assert next(streams)[1] == b"1-0"
        server.restart()
        fill(server)
        read, failed = drain(streams)
        assert read == [b"2-0", b"3-0"]
        assert [type(failure) for failure in failed] == [ConnectionError, ConnectionError]


class Slow(Directory):
    """Takes longer than any reply or connection may, from the second time on."""

    def __call__(self) -> Any:
        if self.asked:
            sleep(0.6)
        return super().__call__()


def test_a_slow_answer_makes_no_other_connection_fail() -> None:
    """Contract 5: what came while the program could not look is not late."""
    with (
        Peer(Store({"s": ["1-0"]})) as here,
        Peer(Store({"s": []})) as first,
        Peer(Store({"s": ["2-0"]})) as there,
    ):
        directory = Slow((first.host, first.port), (there.host, there.port))
        sources = {
            "here": Redis(here.host, here.port, socket_timeout=0.3),
            "there": Redis(directory, socket_timeout=0.3, socket_connect_timeout=LONG),
        }
        options: dict[str, Any] = {"block": 100, "raise_connection_exceptions": False}
        with Streams.from_sources(sources, {"s": 0}, **options) as streams:
            found = [next(streams)]
            first.close()
            while found[-1][1:2] != (b"2-0",) and len(found) < 20:
                item = next(streams, ())
                found.append((str(item),) if isinstance(item, ConnectionError) else item)
    assert [item[1] for item in found if len(item) == 3] == [b"1-0", b"2-0"]
    (failure,) = [item[0] for item in found if len(item) == 1]
    assert str(first.port) in failure


@pytest.mark.blocking  # the other shell does not wait for it any longer than for the connection
def test_a_slow_answer_takes_nothing_from_the_time_to_connect() -> None:
    with Peer(Store({"s": ["1-0"]})) as peer:
        directory = Slow((peer.host, peer.port))
        directory.asked = 1
        with Streams(directory, s=0, socket_connect_timeout=0.3) as streams:
            assert next(streams)[1] == b"1-0"


def test_a_callable_and_a_unix_socket_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="host and unix_socket_path"):
        Redis(Directory(None), unix_socket_path="/tmp/socket")


def test_it_is_not_asked_before_there_is_a_connection_to_make() -> None:
    directory = Directory(OSError())
    assert repr(Redis(directory)) == "<Redis at wherever host() says, db 0>"
    assert directory.asked == 0


def test_the_logger_tells_each_address(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pystreamredis")
    first, second = start_server(), start_server()
    fill(first, second)
    directory = Directory(at(first), at(second))
    with Streams(directory, s=0, block=10, raise_connection_exceptions=False) as streams:
        while not isinstance(next(streams, None), tuple):
            pass
        first.kill()
        while not isinstance(next(streams, None), ConnectionError):
            pass
        assert next(streams, None) is None
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == f"connected to {first.address}"
    assert told[-1].startswith(f"connected to {second.address} after an outage of ")
