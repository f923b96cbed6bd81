"""A cluster for the core, made up: slots that move, nodes that go, and a clock that is no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pystreamredis import source as source_module
from pystreamredis.cursors import Cursor
from pystreamredis.exceptions import ConnectionError, ResponseError
from pystreamredis.follower import Follower
from pystreamredis.options import ConnectionOptions
from pystreamredis.placement import Placement
from pystreamredis.protocol import ServerError
from pystreamredis.session import Conversation
from pystreamredis.slots import slot_of
from tests.simulation import (
    Bulk,
    Peer,
    Read,
    Server,
    check_attention,
    commands_in,
    encode,
    number,
    reading,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pystreamredis.placement import Share
    from pystreamredis.source import Part

PATIENCE = 20_000
REFUSED = ConnectionRefusedError(111, "connection refused")
NAMES = [b"a", b"b", b"c", b"d", b"{a}2"]
PORTS = (7001, 7002, 7003)


class Cluster:
    """Nodes with one set of streams among them, and who has which slot.

    Attributes:
        homes: Where slots live, by port; all others at the first node.
        moving: Slots that are on the move, and where to.
        gone: Streams of those that are at the target already.
        down: Nodes that take no connections.
        answers: What nodes reply to every XREAD.
    """

    def __init__(self) -> None:
        self.nodes = {port: Node(self, port) for port in PORTS}
        self.streams: dict[bytes, dict[int, tuple[bytes, ...]]] = {}
        self.homes: dict[int, int] = {}
        self.moving: dict[int, int] = {}
        self.gone: set[bytes] = set()
        self.down: set[int] = set()
        self.answers: dict[int, str] = {}
        for node in self.nodes.values():
            node.streams = self.streams
        self._tail = 0

    def home(self, slot: int) -> int:
        return self.homes.get(slot, PORTS[0])

    def add(self, name: bytes) -> int:
        """Add a message with an ID larger than all others'."""
        self._tail += 1
        return self.nodes[PORTS[0]].add(name, written(self._tail))

    def move(self, name: bytes, port: int) -> None:
        self.homes[slot_of(name)] = port
        self.moving.pop(slot_of(name), None)
        self.gone = {key for key in self.gone if slot_of(key) != slot_of(name)}


