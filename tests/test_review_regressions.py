"""What a review of the whole library found, each as small as it can be shown."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, ProtocolError, Streams, TimeoutError
from pystreamredis.core.exchanges import SILENCE
from pystreamredis.core.reader import Reader
from pystreamredis.io.blocking import Driver, Poller
from pystreamredis.io.connection import READ
from pystreamredis.options import ConnectionOptions
from pystreamredis.protocol.buffer import Buffer
from tests.peer import Expect, Peer
from tests.resp import encode
from tests.scripted import at, entries, ids_of, next_item, serve, take
from tests.servers import LONG
from tests.simulation import Server, Simulation

if TYPE_CHECKING:
    from tests.servers import Endpoint

HISTORY = {"s": [f"{i}-0" for i in range(1, 8)], "t": ["8-0", "9-0"]}


def test_silence_counts_from_when_a_look_after_a_long_pause_was_sent() -> None:
    """Contract 5.5: what was not asked for yet is not late."""
    server = Server()
    simulation = Simulation(server, {"s": "9-0"}, connection={"socket_timeout": 5.0}).establish()
    assert simulation.rest() == []
    simulation.sleep(3 * SILENCE)
    simulation.is_deaf = True
    began = simulation.now
    with pytest.raises(TimeoutError):
        simulation.next()
    assert server.reads[-1].count == 1  # the look, by which it all begins
    assert simulation.now == began + 5.0


def test_silence_counts_from_when_a_login_was_sent_however_long_the_password_took() -> None:
    """Contract 5.5, 1.2."""

    def password() -> str:
        simulation.now += 7.0
        return "secret"

    options = {"socket_timeout": 5.0, "password": password}
    simulation = Simulation(Server(), {"s": "9-0"}, connection=options)
    simulation.is_deaf = True
    began = simulation.now
    with pytest.raises(TimeoutError):
        simulation.establish()
    assert simulation.now == began + 12.0


def test_a_refused_hello_is_not_repeated_at_once() -> None:
    """Contract 6.2: also where the connection is closed a moment after the refusal."""
    server = Server()
    server.unknown.add(b"HELLO")
    simulation = Simulation(server, {"s": "9-0"}, connection={"protocol": 3}).establish()
    assert simulation.peer is not None
    simulation.peer.closes = True
    with pytest.raises(ConnectionError):
        simulation.next()
    assert simulation.rest() == []
    assert [command[0] for command in server.log].count(b"HELLO") == 1
    assert len(simulation.attempts) == 2


def test_the_length_of_a_buffer_follows_what_is_fed_and_taken() -> None:
    buffer = Buffer()
    for piece in (b"ab", b"c\r\n", b"rest"):
        buffer.feed(piece)
    assert len(buffer) == 9
    assert buffer.line() == b"abc"
    assert len(buffer) == 4
    buffer.forget()
    assert len(buffer) == 4
    assert buffer.block(4) is None
    buffer.feed(b"\r\n")
    assert buffer.block(4) == b"rest"
    buffer.forget()
    assert (len(buffer), buffer.data) == (0, b"")


@pytest.mark.parametrize("timeout", [3e6, 1e300])
def test_a_wait_may_be_longer_than_the_system_takes(timeout: float) -> None:
    owner: Any = object()
    ours, theirs = socket.socketpair()
    with closing(Poller()) as poller, ours, theirs:
        poller.watch(ours, READ, owner)
        theirs.send(b"x")
        assert poller.wait(timeout) == [owner]
        poller.forget(ours)


@pytest.mark.parametrize("name", ["my app", "my\napp", b"\xff"])
def test_a_client_name_that_servers_refuse_is_refused_at_once(name: str | bytes) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match="client_name"):
        ConnectionOptions(client_name=name)


# Streams that are added at a bad moment.


def failing_in_mid_batch(*then: Any) -> Peer:
    """A peer whose first reply has three entries of `s` and then something that is not RESP."""
    reply = encode(entries("s", "1-0", "2-0", "3-0")) + b"garbage\r\n"
    return Peer([Expect("XREAD"), reply], *then)


@pytest.mark.parametrize("raising", [True, False])
def test_a_failure_not_reported_yet_outlives_add(raising: bool) -> None:
    """Contract 5.2, 5.3, 5.4: it is reported once, after the messages that came before it."""
    options: dict[str, Any] = {"raise_connection_exceptions": raising, "block": 1}
    with (
        failing_in_mid_batch(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), **options, s=0) as streams,
    ):
        first = next(streams)
        streams.add(t="8-0")
        assert ids_of([first, *take(streams, 2)]) == [b"1-0", b"2-0", b"3-0"]
        assert isinstance(next_item(streams), ProtocolError)
        assert ids_of(take(streams, 5)) == [b"4-0", b"5-0", b"6-0", b"7-0", b"9-0"]


def test_a_failure_not_reported_yet_outlives_an_add_that_fails() -> None:
    """Contract 5.2: these are two failures, each raised once, and no stream was added."""
    with (
        failing_in_mid_batch([Expect("XREAD"), b"rubbish\r\n"], lambda it: serve(it, HISTORY)) as (
            peer
        ),
        Streams(**at(peer), s=0) as streams,
    ):
        first = next(streams)
        with pytest.raises(ProtocolError, match="rubbish"):
            streams.add("t")
        assert ids_of([first, *take(streams, 2)]) == [b"1-0", b"2-0", b"3-0"]
        with pytest.raises(ProtocolError, match="garbage"):
            next(streams)
        assert next(streams)[1] == b"4-0"
        assert streams.positions == {"s": b"4-0"}


# close() in the very middle of next().


@pytest.mark.parametrize("step", [(Driver, "run"), (Reader, "step")])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("by_for", [True, False])
def test_next_delivers_nothing_that_close_has_overtaken(
    by_for: bool, when: str, step: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.4, 2.4: it stops, and what was not delivered is in no position.

    Closed by another thread just before or after next() gets a batch, or makes one.
    """
    owner, name = step
    work = getattr(owner, name)
    with Peer(lambda it: serve(it, HISTORY)) as peer:
        streams = Streams(**at(peer), count=2, s=0)
        assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]
        closings = []

        def close() -> None:
            thread = threading.Thread(target=streams.close)
            thread.start()
            thread.join(LONG)
            closings.append(thread)

        def overtaken(*args: Any) -> Any:
            if when == "before":
                close()
            batch = work(*args)
            if when == "after" and batch is not None and batch.messages:
                close()
            return batch

        monkeypatch.setattr(owner, name, overtaken)
        assert [*streams] == [] if by_for else next(streams, None) is None
        assert closings
        assert streams.positions == {"s": b"2-0"}
        assert next(streams, None) is None


