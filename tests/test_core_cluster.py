"""Tests of `core.cluster`: slots that move, nodes that fail, and streams that change hands."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis.core.assignment import Assignment
from pystreamredis.core.cluster import Cluster, SlotMap
from pystreamredis.core.events import Failed
from pystreamredis.core.session import Session
from pystreamredis.core.slots import slot_of
from pystreamredis.core.stream import StreamState
from pystreamredis.core.topology import Upstream
from pystreamredis.exceptions import ConnectionError, ResponseError
from pystreamredis.options import ConnectionOptions
from pystreamredis.protocol import ServerError
from tests.simulated_cluster import NAMES, PORTS, SimulatedCluster, address
from tests.simulation import (
    Bulk,
    Read,
    Simulation,
    commands_in,
    encode,
    number,
    numbers_of,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pystreamredis.core.cluster import Share

RETURNED: dict[str, Any] = {"raise_connection_exceptions": False}
# A stream that takes the only connection of its own, so that the other slots share one.
FIRST = b"first"


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pauses as long as they are without their random part."""
    monkeypatch.setattr("random.random", lambda: 0.0)


def spread_cluster() -> SimulatedCluster:
    cluster = SimulatedCluster()
    cluster.spread()
    return cluster


def fail_over(cluster: SimulatedCluster, port: int, heir: int) -> None:
    """Have another node own all slots of a node."""
    for name in NAMES:
        if cluster.home(name) == port:
            cluster.move(name, heir)


def kill(cluster: SimulatedCluster, simulation: Simulation, *ports: int) -> None:
    for port in ports:
        simulation.unreachable.add(address(port))
        simulation.cut(address(port))


@pytest.mark.parametrize("own", [1, 2, 128])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_streams_of_all_slots_are_read_and_merged(own: int, count: int) -> None:
    cluster = spread_cluster()
    expected = [cluster.add(name) for _ in range(7) for name in NAMES]
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), own, count=count, block=10)
    assert numbers_of(simulation.rest()) == expected
    assert simulation.most_links <= own + len(PORTS)
    assert simulation.rest() == []
    more = [cluster.add(name) for name in NAMES]
    # What is written while it is waited for comes as each node answers.
    assert sorted(numbers_of(simulation.rest())) == more


@pytest.mark.parametrize("chunk", [1, 40, 150])
def test_several_slots_are_read_ahead_each_by_itself(chunk: int) -> None:
    """A speculative read names streams of one slot alone, or a node refuses it."""
    cluster = SimulatedCluster()
    expected = [cluster.add(name) for _ in range(20) for name in (*NAMES, b"{a}3")]
    streams = dict.fromkeys((*NAMES, b"{a}3"), 0)
    simulation = cluster.follow(streams, 1, count=2, block=10, chunks=(chunk,))
    assert numbers_of(simulation.rest()) == expected


def test_a_stream_without_messages_holds_back_no_other_slot() -> None:
    """Contract 3.2: each answer of a round says something of its own slot alone."""
    cluster = SimulatedCluster()
    expected = [cluster.add(b"d")]
    names = (FIRST, b"a", b"b", b"c", b"d")
    simulation = cluster.follow(dict.fromkeys(names, 0), 1, block=10)
    assert numbers_of(simulation.rest()) == expected


def test_now_is_pinned_at_each_node() -> None:
    """Contract 2.3."""
    cluster = spread_cluster()
    for name in NAMES:
        cluster.add(name)
    simulation = cluster.follow(NAMES, block=10).establish()
    expected = [cluster.add(name) for name in reversed(NAMES)]
    assert sorted(numbers_of(simulation.rest())) == expected


@pytest.mark.parametrize("own", [1, 128])
@pytest.mark.parametrize("name", NAMES)
def test_a_slot_is_followed_when_it_moves(name: bytes, own: int) -> None:
    cluster = spread_cluster()
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), own, block=10)
    simulation.rest()
    for port in (*PORTS, *PORTS):
        cluster.move(name, port)
        expected = [cluster.add(name) for _ in range(3)]
        assert sorted(numbers_of(simulation.rest())) == expected


@pytest.mark.parametrize("before", range(0, 700, 23))
@pytest.mark.parametrize("back", [False, True])
def test_a_slot_moves_while_speculative_reads_are_on_their_way(before: int, back: bool) -> None:
    """Nothing is lost or repeated, wherever in the replies it moves, and if it returns."""
    cluster = SimulatedCluster()
    names = (b"{a}1", b"{a}2", FIRST)
    expected = {name: [cluster.add(name) for _ in range(40)] for name in names}
    options: dict[str, Any] = {"count": 4, "block": 10, "chunks": (before or 1, 50)}
    simulation = cluster.follow(dict.fromkeys(names, 0), 1, **options)
    found = simulation.take(20)
    cluster.move(b"{a}1", PORTS[1])
    found += simulation.take(7)
    if back:
        cluster.move(b"{a}1", PORTS[0])
    found += simulation.rest()
    for name in names:
        assert numbers_of(found, name) == expected[name]


