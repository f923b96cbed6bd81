"""Contract 3.3: messages that come late, and how `hold` sorts them in."""

from __future__ import annotations

import json
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Streams
from tests.peer import Expect, Peer
from tests.resp import Client
from tests.scripted import at, entries, next_item, serve, take
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peer import Conversation
    from tests.servers import Endpoint, Server

HOLD = 400  # ms


def follow(server: Endpoint, **options: Any) -> Streams:
    """Follow streams of a server."""
    return Streams(**(server.options | options))


def names_and_ids(messages: list[Any]) -> list[tuple[str, bytes]]:
    return [(name, entry_id) for name, entry_id, _ in messages]


# Two writers.


@contextmanager
def two_writers(server: Server) -> Iterator[None]:
    """Write to `a` and to `b` all the while, each over a connection of its own."""
    ending = Event()

    def write(stream: str) -> None:
        with Client(server.unix_socket) as client:
            for _ in range(20_000):
                if ending.is_set():
                    return
                client.command("XADD", stream, "*", "f", "v")

    threads = [Thread(target=write, args=(stream,)) for stream in "ab"]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join(LONG)


def test_two_writers_come_in_order_with_hold(embedded: Server) -> None:
    """Contract 3.3: within a millisecond the server makes IDs of two streams in any order."""
    # With so much, for no machine stands still so long between a write and a read.
    options: dict[str, Any] = {"hold": 3000, "block": 60_000, "count": 1000}
    with two_writers(embedded), follow(embedded, a=0, b=0, **options) as streams:
        found = [tuple(map(int, message[1].split(b"-"))) for message in take(streams, 2000)]
    assert found == sorted(found)


@pytest.mark.parametrize("connections", [None, 2])
def test_two_writers_come_in_order_with_exact_hold(
    embedded: Server, connections: int | None
) -> None:
    """Contract 3.3: no number is needed, over one connection or several."""
    options: dict[str, Any] = {"hold": "exact", "block": 60_000, "connections": connections}
    with two_writers(embedded), follow(embedded, a=0, b=0, **options) as streams:
        found, complete = [], -1
        for _ in range(3000):
            _, entry_id, _ = next_item(streams)
            found.append(tuple(map(int, entry_id.split(b"-"))))
            assert found[-1][0] > complete
            complete = streams.complete_until or -1
    assert found == sorted(found)
    assert complete >= found[0][0]


def test_a_hold_that_is_no_time_is_refused() -> None:
    """Contract 7: what may be given is said."""
    with pytest.raises(TypeError, match="hold is 'exactly', but must be an int, or 'exact'"):
        Streams(a=0, hold="exactly")  # type: ignore[call-overload]


# What is sorted in, and what is not.


@pytest.mark.parametrize("decode_responses", [False, True])
def test_a_late_message_is_sorted_in(decode_responses: bool) -> None:
    """Contract 3.3: it comes before the larger ID that was there first."""
    script = [
        *(Expect("XREAD"), entries("a", "10-0")),
        *(Expect("XREAD"), entries("b", "9-0", "11-0")),
    ]
    options: dict[str, Any] = {"hold": 3000, "decode_responses": decode_responses}
    with Peer(script) as peer, Streams(**at(peer), a=0, b=0, **options) as streams:
        found = take(streams, 3)
    assert [(name, str(entry_id).strip("b'")) for name, entry_id, _ in found] == [
        ("b", "9-0"),
        ("a", "10-0"),
        ("b", "11-0"),
    ]


def test_without_hold_a_message_is_delivered_as_soon_as_it_arrives(embedded: Endpoint) -> None:
    """Contract 3.3: the default is 0, and what comes later comes later."""
    with follow(embedded, a=0, b=0) as streams:
        embedded.command("XADD", "a", "10-0", "f", "v")
        first = next(streams)
        embedded.command("XADD", "b", "9-0", "f", "v")
        assert names_and_ids([first, next(streams)]) == [("a", b"10-0"), ("b", b"9-0")]


def test_what_comes_later_than_hold_comes_when_it_comes(embedded: Endpoint) -> None:
    """Contract 3.3: it is not lost, only late."""
    with follow(embedded, a=0, b=0, hold=20) as streams:
        embedded.command("XADD", "a", "10-0", "f", "v")
        first = next(streams)
        embedded.command("XADD", "b", "9-0", "f", "v")
        assert names_and_ids([first, next(streams)]) == [("a", b"10-0"), ("b", b"9-0")]


# What it costs.


def test_each_message_is_held_for_that_long_and_not_until_the_wait_is_over(
    embedded: Endpoint,
) -> None:
    """Contract 3.3; how much more it is, is measured by `make soak`."""
    with follow(embedded, a=0, b=0, hold=100, block=600_000) as streams:
        for i in range(1, 6):
            began = monotonic()
            embedded.command("XADD", "ab"[i % 2], f"{i}-0", "f", "v")
            next(streams)
            assert 0.1 <= monotonic() - began < LONG


