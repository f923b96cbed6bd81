"""A simulated cluster: slots that move, nodes that fail, for tests of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pystreamredis.core.slots import slot_of
from tests.simulation import Bulk, Peer, Read, Server, Simulation, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAMES = [b"a", b"b", b"c", b"d", b"{a}2"]
PORTS = (7001, 7002, 7003)


class SimulatedCluster:
    """Nodes with one set of streams among them, and the owner of each slot.

    Attributes:
        homes: The owners of slots, by port; the first node owns all others.
        moving: Slots that are migrating, and where to.
        gone: Streams of migrating slots that are at the target already.
        answers: Replies of nodes to every XREAD.
        announced: The addresses of nodes that others name.

    Args:
        ports: The ports of the nodes.
    """

    def __init__(self, ports: tuple[int, ...] = PORTS) -> None:
        self.ports = ports
        self.streams: dict[bytes, dict[int, tuple[bytes, ...]]] = {}
        self.nodes = {port: Node(self, port) for port in ports}
        self.homes: dict[int, int] = {}
        self.moving: dict[int, int] = {}
        self.gone: set[bytes] = set()
        self.answers: dict[int, str] = {}
        self.announced = {port: address(port) for port in ports}
        self.last = 0

    @property
    def servers(self) -> dict[str, Server]:
        """The nodes by address."""
        return {address(port): node for port, node in self.nodes.items()}

    @property
    def reads(self) -> int:
        """Number of XREADs that all nodes got."""
        return sum(len(node.reads) for node in self.nodes.values())

    def follow(
        self, streams: Any, own: int | None = None, address_remap: Any = None, **read: Any
    ) -> Simulation:
        """Make a reader of streams, which knows the first node.

        Args:
            streams: The streams.
            own: The most slots with a connection of their own.
            address_remap: The option of this name.
            read: Read options.
        """
        port = self.ports[0]
        return Simulation(
            self.nodes[port],
            streams,
            connection={"port": port, "address_remap": address_remap},
            servers=self.servers,
            connections=own,
            **read,
        )

    def home(self, name: bytes) -> int:
        """Return the port of the owner of a stream's slot."""
        return self.homes.get(slot_of(name), self.ports[0])

    def add(self, name: bytes) -> int:
        """Add a message with an ID larger than all others'."""
        self.last += 1
        return self.nodes[self.ports[0]].add(name, written(self.last))

    def spread(self, names: Iterable[bytes] = NAMES) -> None:
        """Have slots at all nodes."""
        for index, name in enumerate(names):
            self.homes.setdefault(slot_of(name), self.ports[index % len(self.ports)])

    def move(self, name: bytes, port: int) -> None:
        """Have a node own the slot of a stream, as after a migration."""
        slot = slot_of(name)
        self.homes[slot] = port
        self.moving.pop(slot, None)
        self.gone = {key for key in self.gone if slot_of(key) != slot}

    def begin_to_move(self, name: bytes, port: int, *, is_gone: bool = True) -> None:
        """Begin to migrate the slot of a stream; its keys may be at the target already."""
        self.moving[slot_of(name)] = port
        if is_gone:
            self.gone.add(name)


class Node(Server):
    """A node, which answers for its own slots alone.

    Attributes:
        on_refusal: Is called whenever a read is refused that did not wait.
    """

    def __init__(self, cluster: SimulatedCluster, port: int) -> None:
        super().__init__()
        self.streams = cluster.streams
        self.on_refusal: Callable[[], object] = lambda: None
        self._cluster = cluster
        self._port = port

    def accept(self) -> Peer:
        """Accept a connection."""
        return NodePeer(self)

    def refusal(self, read: Read) -> str | None:
        """Say why an XREAD is refused, if it is."""
        refused = self.find_refusal(read)
        if refused is not None:
            self.on_refusal()
        return refused

    def find_refusal(self, read: Read) -> str | None:
        """Say why an XREAD is refused, or a read that waits is ended, if it is."""
        cluster = self._cluster
        if self._port in cluster.answers:
            return cluster.answers[self._port]
        slots = {slot_of(key) for key in read.keys}
        if len(slots) != 1:
            return "-CROSSSLOT Keys in request don't hash to the same slot"
        (slot,) = slots
        home = cluster.homes.get(slot, cluster.ports[0])
        if home != self._port:
            return f"-MOVED {slot} {cluster.announced[home]}"
        here = [key for key in read.keys if key in cluster.streams and key not in cluster.gone]
        if slot in cluster.moving and len(here) < len(read.keys):
            if here:
                return "-TRYAGAIN Multiple keys request during rehashing of slot"
            return f"-ASK {slot} {cluster.announced[cluster.moving[slot]]}"
        return super().refusal(read)

    def entries(self, read: Read) -> Any:
        """Answer an XREAD that need not wait, with what has not gone to another node."""
        found = super().entries(read)
        return found and (Bulk(pair for pair in found if pair[0] not in self._cluster.gone) or None)


class NodePeer(Peer):
    """A connection to a node: a read that blocks is ended once its slot has moved away."""

    def work(self, now: float) -> None:
        """Answer what can be answered now."""
        if self.blocked is not None:
            assert isinstance(self.server, Node)
            refusal = self.server.find_refusal(self.blocked)
            if refusal is not None and not refusal.startswith(("-ASK", "-TRYAGAIN")):
                self.unblock(refusal)
        super().work(now)


def address(port: int) -> str:
    """Return the address of a node."""
    return f"localhost:{port}"
