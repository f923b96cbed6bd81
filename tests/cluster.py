"""A real cluster for tests: three masters and a replica of each, on loopback.

It is put together from the embedded server's executable by the commands that
``valkey-cli --cluster`` sends. Slots can be moved with their keys, and masters killed.
"""

from __future__ import annotations

from binascii import crc_hqx
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import sleep
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.resp import CommandError
from tests.servers import Server, ServerFailed, Started, free_port, keep_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.resp import Argument

SLOTS = 16384
_MASTERS = 3
_TRIES = 1200  # of a command that is redirected or put off, for a minute at most

_CONFIG = [
    *("--cluster-enabled", "yes"),
    # What a master that is gone is missed by. Shorter, and a busy machine looks like it.
    *("--cluster-node-timeout", "5000"),
    # A replica takes over however old its data is, and stays with its master.
    *("--cluster-replica-validity-factor", "0"),
    *("--cluster-allow-replica-migration", "no"),
    *("--repl-diskless-sync-delay", "0"),
]


class Role(NamedTuple):
    """What a node is in the eyes of another."""

    follows: str  # the node whose replica it is, "-" for a master
    slots: tuple[str, ...]  # "0-5460"
    is_down: bool


class Node(Server):
    """One server of a cluster."""

    def __init__(self, binary: Path, *config_args: str) -> None:
        # Mostly 10,000 above the other port, where outgoing connections are.
        self.bus_port = free_port()
        # Nobody else is to have it while the node is down.
        self._kept_bus_port = keep_port(self.bus_port)
        bus = ["--cluster-port", str(self.bus_port)]
        super().__init__(binary, *_CONFIG, *bus, *config_args, kind="cluster")
        self._id = ""

    def close(self) -> None:
        super().close()
        self._kept_bus_port.close()

    @property
    def id(self) -> str:
        """Its name in the cluster, 40 hex digits, also while it is down."""
        self._id = self._id or self.command("CLUSTER", "MYID").decode()
        return self._id

    def roles(self) -> dict[str, Role]:
        """What each node is, by their ids, as this one sees it."""
        lines = self.command("CLUSTER", "NODES").decode().splitlines()
        return dict(_read_role(line) for line in lines)

    def info(self, command: str) -> dict[str, str]:
        """The fields of ``INFO replication`` or ``CLUSTER INFO``."""
        lines = self.command(*command.split()).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def _read_role(line: str) -> tuple[str, Role]:
    node_id, _, flags, follows, _, _, _, link, *slots = line.split()
    # Those on the move are told in brackets.
    owned = tuple(slot for slot in slots if not slot.startswith("["))
    is_down = "fail" in flags or ("myself" not in flags and link != "connected")
    return node_id, Role(follows, owned, is_down)


