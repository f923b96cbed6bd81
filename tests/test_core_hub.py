"""`core.hub`: many followers over simulated servers, without sockets or clocks."""

from __future__ import annotations

import gc
import random
from typing import TYPE_CHECKING, Any, cast

import pytest

from pystreamredis import ConnectionError, MessageError, ResponseError
from pystreamredis.core.follower import Copy, Follower
from pystreamredis.core.hub import Hub
from pystreamredis.io.engine import Engine
from pystreamredis.options import ConnectionOptions
from tests.simulated_cluster import SimulatedCluster
from tests.simulation import PATIENCE, Link, Server, Simulation, number, numbers_of, reading

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNT = 4


class HubSimulation(Simulation):
    """A hub, whose reader works whenever a test says so."""

    def __init__(
        self, server: Server, *, connections: int | None = None, sources: Any = None, **options: Any
    ) -> None:
        super().__init__(server, **options)
        given: Mapping[Any, Any] = sources or {None: {}}
        servers = {name: ConnectionOptions(**each) for name, each in given.items()}
        self.hub = Hub(servers, connections, 2**26)
        self.hub.bell = self._ring
        self.engine = Engine(
            self.hub.reader, cast("Any", self), connect=cast("Any", Link), clock=lambda: self.now
        )
        self.is_rung = False
        self._steps: Any = None

    def _ring(self) -> None:
        self.is_rung = True

    def follow(self, streams: Any, **options: Any) -> Following:
        """Make a follower."""
        follower = Follower(self.hub, reading(**{"count": COUNT, "block": 10_000} | options))
        follower.add(streams, {})
        self.hub.join(follower)
        return Following(self, follower)

    def work(self, steps: int = 1) -> bool:
        """Let the reader make a few steps; return False if there was nothing to do."""
        for _ in range(steps):
            for link in self.links:
                if link.peer is not None:
                    link.peer.work(self.now)
            ready = [link for link in self.links if link.is_readable]
            if self._steps is None:
                self._steps = self.engine.next_batch()
                next(self._steps)
            elif not (ready or self.is_rung):
                return False
            else:
                self.is_rung = False
                self._steps.send(ready)
        return True

    def settle(self) -> None:
        """Let the reader work until it only waits."""
        for _ in range(PATIENCE):
            if not self.work():
                return
        raise AssertionError("it works without end")

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which nothing is received."""
        self.now += seconds
        self.is_rung = True
        self.settle()


class Following:
    """A follower, and everything that it was delivered."""

    def __init__(self, simulation: HubSimulation, follower: Follower) -> None:
        self.follower = follower
        self.found: list[Any] = []
        self.failures: list[Exception] = []
        self._simulation = simulation

    def establish(self) -> Following:
        """Do as a constructor does."""
        for _ in range(PATIENCE):
            if not self.follower.is_establishing(self._simulation.now):
                return self
            self._simulation.work()
        raise AssertionError("it is never established")

    def take(self, most: int = 10**6) -> list[Any]:
        """Take what can be had without waiting, at most so many messages."""
        found: list[Any] = []
        while len(found) < most:
            for item in self.follower.batch.iterator:
                found.append(item)
                if len(found) == most:
                    break
            else:
                if self._ask() is None:
                    break
        self.found += found
        return found

    def _ask(self) -> object:
        follower, simulation = self.follower, self._simulation
        follower.begin_wait(simulation.now)
        for _ in range(PATIENCE):
            try:
                batch = follower.step(simulation.now)
            except (ConnectionError, MessageError, ResponseError) as error:
                self.failures.append(error)
                return error
            if batch is not None:
                return batch if batch.messages else None
            if not simulation.work():
                return None
        raise AssertionError("it waits without end")

    def ids(self, name: Any = None) -> list[int]:
        """List the IDs of the messages of a stream."""
        return numbers_of(self.found, name)

    def leave(self) -> None:
        """Do as close() does."""
        self._simulation.hub.depart(self.follower)
        self._simulation.hub.bell()


def fill(server: Server, name: bytes, *numbers: int) -> None:
    for entry in numbers:
        server.add(name, entry << 64)


def numbered(*numbers: int) -> list[int]:
    return [entry << 64 for entry in numbers]


# The seam.


def test_a_follower_catches_up_and_goes_on_live() -> None:
    server = Server()
    fill(server, b"s", *range(1, 11))
    simulation = HubSimulation(server)
    follower = simulation.follow({"s": 0})
    assert numbers_of(follower.take()) == numbered(*range(1, 11))
    fill(server, b"s", 11, 12)
    assert numbers_of(follower.take()) == numbered(11, 12)
    assert follower.follower.positions == {"s": b"12-0"}
    assert [read.block for read in server.reads if read.ids == [b"12-0"]] == [10_000]


def test_a_stream_that_several_follow_is_read_once() -> None:
    server = Server()
    simulation = HubSimulation(server)
    followers = [simulation.follow({"s": 0}).establish() for _ in range(10)]
    simulation.settle()
    before = server.reads
    fill(server, b"s", 1)
    simulation.settle()
    assert [follower.take() for follower in followers] == [[("s", b"1-0", {b"n": b"0"})]] * 10
    assert len(server.reads) - len(before) == 1


def test_followers_do_not_share_what_they_may_change() -> None:
    server = Server()
    fill(server, b"s", 1)
    simulation = HubSimulation(server)
    one, other = (simulation.follow({"s": 0}) for _ in range(2))
    one.take()[0][2][b"n"] = b"changed"
    assert other.take() == [("s", b"1-0", {b"n": b"0"})]


def test_those_further_ahead_take_their_part_of_a_turn() -> None:
    server = Server()
    fill(server, b"s", 1, 2, 3)
    simulation = HubSimulation(server)
    followers = [simulation.follow({"s": f"{start}-0"}, count=10) for start in range(4)]
    for follower in followers:
        follower.follower.is_establishing(simulation.now)
    simulation.settle()
    assert [len(follower.take()) for follower in followers] == [3, 2, 1, 0]
    assert len([read for read in server.reads if read.block is None]) == 1


@pytest.mark.parametrize("most", [1, COUNT, 300])
def test_entries_that_come_between_the_last_turn_and_live_reading_are_kept(most: int) -> None:
    """The live feed has passed on an entry while a turn was on its way."""
    server = Server()
    simulation = HubSimulation(server)
    first, second = simulation.follow({"s": 0}), simulation.follow({"s": 0})
    first.take()
    assert second.follower.is_establishing(simulation.now)
    (turn,) = (link.peer for link in simulation.links if link.peer and not link.peer.blocked)
    while not turn.sent:
        simulation.work()
    reply, turn.sent = turn.sent, b""
    for entry in range(1, 1 + most):
        fill(server, b"s", entry)
        assert len(first.take()) == 1
    turn.sent = reply
    assert numbers_of(second.take()) == numbered(*range(1, 1 + most))
    fill(server, b"s", 1000)
    assert numbers_of(second.take()) == numbered(1000)
    live = [number(read.ids[0]) for read in server.reads if read.block]
    assert live == sorted(set(live)), "the live feed does not begin again for those who join"


def test_a_follower_that_begins_in_the_future_hides_nothing_from_others() -> None:
    server = Server()
    simulation = HubSimulation(server)
    ahead = simulation.follow({"s": "100-0"})
    ahead.take()
    other = simulation.follow({"s": 0})
    other.take()
    fill(server, b"s", 1, 2)
    simulation.settle()
    assert numbers_of(other.take()) == numbered(1, 2)
    fill(server, b"s", 100, 101)
    assert numbers_of(other.take()) == numbered(100, 101)
    assert numbers_of(ahead.take()) == numbered(101)


# Slow followers.


def test_a_slow_follower_queues_no_more_than_count_and_loses_nothing() -> None:
    server = Server()
    simulation = HubSimulation(server)
    slow, quick = (simulation.follow({"s": 0}).establish() for _ in range(2))
    slow.take()
    for entry in range(1, 101):
        fill(server, b"s", entry)
        simulation.settle()
        assert len(quick.take()) == 1
    gc.collect()
    copies = [each for each in gc.get_objects() if isinstance(each, Copy)]
    followers = slow.follower, quick.follower
    assert max(len(each.pending) for each in copies if each.follower in followers) == COUNT
    assert numbers_of(slow.take()) == numbered(*range(1, 101))


def test_a_follower_that_closes_disturbs_none() -> None:
    server = Server()
    simulation = HubSimulation(server)
    one, other = (simulation.follow({"s": 0}).establish() for _ in range(2))
    simulation.settle()
    one.leave()
    fill(server, b"s", 1)
    assert len(other.take()) == 1
    assert list(simulation.hub.followers) == [other.follower]


def test_the_reader_ends_with_the_last_follower() -> None:
    simulation = HubSimulation(Server())
    follower = simulation.follow({"s": 0}).establish()
    simulation.settle()
    follower.leave()
    with pytest.raises(StopIteration):
        simulation.work()


# Failures.


def test_a_failure_is_reported_to_each_follower_concerned_once() -> None:
    server = Server()
    simulation = HubSimulation(server)
    followers = [simulation.follow({"s": 0}).establish() for _ in range(3)]
    simulation.settle()
    simulation.cut()
    simulation.settle()
    fill(server, b"s", 1)
    for follower in followers:
        assert len(follower.take()) == 1
        assert len(follower.failures) == 1
    errors = [follower.failures[0] for follower in followers]
    assert len(set(map(id, errors))) == 3, "each has an exception of its own"


def test_a_stream_at_fault_is_reported_to_its_follower_alone() -> None:
    server = Server()
    server.at_fault[b"bad"] = "-WRONGTYPE Operation against a key"
    fill(server, b"s", 1)
    simulation = HubSimulation(server)
    bad, good = simulation.follow({"bad": 0}), simulation.follow({"s": 0})
    bad.follower.is_establishing(simulation.now)
    assert len(good.take()) == 1
    simulation.settle()
    bad.follower.begin_wait(simulation.now)
    with pytest.raises(ResponseError, match="stream 'bad'") as caught:
        bad.follower.step(simulation.now)
    assert caught.value.stream == "bad"
    assert not good.failures


def test_an_entry_without_message_stops_its_follower_alone() -> None:
    def refuse(pairs: Any) -> Any:
        found = dict(pairs)
        if found[b"n"] == b"1":
            raise ValueError(found)
        return found

    server = Server()
    fill(server, b"s", 1, 2, 3)
    simulation = HubSimulation(server)
    strict, other = simulation.follow({"s": 0}, fields=refuse), simulation.follow({"s": 0})
    assert numbers_of(strict.take()) == numbered(1, 3)
    (failure,) = strict.failures
    assert isinstance(failure, MessageError)
    assert (failure.stream, failure.pairs) == ("s", [(b"n", b"1")])
    assert len(other.take()) == 3


# Random joins, leaves and faults.


class Chaos:
    """Followers that come and go, of streams that grow, over connections that break."""

    def __init__(
        self, seed: int, simulation: HubSimulation, servers: dict[str | None, Server]
    ) -> None:
        self.random = random.Random(seed)
        self.simulation = simulation
        self.servers = servers
        self.names = [b"a", b"b", b"c", b"{a}2"]
        self.last = 0
        self.starts: dict[Following, dict[bytes, int]] = {}
        self.left: list[tuple[Following, dict[bytes, int]]] = []

    def write(self) -> None:
        for _ in range(self.random.choice([1, 1, 2, COUNT, 3 * COUNT])):
            self.last += self.random.choice([1, 1 << 64])
            name = self.random.choice(self.names)
            self.random.choice(list(self.servers.values())).add(name, self.last)

    def join(self) -> None:
        names = self.random.sample(self.names, self.random.randint(1, 3))
        starts = {
            name: self.random.choice([0, self.last, self.last // 2, self.last + 5])
            for name in names
        }
        given = {name: b"%d-%d" % (at >> 64, at & 2**64 - 1) for name, at in starts.items()}
        count = self.random.choice([1, COUNT, 50])
        block = self.random.choice([None, 0, 10_000])
        self.starts[self.simulation.follow(given, count=count, block=block)] = starts

    def take(self) -> None:
        if self.starts:
            self.random.choice(list(self.starts)).take(self.random.randint(1, 8))

    def leave(self) -> None:
        if len(self.starts) > 3:
            follower = self.random.choice(list(self.starts))
            self.left.append((follower, self.starts.pop(follower)))
            follower.leave()

    def cut(self) -> None:
        if self.simulation.links:
            self.random.choice(self.simulation.links).left = self.random.randint(0, 60)

    def work(self) -> None:
        self.simulation.work(self.random.randint(1, 5))

    def run(self, steps: int) -> None:
        """Let things happen, and compare what each follower got with what there is."""
        self.run_some(steps)
        self.finish()

    def run_some(self, steps: int) -> None:
        """Let things happen."""
        self.join()
        actions = [self.write] * 6 + [self.take] * 6 + [self.join, self.leave, self.cut]
        actions += [self.work] * 6
        for _ in range(steps):
            self.random.choice(actions)()

    def finish(self) -> None:
        """Compare."""
        for follower, starts in self.starts.items():
            for _ in range(3):
                self.simulation.pass_time(20.0)
                follower.take()
            self.check(follower, starts, is_all=True)
        for follower, starts in self.left:
            self.check(follower, starts, is_all=False)

    def check(self, follower: Following, starts: dict[bytes, int], *, is_all: bool) -> None:
        for name, start in starts.items():
            for source, server in self.servers.items():
                expected = sorted(entry for entry in server.streams.get(name, ()) if entry > start)
                found = follower.ids(name if source is None else (source, name))
                assert found == (expected if is_all else expected[: len(found)])


@pytest.mark.parametrize("connections", [None, 2])
@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_repeated(seed: int, connections: int | None) -> None:
    server = Server()
    chunks = random.Random(seed).choices([7, 30, 100, 2**20], k=5)
    simulation = HubSimulation(server, connections=connections, chunks=chunks)
    Chaos(seed, simulation, {None: server}).run(400)


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_lost_or_repeated_at_several_servers(seed: int) -> None:
    servers = {7001: Server(), 7002: Server()}
    simulation = HubSimulation(
        servers[7001],
        sources={str(port): {"port": port} for port in servers},
        servers={f"localhost:{port}": server for port, server in servers.items()},
    )
    chaos = Chaos(seed, simulation, {str(port): each for port, each in servers.items()})
    chaos.run(300)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_repeated_in_a_cluster(seed: int) -> None:
    cluster = SimulatedCluster()
    cluster.spread([b"a", b"b", b"c"])
    node = cluster.nodes[cluster.ports[0]]
    simulation = HubSimulation(
        node, sources={None: {"port": cluster.ports[0]}}, servers=cluster.servers
    )
    chaos = Chaos(seed, simulation, {None: node})
    for _ in range(5):
        chaos.run_some(60)
        cluster.move(chaos.random.choice(chaos.names), chaos.random.choice(cluster.ports))
    chaos.finish()
