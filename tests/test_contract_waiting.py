"""Contract 4: how long a caller waits, what ends the wait, and what comes after it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest

import pystreamredis
from pystreamredis import ConnectionError, Redis, ResponseError, Streams
from tests.pythons import frees_at_once
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from tests.servers import Endpoint

# Longer than any wait here may take, so that one that does not end fails the test.
LONG = 60.0


def write(embedded: Endpoint, stream: str, *ids: str) -> None:
    """Add an entry with each ID."""
    for entry_id in ids:
        embedded.command("XADD", stream, entry_id, "f", "v")


def follow(embedded: Endpoint, *args: Any, **options: Any) -> Streams:
    """Follow streams on that server."""
    return Streams(embedded.host, embedded.port, *args, **options)


def ids_of(messages: Any) -> list[bytes]:
    """The IDs alone."""
    return [message[1] for message in messages]


def clients_called(embedded: Endpoint, name: str) -> list[dict[str, str]]:
    """What the server tells of connections that have given it that name."""
    lines = embedded.command("CLIENT", "LIST").decode().splitlines()
    clients = [dict(item.split("=", 1) for item in line.split()) for line in lines]
    return [client for client in clients if client["name"] == name]


class Background:
    """Takes messages in another thread."""

    def __init__(self, streams: Streams, *, by_for: bool = False) -> None:
        self.found: list[Any] = []
        self.error: BaseException | None = None
        self.has_ended = Event()
        self._streams = streams
        self._by_for = by_for
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            if self._by_for:
                for message in self._streams:
                    self.found.append(message)  # seen while it goes on
            else:
                self.found.append(next(self._streams))
        except BaseException as error:  # noqa: BLE001  # told by end()
            self.error = error
        self.has_ended.set()

    def end(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join(LONG)
        assert not self._thread.is_alive()


@contextmanager
def monitored(embedded: Endpoint) -> Iterator[list[bytes]]:
    """What the server is sent meanwhile, one line a command."""
    seen: list[bytes] = []
    with socket.create_connection((embedded.host, embedded.port)) as monitor:
        monitor.settimeout(LONG)
        lines = monitor.makefile("rb")
        monitor.sendall(b"MONITOR\r\n")
        assert lines.readline() == b"+OK\r\n"
        yield seen
        embedded.command("ECHO", "that was all")
        while b"that was all" not in (line := lines.readline()):
            assert line
            seen.append(line)


# 4.1


def test_block_counts_from_when_the_caller_began_to_wait(embedded: Endpoint) -> None:
    """Contract 4.1: not from when the last read was sent, which here is over already."""
    with follow(embedded, "s", block=300) as streams:
        for pause in (0.5, 0.2):
            sleep(pause)
            began = monotonic()
            with pytest.raises(StopIteration):
                next(streams)
            assert monotonic() - began >= 0.3


def test_block_counts_from_the_last_message(embedded: Endpoint) -> None:
    """Contract 4.1: a message begins no less of a wait than a timeout does."""
    write(embedded, "s", "1-0", "2-0")
    with follow(embedded, s=0, block=300) as streams:
        next(streams)
        next(streams)
        sleep(0.2)
        began = monotonic()
        assert next(streams, None) is None
        assert monotonic() - began >= 0.3


def test_a_message_ends_the_wait(embedded: Endpoint) -> None:
    """Contract 4.1: long before `block` is over."""
    with follow(embedded, "s", block=600_000) as streams:
        waiting = Background(streams)
        assert not waiting.has_ended.wait(0.1)
        write(embedded, "s", "1-0")
        waiting.end()
        assert ids_of(waiting.found) == [b"1-0"]


def test_without_block_no_read_blocks(embedded: Endpoint) -> None:
    """Contract 4.1: `None` never waits, and that is asked of the server, too."""
    with monitored(embedded) as seen, follow(embedded, "s", block=None) as streams:
        assert list(streams) == []
        write(embedded, "s", "1-0")
        assert ids_of(streams) == [b"1-0"]
    reads = [line for line in seen if b'"XREAD"' in line]
    assert len(reads) >= 3
    assert not [line for line in reads if b'"BLOCK"' in line]


def test_without_block_what_is_there_at_the_call_is_found(embedded: Endpoint) -> None:
    """Contract 4.2: the read that counts is one that was sent after the caller asked."""
    with follow(embedded, "s", block=None) as streams:
        for i in range(1, 51):
            write(embedded, "s", f"{i}-0")
            assert next(streams)[1] == b"%d-0" % i
            assert next(streams, None) is None


def test_block_0_waits_for_ever(embedded: Endpoint) -> None:
    """Contract 4.1: as in raw XREAD; for longer than the default at any rate."""
    with follow(embedded, "s", block=0) as streams:
        waiting = Background(streams)
        assert not waiting.has_ended.wait(1.5)
        write(embedded, "s", "1-0")
        waiting.end()
        assert ids_of(waiting.found) == [b"1-0"]


# 4.2, 4.3


@pytest.mark.parametrize("block", [None, 1, 50])
def test_a_timeout_ends_the_iteration_unless_told_otherwise(
    embedded: Endpoint, block: int | None
) -> None:
    """Contract 4.2: `stop_on_timeout=False`, whatever `timeout_response` is."""
    write(embedded, "s", "1-0")
    with follow(embedded, s=0, block=block, timeout_response="unused") as streams:
        assert ids_of(streams) == [b"1-0"]
        with pytest.raises(StopIteration):
            next(streams)


@pytest.mark.parametrize("block", [None, 1, 50])
@pytest.mark.parametrize("by", ["for", "next"])
def test_a_timeout_is_handed_over_if_it_is_to_stop_nothing(
    embedded: Endpoint, block: int | None, by: str
) -> None:
    """Contract 4.2: `stop_on_timeout=True` reads the other way round."""
    response = object()
    write(embedded, "s", "1-0")
    options: dict[str, Any] = {"stop_on_timeout": True, "timeout_response": response}
    with follow(embedded, s=0, block=block, **options) as streams:
        taken = iter(streams) if by == "for" else streams
        assert next(taken)[1] == b"1-0"
        assert next(taken) is response
        assert next(taken) is response
        write(embedded, "s", "2-0")
        assert next(taken)[1] == b"2-0"
        assert next(taken) is response


@pytest.mark.parametrize("response", [None, False, 0, (), StopIteration, ValueError("a value")])
def test_a_timeout_response_may_be_any_object(embedded: Endpoint, response: object) -> None:
    """Contract 4.2: None without one; nothing is called or raised."""
    options = {} if response is None else {"timeout_response": response}
    with follow(embedded, "s", block=None, stop_on_timeout=True, **options) as streams:
        assert next(streams) is response
        assert next(iter(streams)) is response


@pytest.mark.parametrize("block", [None, 20])
def test_after_a_timeout_next_and_for_go_on_where_it_stopped(
    embedded: Endpoint, block: int | None
) -> None:
    """Contract 4.3: nothing twice, nothing missing."""
    write(embedded, "s", "1-0", "2-0")
    with follow(embedded, s=0, block=block) as streams:
        assert ids_of(streams) == [b"1-0", b"2-0"]
        assert ids_of(streams) == []
        write(embedded, "s", "3-0", "4-0", "5-0")
        assert next(streams)[1] == b"3-0"
        assert ids_of(streams) == [b"4-0", b"5-0"]
        with pytest.raises(StopIteration):
            next(streams)
        write(embedded, "s", "6-0")
        assert next(streams)[1] == b"6-0"


def test_a_for_that_was_left_can_be_entered_again(embedded: Endpoint) -> None:
    """Contract 4.3: `break` loses nothing of the batch in hand, nor does mixing with `next`."""
    write(embedded, "s", *(f"{i}-0" for i in range(1, 11)))
    found: list[Any] = []
    with follow(embedded, s=0, block=None, count=3) as streams:
        while len(found) < 10:
            for message in streams:
                found.append(message)
                break
            found.append(next(streams))
    assert ids_of(found) == [b"%d-0" % i for i in range(1, 11)]


def test_two_iterators_of_one_object_share_its_messages(embedded: Endpoint) -> None:
    """Contract 4.3: there is one place where it goes on, whoever asks."""
    write(embedded, "s", *(f"{i}-0" for i in range(1, 8)))
    with follow(embedded, s=0, block=None, count=2) as streams:
        first, second = iter(streams), iter(streams)
        found = [next(taken) for taken in (first, second, streams, second, first)]
        assert ids_of([*found, *streams]) == [b"%d-0" % i for i in range(1, 8)]


def test_an_iterator_goes_on_after_an_error(embedded: Endpoint) -> None:
    """Contract 4.3, 5.2: `iter(streams)` used directly is as good as the object itself."""
    write(embedded, "s", "1-0", "2-0")
    r = Redis(embedded.host, embedded.port, client_name="iterating")
    with r.streams(s=0, block=50) as streams:
        taken = iter(streams)
        assert ids_of([next(taken), next(taken)]) == [b"1-0", b"2-0"]
        for i in range(3, 6):
            for client in clients_called(embedded, "iterating"):
                embedded.command("CLIENT", "KILL", "ID", client["id"])
            with pytest.raises(ConnectionError):
                next(taken)
            write(embedded, "s", f"{i}-0")
            assert next(taken)[1] == b"%d-0" % i


def _ask_until_refused(streams: Streams) -> None:
    # A read that was sent before the cause of the refusal may still find nothing wrong.
    deadline = monotonic() + LONG
    while monotonic() < deadline:
        assert next(iter(streams), None) is None


def test_an_iterator_goes_on_after_a_refusal(embedded: Endpoint) -> None:
    """Contract 4.3, 5.6: what was wrong can be put right, and nothing is lost by it."""
    write(embedded, "s", "1-0")
    with follow(embedded, s=0, t=0, block=None) as streams:
        taken = iter(streams)
        assert next(taken)[1] == b"1-0"
        embedded.command("SET", "t", "a string")
        for _ in range(2):
            with pytest.raises(ResponseError, match="'t'"):
                _ask_until_refused(streams)
        embedded.command("DEL", "t")
        write(embedded, "t", "2-0")
        found: list[Any] = []
        deadline = monotonic() + LONG
        while not found:
            assert monotonic() < deadline
            try:
                found += streams
            except ResponseError:
                continue  # of a read that was sent before the DEL
        assert ids_of(found) == [b"2-0"]


def test_an_iterator_that_has_ended_is_replaced_by_a_new_one(embedded: Endpoint) -> None:
    """Contract 4.3: as each `for` makes one."""
    with follow(embedded, "s", block=None) as streams:
        assert next(iter(streams), None) is None
        write(embedded, "s", "1-0", "2-0")
        taken = iter(streams)
        assert ids_of(taken) == [b"1-0", b"2-0"]
        assert next(taken, None) is None
        write(embedded, "s", "3-0")
        assert ids_of(iter(streams)) == [b"3-0"]


# 4.4: Ctrl-C


PROGRAM = """
import sys
from pystreamredis import ConnectionError, Redis, Streams