class Node(Server):
    """One of them: it answers for its own slots alone."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        super().__init__()
        self.cluster = cluster
        self.port = port

    def refusal(self, read: Read) -> str | None:
        slots = {slot_of(key) for key in read.keys}
        if self.port in self.cluster.answers:
            return self.cluster.answers[self.port]
        if len(slots) > 1:
            return "-CROSSSLOT Keys in request don't hash to the same slot"
        (slot,) = slots
        home = self.cluster.home(slot)
        if home != self.port:
            return f"-MOVED {slot} localhost:{home}"
        there = [key for key in read.keys if self._is_there(key)]
        if slot in self.cluster.moving and len(there) < len(read.keys):
            if there:
                return "-TRYAGAIN Multiple keys request during rehashing of slot"
            return f"-ASK {slot} localhost:{self.cluster.moving[slot]}"
        return super().refusal(read)

    def _is_there(self, key: bytes) -> bool:
        return key in self.cluster.streams and key not in self.cluster.gone


class NodePeer(Peer):
    """A connection to one: a read that blocks is ended when its slot has gone."""

    def work(self, now: float) -> None:
        if self._blocked is not None:
            refusal = self._server.refusal(self._blocked)
            if refusal is not None and not refusal.startswith(("-ASK", "-TRYAGAIN")):
                self.unblock(refusal)
        super().work(now)


class Shell:
    """Does for a follower what a driver does, at whatever node each part is to be read."""

    def __init__(self, cluster: Cluster, streams: Any, **read: Any) -> None:
        self.cluster = cluster
        self.now = 1000.0
        self.lines: dict[Part, NodePeer] = {}
        self.connects: list[tuple[float, int]] = []
        self.most = 0
        options = ConnectionOptions(port=PORTS[0])
        self.follower = Follower({None: options}, reading(**read), ())
        self.follower.add(streams, {})

    def establish(self) -> Shell:
        for _ in range(PATIENCE):
            if not self.follower.is_establishing():
                return self
            if not self.move():
                self.pass_time()
        raise AssertionError("it is never ready")

    def next(self) -> Any:
        for message in self.follower.batch.iterator:
            return message
        self.follower.begin_wait(self.now)
        for _ in range(PATIENCE):
            batch = self.follower.step(self.now)
            check_attention(self.follower)
            if batch is not None:
                self.flush()
                return next(batch.iterator)
            if not self.move():
                self.pass_time()
        raise AssertionError("it waits without end")

    def rest(self) -> list[Any]:
        items: list[Any] = []
        for _ in range(PATIENCE):
            try:
                items.append(self.next())
            except StopIteration:
                return items
        raise AssertionError("it has no end")

    def cut(self, port: int | None = None) -> None:
        """Break the connections to a node, or all of them."""
        for part in list(self.lines):
            if port is None or part.conversation.options.port == port:
                del self.lines[part]
                part.conversation.closed(self.now)

    def flush(self) -> None:
        for part, peer in self.lines.items():
            peer.receive(part.conversation.take_outgoing(self.now), self.now)

    def move(self) -> bool:
        parts = self.follower.parts
        self.lines = {part: peer for part, peer in self.lines.items() if part in parts}
        self.most = max(self.most, len(parts))
        moved = [self._move_one(part) for part in parts]
        return any(moved)

    def _move_one(self, part: Part) -> bool:
        conversation, peer = part.conversation, self.lines.get(part)
        if not conversation.is_open:
            self.lines.pop(part, None)
            peer = None
        if peer is None:
            if not self.follower.may_connect(self.now, part):
                return False
            port = conversation.options.port
            self.connects.append((self.now, port))
            if port in self.cluster.down:
                conversation.not_opened(self.now, REFUSED)
            else:
                self.lines[part] = NodePeer(self.cluster.nodes[port])
                self.follower.opened(self.now, part)
            return True
        peer.receive(conversation.take_outgoing(self.now), self.now)
        peer.work(self.now)
        data, peer.sent = peer.sent, b""
        if data:
            conversation.received(data, self.now)
            conversation.process()
        return bool(data)

    def pass_time(self) -> None:
        deadlines = [peer.deadline for peer in self.lines.values()]
        check_attention(self.follower)
        times = [time for time in (*deadlines, self.follower.wake_at()) if time is not None]
        assert times, "nothing will ever happen"
        self.now = max(self.now, min(times))
        for peer in self.lines.values():
            peer.work(self.now)
        self.follower.woke(self.now)


def ids(messages: Iterable[Any], name: bytes | None = None) -> list[int]:
    return [number(m[1]) for m in messages if isinstance(m, tuple) and name in (None, m[0])]


def spread(cluster: Cluster, names: Iterable[bytes] = NAMES) -> None:
    """Have slots at all nodes."""
    for index, name in enumerate(names):
        cluster.homes.setdefault(slot_of(name), PORTS[index % len(PORTS)])


@pytest.mark.parametrize("own", [0, 1, 2, 128])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_streams_of_all_slots_are_read_and_merged(
    own: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, own)
    cluster = Cluster()
    spread(cluster)
    expected = [cluster.add(name) for _ in range(7) for name in NAMES]
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), count=count, block=10)
    assert ids(shell.rest()) == expected
    assert shell.most <= own + len(PORTS)
    assert shell.rest() == []
    more = [cluster.add(name) for name in NAMES]
    # What is written while they are waited for comes as each node answers.
    assert sorted(ids(shell.rest())) == more


def limit(monkeypatch: pytest.MonkeyPatch, own: int) -> None:
    monkeypatch.setattr(
        source_module, "Placement", lambda options, _: Placement(options, own), raising=True
    )


def test_now_is_fixed_at_each_node() -> None:
    """Contract 2.3."""
    cluster = Cluster()
    spread(cluster)
    for name in NAMES:
        cluster.add(name)
    shell = Shell(cluster, NAMES, block=10).establish()
    expected = [cluster.add(name) for name in reversed(NAMES)]
    assert sorted(ids(shell.rest())) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_slot_is_followed_when_it_moves(name: bytes) -> None:
    cluster = Cluster()
    spread(cluster)
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), block=10)
    shell.rest()
    for port in (*PORTS, *PORTS):
        cluster.move(name, port)
        expected = [cluster.add(name) for _ in range(3)]
        assert sorted(ids(shell.rest())) == expected


def test_streams_are_added_and_dropped() -> None:
    """Contract 2.5."""
    cluster = Cluster()
    spread(cluster)
    shell = Shell(cluster, {b"a": 0, b"b": 0}, block=10).establish()
    cluster.add(b"c")
    first = [cluster.add(name) for name in (b"a", b"b")]
    assert sorted(ids(shell.rest())) == first
    shell.follower.add({b"c": None, b"d": 0, b"{a}2": None}, {})
    shell.establish()
    shell.follower.discard([b"b"])
    cluster.add(b"b")
    second = [cluster.add(name) for name in (b"{a}2", b"d", b"c", b"a")]
    assert sorted(ids(shell.rest())) == second
    assert set(shell.follower.positions) == {b"a", b"c", b"d", b"{a}2"}
    shell.follower.discard([b"a", b"c", b"d", b"{a}2"])
    with pytest.raises(ValueError, match="no streams"):
        shell.next()


def test_a_slot_on_the_move_is_asked_for_again_at_a_bounded_pace() -> None:
    cluster = Cluster()
    spread(cluster)
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), block=20_000)
    first = [cluster.add(name) for name in NAMES]
    assert sorted(ids(shell.rest())) == first
    slot = slot_of(b"b")
    cluster.moving[slot] = PORTS[2]
    cluster.gone.add(b"b")
    before = sum(len(node.reads) for node in cluster.nodes.values())
    expected = [cluster.add(name) for name in (b"b", b"c")]
    # Messages of others come meanwhile.
    assert number(shell.next()[1]) == expected[1]
    start = shell.now
    while shell.now < start + 3:
        assert shell.follower.step(shell.now) is None
        if not shell.move():
            shell.pass_time()
    assert sum(len(node.reads) for node in cluster.nodes.values()) - before < 100
    cluster.move(b"b", PORTS[2])
    assert number(shell.next()[1]) == expected[0]


def test_what_shares_a_connection_with_a_slot_on_the_move_stays_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Contract 3.2: only the slot's own streams are not waited for any longer."""
    limit(monkeypatch, 0)
    cluster = Cluster()
    cluster.move(b"c", PORTS[1])
    cluster.moving[slot_of(b"a")] = PORTS[1]
    cluster.gone.add(b"a")
    shell = Shell(cluster, dict.fromkeys((b"a", b"b", b"c"), 0), count=1, block=20_000)
    expected = [cluster.add(name) for name in (b"b", b"c", b"c", b"b", b"b", b"c", b"b", b"c")]
    assert ids(shell.next() for _ in expected) == expected


