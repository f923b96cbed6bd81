"""What a review of the whole library found, each as small as it can be shown."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, ProtocolError, Streams
from pystreamredis.cursors import Cursor
from pystreamredis.options import ConnectionOptions, ReadOptions
from pystreamredis.protocol.buffer import Buffer
from pystreamredis.session import _SILENCE, Conversation
from pystreamredis.waiting import READ, Waiter
from tests.peer import Expect, Peer
from tests.resp import encode
from tests.scripted import at, entries, ids_of, next_item, serve, take
from tests.servers import LONG
from tests.waits import connect, forget_all, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Endpoint

NIL = b"*-1\r\n"
HISTORY = {"s": [f"{i}-0" for i in range(1, 8)], "t": ["8-0", "9-0"]}


def conversation(**connection: object) -> Conversation:
    reading = ReadOptions(
        count=10,
        block=0,
        stop_on_timeout=False,
        timeout_response=None,
        raise_connection_exceptions=True,
        fields=dict,
        hold=0,
        on_rewind="keep",
        connections=1,
    )
    options = ConnectionOptions(**connection)  # type: ignore[arg-type]
    return Conversation(options, reading, [Cursor("s", b"s", b"9-0")])


def test_silence_counts_from_when_a_look_after_a_long_pause_was_sent() -> None:
    """Contract 5.5: what was not asked for yet is not late."""
    made = conversation(socket_timeout=5.0)
    made.opened(0.0)
    made.ask(0.0, 0)
    made.take_outgoing(0.0)
    made.received(NIL, 1.0)
    made.process()
    now = 2.0 + 2 * _SILENCE
    assert made.look_back(now)
    assert made.take_outgoing(now).startswith(b"*")
    assert made.silent_at == now + 5.0


def test_silence_counts_from_when_a_login_was_sent_however_long_the_password_took() -> None:
    """Contract 5.5, 1.2."""
    made = conversation(socket_timeout=5.0, password="secret")
    made.opened(0.0)  # the callable would have taken until 7.0
    made.take_outgoing(7.0)
    assert made.silent_at == 12.0


def test_a_refused_hello_is_not_repeated_at_once() -> None:
    """Contract 6.2: also where the connection is closed a moment after the refusal."""
    made = conversation(protocol=3)
    made.opened(0.0)
    assert b"HELLO" in made.take_outgoing(0.0)
    made.received(b"-ERR unknown command 'HELLO'\r\n", 0.0)
    made.process()
    assert made.is_ready
    made.closed(0.5)
    made.opened(1.0)
    assert b"HELLO" not in made.take_outgoing(1.0)


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
    ours, theirs = socket.socketpair()
    with closing(Waiter()) as waiter, ours, theirs:
        theirs.send(b"x")
        assert wait_for(waiter, ours, READ, timeout)
        forget_all(waiter)


@pytest.mark.parametrize("name", ["my app", "my\napp", b"\xff"])
def test_a_client_name_that_servers_refuse_is_refused_at_once(name: str | bytes) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match="client_name"):
        ConnectionOptions(client_name=name)


# Streams that are added at a bad moment.


def failing_in_mid_batch(*then: Any) -> Peer:
    """A peer whose first reply has three entries of `s` and then something that is no RESP."""
    reply = encode(entries("s", "1-0", "2-0", "3-0")) + b"garbage\r\n"
    return Peer([Expect("XREAD"), reply], *then)


@pytest.mark.parametrize("raising", [True, False])
def test_a_failure_that_was_not_told_yet_outlives_add(raising: bool) -> None:
    """Contract 5.2, 5.3, 5.4: it is told once, after the messages that came before it."""
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


def test_a_failure_that_was_not_told_yet_outlives_an_add_that_fails() -> None:
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


CHANGES: dict[str, Callable[[Streams], None]] = {
    "add": lambda streams: streams.add(t=0),
    "discard": lambda streams: streams.discard("s"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_second_thread_can_change_nothing_while_one_waits(
    change: Callable[[Streams], None],
) -> None:
    """It is told, and the thread that waits gets the message that it waits for."""
    waits, goes_on = threading.Event(), threading.Event()

    def wait(conversation: Any) -> None:
        conversation.expect("XREAD")
        waits.set()
        goes_on.wait(LONG)
        conversation.reply(entries("s", "1-0"))

    with Peer(wait) as peer, Streams(**at(peer), block=0, s=0) as streams:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(next(streams)))
        thread.start()
        assert waits.wait(LONG)
        with pytest.raises(RuntimeError, match="another thread"):
            change(streams)
        goes_on.set()
        thread.join(LONG)
        assert ids_of(found) == [b"1-0"]
        assert streams.positions == {"s": b"1-0"}


# close() in the very middle of next().


@pytest.mark.parametrize("step", [("_driver", "next_batch"), ("_follower", "_install")])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("by_for", [True, False])
def test_next_hands_over_nothing_that_close_has_overtaken(
    by_for: bool, when: str, step: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.4, 2.4: it stops, and what was not handed over is in no position.

    Closed by another thread just before or after next() gets a batch, or makes one.
    """
    owner, name = step
    with Peer(lambda it: serve(it, HISTORY)) as peer:
        streams = Streams(**at(peer), count=2, s=0)
        assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]
        work = getattr(getattr(streams, owner), name)

        def close() -> None:
            thread = threading.Thread(target=streams.close)
            thread.start()
            thread.join(LONG)

        def overtaken(*args: Any) -> Any:
            if when == "before" and (not args or args[0].messages):
                close()
            batch = work(*args)
            if when == "after" and batch.messages:
                close()
            return batch

        monkeypatch.setattr(getattr(streams, owner), name, overtaken)
        assert [*streams] == [] if by_for else next(streams, None) is None
        assert streams._driver is None
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
        assert "'s'" in caplog.text  # it is told of all the same
        embedded.command("XADD", "s", "9-1", "f", "v")
        assert ids_of(streams) == [b"9-1"]


# An address that is of no use here.


def test_a_family_that_this_machine_has_not_is_one_failed_address_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As "::1" for localhost is, where there is no IPv6."""
    with Peer([b""]) as peer, closing(Waiter()) as waiter:
        none, good = (9999, (0,)), (socket.AF_INET, (peer.host, peer.port))

        def resolve_to(*found: tuple[int, Any]) -> None:
            answer = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)

        resolve_to(none, good)
        with closing(connect(ConnectionOptions("some.host"), waiter)) as transport:
            assert transport.sock.getpeername()[1] == peer.port
            forget_all(waiter)
        resolve_to(none)
        with pytest.raises(OSError, match="family"):
            connect(ConnectionOptions("some.host"), waiter)
