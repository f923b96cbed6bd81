"""`pystreamredis.driver`: the shell keeps its promises under interruption and from threads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from pystreamredis import ConnectionError, Streams
from pystreamredis.follower import Follower
from pystreamredis.line import Line
from pystreamredis.transport import Transport
from pystreamredis.waiting import Waiter
from tests.peer import SILENT, Conversation, Expect, Peer, closed_port, deaf_port
from tests.scripted import at, ids_of, next_item, serve, serve_until_all_is_read, take
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Server

HISTORY = {"s": [f"{i}-0" for i in range(1, 13)], "t": [f"{i}-1" for i in range(1, 13, 2)]}
ALL = sorted(
    ((name, entry_id.encode()) for name, ids in HISTORY.items() for entry_id in ids),
    key=lambda pair: [int(part) for part in pair[1].split(b"-")],
)


needs_dontwait = pytest.mark.skipif(
    not hasattr(socket, "MSG_DONTWAIT"), reason="it takes a wait on this system"
)


class Interrupted(BaseException):
    """What a signal handler may raise at any time, as Ctrl-C does."""


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize(
    ("name", "connections"),
    [("wait", 2), ("receive", 2), ("send", 2), ("wait_and_receive", 1), ("send", 1)],
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_an_interruption_at_any_step_loses_and_repeats_nothing(
    name: str, connections: int, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.4, 3.1: the same history, interrupted at the first step, the second, ..."""
    calls, due = 0, 0

    def interrupting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: object, *args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == due and before:
                raise Interrupted
            result = original(self, *args)
            if calls == due:
                raise Interrupted
            return result

        return call

    owner: Any = Waiter if name == "wait" else Transport
    options: Any = {"connections": connections, "count": 2, "block": None, "s": 0, "t": 0}
    with Peer(*[lambda it: serve(it, HISTORY)] * connections) as peer:
        with Streams(**at(peer), **options) as streams:
            monkeypatch.setattr(owner, name, interrupting(getattr(owner, name)))
            assert found_in(streams) == ALL
        steps = calls
        assert steps > 3
        for step in range(1, steps + 1):
            with Streams(**at(peer), **options) as streams:
                calls, due = 0, step
                found = found_in(streams)
                due = 0
                assert found == ALL
                assert streams.positions == {"s": b"12-0", "t": b"11-1"}


@needs_dontwait
@pytest.mark.parametrize(("connections", "are_few"), [(1, True), (2, False)])
def test_a_single_connection_is_waited_for_by_receiving(
    connections: int, are_few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That saves the system a call for each message."""
    waits = 0
    wait = Waiter.wait

    def count(waiter: Waiter, timeout: float | None) -> list[Any]:
        nonlocal waits
        waits += 1
        return wait(waiter, timeout)

    with (
        Peer(*[lambda it: serve(it, HISTORY)] * connections) as peer,
        Streams(**at(peer), connections=connections, count=1, block=None, s=0, t=0) as streams,
    ):
        monkeypatch.setattr(Waiter, "wait", count)
        assert found_in(streams) == ALL
    assert (waits == 0) is are_few


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


def test_what_the_callers_own_code_raises_in_between_loses_nothing() -> None:
    """Contract 1.3: `fields` is called while a reply is read; its error is the caller's."""
    failing = True

    def fields(pairs: Any) -> dict[bytes, bytes]:
        nonlocal failing
        if failing:
            failing = False
            raise LookupError("of the caller")
        return dict(pairs)

    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), block=None, fields=fields, s=0) as streams,
    ):
        with pytest.raises(LookupError, match="of the caller"):
            next(streams)
        assert len(list(streams)) == 12


@pytest.mark.parametrize("raising", [True, False])
def test_what_a_password_raises_is_the_callers_own(raising: bool) -> None:
    """Contract 1.2: it is asked at every connect, and is no failure of the connection."""

    def password() -> str:
        raise LookupError("of the caller")

    with Peer([Expect()]) as peer, pytest.raises(LookupError, match="of the caller"):
        Streams(**at(peer), password=password, raise_connection_exceptions=raising, s=0)


def test_one_thread_iterates_at_a_time() -> None:
    """A second one is told, and the first is not disturbed."""
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


def test_close_from_another_thread_ends_a_wait_and_frees_everything() -> None:
    """Contract 4.4."""
    before = descriptors()
    with Peer(lambda it: serve(it, {})) as peer:
        streams = Streams(**at(peer), block=0, s=0)
        timer = threading.Timer(0.1, streams.close)
        timer.start()
        began = monotonic()
        assert list(streams) == []
        assert monotonic() - began < LONG
        timer.join()
    # Others may have some open for a moment.
    wait_until(lambda: descriptors() <= before)