def test_streams_are_added_and_discarded() -> None:
    """Contract 2.5."""
    cluster = spread_cluster()
    simulation = cluster.follow({b"a": 0, b"b": 0}, block=10).establish()
    cluster.add(b"c")
    first = [cluster.add(name) for name in (b"a", b"b")]
    assert sorted(numbers_of(simulation.rest())) == first
    simulation.add({b"c": None, b"d": 0, b"{a}2": None})
    simulation.discard(b"b")
    cluster.add(b"b")
    second = [cluster.add(name) for name in (b"{a}2", b"d", b"c", b"a")]
    assert sorted(numbers_of(simulation.rest())) == second
    assert set(simulation.reader.positions) == {b"a", b"c", b"d", b"{a}2"}
    simulation.discard(b"a", b"c", b"d", b"{a}2")
    with pytest.raises(ValueError, match="no streams"):
        simulation.next()


# Slots that migrate.


def test_a_migrating_slot_is_asked_for_at_a_bounded_pace() -> None:
    cluster = spread_cluster()
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), block=20_000)
    first = [cluster.add(name) for name in NAMES]
    assert sorted(numbers_of(simulation.rest())) == first
    cluster.begin_to_move(b"b", PORTS[2])
    before, began = cluster.reads, simulation.now
    expected = [cluster.add(name) for name in (b"b", b"c")]
    # Messages of others come meanwhile.
    assert number(simulation.next()[1]) == expected[1]
    simulation.at(3, lambda: cluster.move(b"b", PORTS[2]))
    assert number(simulation.next()[1]) == expected[0]
    # Others wait for the slot for a second, and it is found within another one.
    assert simulation.now < began + 5
    assert cluster.reads - before < 100


def test_slots_beside_a_migrating_one_stay_in_order() -> None:
    """Contract 3.2: only the streams of that slot are not waited for any longer."""
    cluster = SimulatedCluster()
    cluster.move(b"c", PORTS[1])
    cluster.begin_to_move(b"a", PORTS[1])
    names = (FIRST, b"a", b"b", b"c")
    simulation = cluster.follow(dict.fromkeys(names, 0), 1, count=1, block=20_000)
    order = (b"b", b"c", b"c", b"b", b"b", b"c", b"b", b"c")
    expected = [cluster.add(name) for name in order]
    assert numbers_of(simulation.take(len(expected))) == expected


def test_a_wait_ends_in_time_though_a_slot_migrates() -> None:
    """Contract 4.2."""
    cluster = spread_cluster()
    cluster.begin_to_move(b"b", PORTS[2])
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), block=100)
    began = simulation.now
    assert simulation.rest() == []
    assert simulation.now < began + 1


@pytest.mark.parametrize("own", [1, 2, 128])
def test_a_caller_that_never_waits_goes_on_once_a_slot_has_moved(own: int) -> None:
    """Contract 4.2: nothing else is asked for while messages of others wait for that slot."""
    cluster = spread_cluster()
    expected = [cluster.add(name) for name in NAMES * 3]
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), own, block=None, count=1)
    messages = simulation.take(len(NAMES))
    cluster.begin_to_move(b"b", PORTS[2])
    simulation.at(0.5, lambda: cluster.move(b"b", PORTS[2]))
    assert numbers_of(messages + simulation.rest()) == expected
    assert simulation.now < 1000.9


def test_now_is_pinned_once_a_slot_has_moved() -> None:
    """Contract 2.3: nothing is read before that."""
    cluster = spread_cluster()
    cluster.add(b"b")
    cluster.begin_to_move(b"b", PORTS[2])
    simulation = cluster.follow(NAMES, block=100)
    began = simulation.now
    simulation.at(3, lambda: cluster.move(b"b", PORTS[2]))
    simulation.establish()
    assert simulation.now >= began + 3
    expected = cluster.add(b"b")
    assert numbers_of(simulation.rest()) == [expected]


def note_refusals(simulation: Simulation, cluster: SimulatedCluster) -> list[float]:
    """Return a list to which the times are added at which a node refuses a read."""
    refused: list[float] = []
    for node in cluster.nodes.values():
        node.on_refusal = lambda: refused.append(simulation.now)
    return refused


@pytest.mark.parametrize("block", [0, 5_000, 60_000])
@pytest.mark.parametrize("others", [0, 1, 2], ids=["alone", "beside another slot", "sharing"])
def test_an_abandoned_migration_is_reported_after_ten_seconds(block: int, others: int) -> None:
    """Ten seconds after the first refusal, and up to 20 s later where a read was waiting."""
    cluster = SimulatedCluster()
    names = [b"a", FIRST, b"b"][: 1 + others]
    options: dict[str, Any] = {"block": block, "stop_on_timeout": True, **RETURNED}
    own = 1 if others == 2 else None
    simulation = cluster.follow(dict.fromkeys(names, 0), own, **options).establish()
    expected = [cluster.add(name) for name in names]
    assert sorted(numbers_of(simulation.take(len(expected)))) == expected
    refused = note_refusals(simulation, cluster)
    cluster.begin_to_move(b"a", PORTS[1])
    began, failure = simulation.now, None
    while not isinstance(failure, ConnectionError) and simulation.now < began + 200:
        failure = simulation.next()
    assert isinstance(failure, ConnectionError)
    assert f"{address(PORTS[0])} refused XREAD of slot {slot_of(b'a')}" in str(failure)
    assert "ASK" in str(failure)
    assert 10 <= simulation.now - refused[0] <= 11
    # It may have begun while a read was waiting, which the server does not end.
    assert simulation.now - began <= 31
    # It is reported again ten seconds later, and not in between.
    reported, failure = simulation.now, None
    while not isinstance(failure, ConnectionError) and simulation.now < reported + 200:
        failure = simulation.next()
    assert 10 <= simulation.now - reported <= 11


