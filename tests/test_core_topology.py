"""Several conversations in one `pystreamredis.follower`: one merge, and failures of one's own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.exceptions import ConnectionError
from pystreamredis.follower import Follower
from pystreamredis.options import ConnectionOptions
from pystreamredis.source import Part
from tests.simulation import PATIENCE, Peer, Server, check_attention, number, reading, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

REFUSED = ConnectionRefusedError(111, "connection refused")


class Shell:
    """Does for a follower of several parts what a driver does.

    Args:
        servers: What is there: one server, or several with the names of the sources.
        streams: What is followed.
        parts: Over how many connections to each server.
    """

    def __init__(
        self,
        servers: Server | dict[str | None, Server],
        streams: Mapping[Any, Any],
        parts: int,
        **read: Any,
    ) -> None:
        self.servers: dict[str | None, Server] = (
            servers if isinstance(servers, dict) else {None: servers}
        )
        self.now = 1000.0
        self.down: set[int] = set()
        # Connections whose peer never says anything.
        self.silent: set[int] = set()
        # Those whose replies are still on their way.
        self.late: set[int] = set()
        # After how many bytes each connection breaks, in turn.
        self.cuts: list[int] = []
        read["connections"] = parts
        self.follower = Follower(
            dict.fromkeys(self.servers, ConnectionOptions()), reading(**read), ()
        )
        self.follower.add(streams, {})
        self.peers: dict[Part, Peer] = {}
        self.left: dict[Part, int | None] = {}

    def next(self) -> Any:
        for message in self.follower.batch.iterator:
            return message
        self.follower.begin_wait(self.now)
        for _ in range(PATIENCE):
            batch = self.follower.step(self.now)
            if batch is not None:
                self._flush()
                return next(batch.iterator)
            check_attention(self.follower)
            if not self._move():
                self._pass_time()
        raise AssertionError("it waits without end")

    def rest(self) -> list[Any]:
        """Take all until the iteration ends."""
        items = []
        while True:
            try:
                items.append(self.next())
            except StopIteration:
                return items

    def put_apart(self) -> None:
        """Let each part be read at another server."""
        for at, part in enumerate(self.follower.parts):
            part.conversation.options = part.conversation.options.at("host", 7000 + at)

    def break_off(self, index: int) -> None:
        """Let a connection break, and no other be made in its place."""
        self.down.add(index)
        part = self.follower.parts[index]
        del self.peers[part]
        part.conversation.closed(self.now)

    def _flush(self) -> None:
        for part, peer in self.peers.items():
            peer.receive(part.conversation.take_outgoing(), self.now)

    def _move(self) -> bool:
        """Move bytes, and connect; whether any part has got further."""
        moved = [self._move_one(index) for index in range(len(self.follower.parts))]
        return any(moved)

    def _move_one(self, index: int) -> bool:
        part = self.follower.parts[index]
        conversation = part.conversation
        if not conversation.is_open:
            self.peers.pop(part, None)
        peer = self.peers.get(part)
        if peer is None:
            if not self.follower.may_connect(self.now, part):
                return False
            if index in self.down:
                conversation.not_opened(self.now, REFUSED)
            else:
                self.peers[part] = Peer(self.servers[part.source.name])
                self.left[part] = self.cuts.pop(0) if self.cuts else None
                self.follower.opened(self.now, part)
            return True
        peer.receive(conversation.take_outgoing(), self.now)
        if index in self.late:
            return False
        data, peer.sent = peer.sent, b""
        if not data or index in self.silent:
            return False
        left = self.left[part]
        conversation.received(data[:left], self.now)
        conversation.process()
        if left is not None:
            self.left[part] = max(0, left - len(data))
            if left <= len(data):
                conversation.closed(self.now)
        return True

    def _pass_time(self) -> None:
        deadlines = [peer.deadline for peer in self.peers.values()]
        check_attention(self.follower)
        times = [time for time in (*deadlines, self.follower.wake_at()) if time is not None]
        assert times, "nothing will ever happen"
        self.now = max(self.now, min(times))
        for peer in self.peers.values():
            peer.work(self.now)
        self.follower.woke(self.now)


def add(server: Server, name: bytes, ids: Iterable[int]) -> None:
    for entry in ids:
        server.add(name, written(entry))


def ids(messages: Iterable[Any]) -> list[int]:
    return [number(message[1]) for message in messages]


def server_with(entries: Mapping[bytes, Iterable[int]]) -> Server:
    server = Server()
    for name, of_it in entries.items():
        add(server, name, of_it)
    return server


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
        st.sets(st.integers(1, 60), max_size=25),
        min_size=1,
    ),
    st.integers(1, 4),
    st.sampled_from([1, 2, 3, 100]),
)
def test_the_output_is_the_sorted_union(
    entries: dict[bytes, set[int]], parts: int, count: int
) -> None:
    """Contract 3.2, for every number of conversations and every count."""
    server = server_with({name: sorted(of_it) for name, of_it in entries.items()})
    shell = Shell(server, dict.fromkeys(entries, 0), parts, count=count, block=10)
    messages = shell.rest()
    union = sorted((entry, name) for name, of_it in entries.items() for entry in of_it)
    assert ids(messages) == [entry for entry, _ in union]
    assert sorted((number(m[1]), m[0]) for m in messages) == union


@settings(deadline=None, max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([b"a", b"b", b"c", b"d"]),
        st.sets(st.integers(1, 60), min_size=1, max_size=25),
        min_size=2,
    ),
    st.integers(2, 4),
    st.sampled_from([1, 2, 100]),
    st.lists(st.integers(1, 400), max_size=6),
)
def test_breaks_lose_and_repeat_nothing(
    entries: dict[bytes, set[int]], parts: int, count: int, cuts: list[int]
) -> None:
    """Contract 3.1 and 5.3."""
    server = server_with({name: sorted(of_it) for name, of_it in entries.items()})
    options: dict[str, Any] = {"count": count, "block": 10, "raise_connection_exceptions": False}
    shell = Shell(server, dict.fromkeys(entries, 0), parts, **options)
    shell.cuts = cuts
    items = shell.rest()
    for name, of_it in entries.items():
        assert ids(m for m in items if isinstance(m, tuple) and m[0] == name) == sorted(of_it)


def test_a_conversation_that_is_down_holds_up_no_other() -> None:
    server = server_with({b"a": [1, 3, 5], b"b": [2, 4, 6]})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=10, raise_connection_exceptions=False)
    shell.put_apart()
    shell.down = {0}
    first, *rest = [shell.next() for _ in range(5)]
    # Nothing is known of a until its failure is told; then b goes on alone.
    assert isinstance(first, ConnectionError)
    assert "host:7000" in str(first)
    assert ids(rest[:3]) == [2, 4, 6]
    assert isinstance(rest[3], ConnectionError)
    shell.down = set()
    assert ids(shell.rest()) == [1, 3, 5]


def test_one_that_is_answered_again_holds_others_up_again() -> None:
    """Contract 3.2: what comes after that is in order."""
    server = server_with({b"a": [1], b"b": [2]})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, count=1, raise_connection_exceptions=False)
    shell.put_apart()
    shell.down = {0}
    assert isinstance(shell.next(), ConnectionError)
    assert ids([shell.next()]) == [2]
    shell.down = set()
    assert ids([shell.next()]) == [1]
    shell.rest()
    add(server, b"a", [11, 12])
    assert ids([shell.next()]) == [11]
    # There may be more of a, which has to come before what there is of b.
    shell.silent = {0}
    add(server, b"b", [15])
    assert isinstance(shell.next(), ConnectionError)
    shell.silent = set()
    assert ids(shell.rest()) == [15, 12]  # now that it is out again


@pytest.mark.parametrize("block", [0, 30_000])
def test_a_stream_that_was_never_read_holds_others_up_no_longer_than_one_reply(block: int) -> None:
    """Contract 3.3: else its first read would block for as long as nothing is written to it."""
    server = server_with({b"a": [1, 3], b"b": []})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=block)
    before = shell.now
    assert ids([shell.next(), shell.next()]) == [1, 3]
    assert shell.now == before
    add(server, b"a", [5])
    assert ids([shell.next()]) == [5]


def test_what_is_far_ahead_neither_blocks_for_long_nor_asks_without_pause() -> None:
    """Its own stream is not asked while so much of it waits for what another is to bring."""
    server = server_with({b"a": range(10, 30), b"b": [1]})
    options: dict[str, Any] = {"block": 30_000, "count": 2, "raise_connection_exceptions": False}
    shell = Shell(server, {b"a": 0, b"c": 0, b"b": 0}, 3, **options)
    shell.down = {2}
    before = shell.now, len(server.reads)
    failures = [shell.next() for _ in range(4)]
    assert all(isinstance(failure, ConnectionError) for failure in failures)
    assert len(server.reads) - before[1] <= 6 + 60 * (shell.now - before[0])
    shell.down = set()
    back = shell.now
    assert ids(shell.next() for _ in range(21)) == [1, *range(10, 30)]
    assert shell.now <= back + 31


@pytest.mark.parametrize("raising", [True, False])
def test_over_several_connections_to_one_server_the_order_is_that_over_a_single_one(
    raising: bool,
) -> None:
    """Contract 3.2: what a lost one has not read yet may be older than the others' messages."""
    server = server_with({b"a": [1, 3, 5], b"b": [2, 4, 6]})
    options: dict[str, Any] = {"block": 10, "count": 1, "raise_connection_exceptions": raising}
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, **options)
    found: list[Any] = [shell.next(), shell.next()]
    shell.break_off(0)
    failures = 0
    while len(found) < 6 and failures < 9:
        if failures == 3:
            shell.down = set()
        try:
            item = shell.next()
        except ConnectionError as error:
            item = error
        if isinstance(item, tuple):
            found.append(item)
        else:
            failures += 1
    assert ids(found) == [1, 2, 3, 4, 5, 6]
    assert failures >= 3


