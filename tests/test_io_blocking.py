"""`pystreamredis.io.blocking`: waits of one thread, and operations under interruption."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, Redis, Streams
from pystreamredis.core.reader import Reader
from pystreamredis.core.session import Session
from pystreamredis.io import blocking, thread_poll
from pystreamredis.io.blocking import Driver, Poller, Woken
from pystreamredis.io.connection import READ, WRITE, Connection
from pystreamredis.io.engine import Engine
from pystreamredis.io.thread_poll import SelectPoll
from pystreamredis.options import ConnectionOptions
from tests.answers import Store
from tests.live import LiveServer, next_live
from tests.peer import SILENT, Conversation, Expect, Peer, closed_port, deaf_port
from tests.scripted import at, ids_of, next_item, serve, serve_until_all_is_read, take
from tests.servers import LONG, wait_until
from tests.simulation import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import Server

HISTORY = {"s": [f"{i}-0" for i in range(1, 13)], "t": [f"{i}-1" for i in range(1, 13, 2)]}
ALL = sorted(
    ((name, entry_id.encode()) for name, ids in HISTORY.items() for entry_id in ids),
    key=lambda pair: [int(part) for part in pair[1].split(b"-")],
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")


class Interrupted(BaseException):
    """What a signal handler may raise at any time, as Ctrl-C does."""


def descriptors() -> int:
    """Count the descriptors that this process has open."""
    return len(os.listdir("/dev/fd"))


# The poller.


@pytest.fixture(params=["poll", "select"])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Poller]:
    """Make one of either kind: Windows has no `select.poll`."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll", raising=False)
    elif not hasattr(select, "poll"):
        pytest.skip("this system has no poll()")
    with closing(Poller()) as poller:
        yield poller


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def watch(poller: Poller, sock: socket.socket, events: int, owner: object = "owner") -> Any:
    """Watch a socket for what the test takes for a connection."""
    known: Any = owner
    poller.watch(sock, events, known)


def owners(poller: Poller, timeout: float | None) -> list[Any]:
    return list(poller.wait(timeout))


def is_ready(poller: Poller, timeout: float | None) -> bool:
    return bool(poller.wait(timeout))