def test_each_message_is_held_from_when_it_came(embedded: Endpoint) -> None:
    """Contract 3.3: messages that keep coming put off none of those before them."""
    ending = Event()

    def write() -> None:
        for i in range(1, 2000):
            if ending.wait(0.02):
                return
            embedded.command("XADD", "a", f"{i}-0", "f", "v")

    thread = Thread(target=write)
    with follow(embedded, a=0, b=0, hold=100, block=60_000) as streams:
        thread.start()
        found = take(streams, 20)
        is_writing = thread.is_alive()
        ending.set()
        thread.join()
    assert is_writing
    assert [int(message[1].split(b"-")[0]) for message in found] == list(range(1, 21))


# Held messages and everything else.


@pytest.mark.parametrize("raising", [True, False])
def test_held_messages_come_before_a_failure(raising: bool) -> None:
    """Contract 5.4: what was received is delivered first, without waiting any longer."""

    def answer_and_close(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.reply(entries("s", "1-0", "2-0"))
        conversation.close()

    with (
        Peer(answer_and_close) as peer,
        Streams(
            **at(peer), s=0, hold=600_000, block=0, raise_connection_exceptions=raising
        ) as streams,
    ):
        began = monotonic()
        found = take(streams, 2)
        assert isinstance(next_item(streams), ConnectionError)
        assert monotonic() - began < LONG
        assert streams.positions == {"s": b"2-0"}
    assert names_and_ids(found) == [("s", b"1-0"), ("s", b"2-0")]


@pytest.mark.parametrize("block", [None, 1, 50])
def test_held_messages_come_before_the_iteration_ends(
    embedded: Endpoint, block: int | None
) -> None:
    """Contract 4.2: there is a message as long as one is held."""
    embedded.command("XADD", "a", "1-0", "f", "v")
    with follow(embedded, a=0, b=0, hold=HOLD, block=block) as streams:
        assert names_and_ids(list(streams)) == [("a", b"1-0")]


def test_held_messages_come_before_a_timeout_is_delivered(embedded: Endpoint) -> None:
    """Contract 4.2: likewise where a timeout does not end the iteration."""
    embedded.command("XADD", "a", "1-0", "f", "v")
    with follow(
        embedded, a=0, hold=HOLD, block=20, stop_on_timeout=True, timeout_response="nothing"
    ) as streams:
        first = next(streams)
        assert names_and_ids([first]) == [("a", b"1-0")]
        assert next(streams) == "nothing"


def test_held_messages_are_in_no_position() -> None:
    """Contract 2.4: positions are of what was delivered, so a resume gets the rest."""
    is_held = Event()

    def answer_once(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.reply(entries("a", "2-0"))
        # The next read shows that the entry was received.
        conversation.expect("XREAD")
        is_held.set()
        conversation.stay_silent()

    def close_when_held(streams: Streams) -> None:
        is_held.wait(LONG)
        streams.close()

    with Peer(answer_once, lambda conversation: serve(conversation, {"a": ["1-0", "2-0"]})) as peer:
        options: dict[str, Any] = {**at(peer), "decode_responses": True}
        with Streams(**options, a="1-0", hold=600_000, block=0) as streams:
            thread = Thread(target=close_when_held, args=(streams,))
            thread.start()
            assert list(streams) == []
            thread.join(LONG)
            positions = json.loads(json.dumps(streams.positions))
        assert is_held.is_set()
        assert positions == {"a": "1-0"}
        with Streams(**options, streams=positions) as streams:
            assert next(streams)[1] == "2-0"


def test_messages_of_a_stream_that_is_dropped_are_held_no_more(embedded: Endpoint) -> None:
    """Contract 2.5: they are dropped with it; the others come."""
    with follow(embedded, a=0, b=0, c=0, hold=HOLD, block=50) as streams:
        embedded.command("XADD", "a", "1-0", "f", "v")
        embedded.command("XADD", "b", "2-0", "f", "v")
        embedded.command("XADD", "c", "1-0", "f", "v")
        first = next(streams)
        streams.discard("b")
        assert names_and_ids([first, *streams]) == [("a", b"1-0"), ("c", b"1-0")]


def test_an_interrupted_hold_goes_on(embedded: Endpoint) -> None:
    """Contract 4.3: what was held when the connection broke comes once, from the next one."""
    with follow(embedded, a=0, b=0, hold=50, block=2000) as streams:
        for i in range(1, 6):
            embedded.command("XADD", "ab"[i % 2], f"{i}-0", "f", "v")
        found = [next(streams)]
        embedded.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        embedded.command("XADD", "a", "6-0", "f", "v")
        while len(found) < 6:
            item = next_item(streams)
            if not isinstance(item, ConnectionError):
                found.append(item)
    assert [message[1] for message in found] == [b"%d-0" % i for i in range(1, 7)]