r = Redis(unix_socket_path=sys.argv[1], client_name="program")
streams = r.streams(s=0, block={block}, raise_connection_exceptions=False)
print("made", flush=True)
while True:
    try:
        print("begins", flush=True)
        {wait}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
WAITS = {
    "next": "print(next(streams)[:2], flush=True)",
    "for": "for message in streams: print(message[:2], flush=True)",
}


@contextmanager
def program(
    socket_path: Path | str, wait: str, block: int = 0, source: str = PROGRAM
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """Run a program that waits; give it, and what reads a line of its output."""
    process = subprocess.Popen(
        [sys.executable, "-c", source.format(wait=wait, block=block), str(socket_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout, stderr = process.stdout, process.stderr
    assert stdout is not None
    assert stderr is not None
    # It ends at the latest then, and with it the reading of its output.
    watchdog = Thread(target=lambda: _kill_unless(process, finished), daemon=True)
    finished = Event()
    watchdog.start()
    try:
        yield process, lambda: stdout.readline().strip()
    finally:
        finished.set()
        process.kill()
        process.wait()
        watchdog.join()
        stdout.close()
        stderr.close()


def _kill_unless(process: subprocess.Popen[str], finished: Event) -> None:
    if not finished.wait(3 * LONG):
        process.kill()


@pytest.mark.blocking
@pytest.mark.parametrize("block", [0, 600_000])
@pytest.mark.parametrize("how", ["next", "for"])
def test_ctrl_c_ends_a_wait_and_the_next_one_goes_on(
    embedded: Endpoint, how: str, block: int
) -> None:
    """Contract 4.4: in a real process, with a real signal, and nothing lost or repeated."""
    with program(embedded.unix_socket, WAITS[how], block) as (process, line):
        assert [line(), line()] == ["made", "begins"]
        for i in range(1, 4):
            wait_until(lambda: any("b" in c["flags"] for c in clients_called(embedded, "program")))
            process.send_signal(signal.SIGINT)
            assert [line(), line()] == ["interrupted", "begins"]
            write(embedded, "s", f"{i}-0")
            assert line() == f"('s', b'{i}-0')"
            if how == "next":
                assert line() == "begins"


@pytest.mark.blocking
@pytest.mark.parametrize("how", ["next", "for"])
def test_ctrl_c_that_nobody_catches_ends_the_program(embedded: Endpoint, how: str) -> None:
    """Contract 4.4: with a KeyboardInterrupt like any other, and no other noise."""
    source = PROGRAM.replace("except KeyboardInterrupt", "except ZeroDivisionError")
    with program(embedded.unix_socket, WAITS[how], source=source) as (process, line):
        assert [line(), line()] == ["made", "begins"]
        wait_until(lambda: any("b" in c["flags"] for c in clients_called(embedded, "program")))
        process.send_signal(signal.SIGINT)
        process.wait(LONG)
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in errors
    assert "ResourceWarning" not in errors


@pytest.mark.blocking
def test_ctrl_c_ends_the_wait_before_another_try_to_connect(tmp_path: Path) -> None:
    """Contract 4.4: "at any time"."""
    with program(
        tmp_path / "no socket", "print(type(next(streams)).__name__, flush=True)", 600_000
    ) as (
        process,
        line,
    ):
        assert [line(), line()] == ["made", "begins"]
        assert line() == "ConnectionError"
        assert line() == "begins"
        sleep(0.1)  # so that it mostly waits already; wherever it is, it is to be interrupted
        process.send_signal(signal.SIGINT)
        assert line() == "interrupted"


class _Interruption:
    """Interrupts where Python would act on a signal, at the n-th such place in the library.

    Python looks for signals when a function begins, when a generator goes on, and when a
    built-in function has ended. It swallows what is raised while it throws away a generator
    that nobody has closed; then the library goes on, and must lose nothing either.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.places = 0
        self.place = ""

    def _profile(self, frame: FrameType, event: str, arg: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if (
            event not in ("call", "c_return")
            or not module.startswith(f"{pystreamredis.__name__}.")
            or frame.f_code.co_name == "__del__"
        ):
            return
        self.places += 1
        if self.places == self.at:
            self.place = f"{event} in {module}.{frame.f_code.co_name}, line {frame.f_lineno}"
            raise KeyboardInterrupt

    def _note_swallowed(self, what: sys.UnraisableHookArgs) -> None:
        if what.exc_type is not KeyboardInterrupt:
            self._hook(what)

    def __enter__(self) -> None:
        self._before = sys.getprofile()
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._note_swallowed
        sys.setprofile(self._profile)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)
        sys.unraisablehook = self._hook


def _take_all(streams: Streams, by: str, interruption: _Interruption) -> list[Any]:
    """Take all messages, by way of one interruption."""
    found: list[Any] = []
    for _ in range(2):
        try:
            with interruption:
                if by == "for":
                    for message in streams:
                        found.append(message)  # noqa: PERF402  # kept when it is interrupted
                else:
                    while (message := next(streams, None)) is not None:
                        found.append(message)
        except KeyboardInterrupt:
            continue
        break
    return found


@pytest.mark.blocking
@pytest.mark.parametrize("by", ["next", "for"])
def test_an_interruption_at_any_place_loses_and_repeats_nothing(
    embedded: Endpoint, by: str
) -> None:
    """Contract 4.4, 3.1: Ctrl-C comes "at any time", also while this library computes."""
    write(embedded, "a", "1-0", "3-0", "5-0")
    write(embedded, "b", "2-0", "4-0")
    expected = [b"%d-0" % i for i in range(1, 6)]
    wrong = {}
    for at in range(1, 20_000):
        interruption = _Interruption(at)
        with follow(embedded, a=0, b=0, count=2, block=None) as streams:
            try:
                found = ids_of(_take_all(streams, by, interruption))
            except RuntimeError as error:
                found = [str(error).encode()]
        if found != expected:
            wrong[interruption.place] = found
        if not interruption.place:
            break
    else:
        pytest.fail("there is no end of places")
    assert at > 100
    assert wrong == {}


def _add(streams: Streams) -> None:
    if "b" not in streams.positions:
        streams.add(b=0)


def _discard(streams: Streams) -> None:
    streams.discard("b")


@pytest.mark.blocking
@pytest.mark.parametrize("change", [_add, _discard])
def test_an_interrupted_change_of_the_streams_can_be_repeated(
    embedded: Endpoint, change: Callable[[Streams], None]
) -> None:
    """Contract 4.4, 2.5: it has happened or not, and loses and repeats no message.

    Nothing is left of a stream that was dropped: it may be followed from its beginning again.
    """
    write(embedded, "a", "1-0", "3-0", "5-0")
    write(embedded, "b", "2-0", "4-0")
    starts = {"a": 0} if change is _add else {"a": 0, "b": 0}
    seen = [] if change is _add else [b"2-0"]
    expected = [b"1-0", b"3-0", b"5-0"], [*seen, b"2-0", b"4-0"], b"0-0"
    wrong = {}
    for at in range(1, 20_000):
        interruption = _Interruption(at)
        with follow(embedded, starts, count=2, block=None) as streams:
            messages = [next(streams), next(streams)]
            try:
                with interruption:
                    change(streams)
            except KeyboardInterrupt:
                change(streams)
            _add(streams)
            position = streams.positions["b"]
            messages += streams
        found = *(ids_of(m for m in messages if m[0] == name) for name in "ab"), position
        if found != expected:
            wrong[interruption.place] = found
        if not interruption.place:
            break
    else:
        pytest.fail("there is no end of places")
    assert at > 20
    assert wrong == {}


# 4.4: close


@pytest.mark.parametrize("by_for", [False, True])
@pytest.mark.parametrize("block", [0, 600_000])
def test_close_from_another_thread_ends_a_wait(
    embedded: Endpoint, block: int, by_for: bool
) -> None:
    """Contract 4.4: then it is `StopIteration`."""
    write(embedded, "s", "1-0")
    streams = follow(embedded, s=0, block=block)
    assert next(streams)[1] == b"1-0"
    waiting = Background(streams, by_for=by_for)
    assert not waiting.has_ended.wait(0.1)
    streams.close()
    waiting.end()
    assert waiting.found == []
    assert isinstance(waiting.error, type(None) if by_for else StopIteration)
    assert streams.positions == {"s": b"1-0"}


def test_close_ends_the_wait_before_another_try_to_connect(tmp_path: Path) -> None:
    """Contract 4.4: "at any time"."""
    r = Redis(unix_socket_path=str(tmp_path / "no socket"))
    streams = r.streams("s", block=600_000, raise_connection_exceptions=False)
    assert isinstance(next(streams), ConnectionError)
    waiting = Background(streams)
    assert not waiting.has_ended.wait(0.1)
    streams.close()
    waiting.end()
    assert isinstance(waiting.error, StopIteration)


def test_close_at_any_moment_of_a_busy_iteration_ends_it(embedded: Endpoint) -> None:
    """Contract 4.4: what came up to then is without gaps, and `positions` tell how far it went."""
    write(embedded, "s", *(f"{i}-0" for i in range(1, 301)))
    for pause in range(12):
        streams = follow(embedded, s=0, block=0, count=5)
        waiting = Background(streams, by_for=True)
        sleep(pause / 1000)
        streams.close()
        waiting.end()
        assert waiting.error is None
        assert ids_of(waiting.found) == [b"%d-0" % i for i in range(1, len(waiting.found) + 1)]
        last = b"%d-0" % len(waiting.found)
        assert streams.positions == {"s": last}


def test_after_close_iteration_stops_at_once_with_messages_in_hand(embedded: Endpoint) -> None:
    """Contract 4.4: and `positions` stay readable, so that another object can go on."""
    write(embedded, "s", "1-0", "2-0", "3-0")
    streams = follow(embedded, s=0, block=0)
    taken = iter(streams)
    assert next(taken)[1] == b"1-0"
    streams.close()
    streams.close()
    assert next(taken, None) is None
    assert next(streams, None) is None
    assert list(streams) == []
    assert streams.positions == {"s": b"1-0"}
    with follow(embedded, streams.positions, block=None) as resumed:
        assert ids_of(resumed) == [b"2-0", b"3-0"]


@pytest.mark.parametrize("stop_on_timeout", [False, True])
def test_after_close_there_is_no_timeout_response(
    embedded: Endpoint, stop_on_timeout: bool
) -> None:
    """Contract 4.4: iteration stops, also where a timeout would not stop it."""
    streams = follow(embedded, "s", block=None, stop_on_timeout=stop_on_timeout)
    next(streams, None)
    streams.close()
    with pytest.raises(StopIteration):
        next(streams)
    assert list(streams) == []


def test_a_for_that_closes_ends_after_that_message(embedded: Endpoint) -> None:
    """Contract 4.4: "at once"."""
    write(embedded, "s", *(f"{i}-0" for i in range(1, 11)))
    streams = follow(embedded, s=0, block=0)
    found: list[Any] = []
    for message in streams:
        found.append(message)
        if message[1] == b"3-0":
            streams.close()
    assert ids_of(found) == [b"1-0", b"2-0", b"3-0"]
    assert streams.positions == {"s": b"3-0"}


@pytest.mark.parametrize(
    "way", ["with", "error in with", "close", pytest.param("del", marks=frees_at_once)]
)
def test_the_connection_is_closed(embedded: Endpoint, way: str) -> None:
    """Contract 4.4: `with` closes, also when something is raised inside; it swallows nothing."""
    r = Redis(embedded.host, embedded.port, client_name="closing")
    streams = r.streams("s", block=0)
    assert len(clients_called(embedded, "closing")) == 1
    if way == "with":
        with streams as entered:
            assert entered is streams
    elif way == "error in with":
        with pytest.raises(KeyError), streams:
            raise KeyError
    elif way == "close":
        streams.close()
    else:
        del streams
    wait_until(lambda: not clients_called(embedded, "closing"))


def test_a_closed_object_adds_nothing_and_drops_nothing_by_force(embedded: Endpoint) -> None:
    """Contract 4.4: `close`, `add` and `discard` after `close` raise nothing and do nothing."""
    r = Redis(embedded.host, embedded.port, client_name="closed")
    streams = r.streams("s", block=None)
    streams.close()
    streams.add(t=0)
    streams.discard("s")
    streams.close()
    assert list(streams) == []
    wait_until(lambda: not clients_called(embedded, "closed"))
