"""`pystreamredis.streams`: the object that callers hold."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import threading
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, ResponseError, Streams
from tests.answers import Store
from tests.commands import LONG
from tests.peer import CLOSE, Conversation, Expect, Peer, closed_port
from tests.resp import Error
from tests.scripted import at, ids_of, next_item, serve, serve_until_all_is_read, take
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

HISTORY = {"s": [f"{i}-0" for i in range(1, 8)], "t": ["3-1", "9-0"]}
IDS = [b"1-0", b"2-0", b"3-0", b"3-1", b"4-0", b"5-0", b"6-0", b"7-0", b"9-0"]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(lambda it: serve(it, HISTORY)) as peer:
        yield peer


@pytest.fixture
def streams(peer: Peer) -> Iterator[Streams]:
    with Streams(**at(peer), count=3, block=None, s=0, t=0) as streams:
        yield streams


def test_it_is_its_own_iteration_whether_by_for_or_by_next(streams: Streams) -> None:
    """Every way to take messages shares one place in the history."""
    found = [next(streams)]
    found += islice(streams, 2)
    first, second = iter(streams), iter(streams)
    found += [next(first), next(second), next(first), next(streams)]
    found += first
    assert ids_of(found) == IDS


def test_every_iterator_goes_on_after_its_end(peer: Peer) -> None:
    """Contract 4.3: the object stays good after StopIteration, and `for` begins again."""
    with Streams(**at(peer), block=1, s="6-0") as streams:
        assert ids_of(streams) == [b"7-0"]
        assert list(streams) == []
        with pytest.raises(StopIteration):
            next(streams)
        streams.add(t=0)
        assert ids_of(streams) == [b"3-1", b"9-0"]


def test_positions_follow_each_message_that_is_handed_over(streams: Streams) -> None:
    """Contract 2.4: in the middle of a batch, by `next` as by `for`."""
    expected = {"s": b"0-0", "t": b"0-0"}
    assert streams.positions == expected
    for name, entry_id, _ in streams:
        expected[name] = entry_id
        assert streams.positions == expected


def test_positions_are_the_callers_own_copy(streams: Streams) -> None:
    """Contract 2.4."""
    positions = streams.positions
    positions.clear()
    assert streams.positions == {"s": b"0-0", "t": b"0-0"}


def test_what_is_discarded_in_the_middle_of_a_batch_is_not_handed_over(streams: Streams) -> None:
    """Contract 2.5: by an iteration that is under way."""
    found = []
    for message in streams:
        found.append(message)
        if len(found) == 2:
            streams.discard("s", "no such stream")
    assert ids_of(found) == [b"1-0", b"2-0", b"3-1", b"9-0"]
    assert streams.positions == {"t": b"9-0"}


def test_a_stream_that_cannot_be_added_is_not_added(streams: Streams) -> None:
    """Contract 7, 2.5."""
    with pytest.raises(ValueError, match="given twice"):
        streams.add(t=0)
    with pytest.raises(ValueError, match="stream 'u'"):
        streams.add(u="naive")
    assert list(streams.positions) == ["s", "t"]
    assert ids_of(streams) == IDS


def test_a_stream_is_not_added_where_the_server_is_gone() -> None:
    """Contract 2.5, 5.2: as if nothing had been asked for."""
    with Peer([CLOSE]) as peer, Streams(**at(peer), s=0) as streams:
        with pytest.raises(ConnectionError):
            streams.add(u=None)
        assert list(streams.positions) == ["s"]


def test_without_any_stream_left_there_is_nothing_to_wait_for(streams: Streams) -> None:
    """Contract 2.5, 7."""
    streams.discard("s", "t")
    with pytest.raises(ValueError, match="no streams"):
        next(streams)
    streams.add(s="6-0")
    assert next(streams)[1] == b"7-0"


def test_a_closed_one_is_at_its_end_and_tells_its_positions(streams: Streams) -> None:
    """Contract 4.4: at once, though messages were in hand."""
    iterator = iter(streams)
    take(streams, 2)
    streams.close()
    assert list(streams) == []
    assert list(iterator) == []
    with pytest.raises(StopIteration):
        next(streams)
    assert streams.positions == {"s": b"2-0", "t": b"0-0"}


def test_a_closed_one_can_be_asked_for_all_that_needs_no_server(streams: Streams) -> None:
    """Contract 4.4."""
    streams.close()
    streams.add(u=0)
    streams.discard("s")
    assert set(streams.positions) == {"t", "u"}
    assert list(streams) == []


def test_a_with_block_closes_it_whatever_happens_within(peer: Peer) -> None:
    """Contract 4.4."""
    with pytest.raises(LookupError), Streams(**at(peer), s=0) as streams:
        raise LookupError
    assert list(streams) == []


def test_a_forgotten_one_frees_its_connection(peer: Peer) -> None:
    """Nobody is warned of sockets that were left open."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        streams = Streams(**at(peer), s=0)
        next(streams)
        iterator = iter(streams)
        del streams
        gc.collect()
        assert next(iterator)[1] == b"2-0"
        del iterator
        gc.collect()
    wait_until(lambda: not [t for t in threading.enumerate() if "_converse" in t.name])