def test_a_slot_that_never_ends_to_move_is_told_of() -> None:
    cluster = Cluster()
    slot = slot_of(b"a")
    cluster.moving[slot] = PORTS[1]
    shell = Shell(cluster, {b"a": 0}, block=20_000)
    with pytest.raises(ConnectionError, match=rf"localhost:7001 .* ASK {slot} localhost:7002"):
        shell.next()
    cluster.add(b"a")
    cluster.move(b"a", PORTS[1])
    assert ids([shell.next()]) == [1]


def test_nodes_that_send_each_to_the_other_are_told_of_and_not_asked_without_pause() -> None:
    cluster = Cluster()
    slot = slot_of(b"a")
    cluster.answers = {7001: f"-MOVED {slot} :7002", 7002: f"-MOVED {slot} ?:7001"}
    shell = Shell(cluster, {b"a": 0}, block=1000)
    before = shell.now
    with pytest.raises(ConnectionError, match=rf"localhost:700[12] .* MOVED {slot} "):
        shell.next()
    assert len(shell.connects) < 20
    with pytest.raises(ConnectionError, match=f"MOVED {slot} "):
        shell.next()
    assert shell.now > before + 5
    assert len(shell.connects) < 40
    cluster.answers = {}
    cluster.add(b"a")
    assert ids([shell.next()]) == [1]


