"""`pystreamredis.core.delivery`: the wait for messages, and the positions of those delivered."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from math import inf
from operator import length_hint
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.core.delivery import EMPTY, Batch, Item, Wait

MESSAGES: list[Any] = [("a", b"1-0", {}), ("b", b"2-0", {}), ("a", b"3-0", {}), ("c", b"4-0", {})]


def positions_after(messages: list[Any]) -> dict[Any, Any]:
    return {name: entry_id for name, entry_id, _ in messages}


names = st.sampled_from(["a", "b", b"c"])
batches: st.SearchStrategy[list[Any]] = st.lists(names, max_size=12).map(
    lambda names: [(name, b"%d-0" % number, {}) for number, name in enumerate(names)]
)


def take(batch: Batch, how_many: int) -> list[Any]:
    return [message for _, message in zip(range(how_many), batch.iterator, strict=False)]


class Overtaken:
    """The iterator of a batch, with another thread at work at some moments.

    Args:
        inner: The iterator.
        asked: Called before the second question for the number of messages left.
        hinted: Called after the first such question.
        ended: Called after the last message was taken.
    """

    def __init__(
        self,
        inner: Iterator[Any],
        asked: Callable[[], object] | None = None,
        hinted: Callable[[], object] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        self._inner, self._asked, self._hinted, self._ended = inner, asked, hinted, ended
        self._questions = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        for item in self._inner:
            return item
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
        raise StopIteration

    def __length_hint__(self) -> int:
        self._questions += 1
        if self._questions == 2 and self._asked is not None:
            self._asked()
        left = length_hint(self._inner)
        if self._questions == 1 and self._hinted is not None:
            self._hinted()
        return left


@settings(deadline=None)
@given(batches, st.lists(st.integers(0, 5), max_size=8))
def test_positions_follow_the_deliveries_at_every_step(
    messages: list[Any], steps: list[int]
) -> None:
    """Contract 2.4: the ID of the last message *delivered to the caller*."""
    batch = Batch.of(messages)
    delivered: list[Any] = []
    for step in steps:
        delivered += take(batch, step)
        assert batch.delivered() == positions_after(delivered)
    assert delivered == messages[: len(delivered)]


@settings(deadline=None)
@given(batches, st.integers(0, 12), st.booleans())
def test_messages_taken_back_move_no_position(
    messages: list[Any], how_many: int, is_asked: bool
) -> None:
    """Contract 2.4, 2.5: only what the caller has got counts."""
    batch = Batch.of(messages)
    taken = take(batch, how_many)
    if is_asked:
        assert batch.delivered() == positions_after(taken)
    assert batch.take_back() == messages[len(taken) :]
    assert list(batch.iterator) == []
    for _ in range(2):
        assert batch.delivered() == positions_after(taken)
    assert batch.take_back() == []


@pytest.mark.parametrize("moment", ["asked", "hinted", "ended"])
def test_positions_are_right_while_another_thread_closes(moment: str) -> None:
    """Contract 2.4, 4.4: what was taken back meanwhile was not delivered."""
    batch = Batch.of(MESSAGES)
    take(batch, 2)
    work = batch.delivered if moment == "ended" else batch.take_back
    batch.iterator = Overtaken(batch.iterator, **{moment: work})
    if moment == "ended":
        batch.take_back()
    for _ in range(2):
        assert batch.delivered() == positions_after(MESSAGES[:2])


def test_positions_asked_for_within_a_take_back_are_right() -> None:
    """Contract 2.4, 4.4: messages count as taken back as soon as they are taken."""
    batch = Batch.of(MESSAGES)
    take(batch, 2)
    seen: list[Any] = []
    batch.iterator = Overtaken(batch.iterator, ended=lambda: seen.append(batch.delivered()))
    assert batch.take_back() == MESSAGES[2:]
    assert seen == [positions_after(MESSAGES[:2])]


def test_positions_that_were_returned_never_change() -> None:
    """Contract 2.4: another thread may look at them while the caller goes on."""
    batch = Batch.of(MESSAGES)
    seen = [batch.delivered() for _ in batch.iterator]
    assert seen == [positions_after(MESSAGES[: count + 1]) for count in range(len(MESSAGES))]


def test_positions_look_at_each_message_once() -> None:
    """A caller who asks after each message costs no more the longer the batch is."""
    looks: list[int] = []

    class Message(tuple[Any, ...]):
        """Notes each look at the message."""

        __slots__ = ()

        def __iter__(self) -> Iterator[Any]:
            looks.append(1)
            return super().__iter__()

    messages: list[Any] = [Message(("a", b"%d-0" % ms, {})) for ms in range(1, 101)]
    batch = Batch(messages, {"a": b"100-0"})
    for done, _ in enumerate(batch.iterator, 1):
        assert batch.delivered() == {"a": b"%d-0" % done}
    assert len(looks) < len(messages)


def test_each_message_taken_back_by_two_threads_goes_to_one() -> None:
    """Contract 2.5, 4.4: `discard` puts back what it has taken out, `close` drops it."""
    batch = Batch.of(MESSAGES)
    others: list[Any] = []

    class Slow:
        """Lets the other thread take all, right before anything is taken."""

        def __iter__(self) -> Iterator[Any]:
            batch.iterator = iter(MESSAGES)
            others.extend(batch.take_back())
            return batch.iterator

        __next__ = None

    batch.iterator = Slow()  # type: ignore[assignment]
    assert batch.take_back() == []
    assert others == MESSAGES
    assert batch.delivered() == {}


def test_a_batch_delivered_whole_has_the_positions_it_was_given() -> None:
    """Positions need no work for each message: the ends are known beforehand."""
    batch = Batch(MESSAGES, {"given": b"9-9"})
    list(batch.iterator)
    assert batch.delivered() == {"given": b"9-9"}


def test_a_batch_taken_back_has_not_the_positions_of_its_end() -> None:
    """Contract 2.4: nothing is left to deliver, yet not all was delivered."""
    batch = Batch(MESSAGES, {"given": b"9-9"})
    take(batch, 1)
    batch.take_back()
    assert batch.delivered() == {"a": b"1-0"}


def test_messages_are_delivered_as_they_are_and_in_order() -> None:
    """Contract 1.3: a message is a plain tuple, not a copy of one."""
    batch = Batch.of(MESSAGES)
    assert all(got is made for got, made in zip(batch.iterator, MESSAGES, strict=True))


@pytest.mark.parametrize("item", [None, "timeout", ValueError(), ("a", b"1-0", {})])
def test_an_item_is_delivered_once_and_moves_no_position(item: object) -> None:
    """Contract 4.2, 5.3: instead of a message, whatever the item looks like."""
    batch = Item(item)
    assert batch.delivered() == {}
    assert list(batch.iterator) == [item]
    assert batch.delivered() == {}
    assert list(batch.iterator) == []
    assert batch.messages == []


@given(batches, st.integers(1, 4))
def test_lists_have_all_messages_in_order(messages: list[Any], n: int) -> None:
    batch = Batch.of(messages)
    taken = list(batch.take(n))
    assert [message for each in taken for message in each] == messages
    assert [len(each) for each in taken[:-1]] == [n] * (len(taken) - 1)
    assert all(1 <= len(each) <= n for each in taken)
    assert batch.delivered() == positions_after(messages)


def test_a_list_is_delivered_by_the_step_that_yields_it() -> None:
    """Neither before nor in several steps, between which a signal could come."""
    batch = Batch.of(MESSAGES)
    lists = iter(batch.take(3))
    assert batch.delivered() == {}
    called: list[str] = []
    taken: list[Any] = []
    sys.setprofile(lambda frame, event, _: called.append(event))
    for taken in lists:  # noqa: B007  # this step alone
        sys.setprofile(None)
        break
    assert taken == MESSAGES[:3]
    assert "call" not in called
    assert batch.delivered() == positions_after(MESSAGES[:3])
    assert next(batch.iterator) == MESSAGES[3]


def test_an_item_has_a_replacement_where_lists_are_asked_for() -> None:
    batch = Item("timeout", in_batches=[])
    assert list(batch.take(3)) == [[]]
    assert list(batch.take(3)) == list(batch.iterator) == list(EMPTY.take(3)) == []


def test_an_item_taken_back_is_no_message_and_is_gone() -> None:
    """Contract 4.4: after `close()` iteration stops at once."""
    batch = Item("timeout")
    assert batch.take_back() == []
    assert list(batch.iterator) == []


def test_the_empty_batch_delivers_nothing_and_moves_no_position() -> None:
    """A shared object: nothing that is done to it may show."""
    for _ in range(2):
        assert list(EMPTY.iterator) == []
        assert EMPTY.take_back() == []
        assert EMPTY.delivered() == {}


# The wait (contract 4.1, 4.2, 5.3, 5.5).

# The longest that a read blocks, in ms, and the longest of one that leaves streams out.
SLICE = 20_000


def begun(block: int | None, now: float = 100.0) -> Wait:
    """Make a wait that begins at that time."""
    wait = Wait(block)
    wait.begin(now)
    return wait


def test_each_wait_has_a_number_of_its_own() -> None:
    """Contract 4.2: only a read that was sent in this wait shows that nothing is there."""
    wait = Wait(None)
    numbers = [wait.number]
    for now in (1.0, 1.0, 2.0):
        wait.begin(now)
        numbers.append(wait.number)
    assert len(set(numbers)) == 4
    assert wait.ends_at == 2.0


@pytest.mark.parametrize(("block", "ends_at"), [(1, 100.001), (1000, 101.0), (None, 100.0)])
def test_a_wait_is_over_after_block_ms(block: int | None, ends_at: float) -> None:
    """Contract 4.1: it counts from when the caller began to wait; None is no wait at all."""
    wait = begun(block)
    assert wait.ends_at == pytest.approx(ends_at)
    wait.restart(500.0)
    assert wait.ends_at == pytest.approx(ends_at + 400.0)


def test_a_wait_without_limit_is_never_over() -> None:
    """Contract 4.1: 0 is for ever."""
    assert begun(0).ends_at == inf


@pytest.mark.parametrize(
    ("block", "ahead"), [(None, None), (0, SLICE), (1, 1), (SLICE, SLICE), (SLICE + 1, SLICE)]
)
def test_a_read_ahead_blocks_for_no_longer_than_a_slice(
    block: int | None, ahead: int | None
) -> None:
    """Contract 5.5: a dead server is noticed within 25 s, whatever `block` is."""
    assert begun(block).block_ahead == ahead


@settings(deadline=None)
@given(st.integers(1, 10**6), st.floats(0, 2000))
def test_reads_for_the_caller_block_for_the_time_that_is_left(block: int, later: float) -> None:
    """Contract 4.1: never for less, and for less than a ms more; 5.5: in slices."""
    wait = begun(block)
    now = 100.0 + later
    found = wait.block_for_caller(now, None)
    left = block - later * 1000
    assert found is not None
    assert 1 <= found <= SLICE
    assert found >= min(left, SLICE) - 0.001
    assert found < max(left, min(-left, 20)) + 1.001


@pytest.mark.parametrize(("block", "expected"), [(None, None), (0, SLICE)])
def test_without_a_limit_reads_block_alike_at_any_time(
    block: int | None, expected: int | None
) -> None:
    """Contract 4.1: None never blocks, and 0 blocks in slices that have no end."""
    wait = begun(block)
    assert wait.block_for_caller(100.0, None) == expected
    assert wait.block_for_caller(99_999.0, None) == expected


@pytest.mark.parametrize("block", [None, 0, 1, 200])
def test_a_read_blocks_no_longer_than_a_message_is_held(block: int | None) -> None:
    """Contract 3.3: nothing is over before the message that is held back is delivered."""
    wait = begun(block)
    assert wait.block_for_caller(100.0, 100.3) == 300
    assert wait.block_for_caller(100.2995, 100.3) == 1


@pytest.mark.parametrize("held_until", [None, 100.3])
def test_after_the_wait_reads_are_sent_ever_more_slowly(held_until: float | None) -> None:
    """Contract 6.6: the wait is not over before other connections have waited as well."""
    wait, now = begun(300), 100.3
    blocks: list[int] = []
    for _ in range(8):
        blocks.append(wait.block_for_caller(now, held_until) or 0)
        now += blocks[-1] / 1000
    assert blocks[:1] == [1]
    assert blocks == sorted(blocks)
    assert blocks[-2:] == [20, 20]


def test_a_wait_may_last_longer_than_a_message_is_held() -> None:
    """Contract 4.1: a read blocks until both are over."""
    assert begun(1000).block_for_caller(100.0, 100.3) == 1000