def test_a_wait_ends_when_bytes_can_be_read(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    watch(poller, ours, READ)
    theirs.send(b"x")
    assert owners(poller, LONG) == ["owner"]
    assert owners(poller, None) == ["owner"]


def test_a_wait_ends_when_the_peer_has_closed(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    watch(poller, ours, READ)
    theirs.close()
    assert is_ready(poller, LONG)


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_wait_without_anything_to_read_lasts_as_long_as_asked(
    poller: Poller, pair: Pair, is_watched: bool
) -> None:
    if is_watched:
        watch(poller, pair[0], READ)
    began = monotonic()
    assert not is_ready(poller, 0.08)
    assert 0.075 <= monotonic() - began < LONG


@pytest.mark.parametrize("timeout", [0, 0.0])
def test_a_wait_whose_time_is_over_looks_once(poller: Poller, pair: Pair, timeout: float) -> None:
    ours, theirs = pair
    watch(poller, ours, READ)
    assert not is_ready(poller, timeout)
    theirs.send(b"x")
    assert is_ready(poller, timeout)


def test_what_is_waited_for_may_change_between_two_waits(poller: Poller, pair: Pair) -> None:
    ours, _ = pair
    watch(poller, ours, READ)
    assert not is_ready(poller, 0)
    watch(poller, ours, WRITE)
    assert is_ready(poller, LONG)
    watch(poller, ours, READ | WRITE)
    assert is_ready(poller, LONG)
    watch(poller, ours, READ)
    assert not is_ready(poller, 0)


def test_the_owners_of_the_sockets_that_are_ready_are_returned(poller: Poller) -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    try:
        for number, (ours, _) in enumerate(pairs):
            watch(poller, ours, READ, number)
        assert owners(poller, 0) == []
        pairs[1][1].send(b"x")
        pairs[3][1].close()
        assert sorted(owners(poller, LONG)) == [1, 3]
        poller.forget(pairs[1][0])
        poller.forget(pairs[1][0])
        assert owners(poller, LONG) == [3]
        watch(poller, pairs[4][0], READ | WRITE, 4)
        assert sorted(owners(poller, LONG)) == [3, 4]
    finally:
        for pair in pairs:
            for sock in pair:
                sock.close()


def test_a_socket_that_was_forgotten_may_be_closed_and_its_number_used_again(
    poller: Poller,
) -> None:
    """A descriptor that stays registered would hide the next connection's bytes."""
    for _ in range(3):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            watch(poller, ours, READ)
            assert not is_ready(poller, 0)
            theirs.send(b"x")
            assert is_ready(poller, LONG)
            poller.forget(ours)


def test_another_socket_of_the_same_number_is_not_forgotten(poller: Poller, pair: Pair) -> None:
    """As where an interruption has come between the one and the other."""
    ours, theirs = pair
    again = socket.socket(fileno=os.dup(theirs.fileno()))
    with again:
        watch(poller, ours, READ)
        same_number = socket.socket(fileno=ours.fileno())
        poller.forget(same_number)
        same_number.detach()
        again.send(b"x")
        assert is_ready(poller, LONG)


def test_another_thread_ends_a_wait_that_has_no_end(poller: Poller, pair: Pair) -> None:
    """Contract 4.4."""
    watch(poller, pair[0], READ)
    timer = threading.Timer(0.05, poller.wake)
    timer.start()
    with pytest.raises(Woken):
        poller.wait(None)
    timer.join(LONG)


def test_another_thread_ends_a_wait_without_sockets(poller: Poller) -> None:
    """Contract 4.4: a pause before another try to connect, where there may be no descriptor."""
    timer = threading.Timer(0.05, poller.wake)
    timer.start()
    with pytest.raises(Woken):
        poller.wait(None)
    timer.join(LONG)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_wake_ends_the_waits_that_come_after_it_too(
    poller: Poller, pair: Pair, is_first: bool
) -> None:
    """Also before what is ready."""
    if is_first:
        poller.wake()
    watch(poller, pair[0], READ)
    pair[1].send(b"x")
    poller.wake()
    for timeout in (LONG, 0):
        with pytest.raises(Woken):
            poller.wait(timeout)


def test_waking_never_blocks_and_never_fails(poller: Poller, pair: Pair) -> None:
    """Contract 4.4: it is called by signal handlers, and after the end as well."""
    watch(poller, pair[0], READ)
    for _ in range(10_000):  # more than a socket's buffer takes
        poller.wake()
    poller.close()
    poller.wake()
    poller.close()


def test_closing_frees_every_descriptor(pair: Pair) -> None:
    before = descriptors()
    poller = Poller()
    watch(poller, pair[0], READ)
    assert descriptors() == before + 2
    poller.close()
    assert descriptors() == before


def test_a_reset_poller_watches_nothing_but_goes_on(poller: Poller, pair: Pair) -> None:
    """Contract 4.4: after an interruption nobody knows what was registered."""
    ours, theirs = pair
    poller.reset()
    watch(poller, ours, READ)
    poller.look_up(list, "called")  # type: ignore[arg-type]
    poller.reset()
    theirs.send(b"x")
    assert not is_ready(poller, 0)
    watch(poller, ours, READ)
    assert is_ready(poller, LONG)
    poller.wake()
    with pytest.raises(Woken):
        poller.wait(LONG)


def test_a_look_up_is_made_at_once_when_its_owner_asks(poller: Poller) -> None:
    calls: list[int] = []
    owner: Any = "owner"
    outcome = poller.look_up(lambda: calls.append(1) or "found", owner)  # type: ignore[func-returns-value]
    assert owners(poller, None) == ["owner"]
    assert outcome.done()
    assert calls == []
    assert outcome.result() == "found"
    assert owners(poller, 0) == []


@pytest.mark.parametrize("step", ["poll", "socketpair"])
def test_a_poller_without_descriptors_fails_and_can_be_used_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Contract 5.1."""

    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    owner = select if step == "poll" else socket
    if not hasattr(owner, step):
        pytest.skip("this system has no poll()")
    with closing(Poller()) as poller:
        with monkeypatch.context() as patched:
            patched.setattr(owner, step, fail)
            with pytest.raises(OSError, match="open files"):
                watch(poller, pair[0], READ)
            # A pause needs none.
            assert not is_ready(poller, 0.01)
        watch(poller, pair[0], READ)
        pair[1].send(b"x")
        assert is_ready(poller, LONG)


def test_more_sockets_than_select_takes_are_an_oserror(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 5.1: and the others are watched as before."""
    ours, theirs = pair
    original = select.select

    def few(read: list[int], write: list[int], *rest: Any) -> Any:
        if len(read) > 1:
            raise ValueError("too many file descriptors in select()")
        return original(read, write, *rest)

    monkeypatch.setattr(select, "select", few)
    poll = SelectPoll()
    poll.register(ours.fileno(), READ)
    with pytest.raises(OSError, match="so many sockets: too many file descriptors"):
        poll.register(theirs.fileno(), READ)
    poll.register(theirs.fileno(), WRITE)
    with pytest.raises(OSError, match="so many sockets"):
        poll.register(theirs.fileno(), READ)
    assert poll.poll(0) == [(theirs.fileno(), 0)]
    poll.unregister(theirs.fileno())
    poll.unregister(theirs.fileno())
    theirs.send(b"x")
    assert poll.poll(0) == [(ours.fileno(), 0)]


class Clock:
    """A system on a clock of its own: nothing is ever ready, and the time passes at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def register(self, fd: int, events: int) -> None: ...

    def poll(self, ms: float) -> list[Any]:
        self.waits.append(ms / 1000)
        self.now += ms / 1000
        return []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.delattr(select, "poll", raising=False)
    monkeypatch.setattr(thread_poll, "SelectPoll", lambda: clock)
    monkeypatch.setattr(blocking, "monotonic", lambda: clock.now)
    return clock


@pytest.mark.parametrize("timeout", [0.0, 0.01, 0.05, 0.06, 1.0, 35.0, 200_000.0])
def test_a_wait_is_made_of_slices(clock: Clock, pair: Pair, timeout: float) -> None:
    with closing(Poller()) as poller:
        watch(poller, pair[0], READ)
        assert not is_ready(poller, timeout)
    assert clock.now == pytest.approx(min(timeout, 86_400))
    assert max(clock.waits) <= 0.05


def test_a_thread_that_handles_no_signals_is_not_woken_for_them(clock: Clock, pair: Pair) -> None:
    with closing(Poller()) as poller:
        watch(poller, pair[0], READ)
        thread = threading.Thread(target=poller.wait, args=(200_000.0,))
        thread.start()
        thread.join(LONG)
    assert clock.now == pytest.approx(86_400)
    assert len(clock.waits) <= 3


@pytest.mark.parametrize("timeout", [0.06, 0.1])
def test_what_came_while_the_process_was_stopped_is_seen(
    clock: Clock, pair: Pair, monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    """A wait whose time ran out meanwhile ends without a look."""

    def stopped_amid(ms: float) -> list[tuple[int, int]]:
        clock.now += 100
        clock.waits.append(ms)
        return [] if ms else [(pair[0].fileno(), 0)]

    monkeypatch.setattr(clock, "poll", stopped_amid)
    with closing(Poller()) as poller:
        watch(poller, pair[0], READ)
        assert is_ready(poller, timeout)
    assert clock.waits[-1] == 0


@pytest.mark.skipif(os.name != "posix", reason="there is no raise() to call")
def test_a_signal_right_before_the_system_waits_is_handled_all_the_same(
    clock: Clock, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.4: nothing ends that wait, since the signal has been noted already."""
    interrupt = partial(ctypes.CDLL(None)["raise"], signal.SIGINT)
    slices: list[float] = []

    def late(ms: float) -> list[Any]:
        slices.append(ms)
        wait = partial(select.select, [], [], [], ms / 1000)
        # From C, where no handler is run between the two.
        list(map(partial.__call__, (interrupt, wait)))
        return []

    monkeypatch.setattr(clock, "poll", late)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with closing(Poller()) as poller:
            watch(poller, pair[0], READ)
            with pytest.raises(KeyboardInterrupt):
                poller.wait(LONG)
    finally:
        signal.signal(signal.SIGINT, before)
    assert max(slices) <= 50


# Interruptions.


POINTS: dict[str, tuple[Any, str]] = {
    "wait": (Poller, "wait"),
    "watch": (Poller, "watch"),
    "forget": (Poller, "forget"),
    "begin": (Connection, "begin"),
    "respond": (Connection, "respond"),
    "flush": (Connection, "flush"),
    "close": (Connection, "close"),
    "step": (Reader, "step"),
    "wake_at": (Reader, "wake_at"),
    "opened": (Reader, "opened"),
    "begin_wait": (Reader, "begin_wait"),
    "receive": (Session, "receive"),
    "process": (Session, "process"),
    "ask": (Session, "ask"),
    "write_log": (Engine, "write_log"),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_interruption_at_any_step_loses_and_repeats_nothing(
    point: str, connections: int, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.4, 3.1: the same history, interrupted at the first step, the second, ..."""
    calls, due = 0, 0
    owner, name = POINTS[point]

    def interrupting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == due and before:
                raise Interrupted
            result = original(*args, **options)
            if calls == due:
                raise Interrupted
            return result

        return call

    options: Any = {"connections": connections, "count": 4, "block": None, "s": 0, "t": 0}
    with Peer(*[lambda it: serve(it, HISTORY)] * connections) as peer:
        monkeypatch.setattr(owner, name, interrupting(getattr(owner, name)))
        with Streams(**at(peer), **options) as streams:
            made = calls
            assert found_in(streams) == ALL
        steps = calls
        for step in range(made + 1, min(steps, made + 25) + 1):
            calls, due = 0, 0
            with Streams(**at(peer), **options) as streams:
                due = step
                found = found_in(streams)
                due = 0
                assert found == ALL
                assert streams.positions == {"s": b"12-0", "t": b"11-1"}


def found_in(streams: Streams) -> list[tuple[str, bytes]]:
    """Read to the end, over interruptions."""
    found: list[tuple[str, bytes]] = []
    for _ in range(3):
        try:
            found.extend((message[0], message[1]) for message in streams)
        except Interrupted:
            continue
        return found
    raise AssertionError("interrupted more than twice, expected once")


@pytest.mark.parametrize("second", ["rewind", "disconnect"])
def test_two_interruptions_in_a_row_lose_and_repeat_nothing(
    monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """Contract 4.4: Ctrl-C twice, the second one before the first one was tidied up after."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), count=2, block=None, s=0, t=0) as streams,
    ):
        found = [next(streams)[:2]]
        with monkeypatch.context() as patched:
            patched.setattr(Poller, "wait", interrupt)
            patched.setattr(Reader if second == "rewind" else Engine, second, interrupt)
            with pytest.raises(Interrupted):
                found.extend(message[:2] for message in streams)
        assert [*found, *found_in(streams)] == ALL
        assert peer.connections == 2  # it was tidied up once


@pytest.mark.parametrize("name", ["write_log", "disconnect"])
def test_an_interruption_amid_the_end_of_a_call_keeps_nobody_from_the_next(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Contract 4.4."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    def fail(*_: object) -> None:
        raise LookupError

    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), count=2, block=None, s=0, t=0) as streams,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Poller, "wait", fail)
            patched.setattr(Engine, name, interrupt)
            with pytest.raises((Interrupted, LookupError)):
                next(streams)
        assert found_in(streams) == ALL


def test_what_a_callers_signal_handler_raises_in_between_loses_nothing() -> None:
    """Contract 4.4: no RedisError, and so it is not taken for one."""
    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), block=None, s=0) as streams,
        pytest.MonkeyPatch.context() as patched,
    ):
        wait, failing = Poller.wait, [True]

        def fail_once(poller: Poller, timeout: float | None) -> Any:
            if failing:
                failing.clear()
                raise ZeroDivisionError
            return wait(poller, timeout)

        patched.setattr(Poller, "wait", fail_once)
        with pytest.raises(ZeroDivisionError):
            next(streams)
        assert len(list(streams)) == 12