def test_messages_that_came_are_handed_over_before_the_failure() -> None:
    """Contract 5.4."""
    server = server_with({b"a": [1], b"b": [2]})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=1000, raise_connection_exceptions=False)
    assert ids([shell.next(), shell.next()]) == [1, 2]
    add(server, b"b", [4])
    assert ids([shell.next()]) == [4]
    shell.break_off(0)
    add(server, b"b", [5])
    items = [shell.next() for _ in range(3)]
    assert sum(isinstance(item, ConnectionError) for item in items) == 2
    assert ids(item for item in items if isinstance(item, tuple)) == [5]


def test_failures_that_are_raised_do_not_starve_the_others() -> None:
    """Contract 5.2: who goes on at once sees messages, not one failure after the other."""
    server = server_with({b"a": [1], b"b": [2, 3]})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=1000)
    shell.put_apart()
    shell.down = {0}
    with pytest.raises(ConnectionError):
        shell.next()
    assert ids([shell.next(), shell.next()]) == [2, 3]
    before = shell.now
    with pytest.raises(ConnectionError):
        shell.next()
    assert shell.now >= before + 1


def test_nothing_is_over_before_all_have_looked() -> None:
    """Contract 4.2."""
    server = server_with({b"a": [1], b"b": [2]})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=1000)
    assert ids(shell.rest()) == [1, 2]
    before = shell.now
    assert shell.rest() == []
    assert shell.now == pytest.approx(before + 1, abs=0.01)


