"""`pystreamredis.core.hold`: keeping messages back for long enough (contract 3.3)."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import pytest

from pystreamredis.core.hold import ExactHold, Hold
from pystreamredis.core.stream import StreamState
from pystreamredis.protocol.ids import number_of
from tests.simulation import Server, Simulation, number, written

# A read was answered, whichever.
ANSWERED: list[Any] = [None]


def _pending(*ids: bytes) -> list[StreamState]:
    """Make streams, each with one pending message."""
    states = []
    for at, entry_id in enumerate(ids):
        state = StreamState(f"s{at}", b"s%d" % at, b"0-0")
        state.last_id = entry_id
        state.pending = [(state.name, entry_id, {})]
        states.append(state)
    return states


def test_without_hold_nothing_is_kept_back() -> None:
    hold = Hold(0)
    hold.arrived(ANSWERED, _pending(b"5-0"), 10.0)
    assert hold.due_at is None
    assert hold.limit([], 10.0) is None


def test_nothing_may_be_delivered_before_a_message_was_kept_back() -> None:
    hold = Hold(500)
    assert hold.due_at is None
    limit = hold.limit([], 10.0)
    assert limit is not None
    assert limit < number_of(b"0-1")


def test_a_message_is_kept_for_that_long_and_no_longer() -> None:
    hold = Hold(500)
    hold.arrived(ANSWERED, _pending(b"5-0"), 10.0)
    assert hold.due_at == 10.5
    limit = hold.limit([], 10.499)
    assert limit is not None
    assert limit < number_of(b"5-0")
    assert hold.limit([], 10.5) == number_of(b"5-0")
    assert hold.due_at is None
    assert hold.limit([], 99.0) == number_of(b"5-0")


def test_the_largest_id_of_all_streams_counts() -> None:
    """As a number: 10-0 is after 9-0."""
    hold = Hold(500)
    hold.arrived(ANSWERED, _pending(b"9-0", b"10-0", b"2-0"), 10.0)
    assert hold.limit([], 10.5) == number_of(b"10-0")


def test_a_stream_without_pending_messages_does_not_count() -> None:
    hold = Hold(500)
    states = _pending(b"9-0", b"10-0")
    states[1].pending = []
    hold.arrived(ANSWERED, states, 10.0)
    assert hold.limit([], 10.5) == number_of(b"9-0")
    states[0].pending = []
    hold.arrived(ANSWERED, states, 11.0)
    assert hold.due_at is None


def test_each_message_is_kept_from_the_time_of_its_arrival() -> None:
    hold = Hold(500)
    hold.arrived(ANSWERED, _pending(b"5-0"), 10.0)
    hold.arrived(ANSWERED, _pending(b"7-0"), 10.2)
    assert hold.limit([], 10.5) == number_of(b"5-0")
    assert hold.due_at == 10.7
    assert hold.limit([], 10.7) == number_of(b"7-0")


def test_a_pending_message_is_not_kept_a_second_time() -> None:
    hold = Hold(500)
    hold.arrived(ANSWERED, _pending(b"5-0"), 10.0)
    hold.arrived(ANSWERED, _pending(b"5-0"), 10.2)
    assert hold.limit([], 10.5) == number_of(b"5-0")
    assert hold.due_at is None


def test_a_late_message_is_released_with_the_earlier_ones() -> None:
    """They were kept back so that it can be sorted in."""
    hold = Hold(500)
    hold.arrived(ANSWERED, _pending(b"5-0"), 10.0)
    hold.arrived(ANSWERED, _pending(b"4-0"), 10.2)
    assert hold.due_at == 10.5
    assert hold.limit([], 10.5) == number_of(b"5-0")


def test_the_limit_never_falls() -> None:
    """A stream that restarts brings smaller IDs, which are late, and not kept for ever."""
    hold = Hold(500)
    hold.arrived(ANSWERED, _pending(b"5-0"), 10.0)
    assert hold.limit([], 11.0) == number_of(b"5-0")
    hold.arrived(ANSWERED, _pending(b"1-0"), 12.0)
    assert hold.due_at == 12.5
    assert hold.limit([], 12.5) == number_of(b"5-0")


def test_one_call_releases_all_that_were_kept_for_long_enough() -> None:
    hold = Hold(500)
    for at in range(1, 4):
        hold.arrived(ANSWERED, _pending(b"%d-0" % at), 10.0 + at / 10)
    assert hold.limit([], 20.0) == number_of(b"3-0")
    assert hold.due_at is None


# `hold="exact"`.

MS = 2**64


class Clocked:
    """A simulated server that makes IDs by its clock, and writers at random times.

    Up to Redis 7.0, a blocked read is answered for one stream alone.
    """

    def __init__(self, seed: int, connections: int | None = None, writes: int = 0) -> None:
        self.random = Random(seed)
        self.server = Server()
        self.server.wakes_with_one_key = True
        self.names = ["a", "b", "c", "d"]
        self.count = self.random.choice([1, 3, 100]) if writes else 100
        self.simulation = Simulation(
            self.server,
            dict.fromkeys(self.names, 0),
            hold="exact",
            block=50,
            stop_on_timeout=True,
            count=self.count,
            connections=connections,
        ).establish()
        self._last = dict.fromkeys(self.names, 0)
        delay = 0.0
        for _ in range(writes):
            if self.random.random() < 0.8:
                delay += self.random.choice([0, 0.0001, 0.0003, 0.001, 0.004, 0.05])
            self.simulation.at(delay, partial(self.write, self.random.choice(self.names)))

    def write(self, name: str, ms: int | None = None) -> None:
        """XADD with ``*``, or with a given ms."""
        at = (int(self.simulation.now * 1000) if ms is None else ms) * MS
        self._last[name] = entry = max(self._last[name] + 1, at)
        self.server.add(name.encode(), written(entry))

    @property
    def exact(self) -> ExactHold:
        hold = self.simulation.reader.hold
        assert isinstance(hold, ExactHold)
        return hold

    def take(self, count: int) -> list[int]:
        """Take the IDs of so many messages; nothing that is complete may still come."""
        found: list[int] = []
        for _ in range(20 * count):
            complete = self.simulation.reader.complete_until
            message = self.simulation.next()
            if message is not None:
                found.append(number(message[1]))
                assert complete is None or found[-1] >= (complete + 1) * MS
            if len(found) == count:
                return found
            if self.random.random() < 0.05:
                self.simulation.sleep(self.random.random() * 0.02)
        raise AssertionError(f"{len(found)} messages of {count}")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("connections", [None, 2])
def test_exact_hold_sorts_ids_of_one_clock(seed: int, connections: int | None) -> None:
    """Contract 3.3: whenever they are written, and whatever a read is answered for."""
    clocked = Clocked(seed, connections, writes=150)
    found = clocked.take(150)
    assert found == sorted(found)
    assert clocked.exact.late == 0
    assert clocked.simulation.next() is None
    assert clocked.simulation.reader.complete_until == found[-1] // MS
    assert clocked.simulation.most_held <= 2 * clocked.count


def test_exact_hold_reads_over_one_connection() -> None:
    clocked = Clocked(1)
    assert len(clocked.simulation.links) == 1


def test_a_lone_message_costs_one_read_more_and_a_ms() -> None:
    clocked = Clocked(1)
    assert clocked.simulation.next() is None
    clocked.simulation.at(0.01, partial(clocked.write, "a"))
    written_at, reads = clocked.simulation.now + 0.01, len(clocked.server.reads)
    assert clocked.take(1)
    assert len(clocked.server.reads) == reads + 2
    assert clocked.simulation.now - written_at == pytest.approx(0.0011)


def test_older_messages_do_not_wait_for_the_newest() -> None:
    """Contract 3.3: what is below the newest ms is complete with the next read."""
    clocked = Clocked(1)
    assert clocked.simulation.next() is None
    clocked.simulation.at(0.01, partial(clocked.write, "a"))
    clocked.simulation.at(0.01 + 0.0009, partial(clocked.write, "b"))
    clocked.simulation.at(0.01 + 0.0011, partial(clocked.write, "c"))
    before = clocked.simulation.now
    found = clocked.take(3)
    assert found == sorted(found)
    assert clocked.simulation.now - before < 0.0135


def test_late_messages_are_delivered_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Contract 3.3: an explicit ID, or a clock that was set back."""
    clocked = Clocked(1)
    clocked.write("a")
    clocked.take(1)
    for _ in range(2):
        clocked.write("b", 500)
        message = clocked.simulation.next()
        assert message[0] == "b"
    assert clocked.exact.late == 2
    assert len([line for line in caplog.messages if "hold='exact'" in line]) == 1