def test_close_ends_a_connect_that_hangs_within_tls() -> None:
    """Contract 4.4: the constructor itself cannot be reached, but the next attempt can."""
    with deaf_port() as port:
        options: dict[str, Any] = {"raise_connection_exceptions": False, "block": 1}
        streams = Streams("127.0.0.1", port, **options, ssl=True, socket_timeout=0.05, s=0)
        assert isinstance(next(streams), ConnectionError)
        streams._follower.parts[0].conversation.options.connect_timeout = None
        timer = threading.Timer(0.2, streams.close)
        timer.start()
        began = monotonic()
        assert list(streams) == []
        assert monotonic() - began < LONG
        timer.join()


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


def test_sockets_that_are_gone_are_watched_no_more() -> None:
    """Within a connection, TLS has another socket than what it is made over."""

    def refuse(conversation: Conversation) -> None:
        conversation.pause(0.01)
        conversation.close()

    options: dict[str, Any] = {"block": None, "raise_connection_exceptions": False, "ssl": True}
    with Peer(refuse) as peer, Streams(**at(peer), **options, s=0) as streams:
        assert all(isinstance(item, ConnectionError) for item in take(streams, 9))
        driver: Any = streams._driver
        assert driver._waiter._watched == {}


def test_no_loop_is_busy_while_a_connection_is_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.1: it waits for the socket, until `socket_connect_timeout`."""
    wake_at = Mock(side_effect=Follower.wake_at)
    monkeypatch.setattr(Follower, "wake_at", lambda self: wake_at(self))
    with deaf_port(full=True) as port, pytest.raises(TimeoutError, match="no answer"):
        Streams("127.0.0.1", port, socket_connect_timeout=0.2, s=0)
    assert wake_at.call_count < 10


def lone_line(**transport: Any) -> Line:
    """A line with a connection that is only said to be there."""
    line = Line(Mock(), Mock(), Mock())
    line._transport = Mock(**{"can_wait": True, "unsent": b""} | transport)
    return line


@needs_dontwait
def test_it_is_the_selector_that_waits_where_something_is_to_be_sent_too() -> None:
    assert lone_line().can_wait
    assert not lone_line(unsent=b"rest").can_wait
    assert not lone_line(can_wait=False).can_wait


@needs_dontwait
def test_nothing_waits_over_a_connection_that_is_given_up() -> None:
    """It is closed first, where an interruption has come between the one and the other."""
    line = lone_line()
    line._part.conversation.is_open = False
    assert not line.can_wait


@needs_dontwait
def test_the_only_connection_is_not_waited_for_once_there_may_be_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), count=1, block=0, s=0) as streams,
    ):
        assert next(streams)[:2] == ("s", b"1-0")
        driver: Any = streams._driver
        follower = streams._follower
        monkeypatch.setattr(follower, "parts", list(follower.parts))
        wait = Mock(side_effect=driver._only_line.wait_and_respond)
        monkeypatch.setattr(driver._only_line, "wait_and_respond", wait)
        driver._exchange()
        assert wait.call_count == 0
        driver._exchange()
        assert wait.call_count == 1


@needs_dontwait
def test_it_is_the_selector_that_waits_where_signals_recur() -> None:
    """Contract 4.4, 5.5: a wait by receiving begins anew after each."""
    line = lone_line()
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_PROF, 3600)
    assert not line.can_wait
    signal.setitimer(signal.ITIMER_PROF, 0)
    assert line.can_wait
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        assert not line.can_wait
        with (
            Peer([Expect("XREAD"), SILENT]) as peer,
            Streams(**at(peer), socket_timeout=0.1, block=None, s=0) as streams,
            pytest.raises(TimeoutError),
        ):
            next(streams)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert line.can_wait


@needs_dontwait
@pytest.mark.parametrize(("least", "by_receiving"), [(0.0, True), (3600.0, False)])
def test_it_is_the_selector_that_waits_for_less_than_a_slice(
    least: float, by_receiving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 3.3: a receive would hold what is due back for longer."""
    waits = 0
    receive = Transport.wait_and_receive

    def count(transport: Transport) -> bytes | None:
        nonlocal waits
        waits += 1
        return receive(transport)

    monkeypatch.setattr("pystreamredis.driver.SLICE", least)
    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), count=2, block=None, s=0, t=0) as streams,
    ):
        monkeypatch.setattr(Transport, "wait_and_receive", count)
        assert found_in(streams) == ALL
    assert bool(waits) is by_receiving


