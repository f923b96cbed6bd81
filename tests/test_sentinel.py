"""`tests.sentinel`, and a reader whose master is killed while Sentinels watch."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from sentinel import Sentinels

from pystreamredis import ConnectionError, Streams
from tests.conftest import best_binary
from tests.resp import Client, CommandError
from tests.sentinel import MASTER, Watched
from tests.servers import LONG, Endpoint, ServerFailed, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self


@pytest.fixture
def watched() -> Iterator[Watched]:
    with Watched(best_binary()) as watched:
        yield watched


def test_nothing_that_the_new_master_has_is_lost_and_nothing_comes_twice(watched: Watched) -> None:
    """By the worked example: `Sentinels` is what `host=` takes there."""
    sentinels = Sentinels(MASTER, watched.addresses, LONG)
    read: dict[str, list[bytes]] = {"a": [], "b": []}
    failures: list[ConnectionError] = []
    with (
        Writer(sentinels) as writer,
        Streams(
            sentinels,
            streams=dict.fromkeys(read, 0),
            block=50,
            stop_on_timeout=True,
            raise_connection_exceptions=False,
        ) as streams,
    ):

        def read_until(enough: int) -> None:
            while sum(map(len, read.values())) < enough:
                take(next(streams))

        def take(message: Any) -> None:
            if isinstance(message, ConnectionError):
                failures.append(message)
            elif message is not None:
                read[message[0]].append(message[1])

        read_until(200)
        writer.pause()
        # What it has alone is lost with it, which would be no fault of the reader. WAIT is about
        # what its own connection has written.
        wait_until(lambda: lengths_at(watched.replica, read) == lengths_at(watched.master, read))
        watched.master.kill()
        writer.go_on()
        watched.wait_until_master(watched.replica)
        read_until(sum(map(len, read.values())) + 400)
        writer.pause()
        while (message := next(streams)) is not None:
            take(message)
    for name, ids in read.items():
        held = watched.replica.command("XRANGE", name, "-", "+")
        assert ids == [entry_id for entry_id, _ in held]
    assert failures
    assert watched.master.address in str(failures[0])


def lengths_at(server: Endpoint, streams: Iterable[str]) -> list[int]:
    return [server.command("XLEN", name) for name in streams]


def test_sentinels_that_are_away_are_passed_over(watched: Watched) -> None:
    sentinels = Sentinels(MASTER, watched.addresses, LONG)
    for sentinel in watched.sentinels:
        assert sentinels() == (watched.master.host, watched.master.port)
        sentinel.kill()
    with pytest.raises(OSError, match="no Sentinel knows the master 'mymaster'"):
        sentinels()


def test_a_name_that_no_sentinel_knows_is_told(watched: Watched) -> None:
    with pytest.raises(ConnectionError, match=r"no Sentinel knows the master 'other' \(.*unknown"):
        Streams(Sentinels("other", watched.addresses, LONG), s=0)


class Writer:
    """Writes to two streams, one message after the other, at whoever is the master."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels
        self._may_write, self._is_over, self._rests = Event(), Event(), Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._may_write.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._may_write.set()
        self._thread.join()

    def pause(self) -> None:
        self._rests.clear()
        self._may_write.clear()
        assert self._rests.wait(LONG)

    def go_on(self) -> None:
        self._may_write.set()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._write()
            except (OSError, ServerFailed):
                self._is_over.wait(0.05)

    def _write(self) -> None:
        with Client(*self._sentinels(), timeout=5) as client:
            for number in range(1_000_000):
                if not self._may_write.is_set():
                    self._rests.set()
                    self._may_write.wait()
                if self._is_over.wait(0.001):
                    return
                try:
                    client.command("XADD", "ab"[number % 2], "*", "n", number)
                except CommandError as error:  # it is a replica by now
                    raise OSError(str(error)) from error