def test_a_message_is_no_more_work_among_many_connections() -> None:
    """Those that only wait are not looked at. Lines of the core are counted, not time."""
    few, many = lines_for_a_message(2), lines_for_a_message(50)
    assert few > 50
    assert many < few + 20


def lines_for_a_message(parts: int) -> int:
    names = [b"%d" % n for n in range(parts)]
    server = server_with({name: [1] for name in names})
    shell = Shell(server, dict.fromkeys(names, 0), parts, block=0)
    assert len([shell.next() for _ in names]) == parts
    # Whoever waits for the next one has asked everywhere before it comes.
    for entry in (2, 3):
        shell.follower.begin_wait(shell.now)
        assert shell.follower.step(shell.now) is None
        shell._move()
        check_attention(shell.follower)
        add(server, names[-1], [entry])
        for peer in shell.peers.values():
            peer.work(shell.now)
        part = shell.follower.parts[-1]
        lines = count_lines(lambda: take_one(shell, part))  # noqa: B023
    return lines


def take_one(shell: Shell, part: Part) -> None:
    shell._move_one(shell.follower.parts.index(part))
    batch = shell.follower.step(shell.now)
    assert batch is not None
    assert len(list(batch.iterator)) == 1
    shell.peers[part].receive(part.conversation.take_outgoing(), shell.now)
    shell.follower.begin_wait(shell.now)
    assert shell.follower.step(shell.now) is None
    assert shell.follower.wake_at() is not None