def test_a_migration_that_never_ends_is_reported_and_then_followed() -> None:
    cluster = SimulatedCluster()
    cluster.begin_to_move(b"a", PORTS[1])
    slot = slot_of(b"a")
    simulation = cluster.follow({b"a": 0}, block=20_000)
    with pytest.raises(ConnectionError, match=rf"localhost:7001 .* ASK {slot} localhost:7002"):
        simulation.next()
    cluster.add(b"a")
    cluster.move(b"a", PORTS[1])
    assert numbers_of([simulation.next()]) == [1]


def test_nodes_that_redirect_in_a_circle_are_reported_and_asked_ever_slower() -> None:
    cluster = SimulatedCluster()
    slot = slot_of(b"a")
    cluster.answers = {7001: f"-MOVED {slot} :7002", 7002: f"-MOVED {slot} ?:7001"}
    simulation = cluster.follow({b"a": 0}, block=1000)
    began = simulation.now
    with pytest.raises(ConnectionError, match=rf"localhost:700[12] .* MOVED {slot} "):
        simulation.next()
    assert len(simulation.attempts) < 20
    with pytest.raises(ConnectionError, match=f"MOVED {slot} "):
        simulation.next()
    assert simulation.now > began + 5
    assert len(simulation.attempts) < 40
    cluster.answers = {}
    cluster.add(b"a")
    assert numbers_of([simulation.next()]) == [1]


# Nodes that fail.


def test_a_dead_node_is_reported_once_and_its_heir_found() -> None:
    cluster = spread_cluster()
    names = [b"a", b"{a}2", b"d"]
    assert len({cluster.home(name) for name in names}) == 1
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), block=100, **RETURNED)
    simulation.rest()
    for name in (b"b", b"a"):
        home = cluster.home(name)
        kill(cluster, simulation, home)
        failure = simulation.next()
        assert isinstance(failure, ConnectionError)
        assert address(home) in str(failure)
        fail_over(cluster, home, next(port for port in PORTS if port != home))
        expected = [cluster.add(name) for name in NAMES]
        assert sorted(numbers_of(simulation.take(len(NAMES)))) == expected
        simulation.unreachable = set()


def test_each_node_that_fails_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """However many slots it has; and the cluster is one line at the start."""
    caplog.set_level("INFO", "pystreamredis")
    cluster = spread_cluster()
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), block=100, **RETURNED)
    for name in NAMES:
        cluster.add(name)
    simulation.rest()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    caplog.clear()
    kill(cluster, simulation, *PORTS[:2])
    failures = [simulation.next() for _ in range(12)]
    assert all(isinstance(failure, ConnectionError) for failure in failures if failure)
    warned = [record.getMessage() for record in caplog.records if record.levelno > 20]
    assert sorted(address(port) in text for text in warned for port in PORTS[:2]).count(True) == 2
    assert len(warned) == 2


# Nodes behind NAT.


def rest_until(simulation: Simulation, number: int) -> list[Any]:
    """Take what comes, until there are so many messages."""
    items: list[Any] = []
    for _ in range(50):
        items += simulation.rest()
        if len(numbers_of(items)) >= number:
            break
    return items


def behind_nat() -> tuple[SimulatedCluster, Callable[[tuple[str, int]], tuple[str, int]]]:
    """Make a cluster whose nodes name addresses of their own network, and what translates them."""
    cluster = spread_cluster()
    inside = {port: f"10.0.0.{index}:6379" for index, port in enumerate(PORTS)}
    cluster.announced = inside
    ports = {("10.0.0." + str(index), 6379): port for index, port in enumerate(PORTS)}
    return cluster, lambda address: ("localhost", ports[address])


@pytest.mark.parametrize("own", [1, 128])
def test_nodes_are_reached_where_the_caller_says(own: int) -> None:
    """Contract 1.2: `address_remap` is asked for each address that a redirection names."""
    cluster, remap = behind_nat()
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), own, remap, block=100, **RETURNED)
    expected = [cluster.add(name) for _ in range(3) for name in NAMES]
    assert numbers_of(simulation.rest()) == expected
    for port in PORTS:  # resharding
        cluster.move(b"b", port)
        expected = [cluster.add(name) for name in NAMES]
        assert sorted(numbers_of(simulation.rest())) == expected
    cluster.begin_to_move(b"b", PORTS[0])
    simulation.at(0.3, lambda: cluster.move(b"b", PORTS[0]))
    expected = [cluster.add(b"b")]
    assert numbers_of(rest_until(simulation, 1)) == expected
    home = cluster.home(b"b")
    kill(cluster, simulation, home)
    failure = simulation.next()
    assert isinstance(failure, ConnectionError)
    assert f"localhost:{home}" in str(failure)
    fail_over(cluster, home, PORTS[1])
    expected = [cluster.add(name) for name in NAMES]
    assert sorted(numbers_of(rest_until(simulation, len(NAMES)))) == expected
    assert set(simulation.addresses) == set(map(address, PORTS))


