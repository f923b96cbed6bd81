"""Corners of the contract where plausible bugs, put in on purpose, passed all other tests."""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import Any

import pytest

from pystreamredis import ConnectionError, ProtocolError, Redis, Streams, TimeoutError
from tests.live import LiveServer, next_failure, next_live, next_outcome
from tests.peer import CLOSE, Conversation, Expect, Peer, deaf_port
from tests.scripted import at, ids_of, read, serve
from tests.servers import LONG

LARGEST = 2**64 - 1


# Contract 2.2, 3.1: IDs are two numbers of 64 bits, also where entries are read by pattern.


def large_ids(first: int) -> list[str]:
    """IDs of one shape, as many as it takes to learn it several times over."""
    return [f"{first + i}-{i}" for i in range(400)]


@pytest.mark.parametrize("first", [LARGEST - 400, 10**19, 10**19 - 200, 1], ids=str)
def test_milliseconds_of_20_digits_are_read(first: int) -> None:
    """Contract 3.1: up to the largest, with the number of digits changing on the way."""
    ids = large_ids(first)
    with (
        Peer(lambda it: serve(it, {"s": ids})) as peer,
        Streams(**at(peer), count=100, block=None, s=0) as streams,
    ):
        assert ids_of(streams) == [entry_id.encode() for entry_id in ids]


# IDs of one shape each, and the first number beyond them, which is as long.
TOO_LARGE = {
    "milliseconds": ([f"{LARGEST - 400 + i}-7" for i in range(400)], f"{2**64}-7"),
    "milliseconds, any sequence": (
        [f"{LARGEST - 400 + i}-{i}" for i in range(400)],
        f"{2**64}-400",
    ),
    "sequence": ([f"5-{LARGEST - 400 + i}" for i in range(400)], f"5-{2**64}"),
    "all digits": ([f"{LARGEST - 400 + i}-7" for i in range(400)], f"{10**20 - 1}-7"),
}