def test_a_node_that_is_gone_is_told_of_once_and_its_heir_found() -> None:
    cluster = Cluster()
    spread(cluster)
    names = [b"a", b"{a}2", b"d"]
    assert len({cluster.home(slot_of(name)) for name in names}) == 1
    options: dict[str, Any] = {"block": 100, "raise_connection_exceptions": False}
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), **options)
    shell.rest()
    for name in (b"b", b"a"):
        home = cluster.home(slot_of(name))
        cluster.down = {home}
        shell.cut(home)
        items = [shell.next()]
        assert isinstance(items[0], ConnectionError)
        assert f"localhost:{home}" in str(items[0])
        heir = next(port for port in PORTS if port != home)
        for other in NAMES:
            if cluster.home(slot_of(other)) == home:
                cluster.move(other, heir)
        expected = [cluster.add(name) for name in NAMES]
        items = [shell.next() for _ in NAMES]
        assert sorted(ids(items)) == expected
        cluster.down = set()


def test_a_node_that_fails_is_asked_again_when_others_are_gone() -> None:
    """The first one is killed, and the others know for a while only that the cluster is down."""
    cluster = Cluster()
    spread(cluster)
    options: dict[str, Any] = {"block": 100, "raise_connection_exceptions": False}
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), **options)
    shell.rest()
    cluster.down = {PORTS[0]}
    cluster.answers = dict.fromkeys(PORTS[1:], "-CLUSTERDOWN The cluster is down")
    shell.cut()
    assert all(isinstance(shell.next(), ConnectionError) for _ in range(20))
    cluster.answers = {}
    for name in NAMES:
        if cluster.home(slot_of(name)) == PORTS[0]:
            cluster.move(name, PORTS[1])
    expected = [cluster.add(name) for name in NAMES]
    items: list[Any] = []
    while len(ids(items)) < len(expected) and len(items) < 100:
        items.append(shell.next())
    assert sorted(ids(items)) == expected


def test_while_nobody_answers_that_is_told_again_and_again() -> None:
    """Contract 5.3."""
    cluster = Cluster()
    spread(cluster)
    options: dict[str, Any] = {"block": 100, "raise_connection_exceptions": False}
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), **options)
    shell.rest()
    cluster.down = set(PORTS)
    shell.cut()
    before, connects = shell.now, len(shell.connects)
    items = [shell.next() for _ in range(12)]
    assert all(isinstance(item, ConnectionError) for item in items)
    assert {port for port in PORTS if any(str(port) in str(item) for item in items)} == set(PORTS)
    assert shell.now > before + 2
    assert len(shell.connects) - connects < 150
    cluster.down = set()
    expected = [cluster.add(name) for name in NAMES]
    assert sorted(ids(shell.next() for _ in NAMES)) == expected


@pytest.mark.parametrize("code", ["CLUSTERDOWN The cluster is down", "LOADING data"])
def test_what_passes_surfaces_once_for_each_node(code: str) -> None:
    """Contract 5.1."""
    cluster = Cluster()
    spread(cluster)
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), block=100)
    shell.rest()
    cluster.answers = dict.fromkeys(PORTS, f"-{code}")
    shell.cut()
    with pytest.raises(ConnectionError, match=r"localhost:\d+"):
        shell.next()
    cluster.answers = {}
    expected = [cluster.add(name) for name in NAMES]
    got: list[int] = []
    while len(got) < len(expected):
        try:
            got.append(number(shell.next()[1]))
        except ConnectionError:
            pass
    assert sorted(got) == expected


def test_a_stream_at_fault_is_named_and_the_others_go_on() -> None:
    """Contract 5.6."""
    cluster = Cluster()
    spread(cluster)
    cluster.nodes[cluster.home(slot_of(b"b"))].at_fault[b"b"] = "-WRONGTYPE no stream"
    expected = [cluster.add(name) for name in NAMES if name != b"b"]
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), block=100)
    with pytest.raises(ResponseError, match="WRONGTYPE") as caught:
        [shell.next() for _ in NAMES]
    assert caught.value.stream == b"b"
    shell.follower.discard([b"b"])
    rest = sorted(ids(shell.rest()))
    assert rest == expected[len(expected) - len(rest) :]


