"""`pystreamredis.core.deadlines`: the caller's wait (contract 4.1, 4.2, 5.3, 5.5)."""

from __future__ import annotations

from itertools import count, islice
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.core.deadlines import Wait, add_jitter

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
    assert found < max(left, 0) + 1.001


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
    assert wait.block_for_caller(100.4, 100.3) == 1


def test_a_wait_may_last_longer_than_a_message_is_held() -> None:
    """Contract 4.1: a read blocks until both are over."""
    assert begun(1000).block_for_caller(100.0, 100.3) == 1000


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The random numbers to come; 0.0 after these."""
    numbers: list[float] = []
    monkeypatch.setattr("random.random", lambda: numbers.pop(0) if numbers else 0.0)
    return numbers


def pauses_of(number: int, block: int | None = 1000, retry_delay: Any = None) -> list[float]:
    return list(islice(Wait(block, retry_delay).pauses(), number))


@pytest.mark.usefixtures("chance")
@pytest.mark.parametrize(("block", "pause"), [(None, 0), (0, 1), (1, 0.001), (2500, 2.5)])
def test_the_pause_before_another_try_is_block_ms(block: int | None, pause: float) -> None:
    """Contract 5.3: 1000 where `block` is 0, not at all where it is None."""
    assert pauses_of(3, block) == pytest.approx([pause] * 3)


@pytest.mark.usefixtures("chance")
@pytest.mark.parametrize(
    ("retry_delay", "expected"),
    [
        (0, [0.0] * 4),
        (250, [0.25] * 4),
        (0.5, [0.0005] * 4),
        (lambda: iter([100, 200.5, 400, 800, 1600]), [0.1, 0.2005, 0.4, 0.8]),
        (lambda: [100, 200], [0.1, 0.2, 0.2, 0.2]),
        (lambda: count(10, 10), [0.01, 0.02, 0.03, 0.04]),
        (lambda: (), [1.0] * 4),
    ],
)
@pytest.mark.parametrize("block", [None, 0, 50])
def test_the_pause_may_be_given(block: int | None, retry_delay: Any, expected: list[float]) -> None:
    """Contract 5.3: ms, or a callable returning an iterator of ms, the last of which goes on."""
    assert pauses_of(4, block, retry_delay) == pytest.approx(expected)


def test_a_pause_has_a_random_part(chance: list[float]) -> None:
    """Contract 5.3: in any case between readers."""
    chance += [0.0, 0.5, 0.999, 1.0]
    assert pauses_of(4) == pytest.approx([1.0, 1.25, 1.4995, 1.5])
    chance += [1.0]
    assert pauses_of(2, 0, lambda: [100, 200]) == pytest.approx([0.15, 0.2])
    chance += [0.5]
    assert add_jitter(2.0) == 2.5


@pytest.mark.parametrize("wrong", ["1", -1, inf, float("nan"), b""])
def test_a_pause_that_is_not_a_time_is_refused(wrong: Any) -> None:
    """Contract 7: the option and the value are named."""
    pauses = Wait(0, lambda: [wrong]).pauses()
    with pytest.raises(TypeError) as caught:
        next(pauses)
    assert str(caught.value) == f"retry_delay() gave {wrong!r}, but must give numbers of ms"


def test_each_outage_has_an_iterator_of_its_own() -> None:
    asked = [iter([1000]), iter([2000])]
    wait = Wait(0, lambda: asked.pop(0))
    first, second = wait.pauses(), wait.pauses()
    assert next(first) < 2 <= next(second)