# Several threads.


def test_one_thread_iterates_at_a_time() -> None:
    """A second one is refused, and the first is not disturbed."""
    waits = threading.Event()

    def wait(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        waits.set()
        conversation.pause(LONG)

    with Peer(wait) as peer, Streams(**at(peer), block=0, s=0) as streams:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.extend(streams))
        thread.start()
        assert waits.wait(LONG)
        with pytest.raises(RuntimeError, match="another thread"):
            next(streams)
        assert thread.is_alive()
        streams.close()
        thread.join(LONG)
        assert not thread.is_alive()
        assert found == []


@pytest.mark.parametrize("what", ["wait", "pause", "connect", "TLS"])
def test_close_from_another_thread_ends_whatever_is_under_way(what: str) -> None:
    """Contract 4.4: and frees everything."""
    refused = closed_port()  # which takes a descriptor
    before = descriptors()
    options: dict[str, Any] = {"s": 0, "block": 600_000, "raise_connection_exceptions": False}
    with Peer(lambda it: serve(it, {})) as peer, deaf_port(full=what == "connect") as deaf:
        if what == "wait":
            streams = Streams(**at(peer), **options)
        else:
            streams = Streams("127.0.0.1", closed_port(), **options)
            if what != "pause":
                more: dict[str, Any] = {"socket_connect_timeout": None, "socket_timeout": None}
                more |= {"ssl": True} if what == "TLS" else {}
                streams.close()
                host = iter([("127.0.0.1", refused)])
                streams = Streams(lambda: next(host, ("127.0.0.1", deaf)), **more, **options)
                options["block"] = None
        if what == "pause":
            assert isinstance(next(streams), ConnectionError)
        found: list[Any] = []

        def iterate() -> None:
            found.extend(item for item in streams if not isinstance(item, ConnectionError))

        thread = threading.Thread(target=iterate)
        thread.start()
        sleep(0.1)  # so that it waits, most probably
        assert thread.is_alive()
        streams.close()
        thread.join(LONG)
        assert not thread.is_alive()
        assert found == []
    # Others may have some open for a moment.
    wait_until(lambda: descriptors() <= before)