def test_a_node_without_a_known_address_is_a_failure_that_says_so() -> None:
    """Contract 5.1: whatever a callable raises; it is asked again, at a bounded pace."""
    cluster, remap = behind_nat()
    cluster.move(b"b", PORTS[1])
    cluster.announced[PORTS[1]] = "10.9.9.9:6379"
    streams = {FIRST: 0, b"b": 0}
    simulation = cluster.follow(streams, None, remap, block=100, **RETURNED)
    expected = [cluster.add(name) for name in (FIRST, b"b")]
    failure = simulation.next()
    assert str(failure) == "address_remap(('10.9.9.9', 6379)) raised KeyError: ('10.9.9.9', 6379)"
    assert isinstance(failure.__cause__, KeyError)
    began, reads = simulation.now, cluster.reads
    others = [simulation.next() for _ in range(5)]
    assert sum(isinstance(item, ConnectionError) for item in others) >= 4
    assert cluster.reads - reads <= 20 + 60 * (simulation.now - began)
    cluster.announced[PORTS[1]] = "10.0.0.1:6379"
    others += rest_until(simulation, 1)
    assert numbers_of(others) == expected


def test_a_node_that_fails_is_asked_again_when_others_are_gone() -> None:
    """The first one is killed, and the others know for a while only that the cluster is down."""
    cluster = spread_cluster()
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), block=100, **RETURNED)
    simulation.rest()
    simulation.unreachable = {address(PORTS[0])}
    cluster.answers = dict.fromkeys(PORTS[1:], "-CLUSTERDOWN The cluster is down")
    simulation.cut()
    assert all(isinstance(simulation.next(), ConnectionError) for _ in range(20))
    cluster.answers = {}
    fail_over(cluster, PORTS[0], PORTS[1])
    expected = [cluster.add(name) for name in NAMES]
    items: list[Any] = []
    while len(numbers_of(items)) < len(expected) and len(items) < 100:
        items.append(simulation.next())
    assert sorted(numbers_of(items)) == expected


def test_while_nobody_answers_failures_are_reported_again_and_again() -> None:
    """Contract 5.3."""
    cluster = spread_cluster()
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), block=100, **RETURNED)
    simulation.rest()
    kill(cluster, simulation, *PORTS)
    began, attempts = simulation.now, len(simulation.attempts)
    items = simulation.take(12)
    assert all(isinstance(item, ConnectionError) for item in items)
    assert {port for port in PORTS if any(str(port) in str(item) for item in items)} == set(PORTS)
    assert simulation.now > began + 2
    assert len(simulation.attempts) - attempts < 150
    simulation.unreachable = set()
    expected = [cluster.add(name) for name in NAMES]
    assert sorted(numbers_of(simulation.take(len(NAMES)))) == expected


@pytest.mark.parametrize("returned", [True, False])
def test_the_callers_pauses_come_before_each_try_at_any_node(returned: bool) -> None:
    """Contract 5.3: `retry_delay=`; each outage begins with the first of them."""
    cluster = SimulatedCluster()
    cluster.move(FIRST, PORTS[1])
    options: dict[str, Any] = RETURNED if returned else {}
    pauses: dict[str, Any] = {"block": 100, "retry_delay": lambda: iter([700, 2000])}
    simulation = cluster.follow({FIRST: 0}, **pauses, **options)
    for _ in range(2):
        expected = [cluster.add(FIRST)]
        assert numbers_of(simulation.rest()) == expected
        kill(cluster, simulation, *PORTS)
        before = len(simulation.attempts)
        while len(simulation.attempts) < before + 3:
            if returned:
                assert isinstance(simulation.next(), ConnectionError | None)
            else:
                with contextlib.suppress(ConnectionError, StopIteration):
                    simulation.next()
        gaps = [b - a for a, b in pairwise(simulation.attempts[before:])]
        assert gaps[:2] == pytest.approx([2.0, 2.0])
        simulation.unreachable = set()


@pytest.mark.parametrize("own", [1, 128])
@pytest.mark.parametrize("code", ["CLUSTERDOWN The cluster is down", "LOADING data"])
def test_a_temporary_refusal_is_reported_once_for_each_node(code: str, own: int) -> None:
    """Contract 5.1."""
    cluster = spread_cluster()
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), own, block=100)
    simulation.rest()
    cluster.answers = dict.fromkeys(PORTS, f"-{code}")
    simulation.cut()
    with pytest.raises(ConnectionError, match=r"localhost:\d+"):
        simulation.next()
    cluster.answers = {}
    expected = [cluster.add(name) for name in NAMES]
    found: list[int] = []
    failures = 0
    while len(found) < len(expected):
        try:
            found.append(number(simulation.next()[1]))
        except ConnectionError:
            failures += 1
            assert failures < 3 * len(PORTS)
    assert sorted(found) == expected