class Cluster(Started):
    """Three masters and three replicas.

    ``with Cluster(binary) as cluster: Streams(**cluster.options, streams=[...])``

    Attributes:
        nodes: All its nodes, also those that are down.
    """

    def __init__(self, binary: Path, *config_args: str) -> None:
        self.nodes = [Node(binary, *config_args) for _ in range(2 * _MASTERS)]
        self._password = ""
        if "--requirepass" in config_args:
            self._password = config_args[config_args.index("--requirepass") + 1]
            for node in self.nodes:
                node._config_args = (*node._config_args, "--primaryauth", self._password)

    def __repr__(self) -> str:
        return f"<cluster of {', '.join(node.address for node in self.nodes)}>"

    def start(self) -> None:
        """Start the nodes, and make a cluster of them."""
        with ThreadPoolExecutor(len(self.nodes)) as executor:
            for started in [executor.submit(node.start) for node in self.nodes]:
                started.result()
        self._join()
        self.wait_until_agreed()

    def close(self) -> None:
        """End all nodes, and remove what they have written."""
        for node in self.nodes:
            node.close()

    # Who is who.

    @property
    def up(self) -> list[Node]:
        """The nodes that are running."""
        return [node for node in self.nodes if node.running]

    @property
    def masters(self) -> list[Node]:
        """The nodes that have slots, as one that is up sees it."""
        roles = self.up[0].roles()
        return [node for node in self.nodes if roles[node.id].slots]

    @property
    def options(self) -> dict[str, Any]:
        """What `Streams` and `Redis` need to connect to one of the nodes."""
        password = {"password": self._password} if self._password else {}
        return self.up[0].options | password

    def replica_of(self, master: Node) -> Node:
        """A replica of a node, up and in step with it."""
        roles = self.up[0].roles()
        replica = next(node for node in self.up if roles[node.id].follows == master.id)
        wait_until(lambda: replica.info("INFO replication").get("master_link_status") == "up")
        return replica

    def slot_of(self, key: str | bytes) -> int:
        """The slot of a key, by the server's own reckoning."""
        return int(self._ask("CLUSTER", "KEYSLOT", key))

    def node_of(self, slot: int) -> Node:
        """The master of a slot, as one that is up sees it."""
        for first, last, master, *_ in self._ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._at(master[1])
        raise ServerFailed(f"slot {slot} is nobody's")

    def _ask(self, *args: Argument) -> Any:
        """Ask any node that is up; another thread may be ending one of them."""
        for node in self.nodes:
            try:
                return node.command(*args)
            except (OSError, ServerFailed):
                pass
        raise ServerFailed("no node is up")

    def name_in(self, slot: int) -> str:
        """A name whose slot is this one: always the same."""
        names = (f"s{number}" for number in range(SLOTS * 20))
        return next(name for name in names if crc_hqx(name.encode(), 0) % SLOTS == slot)

    # What is done to its data.

    def command(self, key: str | bytes, *args: Argument) -> Any:
        """Have a command run where its key lives: ``command("s", "XLEN", "s")``.

        It is redirected, and tried again while the slot is on the move or its node is down.
        """
        slot = self.slot_of(key)
        node = self.node_of(slot)
        for _ in range(_TRIES):
            try:
                return node.command(*args)
            except CommandError as error:
                code, *rest = str(error).split()
                if code == "ASK":
                    with self._at(int(rest[1].rpartition(":")[2])).client() as client:
                        client.command("ASKING")
                        return client.command(*args)
                if code == "MOVED":
                    node = self._at(int(rest[1].rpartition(":")[2]))
                    continue
                if code not in ("TRYAGAIN", "CLUSTERDOWN", "LOADING"):
                    raise
            except (OSError, ServerFailed):
                pass  # it has gone, and the others will see that
            sleep(0.05)
            node = self.node_of(slot)
        raise ServerFailed(f"{args!r} was not taken by {node!r}")

    def add(self, key: str | bytes, *fields: Argument, entry_id: str = "*") -> str:
        """Add a message to a stream wherever it lives, and return its ID."""
        added: bytes = self.command(key, "XADD", key, entry_id, *(fields or ("f", "v")))
        return added.decode()

    def settle(self) -> None:
        """Wait until each master's replica has what the master has."""
        for node in self.masters:
            if node.running:
                assert node.command("WAIT", 1, 50_000) >= 1, f"{node} has no replica in step"

    # What is done to its slots and nodes.

    @contextmanager
    def moving(self, slot: int, target: Node) -> Iterator[Node]:
        """Have a slot on the move for as long as the block: its keys move at the end.

        The block gets the node that the slot is at. A key which is not there is asked for
        at the target, by ``-ASK``.
        """
        source = self.node_of(slot)
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        yield source
        self.move_keys(slot, source, target)
        others = [node for node in self.masters if node not in (source, target)]
        # The target first: it would lose what it gets before it knows that the slot is its own.
        for node in (target, source, *others):
            if node.running:
                node.command("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def move(self, slot: int, target: Node) -> None:
        """Move a slot with its keys to another master."""
        with self.moving(slot, target):
            pass

    def move_keys(self, slot: int, source: Node, target: Node, limit: int = SLOTS) -> None:
        """Move keys of a slot that is on the move: all, or as many as `limit`."""
        auth = ("AUTH", self._password) if self._password else ()
        keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, limit)
        if keys:
            to = ("127.0.0.1", target.port, "", 0, 50_000)
            source.command("MIGRATE", *to, *auth, "KEYS", *keys)

    def fail_over(self, master: Node) -> Node:
        """Kill a master with SIGKILL, and wait until its replica has taken over: that is returned.

        What was written right before may be lost with it: `settle` first.
        """
        slots = next(role.slots for key, role in master.roles().items() if key == master.id)
        master.kill()
        self.wait_until_agreed()
        return self.node_of(int(slots[0].partition("-")[0]))

    def heal(self) -> None:
        """Start what is down, settle what is half done, and wait until all agree again."""
        for node in self.nodes:
            if not node.running:
                node.start()
            node.resume()
        self.wait_until_agreed()
        # What was a master keeps its marks as a replica, until its own master tells it.
        for slot in {slot for node in self.nodes for slot in _on_the_move(node)}:
            for node in self.masters:
                node.command("CLUSTER", "SETSLOT", slot, "STABLE")

    def begin(self) -> None:
        """Make ready for a test: whole, and without keys."""
        self.heal()
        for node in self.masters:
            node.command("FLUSHALL")

    def wait_until_agreed(self) -> None:
        """Wait until the nodes that are up see the same, and all slots are served."""
        wait_until(self._agree)

    # How it comes about.

    def _join(self) -> None:
        masters, replicas = self.nodes[:_MASTERS], self.nodes[_MASTERS:]
        for epoch, node in enumerate(self.nodes, 1):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for number, node in enumerate(masters):
            first, end = (SLOTS * place // _MASTERS for place in (number, number + 1))
            node.command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        # Each is told of all, since hearsay takes its time.
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
        wait_until(self._all_have_met)
        for master, replica in zip(masters, replicas, strict=True):
            replica.command("CLUSTER", "REPLICATE", master.id)

    def _all_have_met(self) -> bool:
        ids = {node.id for node in self.nodes}
        return all(node.roles().keys() == ids for node in self.nodes)

    def _agree(self) -> bool:
        running = self.up
        views = [node.roles() for node in running]
        if any(view != views[0] for view in views):
            return False
        for node in running:
            role = views[0][node.id]
            if role.is_down or node.info("CLUSTER INFO")["cluster_state"] != "ok":
                return False
            link = node.info("INFO replication").get("master_link_status", "up")
            if link != "up":
                return False
        ids = {node.id for node in running}
        return all(key in ids for key, role in views[0].items() if role.slots)

    def _at(self, port: int) -> Node:
        return next(node for node in self.nodes if node.port == port)


def _on_the_move(node: Node) -> list[int]:
    """The slots that a node gives away or gets."""
    lines = node.command("CLUSTER", "NODES").decode().splitlines()
    words = next(line for line in lines if "myself" in line).split()
    return [int(word[1:].split("-")[0]) for word in words if word.startswith("[")]