@pytest.mark.parametrize("reply", ["-MOVED", "-MOVED 1 nowhere", "-MOVED 99999 h:1"])
def test_what_is_no_redirection_is_refused(reply: str) -> None:
    cluster = Cluster()
    cluster.answers = dict.fromkeys(PORTS, reply)
    shell = Shell(cluster, {b"a": 0})
    with pytest.raises(ResponseError, match="refused XREAD: MOVED"):
        shell.next()


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "read", "move", "begin", "go", "end", "kill", "revive", "cut"]),
        st.sampled_from(NAMES),
        st.sampled_from(PORTS),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=200, phases=[Phase.generate])
@given(EVENTS, st.sampled_from([0, 1, 128]), st.sampled_from([1, 2, 100]), st.booleans())
def test_whatever_happens_each_message_comes_once_and_in_order(
    events: list[tuple[str, bytes, int]], own: int, count: int, raises: bool
) -> None:
    """Contract 3.1."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        limit(monkeypatch, own)
        cluster = Cluster()
        spread(cluster)
        options: dict[str, Any] = {"count": count, "block": 10}
        options["raise_connection_exceptions"] = raises
        shell = Shell(cluster, dict.fromkeys(NAMES, 0), **options)
        added: dict[bytes, list[int]] = {name: [] for name in NAMES}
        items: list[Any] = []

        def take(how_many: int) -> None:
            for _ in range(how_many):
                try:
                    items.append(shell.next())
                except (StopIteration, ConnectionError) as end:
                    items.append(end)

        for what, name, port in events:
            apply_event(cluster, shell, what, name, port)
            if what == "add":
                added[name].append(cluster.add(name))
            take(3 if what == "read" else 0)
        for name in NAMES:
            cluster.move(name, cluster.home(slot_of(name)))
        cluster.down = set()
        for _ in range(400):
            take(1)
            if len(ids(items)) >= sum(map(len, added.values())):
                break
        for name in NAMES:
            assert ids(items, name) == added[name]


def kill(cluster: Cluster, shell: Shell, port: int) -> None:
    cluster.down.add(port)
    shell.cut(port)


def apply_event(cluster: Cluster, shell: Shell, what: str, name: bytes, port: int) -> None:
    slot = slot_of(name)
    actions: dict[str, Callable[[], object]] = {
        "move": lambda: cluster.move(name, port),
        "begin": lambda: cluster.moving.update({slot: port}),
        "go": lambda: cluster.gone.add(name) if slot in cluster.moving else None,
        "end": lambda: cluster.move(name, cluster.moving.get(slot, cluster.home(slot))),
        "kill": lambda: kill(cluster, shell, port),
        "revive": lambda: cluster.down.discard(port),
        "cut": lambda: shell.cut(port),
    }
    actions.get(what, lambda: None)()


def test_reads_in_turns_block_nobody_and_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 0)
    cluster = Cluster()
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), block=1000)
    assert shell.rest() == []
    node = cluster.nodes[PORTS[0]]
    before, now = len(node.reads), shell.now
    assert shell.rest() == []
    reads = node.reads[before:]
    assert {read.block for read in reads} == {None}
    # Four slots, at most each 10 ms.
    assert len(reads) <= 4 * (shell.now - now) / 0.01 + 8


def test_a_slot_that_comes_to_a_connection_does_not_wait_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit(monkeypatch, 0)
    cluster = Cluster()
    spread(cluster)
    shell = Shell(cluster, {b"b": 0, b"c": 0}, block=20_000)
    first = [cluster.add(name) for name in (b"b", b"c")]
    assert sorted(ids([shell.next(), shell.next()])) == first
    before = shell.now
    cluster.move(b"c", cluster.home(slot_of(b"b")))
    expected = cluster.add(b"c")
    assert ids([shell.next()]) == [expected]
    assert shell.now < before + 1


def test_a_wait_ends_in_time_though_a_slot_is_on_the_move() -> None:
    """Contract 4.2."""
    cluster = Cluster()
    spread(cluster)
    cluster.moving[slot_of(b"b")] = PORTS[2]
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), block=100)
    assert shell.rest() == []
    assert shell.now < 1001


def test_now_is_fixed_once_a_slot_has_moved() -> None:
    """Contract 2.3: nothing is read before that."""
    cluster = Cluster()
    spread(cluster)
    cluster.add(b"b")
    slot = slot_of(b"b")
    cluster.moving[slot] = PORTS[2]
    cluster.gone.add(b"b")
    shell = Shell(cluster, NAMES, block=100)
    while shell.now < 1003:
        assert shell.follower.is_establishing()
        if not shell.move():
            shell.pass_time()
    cluster.move(b"b", PORTS[2])
    shell.establish()
    expected = cluster.add(b"b")
    assert ids(shell.rest()) == [expected]


def two_slots(**read: Any) -> tuple[Conversation, Cursor, Cursor]:
    """A conversation that has just asked for two of them."""
    one, two = (Cursor(name, name, b"0-0") for name in (b"a", b"b"))
    made = Conversation(ConnectionOptions(), reading(**read), [one, two], is_divided=True)
    made.opened(1.0)
    made.ask(1.0, None)
    assert len(commands_in(made.take_outgoing())) == 2
    return made, one, two


REPLIES = b"".join(encode(Bulk([[name, [[b"5-0", [b"f", b"v"]]]]]), 2) for name in (b"a", b"b"))


def test_a_stream_that_comes_back_is_looked_at_anew() -> None:
    """Where it was meanwhile, it may have been left with more at the server."""
    made, one, two = two_slots()
    made.received(REPLIES, 1.0)
    made.process()
    one.waiting, two.waiting = [], []
    assert made.find_unsettled() == []
    made.follow([one])
    two.complete = False
    made.follow([one, two])
    assert made.find_unsettled() == [two]


class CountedCursor(Cursor):
    """Counts how often it is looked up."""

    looks = 0

    def __hash__(self) -> int:
        CountedCursor.looks += 1
        return id(self)


def test_taking_on_twice_as_many_streams_is_twice_the_work() -> None:
    """Not four times: of ten thousand, it took minutes to begin."""
    once, twice = (looks_to_take_on(streams) for streams in (100, 200))
    assert once >= 100
    assert twice <= 2.2 * once


def looks_to_take_on(streams: int) -> int:
    cursors: list[Cursor] = [CountedCursor(b"%d" % n, b"%d" % n, None) for n in range(streams)]
    made = Conversation(ConnectionOptions(), reading(), cursors[1:], is_divided=True)
    made.opened(1.0)
    before = CountedCursor.looks
    made.follow(cursors[:-1])
    assert made.cursors == cursors[:-1]
    return CountedCursor.looks - before


def test_what_comes_of_a_stream_that_has_left_is_not_taken_in() -> None:
    made, one, two = two_slots()
    made.follow([one])
    made.received(REPLIES, 1.0)
    made.process()
    assert [message[1] for message in one.waiting] == [b"5-0"]
    assert two.waiting == []
    assert not two.complete


def test_what_comes_of_a_stream_that_has_left_is_not_taken_for_its_namesakes() -> None:
    made, one, two = two_slots()
    made.follow([one])
    namesake = Cursor(two.name, two.key, b"0-0")
    made.follow([one, namesake])
    made.received(REPLIES, 1.0)
    made.process()
    assert namesake.waiting == two.waiting == []


def test_a_stream_of_which_enough_waits_is_not_known_to_its_end() -> None:
    """Contract 3.2: it is not asked, so that others wait for what it may have got meanwhile."""
    made, one, _ = two_slots(count=2)
    for entry in (b"5-0", b"6-0"):
        found = Bulk([[b"a", [[entry, [b"f", b"v"]]]]])
        made.received(encode(found, 2) + encode(None, 2), 1.0)
        made.process()
        assert one.complete
        made.ask(1.0, None)
    assert not one.complete
    assert [message[1] for message in one.waiting] == [b"5-0", b"6-0"]


def looked_at(made: Conversation) -> list[list[bytes]]:
    """The keys of what is asked for."""
    return [Read(command).keys for command in commands_in(made.take_outgoing())]


def test_streams_that_come_are_looked_at_once_no_read_is_on_its_way() -> None:
    """Those that have left again are not."""
    made, one, two = two_slots()
    come, stays, leaves = (Cursor(name, name, None) for name in (b"c", b"d", b"e"))
    made.follow([one, two, come, leaves])
    made.follow([one, two, come, stays])
    made.welcome()
    assert looked_at(made) == []
    assert not made.is_ready
    made.received(REPLIES, 1.0)
    made.process()
    made.welcome()
    assert looked_at(made) == []  # it rests between reads that do not block
    made.rests_until = 0.0
    made.welcome()
    assert looked_at(made) == [[b"c"]]
    assert not made.is_ready
    made.received(encode(Bulk([[b"c", [[b"3-0", [b"f", b"v"]]]]]), 2), 1.0)
    made.process()
    assert looked_at(made) == [[b"d"]]


def test_a_caller_that_never_waits_polls_slots_that_share_a_connection_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Contract 4.2."""
    limit(monkeypatch, 0)
    cluster = Cluster()
    expected = [cluster.add(name) for name in NAMES]
    shell = Shell(cluster, dict.fromkeys(NAMES, 0), block=None)
    assert ids(shell.rest()) == expected
    assert shell.rest() == []


