"""What fuzzing (`make fuzz`) and the campaign (`make soak`) have found, so that it stays mended."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import SEEDS, TARGETS
from pystreamredis import Streams
from pystreamredis.protocol import NEED_DATA, XreadParser
from pystreamredis.waiting import READ, WRITE, Waiter
from tests.peer import Peer
from tests.scripted import at, ids_of
from tests.waits import forget_all, wait_for
from tests.wire import encode_entry, encode_reply

if TYPE_CHECKING:
    from tests.peer import Conversation
    from tests.wire import Entry


def entries(*numbers: int) -> list[Entry]:
    """Entries with these IDs."""
    return [(b"%d-0" % number, [b"f", b"v"]) for number in numbers]


# The targets themselves, so that they hold wherever there is no atheris.


@pytest.mark.parametrize("name", TARGETS)
def test_the_invariant_holds_for_its_seeds_and_all_that_is_cut_short(name: str) -> None:
    """The target's name is the rule."""
    target = TARGETS[name]
    for seed in SEEDS[target]:
        for end in range(len(seed) + 1):
            target(seed[:end])


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


def test_only_the_streams_asked_for_are_foreseen() -> None:
    """`XreadParser.predict_last_ids` is about its `keys` alone."""
    parser = XreadParser({b"a": "a", b"b": "b"})
    parser.feed(REPLY[:-LAST])
    assert parser.next_reply() is NEED_DATA
    parser.feed(REPLY[-LAST:])
    foreseen = parser.predict_last_ids([b"a"], 2)
    assert foreseen is None or len(foreseen) == 1


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


def interrupted(work: Callable[..., Any], when: str) -> Callable[..., None]:
    """Be interrupted once, before or after the work: as by Ctrl-C, there and nowhere else."""
    times = 0

    def once(*args: Any) -> None:
        nonlocal times
        times += 1
        if times == 1 and when == "before":
            raise KeyboardInterrupt
        work(*args)
        if times == 1:
            raise KeyboardInterrupt

    return once


# Found by the campaign: KeyError, and later ValueError, out of every next() from then on.
@pytest.mark.parametrize("is_forgotten", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["register", "unregister", "modify"])
def test_a_wait_interrupted_at_its_selector_can_be_followed_by_others(
    method: str, when: str, is_forgotten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.4, 5.2: Ctrl-C comes at any time, and the object stays good.

    A socket that is being connected is closed then and not forgotten, others are both.
    """
    waiter = Waiter()
    first, other = socket.socketpair()
    second, another = socket.socketpair()
    with closing(waiter), first, other, second, another:
        if method != "register":
            wait_for(waiter, first, READ, 0)
        selector = waiter._selector
        watched, events = (first, READ | WRITE) if method == "modify" else (second, READ)
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(selector, method, interrupted(getattr(selector, method), when))
            wait_for(waiter, watched, events, 0)
        if is_forgotten:
            forget_all(waiter)
        watched.close()
        third, yet_another = socket.socketpair()  # with the descriptor of the closed one
        with third, yet_another:
            yet_another.send(b"x")
            assert wait_for(waiter, third, READ, 5)
            forget_all(waiter)
