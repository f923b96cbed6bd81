"""A simulated cluster in any trouble: each message comes exactly once, in order (contract 3.1)."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pystreamredis.core.slots import slot_of
from pystreamredis.exceptions import ConnectionError
from tests.simulated_cluster import SimulatedCluster, address
from tests.simulation import Simulation, number

NAMES = [b"a", b"{a}2", b"b", b"{b}2", b"c", b"d"]
# Two clusters, each a source of its own.
SOURCES = {"one": (7001, 7002, 7003), "two": (8001, 8002)}
# Items after which every message must have come, once all is well again.
PATIENCE = 600

sources = st.sampled_from(sorted(SOURCES))
names = st.sampled_from(NAMES)
nodes = st.integers(0, 2)


class ClusterMachine(RuleBasedStateMachine):
    """Reads one or two clusters whose slots move and whose nodes fail.

    Attributes:
        written: The IDs of all messages, by source and stream.
        read: The number of messages that were delivered, by source and stream; of streams that
            are followed.
    """

    clusters: dict[str, SimulatedCluster]
    simulation: Simulation

    @initialize(
        several=st.booleans(),
        own=st.sampled_from([1, 2, 128]),
        count=st.sampled_from([1, 2, 5, 100]),
        block=st.sampled_from([10, 10_000]),
        raises=st.booleans(),
        chunks=st.sampled_from([(), (1,), (50, 7, 300), (150,)]),
    )
    def begin(
        self,
        several: bool,
        own: int,
        count: int,
        block: int,
        raises: bool,
        chunks: tuple[int, ...],
    ) -> None:
        """Follow all streams of some sources, and write some messages."""
        self.clusters = {
            source: SimulatedCluster(ports)
            for source, ports in SOURCES.items()
            if several or source == "one"
        }
        servers = {
            at: node for cluster in self.clusters.values() for at, node in cluster.servers.items()
        }
        self.written: dict[tuple[str, bytes], list[int]] = {}
        self.read: dict[tuple[str, bytes], int] = {}
        for source, cluster in self.clusters.items():
            cluster.spread(NAMES)
            for name in NAMES:
                self.written[source, name] = []
                self.read[source, name] = 0
        self.is_named = several
        options = {source: {"port": ports[0]} for source, ports in SOURCES.items()}
        self.simulation = Simulation(
            next(iter(servers.values())),
            dict.fromkeys(NAMES, 0),
            chunks=chunks,
            sources={s: options[s] for s in self.clusters} if several else {None: options["one"]},
            servers=servers,
            connections=own,
            count=count,
            block=block,
            stop_on_timeout=True,
            raise_connection_exceptions=raises,
        )

    @rule(source=sources, name=names, how_many=st.integers(1, 12))
    def write(self, source: str, name: bytes, how_many: int) -> None:
        """Add messages."""
        cluster = self.clusters.get(source)
        if cluster is not None:
            ids = [cluster.add(name) for _ in range(how_many)]
            self.written[source, name] += ids

    @rule(how_many=st.integers(1, 9))
    def take(self, how_many: int) -> None:
        """Take what comes next."""
        for _ in range(how_many):
            try:
                item = self.simulation.next()
            except (StopIteration, ConnectionError):
                continue
            except ValueError:
                assert not self.read
                return
            self.check(item)

    @rule(source=sources, name=names, to=nodes)
    def move(self, source: str, name: bytes, to: int) -> None:
        """Have another node own a slot."""
        cluster = self.clusters.get(source)
        if cluster is not None:
            cluster.move(name, cluster.ports[to % len(cluster.ports)])

    @rule(source=sources, name=names, to=nodes, is_gone=st.booleans())
    def begin_to_move(self, source: str, name: bytes, to: int, is_gone: bool) -> None:
        """Begin to migrate a slot."""
        cluster = self.clusters.get(source)
        if cluster is not None:
            port = cluster.ports[to % len(cluster.ports)]
            cluster.begin_to_move(name, port, is_gone=is_gone)

    @rule(source=sources, name=names)
    def end_to_move(self, source: str, name: bytes) -> None:
        """End a migration."""
        cluster = self.clusters.get(source)
        if cluster is not None:
            cluster.move(name, cluster.moving.get(slot_of(name), cluster.home(name)))

    @rule(source=sources, at=nodes)
    def kill(self, source: str, at: int) -> None:
        """Have a node fail."""
        node = self.node(source, at)
        self.simulation.unreachable.add(node)
        self.simulation.cut(node)

    @rule(source=sources, at=nodes)
    def revive(self, source: str, at: int) -> None:
        """Have a node listen again."""
        self.simulation.unreachable.discard(self.node(source, at))

    @rule(source=sources, at=nodes)
    def cut(self, source: str, at: int) -> None:
        """Break the connections to a node."""
        self.simulation.cut(self.node(source, at))

    @rule(source=sources, at=nodes, is_silent=st.booleans())
    def fall_silent(self, source: str, at: int, is_silent: bool) -> None:
        """Have nothing come from a node, or all of it again."""
        node = self.node(source, at)
        (self.simulation.silent.add if is_silent else self.simulation.silent.discard)(node)

    @rule(source=sources, at=nodes, is_down=st.booleans())
    def refuse(self, source: str, at: int, is_down: bool) -> None:
        """Have a node refuse all reads for a while."""
        cluster = self.clusters.get(source)
        if cluster is None:
            return
        port = cluster.ports[at % len(cluster.ports)]
        cluster.answers.pop(port, None)
        if is_down:
            cluster.answers[port] = "-CLUSTERDOWN The cluster is down"

    @rule(source=sources, name=names)
    def discard(self, source: str, name: bytes) -> None:
        """Drop a stream."""
        if self.read.pop((source, name), None) is not None:
            self.simulation.discard(self.full(source, name))

    @rule(source=sources, name=names)
    def follow(self, source: str, name: bytes) -> None:
        """Follow a stream again, from its beginning."""
        if source not in self.clusters or (source, name) in self.read:
            return
        streams: Any = {source: {name: 0}} if self.is_named else {name: 0}
        try:
            self.simulation.add(streams)
        except ConnectionError:
            return
        self.read[source, name] = 0

    @rule(seconds=st.sampled_from([0.01, 0.5, 15.0]))
    def work(self, seconds: float) -> None:
        """Let the caller work on something else."""
        self.simulation.sleep(seconds)

    @rule()
    def interrupt(self) -> None:
        """Do as Ctrl-C amid a wait does."""
        self.simulation.interrupt()

    @invariant()
    def positions_are_what_was_read(self) -> None:
        """Check that positions say what was delivered (contract 2.4)."""
        if not hasattr(self, "simulation"):
            return
        positions = self.simulation.reader.positions
        for (source, name), count in self.read.items():
            of_source = positions[source] if self.is_named else positions
            expected = self.written[source, name][count - 1] if count else 0
            assert number(of_source[name]) == expected

    def teardown(self) -> None:
        """Let all be well again: then everything comes."""
        if not hasattr(self, "simulation"):
            return
        simulation = self.simulation
        simulation.unreachable, simulation.silent = set(), set()
        for cluster in self.clusters.values():
            cluster.answers = {}
            for name in NAMES:
                cluster.move(name, cluster.home(name))
        for _ in range(PATIENCE):
            if all(count == len(self.written[key]) for key, count in self.read.items()):
                return
            self.take(1)
        raise AssertionError("messages are missing")

    def check(self, item: Any) -> None:
        """Check that a message is the next one of a stream that is followed."""
        if not isinstance(item, tuple):
            return
        source, name = item[0] if self.is_named else ("one", item[0])
        at = self.read[source, name]
        assert self.written[source, name][at : at + 1] == [number(item[1])]
        self.read[source, name] += 1

    def full(self, source: str, name: bytes) -> Any:
        """Return the name by which a stream is followed."""
        return (source, name) if self.is_named else name

    def node(self, source: str, at: int) -> str:
        """Return the address of a node, which may be one that is not read."""
        ports = SOURCES[source]
        return address(ports[at % len(ports)])


ClusterMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40)
TestClusterMachine = ClusterMachine.TestCase