def count_lines(work: Callable[[], object]) -> int:
    """Count the lines of the library that are run."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if f"{os.sep}pystreamredis{os.sep}" not in frame.f_code.co_filename:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def test_one_that_falls_silent_while_another_is_busy_is_found_out_in_time() -> None:
    """Contract 5.5: also where it was not looked at for long."""
    server = server_with({b"a": [1], b"b": [1]})
    options: dict[str, Any] = {"block": 0, "raise_connection_exceptions": False}
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, **options)
    assert ids([shell.next(), shell.next()]) == [1, 1]
    began, items = shell.now, []
    shell.silent = {1}
    for second in range(50):
        add(server, b"a", [2 + second])
        shell.now = max(shell.now, began + second)
        items.append(shell.next())
        shell.follower.woke(shell.now)
        if isinstance(items[-1], ConnectionError):
            break
    assert isinstance(items[-1], ConnectionError)
    assert shell.now == pytest.approx(began + 35, abs=1)
    assert ids(items[:-1]) == list(range(2, 1 + len(items)))


def test_streams_are_spread_and_dropped() -> None:
    server = server_with({b"%d" % n: [n + 1] for n in range(6)})
    shell = Shell(server, {b"%d" % n: 0 for n in range(6)}, 3, block=10)
    assert [len(part.conversation.cursors) for part in shell.follower.parts] == [2, 2, 2]
    assert shell.next()[1] == b"0-1"
    before = shell.follower.parts
    shell.follower.discard([b"0", b"3"])
    assert ids(shell.rest()) == [2, 3, 5, 6]
    assert shell.follower.parts == before[1:]
    assert [len(part.conversation.cursors) for part in shell.follower.parts] == [2, 2]
    shell.follower.add({b"7": 0, b"8": 0, b"9": 0}, {})
    assert shell.follower.parts[:2] == before[1:]
    assert [len(part.conversation.cursors) for part in shell.follower.parts] == [3, 2, 2]
    shell.follower.discard([b"7", b"8", b"9"])
    assert set(shell.follower.positions) == {b"1", b"2", b"4", b"5"}


def test_a_caller_that_never_waits_polls_each_once() -> None:
    """Contract 4.2: with `block=None` each is asked once per call."""
    server = server_with({b"a": [1], b"b": [2]})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=None)
    assert ids(shell.rest()) == [1, 2]
    before = len(server.reads)
    assert shell.rest() == []
    assert len(server.reads) - before <= 4


def test_what_was_asked_before_the_caller_asks_does_not_count() -> None:
    """Contract 4.2: a reply that was late may have been sent before there was a message."""
    server = server_with({b"a": [1], b"b": [2]})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=None)
    assert ids(shell.rest()) == [1, 2]
    shell.late = {1}
    add(server, b"a", [3])
    assert ids([shell.next()]) == [3]
    shell.late = set()
    add(server, b"b", [4])
    assert ids([shell.next()]) == [4]


def test_what_came_goes_on_as_soon_as_the_failure_was_told() -> None:
    """Not only when the others are answered again, which can take long."""
    server = server_with({b"a": [1, 3], b"b": [2]})
    options: dict[str, Any] = {"block": 30_000, "raise_connection_exceptions": False}
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, **options)
    shell.put_apart()
    shell.silent = {1}
    assert isinstance(shell.next(), ConnectionError)
    before = shell.now
    assert ids([shell.next(), shell.next()]) == [1, 3]
    assert shell.now == before


@pytest.mark.parametrize("block", [None, 1000])
def test_while_one_is_silent_the_others_are_not_asked_without_pause(block: int | None) -> None:
    server = server_with({})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, block=block, raise_connection_exceptions=False)
    shell.silent = {1}
    before = shell.now
    assert isinstance(shell.next(), ConnectionError)
    assert shell.now >= before + 5
    assert len(server.reads) < 12


def test_a_caller_that_never_waits_does_not_wait_for_one_that_is_out() -> None:
    """Contract 4.2, 5.3."""
    options: dict[str, Any] = {"block": None, "raise_connection_exceptions": False}
    shell = Shell(server_with({}), {b"a": 0, b"b": 0}, 2, **options)
    shell.put_apart()
    shell.silent = {1}
    assert isinstance(shell.next(), ConnectionError)
    before = shell.now
    with pytest.raises(StopIteration):
        shell.next()
    assert shell.now == before


def test_where_no_stream_is_left_nothing_is_to_be_made_ready() -> None:
    """Or a connect of asyncio, which is told so before, would wait for ever."""
    shell = Shell(server_with({}), {b"a": 0}, 1)
    assert shell.follower.is_establishing()
    shell.follower.discard([b"a"])
    assert not shell.follower.is_establishing()


def test_an_answer_that_is_there_is_not_taken_for_silence() -> None:
    """It came with the one before, to a read sent on a guess, while another part is silent."""
    server = server_with({b"a": range(1, 99), b"b": range(1, 99)})
    shell = Shell(server, {b"a": 0, b"b": 0}, 2, count=10)
    follower, (it, silent) = shell.follower, shell.follower.parts
    assert len([shell.next() for _ in range(20)]) == 20
    peer = shell.peers[it]
    reply, peer.sent = peer.sent, b""
    it.conversation.received(reply[:-3], shell.now)
    peer.receive(it.conversation.take_outgoing(shell.now), shell.now)
    assert peer.sent
    it.conversation.process()
    it.conversation.received(reply[-3:] + peer.sent, shell.now)
    it.conversation.process()
    follower.begin_wait(shell.now)
    assert follower.step(shell.now) is None
    follower.woke(follower.wake_at() or 0)
    assert silent.conversation.failure is not None
    assert it.conversation.failure is None