def test_close_from_within_an_iteration_ends_it() -> None:
    """Contract 4.4: as a signal handler does, or here what makes the data of a message."""
    found: list[Any] = []

    def fields(pairs: Any) -> dict[bytes, bytes]:
        streams.close()
        return dict(pairs)

    with Peer(lambda it: serve(it, HISTORY)) as peer:
        streams = Streams(**at(peer), fields=fields, s=0)
        thread = threading.Thread(target=lambda: found.extend(streams), daemon=True)
        thread.start()
        thread.join(LONG)
        assert not thread.is_alive()
        assert found == []


def test_closing_twice_and_from_several_threads_is_fine() -> None:
    """Contract 4.4."""
    with Peer(lambda it: serve(it, {})) as peer:
        streams = Streams(**at(peer), s=0)
        threads = [threading.Thread(target=streams.close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        streams.close()
        assert list(streams) == []


def make_driver(port: int) -> tuple[Driver, Reader]:
    reader = Reader({None: ConnectionOptions("127.0.0.1", port)}, reading(block=None))
    reader.add({"s": 0}, {})
    return Driver(reader), reader


def test_a_closed_driver_does_nothing() -> None:
    """Contract 4.4: also where it is closed right before a message is asked for."""
    driver, reader = make_driver(closed_port())
    driver.close()
    assert not driver.run(driver.next_batch).messages
    assert not driver.run(driver.establish).messages
    assert reader.assignments[0].failure is None


def test_arguments_that_are_refused_disturb_nothing() -> None:
    """Contract 2.5, 7."""
    with Peer(lambda it: serve(it, HISTORY)) as peer:
        driver, reader = make_driver(peer.port)
        first = driver.run(driver.next_batch)
        for _ in range(2):
            with pytest.raises(ValueError, match="given twice"):
                driver.change(driver.add({"s": 0}, {}))
        assert reader.batch is first
        # The rest of a batch is delivered before anything is read.
        assert driver.run(driver.next_batch) is first
        assert len(list(first.iterator)) == len(first.messages)
        assert not driver.run(driver.next_batch).messages
        assert peer.connections == 1
        driver.close()


def test_a_stream_that_is_discarded_takes_its_connection_along() -> None:
    """Contract 2.5: at once, not when the next message is asked for."""
    ended = threading.Event()

    def serve_to_end(conversation: Conversation) -> None:
        try:
            serve(conversation, {"s": ["2-0"]})
        finally:
            ended.set()

    with Peer(LiveServer(s=["1-0"])) as peer, Peer(serve_to_end) as other:
        sources = {"a": Redis(**at(peer)), "b": Redis(**at(other))}
        with Streams.from_sources(sources, s=0, block=100) as streams:
            assert {next_live(streams)[0][1] for _ in range(2)} == {b"1-0", b"2-0"}
            assert not ended.is_set()
            streams.discard(("b", "s"))
            assert ended.wait(LONG)


# Processes.


def test_a_parents_connections_are_not_its_childs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of a fork would take the parent's replies, and end the parent's wait."""
    wakes: list[Poller] = []
    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), count=2, block=None, s=0, t=0) as streams,
    ):
        assert next(streams)[:2] == ("s", b"1-0")
        with monkeypatch.context() as child:
            child.setattr("pystreamredis.io.engine.Engine.forks", 1)
            child.setattr(Poller, "wake", wakes.append)
            with pytest.raises(RuntimeError, match="belong to the parent of this process"):
                list(streams)
            streams.close()
            assert wakes == []


BATCH_IN_A_CHILD = """
import os, sys, warnings
from pystreamredis import Streams
warnings.simplefilter("ignore")
streams = Streams(**eval(sys.argv[1]), s=0, block=None)
print(next(streams)[1], flush=True)
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
for way in (lambda: next(streams), lambda: next(streams.batches(2))) if not pid else ():
    try:
        print(way(), flush=True)
    except RuntimeError as error:
        print(error, flush=True)
print(streams.positions, flush=True)
if not pid:
    os._exit(0)
print([message[1] for message in streams])
"""


@needs_fork
def test_a_child_delivers_nothing_of_the_batch_of_its_parent() -> None:
    """Contract 3.1: each message exactly once, not once in each process."""
    with Peer(Store({"s": ["1-0", "2-0", "3-0"]})) as peer:
        command = [sys.executable, "-c", BATCH_IN_A_CHILD, repr(at(peer))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=True)
    first, *refusals, in_child, in_parent, rest = done.stdout.splitlines()
    assert (first, rest) == ("b'1-0'", "[b'2-0', b'3-0']")
    assert [line[:20] for line in refusals] == ["these connections be"] * 2
    assert in_child == in_parent == "{'s': b'1-0'}"


IN_A_CHILD = """
import os, sys, threading, time, warnings
from pystreamredis import Streams
warnings.simplefilter("ignore")
options = dict(streams=["fork:a", "fork:b"], connections=2, block=600_000)
streams = Streams(**eval(sys.argv[1]), **options)
found = []
thread = threading.Thread(target=lambda: found.append(next(streams)[1]))
thread.start()
time.sleep(0.1)
before = len(os.listdir("/dev/fd"))
pid = os.fork()
if not pid:
    try:
        next(streams)
    except RuntimeError as error:
        print(error, flush=True)
    streams.close()
    print(before - len(os.listdir("/dev/fd")), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("ready", flush=True)
thread.join()
print(*found, flush=True)
streams.close()
"""


@needs_fork
def test_a_child_closes_what_a_thread_of_its_parent_uses(one_server: Server) -> None:
    """And leaves the parent's own alone, the poller among it."""
    command = [sys.executable, "-c", IN_A_CHILD, repr(one_server.options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert "belong to the parent" in parent.stdout.readline()
        # Two connections, and the pair that wakes the poller.
        assert parent.stdout.readline() == "4\n"
        assert parent.stdout.readline() == "ready\n"
        one_server.command("XADD", "fork:b", "1-0", "f", "v")
        assert parent.stdout.readline() == "b'1-0'\n"
    assert parent.returncode == 0


# Failures.


def test_failures_leave_no_descriptors_behind() -> None:
    """Contract 5.3: a reader that goes on for days must not run out of them."""

    def refuse(conversation: Conversation) -> None:
        conversation.expect()
        conversation.reset()

    with Peer(refuse) as peer:
        for port in (peer.port, closed_port()):
            options: dict[str, Any] = {"block": None, "raise_connection_exceptions": False}
            with Streams("127.0.0.1", port, **options, s=0) as streams:
                take(streams, 3)
                before = descriptors()
                assert all(isinstance(item, ConnectionError) for item in take(streams, 20))
                # What the peer has open is counted, too, until it has come to close that.
                wait_until(lambda before=before: descriptors() <= before + 3)  # type: ignore[misc]


def test_a_request_larger_than_the_kernel_takes_is_sent_whole(embedded: Server) -> None:
    """Contract 2.1: many streams with long names; nothing of the request is dropped."""
    names = [f"{i:05d}" + "x" * 2000 for i in range(2000)]
    embedded.command("XADD", names[0], "1-0", "f", "v")
    embedded.command("XADD", names[-1], "2-0", "f", "v")
    with Streams(**embedded.options, streams=dict.fromkeys(names, "0"), block=None) as streams:
        assert [message[:2] for message in streams] == [(names[0], b"1-0"), (names[-1], b"2-0")]


def test_a_connection_lost_while_the_caller_works_costs_no_message() -> None:
    """Contract 5.4: the read that was sent ahead fails, and what is in hand is delivered."""

    def serve_and_close(conversation: Conversation) -> None:
        serve_until_all_is_read(conversation, {"s": ["1-0", "2-0", "3-0"]})
        conversation.close()

    with (
        Peer(serve_and_close, lambda it: serve(it, {"s": ["1-0", "2-0", "3-0", "4-0"]})) as peer,
        Streams(**at(peer), s=0) as streams,
    ):
        first = next(streams)
        wait_until(lambda: peer.completed == 1)
        assert ids_of([first, *take(streams, 2)]) == [b"1-0", b"2-0", b"3-0"]
        assert isinstance(next_item(streams), ConnectionError)
        assert next(streams)[1] == b"4-0"


def test_a_silent_server_is_noticed_amid_signals() -> None:
    """Contract 5.5: whatever comes in the waits."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no timers that send signals")
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with (
            Peer([Expect("XREAD"), SILENT]) as peer,
            Streams(**at(peer), socket_timeout=0.1, block=None, s=0) as streams,
            pytest.raises(TimeoutError),
        ):
            next(streams)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