# The placement by itself, told what replies say.


class Told:
    """A placement of some streams, seen by where the first of them is read.

    Attributes:
        seed: The node that the caller has named; and two others.
    """

    def __init__(self, names: Iterable[bytes] = (b"a",), own: int | None = None) -> None:
        self.seed = ConnectionOptions(host="localhost", port=7001)
        self.one, self.two = (self.seed.elsewhere("localhost", port) for port in (7002, 7003))
        self.cursors = [Cursor(name, name, b"0-0") for name in names]
        self.slot = slot_of(self.cursors[0].key)
        self.placement = Placement(self.seed, own)

    def share(self) -> Share:
        return next(
            share
            for share in self.placement.shares(self.cursors)
            if self.cursors[0] in share.cursors
        )

    def moved(self, node: ConnectionOptions, now: float) -> list[ConnectionError]:
        """Be sent to a node."""
        error = ServerError(f"MOVED {self.slot} {node.address}")
        return self.placement.redirected(error, self.cursors[:1], self.share().options, now)

    def asked(self, now: float) -> list[ConnectionError]:
        """Be told that the slot is on the move."""
        error = ServerError(f"ASK {self.slot} localhost:7003")
        return self.placement.redirected(error, self.cursors[:1], self.share().options, now)

    def failed(self, now: float, quiet: float = 0.0) -> bool:
        return self.placement.failed(self.cursors[:1], self.share().options, now, quiet)

    def answered(self) -> bool:
        return self.placement.answered(self.cursors[:1], self.share().options)