def test_a_stream_at_fault_is_named_and_the_others_go_on() -> None:
    """Contract 5.6."""
    cluster = spread_cluster()
    cluster.nodes[cluster.home(b"b")].at_fault[b"b"] = "-WRONGTYPE no stream"
    expected = [cluster.add(name) for name in NAMES if name != b"b"]
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), block=100)
    with pytest.raises(ResponseError, match="WRONGTYPE") as caught:
        simulation.take(len(NAMES))
    assert caught.value.stream == b"b"
    simulation.discard(b"b")
    rest = sorted(numbers_of(simulation.rest()))
    assert rest == expected[len(expected) - len(rest) :]


@pytest.mark.parametrize("reply", ["-MOVED", "-MOVED 1 nowhere", "-MOVED 99999 h:1"])
def test_a_malformed_redirection_is_a_refusal(reply: str) -> None:
    cluster = SimulatedCluster()
    cluster.answers = dict.fromkeys(PORTS, reply)
    with pytest.raises(ResponseError, match="refused XREAD: MOVED"):
        cluster.follow({b"a": 0}).next()


# Reads in turns.


def test_reads_in_turns_do_not_block_and_pause() -> None:
    cluster = SimulatedCluster()
    simulation = cluster.follow(dict.fromkeys((FIRST, *NAMES), 0), 1, block=1000)
    assert simulation.rest() == []
    node = cluster.nodes[PORTS[0]]
    before, began = len(node.reads), simulation.now
    assert simulation.rest() == []
    reads = [read for read in node.reads[before:] if read.keys != [FIRST]]
    assert {read.block for read in reads} == {None}
    # Four slots, each at most every 10 ms.
    assert len(reads) <= 4 * (simulation.now - began) / 0.01 + 8


def test_a_slot_that_comes_to_a_connection_does_not_wait_for_others() -> None:
    cluster = spread_cluster()
    cluster.move(FIRST, PORTS[2])
    simulation = cluster.follow({FIRST: 0, b"b": 0, b"c": 0}, 1, block=20_000)
    first = [cluster.add(name) for name in (FIRST, b"b", b"c")]
    assert sorted(numbers_of(simulation.take(3))) == first
    assert (None, address(PORTS[1])) in [each.key for each in simulation.reader.assignments]
    began = simulation.now
    cluster.move(b"c", cluster.home(b"b"))
    expected = cluster.add(b"c")
    assert numbers_of([simulation.next()]) == [expected]
    assert simulation.now < began + 1


def test_a_caller_that_never_waits_polls_shared_slots_once() -> None:
    """Contract 4.2."""
    cluster = SimulatedCluster()
    expected = [cluster.add(name) for name in NAMES]
    simulation = cluster.follow(dict.fromkeys(NAMES, 0), 1, block=None)
    assert numbers_of(simulation.rest()) == expected
    assert simulation.rest() == []


def test_after_a_discard_a_connection_with_one_slot_left_blocks() -> None:
    """It polls only where several slots share a connection."""
    cluster = SimulatedCluster()
    simulation = cluster.follow(dict.fromkeys((FIRST, b"a", b"b"), 0), 1, block=1000)
    assert simulation.rest() == []
    simulation.discard(b"b")
    assert simulation.rest() == []
    before = cluster.reads
    assert simulation.rest() == []
    assert {read.block is None for read in cluster.nodes[PORTS[0]].reads[before:]} == {False}
    assert cluster.reads - before < 6


# Streams that come to a connection and leave it, byte by byte.


class Shared:
    """A session that several slots share, which has just asked for two of them."""

    def __init__(self, **read: Any) -> None:
        self.upstream = Upstream(None, ConnectionOptions(), reading(**read))
        self.one, self.two = made_streams(b"a", b"b")
        self.assignment = Assignment(self.upstream, self.upstream.options, (None, "localhost:6379"))
        self.upstream.topology = Cluster(self.upstream, [self.assignment])
        self.assignment.assign([self.one, self.two])
        self.session = Session(self.assignment, "localhost:6379", 1.0)
        self.assignment.session = self.session
        self.session.ask(1.0, None, 1)
        assert self.asked() == [[b"a"], [b"b"]]

    def receive(self, data: bytes) -> None:
        self.session.receive(data, 1.0)
        while self.session.process():
            pass

    def asked(self) -> list[list[bytes]]:
        """List the keys of the reads that were sent since the last time."""
        return [Read(command).keys for command in commands_in(self.session.take_outgoing(1.0))]


def made_streams(*names: bytes, start: bytes | None = b"0-0") -> list[StreamState]:
    return [StreamState(name, name, start) for name in names]


def reply(name: bytes, entry_id: bytes) -> bytes:
    return encode(Bulk([[name, [[entry_id, [b"f", b"v"]]]]]), 2)


