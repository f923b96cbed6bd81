"""Finds of fuzzing (`make fuzz`) and of the campaign (`make soak`), so that they stay fixed."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import CORPUS, load_targets, seeds_of
from pystreamredis import Streams
from pystreamredis.protocol import NEED_DATA, XreadParser
from tests import scripted
from tests.peer import CLOSE, Expect, Peer
from tests.scripted import at, ids_of, serve
from tests.wire import encode_entry, encode_reply

if TYPE_CHECKING:
    from tests.peer import Conversation
    from tests.wire import Entry


TARGETS = load_targets()
POLL: Any = getattr(select, "poll", None)


def entries(*numbers: int) -> list[Entry]:
    """Entries with these IDs."""
    return [(b"%d-0" % number, [b"f", b"v"]) for number in numbers]


# The targets themselves, so that they hold wherever there is no atheris.


@pytest.mark.parametrize("name", TARGETS)
def test_the_invariant_holds_for_its_seeds_and_all_that_is_cut_short(name: str) -> None:
    """The target's name is the rule."""
    target = TARGETS[name]
    for seed in seeds_of(name):
        for end in range(len(seed) + 1):
            target(seed[:end])


def test_each_target_has_its_corpus() -> None:
    assert {path.stem for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_the_invariant_holds_for_any_bytes(name: str, data: bytes) -> None:
    """The target's name is the rule."""
    TARGETS[name](data)


# Both reduced from one find of the campaign: a stream that was complete is full in the
# next reply, which comes in pieces; of it the reader knew more than it had asked for.
REPLY = encode_reply([(b"a", entries(3)), (b"b", entries(2, 3))])
LAST = len(encode_entry(*entries(3)))


def test_only_the_streams_asked_for_are_predicted() -> None:
    """`XreadParser.predict_last_ids` is about its `keys` alone."""
    parser = XreadParser({b"a": "a", b"b": "b"})
    parser.feed(REPLY[:-LAST])
    assert parser.next_reply() is NEED_DATA
    parser.feed(REPLY[-LAST:])
    predicted = parser.predict_last_ids([b"a"], 2)
    assert predicted is None or len(predicted) == 1


def test_a_stream_may_turn_full_in_a_reply_that_comes_in_pieces() -> None:
    """Contract 3.1: it is read like any other."""

    def answer(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.send(encode_reply([(b"a", entries(1, 2)), (b"b", entries(1))]))
        conversation.expect("XREAD")
        conversation.send(REPLY[:-LAST])
        conversation.pause(0.2)
        conversation.send(REPLY[-LAST:])
        conversation.stay_silent()

    with Peer(answer) as peer, Streams(**at(peer), a=0, b=0, count=2, block=300) as streams:
        found = [next(streams) for _ in range(6)]
    assert ids_of(found) == [b"1-0", b"1-0", b"2-0", b"2-0", b"3-0", b"3-0"]


class Interrupted:
    """A `select.poll` of which one call is interrupted, as by Ctrl-C.

    Attributes:
        armed: What is interrupted next: a method, and when; None for nothing more.
    """

    armed: tuple[str, str] | None = None

    def __init__(self) -> None:
        self._poll = POLL()

    def register(self, *args: int) -> None:
        self._call("register", *args)

    def unregister(self, *args: int) -> None:
        self._call("unregister", *args)

    def poll(self, ms: float) -> Any:
        return self._call("poll", ms)

    def _call(self, method: str, *args: Any) -> Any:
        armed, work = Interrupted.armed, getattr(self._poll, method)
        if armed is None or armed[0] != method:
            return work(*args)
        Interrupted.armed = None
        if armed[1] == "after":
            work(*args)
        raise KeyboardInterrupt


# Found by the campaign: KeyError, and later ValueError, out of every next() from then on.
@pytest.mark.skipif(POLL is None, reason="there is no select.poll on this system")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["register", "unregister", "poll"])
def test_an_interrupted_wait_can_be_followed_by_others(
    method: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.4, 5.2: Ctrl-C comes at any time, and the object stays good."""
    monkeypatch.setattr(select, "poll", Interrupted)
    first = [Expect("XREAD"), scripted.entries("s", "1-0"), CLOSE]
    found: list[bytes] = []
    interruptions = 0
    with (
        Peer(first, lambda it: serve(it, {"s": ["1-0", "2-0"]})) as peer,
        Streams(**at(peer), s=0, raise_connection_exceptions=False, block=50) as streams,
    ):
        monkeypatch.setattr(Interrupted, "armed", (method, when))
        while len(found) < 2:
            try:
                item = next(streams, None)
            except KeyboardInterrupt:
                interruptions += 1
            else:
                found += [item[1]] if isinstance(item, tuple) else []
    assert found == [b"1-0", b"2-0"]
    assert interruptions == 1