def test_dropped_messages_are_not_waited_for() -> None:
    clocked = Clocked(1)
    clocked.write("a")
    clocked.write("b", 10**9)
    clocked.take(1)
    clocked.simulation.discard("b")
    assert clocked.simulation.next() is None
    assert not clocked.exact.is_holding


@pytest.mark.parametrize("connections", [None, 2])
def test_nothing_is_proved_of_streams_that_have_come_to_a_connection(
    connections: int | None,
) -> None:
    """Contract 3.3: the reads before were without them."""
    clocked = Clocked(1, connections)
    clocked.write("a")
    clocked.take(1)
    simulation = clocked.simulation
    assert simulation.next() is None
    assert clocked.exact.limit(simulation.reader.assignments, simulation.now) > 0
    simulation.add({"e": 0})
    assert clocked.exact.limit(simulation.reader.assignments, simulation.now) < 0
    clocked.names.append("e")
    clocked.write("b")
    clocked.server.add(b"e", written(int(simulation.now * 1000) * MS))
    assert len(clocked.take(2)) == 2


def test_completeness_is_known_with_exact_hold_only() -> None:
    simulation = Simulation(Server(), ["a"], hold=5).establish()
    with pytest.raises(ValueError, match="exact"):
        _ = simulation.reader.complete_until
