"""What a review of the whole library found, each as small as it can be shown."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from pystreamredis.cursors import Cursor
from pystreamredis.options import ConnectionOptions, ReadOptions
from pystreamredis.protocol.buffer import Buffer
from pystreamredis.session import _SILENCE, Conversation
from pystreamredis.waiting import READ, Waiter

NIL = b"*-1\r\n"


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
    made.closed()
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
        assert waiter.wait(ours, READ, timeout)
        waiter.forget()


@pytest.mark.parametrize("name", ["my app", "my\napp", b"\xff"])
def test_a_client_name_that_servers_refuse_is_refused_at_once(name: str | bytes) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match="client_name"):
        ConnectionOptions(client_name=name)
