"""`pystreamredis.handover`: what was handed to the caller, and the positions that gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.handover import Batch, Item

MESSAGES: list[Any] = [("a", b"1-0", {}), ("b", b"2-0", {}), ("a", b"3-0", {}), ("c", b"4-0", {})]


def positions_after(messages: list[Any]) -> dict[Any, Any]:
    return {name: entry_id for name, entry_id, _ in messages}


names = st.sampled_from(["a", "b", b"c"])
batches: st.SearchStrategy[list[Any]] = st.lists(names, max_size=12).map(
    lambda names: [(name, b"%d-0" % number, {}) for number, name in enumerate(names)]
)


def take(batch: Batch, how_many: int) -> list[Any]:
    return [message for _, message in zip(range(how_many), batch.iterator, strict=False)]


@settings(deadline=None)
@given(batches, st.lists(st.integers(0, 5), max_size=8))
def test_positions_follow_what_was_handed_over_at_every_step(
    messages: list[Any], steps: list[int]
) -> None:
    """Contract 2.4: the ID of the last message *handed to the caller*."""
    batch = Batch.of(messages)
    positions: dict[Any, Any] = {}
    handed: list[Any] = []
    for step in steps:
        handed += take(batch, step)
        batch.settle(positions)
        assert positions == positions_after(handed)
    assert handed == messages[: len(handed)]


@settings(deadline=None)
@given(batches, st.integers(0, 12), st.booleans())
def test_what_is_withdrawn_moves_no_position(
    messages: list[Any], handed: int, settled: bool
) -> None:
    """Contract 2.4, 2.5: only what the caller has got counts."""
    batch = Batch.of(messages)
    positions: dict[Any, Any] = {}
    taken = take(batch, handed)
    if settled:
        batch.settle(positions)
    assert batch.withdraw() == messages[len(taken) :]
    assert list(batch.iterator) == []
    for _ in range(2):
        batch.settle(positions)
        assert positions == positions_after(taken)
    assert batch.withdraw() == []


class Interrupted:
    """The iterator of a batch, with another thread at work at one moment.

    Args:
        inner: The iterator.
        hinted: Done after it was asked how much is left.
        ended: Done after all of it was taken.
    """

    def __init__(
        self,
        inner: Iterator[Any],
        hinted: Callable[[], object] | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        self._inner, self._hinted, self._ended = inner, hinted, ended

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
        left = length_hint(self._inner)
        hinted, self._hinted = self._hinted, None
        if hinted is not None:
            hinted()
        return left


def test_positions_that_are_asked_for_while_another_thread_closes_are_right() -> None:
    """Contract 2.4, 4.4: what was withdrawn meanwhile was not handed over."""
    for moment in ("hinted", "ended"):
        batch = Batch.of(MESSAGES)
        positions: dict[Any, Any] = {}
        take(batch, 2)
        done: dict[str, Any] = {
            "hinted": batch.withdraw,
            "ended": lambda batch=batch, positions=positions: batch.settle(positions),
        }
        batch.iterator = Interrupted(batch.iterator, **{moment: done[moment]})
        if moment == "hinted":
            batch.settle(positions)
        else:
            batch.withdraw()
        assert positions == positions_after(MESSAGES[:2]), moment
        batch.settle(positions)
        assert positions == positions_after(MESSAGES[:2]), moment


def test_of_two_threads_that_withdraw_each_message_is_one_s() -> None:
    """Contract 2.5, 4.4: `discard` puts back what it has withdrawn, `close` drops it."""
    batch = Batch.of(MESSAGES)
    others: list[Any] = []

    class Slow:
        """Lets the other thread take all, right before anything is taken."""

        def __iter__(self) -> Iterator[Any]:
            batch.iterator = iter(MESSAGES)
            others.extend(batch.withdraw())
            return batch.iterator

        __next__ = None

    batch.iterator = Slow()  # type: ignore[assignment]
    assert batch.withdraw() == []
    assert others == MESSAGES
    positions: dict[Any, Any] = {}
    batch.settle(positions)
    assert positions == {}


def test_positions_of_other_streams_stay() -> None:
    """Contract 2.4: a batch says nothing about streams that it has no messages of."""
    batch = Batch.of(MESSAGES)
    positions: dict[Any, Any] = {"a": b"0-1", "z": b"9-9"}
    batch.settle(positions)
    assert positions == {"a": b"0-1", "z": b"9-9"}
    list(batch.iterator)
    batch.settle(positions)
    assert positions == {"a": b"3-0", "b": b"2-0", "c": b"4-0", "z": b"9-9"}


def test_a_batch_that_was_handed_over_whole_settles_by_its_ends() -> None:
    """Positions need no work for each message: the ends are known beforehand."""
    batch = Batch(MESSAGES, {"told": b"9-9"})
    list(batch.iterator)
    positions: dict[Any, Any] = {}
    batch.settle(positions)
    assert positions == {"told": b"9-9"}


def test_a_batch_that_was_settled_is_not_settled_again() -> None:
    """A later batch may have moved the positions on."""
    batch = Batch.of(MESSAGES)
    list(batch.iterator)
    positions: dict[Any, Any] = {}
    batch.settle(positions)
    positions["a"] = b"9-9"
    batch.settle(positions)
    assert positions["a"] == b"9-9"


def test_messages_are_handed_over_as_they_are_and_in_order() -> None:
    """Contract 1.3: a message is a plain tuple, not a copy of one."""
    batch = Batch.of(MESSAGES)
    assert all(got is made for got, made in zip(batch.iterator, MESSAGES, strict=True))


@pytest.mark.parametrize("item", [None, "timeout", ValueError(), ("a", b"1-0", {})])
def test_an_item_is_handed_over_once_and_moves_no_position(item: object) -> None:
    """Contract 4.2, 5.3: in lieu of a message, whatever it looks like."""
    batch = Item(item)
    positions = {"a": b"0-0"}
    batch.settle(positions)  # type: ignore[arg-type]
    assert list(batch.iterator) == [item]
    batch.settle(positions)  # type: ignore[arg-type]
    assert positions == {"a": b"0-0"}
    assert list(batch.iterator) == []


def test_an_item_that_is_withdrawn_is_no_message_and_is_gone() -> None:
    """Contract 4.4: after `close()` iteration stops at once."""
    batch = Item("timeout")
    assert batch.withdraw() == []
    assert list(batch.iterator) == []