# A stream that was resumed, and has begun again.


def test_a_stream_that_was_resumed_is_not_restarted(
    embedded: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Contract 2.2, 2.4: "after that message" may name one that never was, to skip all others."""
    for entry_id in ("1-0", "2-0"):
        embedded.command("XADD", "s", entry_id, "f", "v")
    options: dict[str, Any] = {"block": 30, "on_rewind": "restart"}
    with Streams(**embedded.options, **options, s="9-0") as streams:
        assert list(streams) == []
        embedded.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert isinstance(next_item(streams), ConnectionError)
        assert list(streams) == []
        assert "'s'" in caplog.text  # it is logged all the same
        embedded.command("XADD", "s", "9-1", "f", "v")
        assert ids_of(streams) == [b"9-1"]


# An address that is of no use here.


def test_a_family_that_this_machine_has_not_is_one_failed_address_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As "::1" for localhost is, where there is no IPv6."""
    with Peer(lambda it: serve(it, HISTORY)) as peer:
        none, good = (9999, (0,)), (socket.AF_INET, (peer.host, peer.port))

        def resolve_to(*found: tuple[int, Any]) -> None:
            answer = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)

        resolve_to(none, good)
        with Streams("some.host", s=0) as streams:
            assert next(streams)[1] == b"1-0"
        resolve_to(none)
        with pytest.raises(ConnectionError, match="family"):
            Streams("some.host", s=0)