def test_what_a_parent_has_made_is_not_its_childs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of a fork would take the parent's replies, and end the parent's wait."""
    wakes: list[Waiter] = []
    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), count=2, block=None, s=0, t=0) as streams,
    ):
        assert next(streams)[:2] == ("s", b"1-0")
        with monkeypatch.context() as child:
            child.setattr("pystreamredis.forks.generation", 1)
            child.setattr(Waiter, "wake", wakes.append)
            assert next(streams)[:2] == ("t", b"1-1")  # which was there already
            with pytest.raises(RuntimeError, match="are another process's, which has forked"):
                list(streams)
            streams.close()
            assert wakes == []


def test_a_child_has_no_use_for_what_a_thread_of_its_parent_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Peer(lambda it: serve(it, HISTORY)) as peer, Streams(**at(peer), s=0) as streams:
        driver = streams._driver
        assert driver is not None
        with monkeypatch.context() as child:
            child.setattr("pystreamredis.forks.generation", 1)
            del driver._is_free
            with pytest.raises(RuntimeError, match="which has forked"):
                driver.next_batch()
            waiter, line = driver._waiter, driver._lines[driver._follower.parts[0]]
            assert line._transport is not None
            # Not how many are open: the peer opens one whenever it comes to accept.
            held = [line._transport.sock, waiter._wake, waiter._woken]
            streams.close()
            assert [sock.fileno() for sock in held] == [-1, -1, -1]
            with pytest.raises(ValueError, match="closed"):
                waiter._selector.fileno()


FORKING = """
import os, sys, warnings
from pystreamredis import Streams
warnings.simplefilter("ignore")
options, names = eval(sys.argv[1]), ["fork:a", "fork:b"]
with Streams(**options, streams=names, connections=2, block=600_000) as streams:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        print("ready", flush=True)
        print(next(streams)[1], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_the_end_of_a_child_leaves_its_parent_alone(one_server: Server) -> None:
    """What a fork shares, the selector among it, stays as it is."""
    command = [sys.executable, "-c", FORKING, repr(one_server.options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        one_server.command("XADD", "fork:b", "1-0", "f", "v")
        assert parent.stdout.readline() == "b'1-0'\n"
    assert parent.returncode == 0


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


def test_close_right_before_a_message_is_asked_for_is_no_second_iteration() -> None:
    """Contract 4.4: for a moment it is at work like a thread that iterates."""
    with Peer(lambda it: serve(it, {})) as peer, Streams(**at(peer), s=0) as streams:
        driver: Any = streams._driver
        del driver._is_free
        with pytest.raises(RuntimeError, match="another thread is iterating"):
            next(streams)
        driver._is_closed = True
        assert list(streams) == []
        driver._is_free, driver._is_closed = True, False


def test_failures_leave_no_descriptors_behind() -> None:
    """Contract 5.3: a reader that goes on for days must not run out of them."""

    def refuse(conversation: Conversation) -> None:
        conversation.expect()
        conversation.reset()

    with Peer(refuse) as peer:
        for port in (peer.port, closed_port()):
            options = {"block": None, "raise_connection_exceptions": False}
            with Streams("127.0.0.1", port, **options, s=0) as streams:  # type: ignore[arg-type]
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
    """Contract 5.4: the read that was sent ahead fails, and what is in hand is handed over."""

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


def test_an_interruption_amid_the_tidying_up_after_another_keeps_it_from_nothing() -> None:
    """Contract 4.4: Ctrl-C twice, while a connection is made; the next one is made all the same."""
    with (
        Peer(*[lambda it: serve(it, HISTORY)] * 2) as peer,
        Streams(**at(peer), block=None, s=0, t=0) as streams,
    ):
        driver: Any = streams._driver
        driver._follower.rewind()
        driver._disconnect()
        driver._parts[0].is_connecting = True  # where the second one came right then
        assert found_in(streams) == ALL


def test_two_interruptions_in_a_row_lose_and_repeat_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Contract 4.4: Ctrl-C twice, the second one before the first one was tidied up after."""
    with (
        Peer(lambda it: serve(it, HISTORY)) as peer,
        Streams(**at(peer), count=2, block=None, s=0, t=0) as streams,
    ):
        found: list[Any] = []
        with monkeypatch.context() as patched:
            # While messages are out of the merge, and not handed over yet.
            for name in ("_ask_ahead", "rewind"):
                patched.setattr(Follower, name, Mock(side_effect=Interrupted))
            with pytest.raises(Interrupted):
                found.extend(message[:2] for message in streams)
        assert [*found, *found_in(streams)] == ALL
        assert peer.connections == 2  # it was tidied up once