def test_what_was_told_of_nodes_is_not_kept_for_ever() -> None:
    """Nodes may name any number of others, which are none."""
    told = Told([b"a"])
    for n in range(200):
        node = told.seed.elsewhere("localhost", 8000 + n)
        assert told.placement.failed(told.cursors, node, float(n), 1.5)
        assert not told.placement.failed(told.cursors, node, float(n), 1.5)
    assert len(told.placement._told) <= 2


def test_a_slot_has_a_connection_of_its_own_once_a_node_has_answered_for_it() -> None:
    told = Told([b"a", b"b"])
    assert [share.key for share in told.placement.shares(told.cursors)] == [
        (None, "localhost:7001")
    ]
    assert told.answered()
    assert told.share().key == (told.slot, "localhost:7001")
    assert len(told.placement.shares(told.cursors)) == 2
    assert not told.answered()  # again: that is no news
    assert not told.placement.answered([Cursor(b"x", b"x", b"0-0")], told.seed)


@pytest.mark.parametrize(("own", "expected"), [(None, 128), (3, 3)])
def test_no_more_slots_than_that_have_connections_of_their_own(
    own: int | None, expected: int
) -> None:
    told = Told([b"%d" % n for n in range(150)], own)
    told.placement.shares(told.cursors)
    told.placement.answered(told.cursors, told.seed)
    keys = [share.key[0] for share in told.placement.shares(told.cursors)]
    assert len(keys) - keys.count(None) == expected
    assert keys.count(None) == 1


def test_a_refusal_of_several_slots_at_once_says_only_where_that_was() -> None:
    """The host may be a callable, which says another place by then."""
    told = Told([b"a", b"b"])
    told.placement.shares(told.cursors)
    told.placement.redirected(ServerError("CROSSSLOT keys"), told.cursors, told.one, 100.0)
    (share,) = told.placement.shares(told.cursors)
    assert share.options.address == "localhost:7002"
    assert (share.not_before, share.away) == (0.0, [])