REPLIES = reply(b"a", b"5-0") + reply(b"b", b"5-0")


def test_a_stream_that_comes_back_is_looked_at_again() -> None:
    """Where it was meanwhile, it may have been left with more at the server."""
    shared = Shared()
    one, two = shared.one, shared.two
    shared.receive(REPLIES)
    one.pending, two.pending = [], []
    assert shared.session.streams.find_unsettled() == []
    shared.assignment.assign([one])
    two.caught_up = False
    shared.assignment.assign([one, two])
    assert shared.session.streams.find_unsettled() == [two]


def test_replies_of_a_stream_that_has_left_are_not_applied() -> None:
    shared = Shared()
    shared.assignment.assign([shared.one])
    shared.receive(REPLIES)
    assert [message[1] for message in shared.one.pending] == [b"5-0"]
    assert shared.two.pending == []
    assert not shared.two.caught_up


def test_part_of_a_reply_says_nothing_of_a_stream_that_has_left() -> None:
    """It is read, and known to its end, elsewhere."""
    shared = Shared()
    shared.assignment.assign([shared.two])
    shared.one.caught_up = True
    shared.receive(REPLIES[:20])
    shared.session.lose(1.0)
    assert shared.one.caught_up
    assert shared.one.pending == []


def test_replies_of_a_stream_that_went_on_elsewhere_are_not_applied() -> None:
    """It came back after it had read the same entry over another connection."""
    shared = Shared()
    shared.assignment.assign([shared.one])
    shared.two.last_id = b"5-0"
    shared.assignment.assign([shared.one, shared.two])
    shared.receive(REPLIES)
    assert shared.two.pending == []
    assert shared.two.last_id == b"5-0"


def test_replies_of_a_discarded_stream_are_not_applied_to_its_namesake() -> None:
    shared = Shared()
    shared.assignment.assign([shared.one])
    (namesake,) = made_streams(b"b")
    shared.assignment.assign([shared.one, namesake])
    shared.receive(REPLIES)
    assert namesake.pending == shared.two.pending == []
    assert not namesake.caught_up


def test_a_full_stream_that_is_left_out_is_not_caught_up() -> None:
    """Contract 3.2: others wait for what it may have got meanwhile."""
    shared = Shared(count=2)
    for entry in (b"5-0", b"6-0"):
        shared.receive(reply(b"a", entry) + encode(None, 2))
        assert shared.one.caught_up
        shared.session.poll_not_before = 0.0
        shared.session.ask(1.0, None, 1)
    assert not shared.one.caught_up
    assert shared.two.caught_up
    assert [message[1] for message in shared.one.pending] == [b"5-0", b"6-0"]


def test_newcomers_are_prepared_once_no_read_is_on_its_way() -> None:
    """Those that have left again are not."""
    shared = Shared()
    session, one, two = shared.session, shared.one, shared.two
    come, stays, leaves = made_streams(b"c", b"d", b"e", start=None)
    shared.assignment.assign([one, two, come, leaves])
    shared.assignment.assign([one, two, come, stays])
    assert session.dialogue.prepare(1.0)
    assert shared.asked() == []
    assert not session.is_ready
    shared.receive(REPLIES)
    assert session.dialogue.prepare(1.0)
    assert shared.asked() == []  # it rests between reads that do not block
    session.poll_not_before = 0.0
    assert session.dialogue.prepare(1.0)
    assert shared.asked() == [[b"c"]]
    assert not session.is_ready
    shared.receive(reply(b"c", b"3-0"))
    assert shared.asked() == [[b"d"]]
    shared.receive(reply(b"d", b"4-0"))
    assert session.is_ready
    assert [come.start, stays.start, leaves.start] == [b"3-0", b"4-0", None]


class CountedStream(StreamState):
    """Counts how often streams are looked up."""

    looks = 0

    def __hash__(self) -> int:
        CountedStream.looks += 1
        return id(self)


def test_assigning_twice_as_many_streams_is_twice_the_work() -> None:
    """Not four times: with ten thousand, it took minutes to begin."""
    once, twice = (looks_to_assign(streams) for streams in (100, 200))
    assert once >= 100
    assert twice <= 2.2 * once


def looks_to_assign(count: int) -> int:
    streams: list[StreamState] = [CountedStream(b"%d" % n, b"%d" % n, None) for n in range(count)]
    assignment = Shared().assignment
    assignment.assign(streams[1:])
    before = CountedStream.looks
    assignment.assign(streams[:-1])
    return CountedStream.looks - before


# What a cluster does with its connections.


def cluster_of(*names: bytes) -> tuple[Upstream, Cluster]:
    """Make a cluster of which nothing but a CROSSSLOT is known."""
    upstream = Upstream(None, ConnectionOptions(port=7001), reading())
    topology = Cluster(upstream, [])
    upstream.topology = topology
    upstream.add(made_streams(*names))
    return upstream, topology


