"""Contract 2.7: `caught_up` and `stats()`."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Redis, Streams
from tests.answers import Store, ids
from tests.live import LiveServer
from tests.peer import Peer, closed_port
from tests.scripted import at, take
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.answers import Request
    from tests.peer import Conversation
    from tests.servers import Endpoint


def figures(streams: Any, *names: str) -> list[Any]:
    found = streams.stats()
    return [found[name] for name in names]


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_it_has_caught_up_once_all_is_delivered(count: int) -> None:
    """Contract 2.7: whatever is read at once."""
    store = Store({"s": ids(5), "t": ids(3)})
    with Peer(store) as peer, Streams(**at(peer), s=0, t=0, block=None, count=count) as streams:
        assert not streams.caught_up
        for _ in range(7):
            next(streams)
            assert not streams.caught_up
        assert list(streams) != []
        assert streams.caught_up
        store.add("s", "5000-0")
        assert list(streams) != []
        assert streams.caught_up


def test_streams_that_start_now_have_caught_up_after_a_read() -> None:
    with Peer(Store({"s": ids(5)})) as peer, Streams(**at(peer), s=None, block=None) as streams:
        assert list(streams) == []
        assert streams.caught_up
        streams.add(t=0)
        assert not streams.caught_up
        assert list(streams) == []
        assert streams.caught_up


@pytest.mark.parametrize("text", [False, True])
def test_figures_of_each_stream_follow_what_is_delivered(*, text: bool) -> None:
    history = ["1000-0", "1500-3", "4000-0"]
    options: dict[str, Any] = {"block": None, "decode_responses": text}
    with Peer(Store({"s": history})) as peer, Streams(**at(peer), s=0, t=7, **options) as streams:
        found = []
        for _ in history:
            next(streams)
            found.append(streams.stats()["streams"]["s"])
        other = streams.stats()["streams"]["t"]
    expected: list[Any] = history if text else [each.encode() for each in history]
    assert [each["position"] for each in found] == expected
    assert [each["last"] for each in found] == [expected[-1]] * 3
    assert [each["lag_ms"] for each in found] == [3000, 2500, 0]
    assert other["position"] == other["last"] == streams.positions["t"]
    assert other["lag_ms"] == 0


@pytest.mark.parametrize("count", [1, 3, 100])
def test_delivered_counts_messages_however_they_are_taken(count: int) -> None:
    """Contract 2.7: amid a batch, too, and those that were dropped do not count."""
    store = Store({"s": ids(20), "t": ids(10)})
    options: dict[str, Any] = {"block": 10, "count": count, "stop_on_timeout": True}
    with Peer(store) as peer, Streams(**at(peer), s=0, t=0, **options) as streams:
        assert figures(streams, "delivered") == [0]
        found = len(take(streams, 5))
        assert figures(streams, "delivered") == [found]
        found += len(next(streams.batches(3)))
        assert figures(streams, "delivered") == [found]
        streams.discard("t")
        assert figures(streams, "delivered") == [found]
        while (message := next(streams)) is not None:
            found += 1
            assert message[0] == "s"
            assert figures(streams, "delivered") == [found]
        # A timeout is no message.
        assert figures(streams, "delivered") == [found]
        assert list(streams.stats()["streams"]) == ["s"]
    assert figures(streams, "delivered") == [found]


def test_messages_that_a_close_takes_back_do_not_count() -> None:
    with Peer(Store({"s": ids(20)})) as peer:
        streams = Streams(**at(peer), s=0, block=None)
        take(streams, 5)
        streams.close()
        assert figures(streams, "delivered", "connected") == [5, False]


def cut_second(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
    if request.number == 2:
        conversation.close()
    else:
        conversation.send(answer())


def test_an_outage_counts_once_and_ends_with_an_answer() -> None:
    with Peer(Store({"s": ids(3)}, cut_second)) as peer:
        with Streams(**at(peer), s=0, block=None) as streams:
            take(streams, 3)
            connected, outages, answered = figures(streams, "connected", "outages", "answered")
            assert (connected, outages) == (True, 0)
            assert answered >= 0
            with pytest.raises(ConnectionError):
                next(streams)
            assert figures(streams, "connected", "outages") == [False, 1]
            assert list(streams) == []
            assert figures(streams, "connected", "outages") == [True, 1]
        assert figures(streams, "connected") == [False]


def test_a_server_that_is_away_is_one_outage() -> None:
    r = Redis("127.0.0.1", closed_port())
    with r.streams(s=0, block=1, raise_connection_exceptions=False) as streams:
        for _ in range(3):
            assert isinstance(next(streams), ConnectionError)
        assert figures(streams, "connected", "outages", "answered") == [False, 1, None]
        assert streams.stats()["streams"]["s"]["lag_ms"] == 0
        assert not streams.caught_up


def test_a_stream_whose_now_is_unknown_has_no_ids_yet() -> None:
    """Contract 2.3."""
    r = Redis("127.0.0.1", closed_port())
    with r.streams(s=None, block=1, raise_connection_exceptions=False) as streams:
        assert streams.stats()["streams"] == {"s": {"position": None, "last": None, "lag_ms": 0}}


def test_a_stream_that_was_trimmed_is_a_gap(one_server: Endpoint) -> None:
    """Contract 2.7: it is looked for after a reconnect."""
    for number in range(1, 5):
        one_server.command("XADD", "s", f"{number}-0", "f", "v")
    options: dict[str, Any] = {"block": None, "count": 1, "raise_connection_exceptions": False}
    with Streams(one_server.host, one_server.port, s=0, **options) as streams:
        assert take(streams, 1)[0][1] == b"1-0"
        assert figures(streams, "gaps") == [0]
        one_server.command("XTRIM", "s", "MAXLEN", "0")
        one_server.command("XADD", "s", "9-0", "f", "v")
        one_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        found: Any = None
        while not isinstance(found, tuple) or found[1] != b"9-0":
            found = next(streams, None)
        assert figures(streams, "gaps") == [1]


def test_streams_of_several_sources_have_their_full_names() -> None:
    with Peer(Store({"s": ids(2)})) as peer, Peer(Store({"s": ids(3)})) as other:
        sources = {"fra": Redis(**at(peer)), "lon": Redis(**at(other))}
        with Streams.from_sources(sources, s=0, block=None) as streams:
            assert len(list(streams)) == 5
            found = streams.stats()
    assert found["delivered"] == 5
    assert found["streams"][("lon", "s")]["position"] == ids(3)[-1].encode()
    assert set(found["streams"]) == {("fra", "s"), ("lon", "s")}


def test_any_thread_may_ask_while_another_one_waits() -> None:
    with Peer(LiveServer(s=["1-0"])) as peer, Streams(**at(peer), s=0, block=0) as streams:
        assert next(streams)[1] == b"1-0"
        waiting = Thread(target=lambda: next(streams, None))
        waiting.start()
        try:
            wait_until(lambda: streams.caught_up)
            assert figures(streams, "connected", "delivered") == [True, 1]
        finally:
            streams.close()
            waiting.join()


def test_nothing_is_sent_for_figures() -> None:
    store = Store({"s": ids(3)})
    with Peer(store) as peer, Streams(**at(peer), s=0, block=None) as streams:
        assert len(list(streams)) == 3
        sent = len(store.requests)
        for _ in range(10):
            streams.stats()
            assert streams.caught_up
        assert len(store.requests) == sent


def test_a_repr_names_three_streams_and_says_if_it_is_closed() -> None:
    with Peer(Store({})) as peer:
        where = f"at 127.0.0.1:{peer.port}"
        with Streams(**at(peer), streams=["s", b"t"]) as streams:
            assert repr(streams) == f"<Streams of 's', b't' {where}>"
        assert repr(streams) == f"<Streams of 's', b't' {where}, closed>"
        with Streams(**at(peer), streams=list("stuvw")) as streams:
            assert repr(streams) == f"<Streams of 's', 't', 'u' and 2 more {where}>"
            streams.discard(*"stuvw")
            assert repr(streams).startswith("<Streams of no streams at")


def test_a_stream_that_was_added_leaves_it_connected() -> None:
    """Contract 2.7: it was read over a connection of its own, which ends with the next answer."""
    server = LiveServer(s=["1-0"], t=["1-0"])
    with Peer(server) as peer, Streams(**at(peer), s=0, block=0) as streams:
        assert next(streams)[0] == "s"
        found: list[Any] = []
        waiting = Thread(target=lambda: found.extend(next(streams)[0] for _ in range(2)))
        waiting.start()
        wait_until(lambda: streams.caught_up)
        streams.add(t=0)
        wait_until(lambda: found)
        server.streams["s"].append("2-0")
        waiting.join()
        assert found == ["t", "s"]
        assert figures(streams, "connected") == [True]