@pytest.mark.parametrize(("ids", "wrong"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_numbers_of_more_than_64_bits_are_no_ids(ids: list[str], wrong: str) -> None:
    """Contract 5.1, 7: at the end of a history that has them nearly as large."""
    with (
        Peer(lambda it: serve(it, {"s": [*ids, wrong]})) as peer,
        Streams(**at(peer), count=100, block=100, s=0) as streams,
    ):
        found, failure = [], None
        while failure is None:
            item = next_outcome(streams)
            if isinstance(item, tuple):
                found.append(item[1])
            else:
                failure = item
    assert isinstance(failure, ProtocolError)
    assert wrong.encode() not in found


# Contract 5.1: a connect that is given up leaves nothing behind.


def sockets() -> int:
    """How many this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:  # that of the list itself, say
            continue
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
@pytest.mark.parametrize("kind", ["TCP", "TLS"])
def test_a_connect_that_is_given_up_leaves_no_socket(kind: str) -> None:
    """Contract 5.1: neither one that hangs nor a TLS handshake that does."""
    more: dict[str, Any] = {"ssl": True} if kind == "TLS" else {}
    options: dict[str, Any] = {"block": 1, "raise_connection_exceptions": False, "s": 0}
    with (
        deaf_port(full=kind == "TCP") as port,
        Streams("127.0.0.1", port, socket_connect_timeout=0.2, **options, **more) as streams,
    ):
        next_failure(streams)
        before = sockets()
        for _ in range(5):
            assert isinstance(next_failure(streams), TimeoutError)
        assert sockets() <= before + 1
        streams.close()
        assert sockets() <= before


# Contract 5.1: what a cluster gives up is told of.


@pytest.mark.parametrize("raising", [True, False])
def test_the_failure_of_a_node_that_is_given_up_is_told(raising: bool) -> None:
    """Contract 5.1: though another one has its slots by the time that it is asked for."""
    one, two = LiveServer(a=["1-0"], b=[]), LiveServer(a=[], b=["1-1"])
    one.is_cluster = two.is_cluster = True
    options: dict[str, Any] = {"block": 50, "raise_connection_exceptions": raising, "a": 0, "b": 0}
    with Peer(one) as peer, Peer(two) as other:
        one.moved["b"], two.moved["a"] = (other.host, other.port), (peer.host, peer.port)
        with Streams(**at(peer), **options) as streams:
            assert {next_live(streams)[0][1] for _ in range(2)} == {b"1-0", b"1-1"}
            one.streams["b"] = ["1-1", "2-1"]
            del one.moved["b"]
            other.close()
            message, failures = next_live(streams)
            assert message[:2] == ("b", b"2-1")
            assert [str(failure) for failure in failures if f":{other.port}" in str(failure)]


# Contract 5.3: a source that is out is tried again after a pause, whatever others do.


@pytest.mark.parametrize("steps", [[CLOSE], [Expect(), CLOSE]], ids=["at once", "on a command"])
def test_a_source_that_is_out_is_tried_with_a_pause_while_others_go_on(steps: list[Any]) -> None:
    """Contract 5.3: `block` ms, which are a minute here, while there are always messages."""
    server = LiveServer(s=["1-0"])
    options: dict[str, Any] = {"block": 60_000, "raise_connection_exceptions": False}
    with Peer(steps) as away, Peer(server) as peer:
        sources = {"away": Redis(**at(away)), "here": Redis(**at(peer))}
        with Streams.from_sources(sources, s=0, **options) as streams:
            outcomes = []
            for number in range(2, 60):
                outcomes.append(next_outcome(streams))
                server.streams["s"].append(f"{number}-0")
        assert sum(isinstance(outcome, ConnectionError) for outcome in outcomes) == 1
        assert away.connections == 1
        assert peer.connections == 1


# Contract 3.2, 4.1: what waits for other streams is released as soon as they are known.


def test_a_read_that_leaves_streams_out_does_not_block() -> None:
    """Contract 3.2, 4.1: its very answer releases messages that are here."""
    streams = {
        "a": [f"{i}-0" for i in range(100, 120)],
        "b": [f"{i}-0" for i in range(1, 20)],
        "c": [],
    }
    commands: list[list[bytes]] = []

    def script(conversation: Conversation) -> None:
        while True:
            commands.append(conversation.expect("XREAD"))
            conversation.reply(read(commands[-1], streams))

    with (
        Peer(script) as peer,
        Streams(**at(peer), count=2, block=60_000, streams=dict.fromkeys(streams, 0)) as reader,
    ):
        found = [next(reader)[1] for _ in range(39)]
    assert found == [b"%d-0" % i for i in (*range(1, 20), *range(100, 120))]
    partial = [command for command in commands if len(keys_of(command)) < 3]
    assert partial
    assert [command for command in partial if b"BLOCK" in command] == []


def keys_of(command: list[bytes]) -> list[bytes]:
    keys_and_ids = command[command.index(b"STREAMS") + 1 :]
    return keys_and_ids[: len(keys_and_ids) // 2]


def test_no_more_than_twice_count_messages_of_a_stream_are_held() -> None:
    """Contract 3.4: a stream of which `count` wait is not asked for more.

    Counted where the server reads a request: what was handed over by then is at least what was
    when it was sent, but for one that is on its way to the caller.
    """
    count, taken = 5, {"a": 0, "b": 0}
    held = {"a": [f"{i}-1" for i in range(1, 301)], "b": [f"{i}-2" for i in range(1, 301, 7)]}
    most = dict.fromkeys(held, 0)

    def script(conversation: Conversation) -> None:
        while True:
            command = conversation.expect("XREAD")
            reply = read(command, held)
            for name, entries in reply or ():
                end = held[name].index(entries[-1][0]) + 1
                most[name] = max(most[name], end - taken[name])
            conversation.reply(reply)

    with Peer(script) as peer, Streams(**at(peer), count=count, block=None, a=0, b=0) as streams:
        for message in streams:
            taken[message[0]] += 1
    assert taken == {name: len(ids) for name, ids in held.items()}
    assert max(most.values()) <= 2 * count + 1


# Contract 5.5: silence is noticed whatever the other connections do.


@pytest.mark.parametrize("pace", ["busy", "quiet"])
def test_the_silence_of_one_connection_is_noticed_beside_others(pace: str) -> None:
    """Contract 5.5: of one whose answer is awaited, and to which nothing else happens."""

    def answer_once(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.reply([["s", [["1-0", ["f", "v"]]]]])
        conversation.stay_silent()

    server = LiveServer(s=["1-0"])
    options: dict[str, Any] = {"block": 200, "raise_connection_exceptions": False}
    with Peer(answer_once) as silent, Peer(server) as peer:
        sources = {
            "silent": Redis(**at(silent), socket_timeout=0.5),
            "here": Redis(**at(peer), socket_timeout=LONG),
        }
        with Streams.from_sources(sources, s=0, **options) as streams:
            failure, number = None, 1
            deadline = monotonic() + LONG / 3
            while failure is None:
                assert monotonic() < deadline, f"{number} messages came, and no failure"
                if pace == "busy":
                    number += 1
                    server.streams["s"].append(f"{number}-0")
                item = next_outcome(streams)
                failure = item if isinstance(item, ConnectionError) else None
        assert isinstance(failure, TimeoutError)
        assert f":{silent.port}" in str(failure)
        assert peer.connections == 1