def test_the_failure_of_a_connection_that_is_given_up_is_reported_once() -> None:
    """Contract 5.1: also where its streams have just been redirected."""
    upstream, topology = cluster_of(b"a")
    (gone,) = topology.assignments
    failure = ConnectionError("lost")
    gone.failure = Failed(failure, 1.0)
    error = ServerError(f"MOVED {slot_of(b'a')} localhost:7002")
    assert topology.redirected(error, upstream.streams, gone.options, 1.0) == []
    topology.assign(upstream.streams)
    assert gone not in topology.assignments
    assert upstream.failures == [failure]
    assert gone.failure is None
    topology.assign(upstream.streams)
    assert upstream.failures == [failure]


def test_a_cluster_without_streams_keeps_one_assignment_without_any() -> None:
    upstream, topology = cluster_of(b"a", b"b")
    upstream.discard([b"a", b"b"])
    assert [assignment.streams for assignment in topology.assignments] == [[]]


def test_a_stream_is_read_by_one_assignment_alone() -> None:
    upstream, topology = cluster_of(b"a", b"b", b"c")
    before = topology.assignments
    error = ServerError(f"MOVED {slot_of(b'b')} localhost:7002")
    topology.redirected(error, upstream.streams[1:2], upstream.options, 1.0)
    topology.assign(upstream.streams)
    everywhere = {*before, *topology.assignments}
    read = [stream.name for assignment in everywhere for stream in assignment.streams]
    assert sorted(str(name) for name in read) == ["b'a'", "b'b'", "b'c'"]


# The slot map by itself, with what replies show.


class Map:
    """A slot map of some streams, seen by where the first of them is read.

    Attributes:
        seed: The node that the caller has named; and two others.
    """

    def __init__(self, names: Iterable[bytes] = (b"a",), own: int | None = None) -> None:
        self.seed = ConnectionOptions(host="localhost", port=7001)
        self.one, self.two = (self.seed.at("localhost", port) for port in (7002, 7003))
        self.streams = made_streams(*names)
        self.slot = slot_of(self.streams[0].key)
        self.slots = SlotMap(self.seed, own)

    @property
    def shares(self) -> list[Share]:
        return self.slots.shares(self.streams)

    @property
    def share(self) -> Share:
        return next(share for share in self.shares if self.streams[0] in share.streams)

    def moved(self, node: ConnectionOptions, now: float) -> list[ConnectionError]:
        """Have the slot redirected to a node."""
        error = ServerError(f"MOVED {self.slot} {node.address}")
        return self.slots.redirected(error, self.streams[:1], self.share.options, now)

    def asked(self, now: float) -> list[ConnectionError]:
        """Have a node say that the slot is migrating."""
        error = ServerError(f"ASK {self.slot} localhost:7003")
        return self.slots.redirected(error, self.streams[:1], self.share.options, now)

    def failed(self, now: float, quiet: float = 0.0) -> bool:
        return self.slots.failed(self.streams[:1], self.share.options, now, quiet)

    def answered(self) -> bool:
        return self.slots.answered(self.streams[:1], self.share.options)


def test_a_slot_gets_a_connection_of_its_own_once_a_node_has_answered() -> None:
    known = Map([b"a", b"b"])
    assert [share.key for share in known.shares] == [(None, "localhost:7001")]
    assert known.answered()
    assert known.share.key == (known.slot, "localhost:7001")
    assert len(known.shares) == 2
    assert not known.answered()  # again: that is not news
    assert not known.slots.answered(made_streams(b"x"), known.seed)


@pytest.mark.parametrize(("own", "expected"), [(None, 128), (3, 3), (0, 0)])
def test_the_number_of_slots_with_a_connection_of_their_own_is_bounded(
    own: int | None, expected: int
) -> None:
    known = Map([b"%d" % n for n in range(150)], own)
    assert len(known.shares) == 1
    known.slots.answered(known.streams, known.seed)
    keys = [share.key[0] for share in known.shares]
    assert len(keys) - keys.count(None) == expected
    assert keys.count(None) == 1


def test_a_slot_that_is_discarded_leaves_its_connection_to_another() -> None:
    known = Map([b"a", b"b"], 1)
    assert len(known.shares) == 1
    known.slots.answered(known.streams, known.seed)
    assert [share.key[0] for share in known.shares] == [slot_of(b"a"), None]
    del known.streams[0]
    assert [share.key[0] for share in known.shares] == [slot_of(b"b")]


def test_a_refusal_of_several_slots_shows_only_where_that_was() -> None:
    """The host may be a callable, which says another place by then."""
    known = Map([b"a", b"b"])
    assert len(known.shares) == 1
    known.slots.redirected(ServerError("CROSSSLOT keys"), known.streams, known.one, 100.0)
    (share,) = known.shares
    assert share.options.address == "localhost:7002"
    assert (share.not_before, share.held_apart) == (0.0, [])


def test_a_node_found_by_a_callable_host_is_asked_again_and_not_the_callable() -> None:
    known = Map()
    found = ConnectionOptions(host=lambda: ("localhost", 7002)).located()
    known.slots.redirected(ServerError("CROSSSLOT keys"), known.streams, found, 100.0)
    options = known.share.options
    assert options.located() is options
    assert options.address == "localhost:7002"