def test_where_a_callable_host_led_to_is_asked_again_and_not_the_callable() -> None:
    told = Told()
    found = ConnectionOptions(host=lambda: ("localhost", 7002)).located()
    told.placement.redirected(ServerError("CROSSSLOT keys"), told.cursors, found, 100.0)
    options = told.share().options
    assert options.located() is options
    assert options.address == "localhost:7002"


def test_redirections_are_followed_ever_slower_and_told_of_after_a_dozen() -> None:
    told = Told()
    waits, failures = [], []
    for _ in range(12):
        failures = told.moved(told.one, 100.0)
        share = told.share()
        waits.append(round(max(0.0, share.not_before - 100.0), 3))
        assert bool(share.away) == bool(failures) == (len(waits) == 12)
    assert waits == [0, 0, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5, 0.5]
    (failure,) = failures
    assert f"of slot {told.slot} for long: MOVED" in str(failure)
    assert told.share().away == [told.cursors]
    assert told.answered()
    assert (told.share().not_before, told.share().away) == (0.0, [])
    assert told.moved(told.one, 200.0) == []


def test_a_slot_on_the_move_holds_others_back_for_a_second_and_is_told_of_after_ten() -> None:
    told = Told()
    told.answered()
    for now, is_away, is_told in (
        (100.0, False, False),
        (100.75, False, False),
        (101.0, True, False),
        (109.75, True, False),
        (110.0, True, True),
        (119.75, True, False),
        (120.0, True, True),
    ):
        assert bool(told.asked(now)) == is_told
        share = told.share()
        assert share.options.address == "localhost:7001"
        assert share.not_before == pytest.approx(now + 0.05)
        assert bool(share.away) == is_away
    assert told.answered()
    assert (told.share().not_before, told.share().away) == (0.0, [])
    assert not told.answered()


def test_a_failure_lets_others_go_on_and_the_same_node_is_asked_once_more() -> None:
    told = Told()
    told.moved(told.one, 100.0)
    told.answered()
    assert told.failed(100.0)
    assert told.share().options.address == "localhost:7002"
    assert told.share().key[0] == told.slot
    assert told.share().away == [told.cursors]
    told.answered()
    assert told.share().away == []


def test_a_node_that_has_answered_is_asked_as_well_though_no_other_has_named_it() -> None:
    """A callable host has led there, say."""
    told = Told()
    told.share()
    assert told.placement.answered(told.cursors, told.one)
    told.failed(100.0)
    told.failed(100.0)
    assert told.share().options.address == told.one.address


def test_where_a_node_fails_again_all_others_are_asked_in_turn_and_never_itself() -> None:
    told = Told([b"a", b"c"])
    # A node counts that another has named, though it never answered.
    told.moved(told.one, 100.0)
    error = ServerError(f"MOVED {slot_of(b'c')} localhost:7003")
    told.placement.redirected(error, told.cursors[1:], told.seed, 100.0)
    told.answered()
    told.failed(100.0)
    before, seen = "localhost:7002", set()
    for _ in range(8):
        told.failed(100.0)
        share = told.share()
        assert share.options.address != before
        assert share.key[0] == told.slot
        before = share.options.address
        seen.add(before)
    assert seen == {"localhost:7001", "localhost:7002", "localhost:7003"}


def test_a_node_that_was_only_guessed_is_not_waited_for_by_a_connection_more() -> None:
    """One that another has named is; that a slot has one it keeps."""
    told = Told()
    told.placement.shares(told.cursors)
    told.failed(100.0)
    told.failed(100.0)
    assert told.share().key[0] is None
    told.moved(told.two, 100.0)
    assert told.share().key == (told.slot, "localhost:7003")


def test_failures_at_one_address_are_news_again_after_a_while() -> None:
    told = Told()
    assert told.failed(100.0, quiet=5.0)
    assert not told.placement.failed(told.cursors, told.seed, 104.75, 5.0)
    assert told.placement.failed(told.cursors, told.one, 104.75, 5.0)
    assert told.placement.failed(told.cursors, told.seed, 105.0, 5.0)