def test_one_that_could_not_be_made_leaves_nothing_behind() -> None:
    """Contract 5.2, 7: `__del__` runs for what the constructor has not finished."""
    with pytest.raises(ConnectionError):
        Streams("127.0.0.1", closed_port(), s=0)
    with pytest.raises(ValueError, match="count"):
        Streams(s=0, count=0)
    with pytest.raises(ValueError, match="no streams"):
        Streams()
    gc.collect()


def test_its_repr_tells_where_it_reads_and_no_secret() -> None:
    """Contract 7: passwords are in no `repr`."""
    options: dict[str, Any] = {"username": "u", "password": "secret"}
    options["raise_connection_exceptions"] = False
    port = closed_port()
    with Streams("127.0.0.1", port, s=0, **options) as streams:
        assert f"127.0.0.1:{port}" in repr(streams)
        assert "secret" not in repr(streams) + repr(vars(streams))
        assert "secret" not in str(next_item(streams))


def test_a_url_gives_the_address_and_keywords_take_precedence(peer: Peer) -> None:
    """Contract 1.1."""
    url = f"redis://127.0.0.1:{peer.port}?socket_timeout=3&decode_responses=yes"
    with Streams.from_url(url, {"s": 0}, block=None, t="5-0") as streams:
        assert ids_of(streams)[-1] == "9-0"
    with Streams.from_url(url, s=0, block=None, decode_responses=False) as streams:
        assert ids_of(streams)[-1] == b"7-0"
    with pytest.raises(ConnectionError, match=str(dead := closed_port())):
        Streams.from_url(url, s=0, port=dead)


def test_a_subclass_is_made_by_url_too(peer: Peer) -> None:
    class Mine(Streams):
        pass

    with Mine.from_url(f"redis://127.0.0.1:{peer.port}", s=0) as streams:
        assert type(streams) is Mine
        assert repr(streams).startswith("<Mine ")


def test_a_refusal_in_the_constructor_closes_the_connection() -> None:
    """Contract 5.6."""
    with Peer([Expect(), Error("NOAUTH Authentication required.")]) as peer:
        with pytest.raises(ResponseError):
            Streams(**at(peer), s=None)
        wait_until(lambda: not [t for t in threading.enumerate() if "_converse" in t.name])


def test_an_iterator_ends_at_a_timeout_and_the_next_one_goes_on(peer: Peer) -> None:
    """Contract 4.2, 4.3: with `stop_on_timeout` it hands over something instead."""
    ours = object()
    options: dict[str, Any] = {"stop_on_timeout": True, "timeout_response": ours, "block": 1}
    with Streams(**at(peer), **options, t=0) as streams:
        found = list(islice(streams, 5))
        assert ids_of(found[:2]) == [b"3-1", b"9-0"]
        assert found[2:] == [ours] * 3
        assert streams.positions == {"t": b"9-0"}


def test_an_iterator_that_has_raised_hands_over_what_another_has_left() -> None:
    """Contract 5.2: whoever asked in between, it goes on with what is in hand."""

    def fail(conversation: Conversation) -> None:
        serve_until_all_is_read(conversation, {"s": ["1-0"]})
        conversation.close()

    with (
        Peer(fail, lambda it: serve(it, {"s": ["1-0", "2-0", "3-0"]})) as peer,
        Streams(**at(peer), block=None, s=0) as streams,
    ):
        iterator = iter(streams)
        assert ids_of(islice(iterator, 1)) == [b"1-0"]
        with pytest.raises(ConnectionError):
            next(iterator)
        assert ids_of([next(streams)]) == [b"2-0"]
        assert ids_of(iterator) == [b"3-0"]


def test_it_cannot_be_copied_by_mistake(streams: Streams) -> None:
    """Two objects on one connection would take each other's replies."""
    with pytest.raises(TypeError):
        copy.deepcopy(streams)


WITHOUT_A_GLOBAL_LOCK = """
import sys, threading
sys._is_gil_enabled = lambda: False
from pystreamredis import Streams
streams = Streams("127.0.0.1", int(sys.argv[1]), s=0, block=0)
assert next(streams)[1] == b"1-0"
waiting = threading.Thread(target=lambda: next(streams, None))
waiting.start()
while True:
    try:
        next(streams)
    except RuntimeError as error:
        print(error)
        break
streams.close()
waiting.join()
"""


def test_without_a_global_lock_a_second_thread_is_refused() -> None:
    """Contract 3.1: threads that share an iterator of a list may both get the same message."""
    store = Store({"s": ["1-0"]})
    with Peer(store) as peer:
        run = subprocess.run(
            [sys.executable, "-c", WITHOUT_A_GLOBAL_LOCK, str(peer.port)],
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
    assert run.stdout == "another thread is iterating, expected one at a time\n", run.stderr