def test_redirections_are_followed_ever_slower_and_reported_after_a_dozen() -> None:
    known = Map()
    waits: list[float] = []
    failures: list[ConnectionError] = []
    for _ in range(12):
        failures = known.moved(known.one, 100.0)
        share = known.share
        waits.append(round(max(0.0, share.not_before - 100.0), 3))
        assert bool(share.held_apart) == bool(failures) == (len(waits) == 12)
    assert waits == [0, 0, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5, 0.5]
    (failure,) = failures
    assert f"of slot {known.slot} for long: MOVED" in str(failure)
    assert known.share.held_apart == [known.streams]
    assert known.answered()
    assert (known.share.not_before, known.share.held_apart) == (0.0, [])
    assert known.moved(known.one, 200.0) == []


def test_a_migrating_slot_holds_others_back_for_a_second_and_is_reported_after_ten() -> None:
    known = Map()
    known.answered()
    for now, is_apart, is_reported in (
        (100.0, False, False),
        (100.75, False, False),
        (101.0, True, False),
        (109.75, True, False),
        (110.0, True, True),
        (119.75, True, False),
        (120.0, True, True),
    ):
        assert bool(known.asked(now)) == is_reported
        share = known.share
        assert share.options.address == "localhost:7001"
        assert share.not_before == pytest.approx(now + 0.05)
        assert bool(share.held_apart) == is_apart
    assert known.answered()
    assert (known.share.not_before, known.share.held_apart) == (0.0, [])
    assert not known.answered()


def test_a_redirection_over_a_unix_socket_is_reported_and_not_followed() -> None:
    """Credentials meant for it never go over a network."""
    known = Map()
    at = ConnectionOptions(unix_socket_path="/run/redis.sock")
    known.slots = SlotMap(at, None)
    error = ServerError(f"MOVED {known.slot} h:7002")
    assert known.share.options is at
    (failure,) = known.slots.redirected(error, known.streams, at, 100.0)
    assert "h:7002" in str(failure)
    assert known.share.options is at
    assert known.share.not_before == pytest.approx(100.5)


def test_after_two_failures_others_go_on_and_the_same_node_is_asked_once_more() -> None:
    known = Map()
    known.moved(known.one, 100.0)
    known.answered()
    assert known.failed(100.0)
    assert known.share.options.address == "localhost:7002"
    assert known.share.key[0] == known.slot
    assert known.share.held_apart == []  # connections break
    assert not known.slots.is_down(known.streams)
    known.failed(100.1)
    assert known.share.held_apart == [known.streams]
    assert known.slots.is_down(known.streams)
    known.answered()
    assert known.share.held_apart == []


def test_what_the_callers_pauses_raise_is_raised_and_asked_for_again() -> None:
    """Contract 5.3: each outage has pauses of its own."""
    known = Map()
    given: list[Any] = [["soon"], [7, 70], [7]]
    known.slots = SlotMap(known.seed, None, lambda: given.pop(0))
    assert known.share
    with pytest.raises(TypeError, match=r"^retry_delay\(\) gave 'soon'"):
        known.failed(100.0)
    for expected in (100.007, 100.07, 100.07):
        known.failed(100.0)
        assert known.share.not_before == pytest.approx(expected)
    known.answered()
    known.failed(100.0)
    assert known.share.not_before == pytest.approx(100.007)


def test_a_node_that_has_answered_is_asked_though_no_other_has_named_it() -> None:
    """A callable host has led there, say."""
    known = Map()
    assert known.share
    assert known.slots.answered(known.streams, known.one)
    known.failed(100.0)
    known.failed(100.0)
    assert known.share.options.address == known.one.address


def test_where_a_node_fails_again_all_others_are_asked_in_turn() -> None:
    known = Map([b"a", b"c"])
    # A node counts that another has named, though it never answered.
    known.moved(known.one, 100.0)
    error = ServerError(f"MOVED {slot_of(b'c')} localhost:7003")
    known.slots.redirected(error, known.streams[1:], known.seed, 100.0)
    known.answered()
    known.failed(100.0)
    before, seen = "localhost:7002", set()
    for _ in range(8):
        known.failed(100.0)
        share = known.share
        assert share.options.address != before
        assert share.key[0] == known.slot
        before = share.options.address
        seen.add(before)
    assert seen == {"localhost:7001", "localhost:7002", "localhost:7003"}


def test_a_node_that_was_only_guessed_gets_no_connection_more() -> None:
    """One that another node has named does, and the slot keeps it."""
    known = Map()
    assert known.share
    known.failed(100.0)
    known.failed(100.0)
    assert known.share.key[0] is None
    known.moved(known.two, 100.0)
    assert known.share.key == (known.slot, "localhost:7003")


def test_failures_at_one_address_are_news_again_after_a_while() -> None:
    known = Map()
    assert known.failed(100.0, quiet=5.0)
    assert not known.slots.failed(known.streams, known.seed, 104.75, 5.0)
    assert known.slots.failed(known.streams, known.one, 104.75, 5.0)
    assert known.slots.failed(known.streams, known.seed, 105.0, 5.0)
