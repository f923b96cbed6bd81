"""What is asyncio's own: cancelling, closing, several tasks, when "now" is, and other event loops.

That all else is as in the blocking shell is shown by the contract's tests, which run over both.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import warnings
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from threading import Semaphore
from time import monotonic
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

import pystreamredis.asyncio
from pystreamredis import ConnectionError, MessageError, ResponseError
from pystreamredis.asyncio import Redis, Streams
from pystreamredis.core.reader import Reader
from pystreamredis.io.connection import Connection
from tests.peer import Conversation, Peer, closed_port
from tests.scripted import entries
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.servers import Endpoint

# Longer than any wait here may take.
LONG = 120.0
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine in debug mode; nothing may be left open or be told by the loop."""
    if request.param == "uvloop" and find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")

    def run_it(main: Coroutine[Any, Any, Any]) -> Any:
        gc.collect()  # what tests before have left, if anything, is not this one's
        make = asyncio.new_event_loop
        if request.param == "uvloop":
            make = import_module("uvloop").new_event_loop
        loop = make()
        told: list[Any] = []
        loop.set_exception_handler(lambda _, context: told.append(context))
        loop.set_debug(True)
        loop.slow_callback_duration = LONG
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                result = loop.run_until_complete(asyncio.wait_for(main, LONG))
                assert asyncio.all_tasks(loop) == set()
            finally:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()
            gc.collect()
        assert told == []
        assert [str(warning.message) for warning in warned] == []
        return result

    return run_it


def write(server: Endpoint, stream: str, *ids: str) -> None:
    for entry_id in ids:
        server.command("XADD", stream, entry_id, "f", "v")


def follow(server: Endpoint, *args: Any, **options: Any) -> Streams:
    return Streams(server.host, server.port, *args, **options)


def ids_of(messages: Any) -> list[bytes]:
    return [message[1] for message in messages]


async def ask(streams: Streams) -> Any:
    """Ask for a message; asyncio wants a coroutine, not any awaitable."""
    return await anext(streams)


async def until_waiting(task: asyncio.Task[Any]) -> None:
    """Let a task go on until it has waited for a while."""
    await asyncio.sleep(0.05)
    assert not task.done()


# Cancelling


async def step(awaitable: Any, at: int) -> tuple[bool, Any]:
    """Await, and be cancelled at the n-th suspension: tell whether that came, and the result."""
    task = asyncio.ensure_future(awaitable)
    steps = 0
    while not task.done() and steps < at:
        # One turn of the event loop, in which sockets are looked at, too.
        await asyncio.sleep(0.0002)
        steps += 1
    is_cut = task.cancel()
    try:
        return is_cut, (await task,)
    except asyncio.CancelledError:
        return True, ()
    except StopAsyncIteration:
        return is_cut, None


@pytest.mark.parametrize("options", [{}, {"protocol": 3, "client_name": "x"}, {"hold": 2}], ids=str)
def test_being_cancelled_anywhere_loses_and_repeats_nothing(
    one_server: Endpoint, run: Any, options: dict[str, Any]
) -> None:
    """Each message is asked for again and again, cancelled one turn of the loop later each time."""
    expected = [f"{i}-0" for i in range(1, 31)]
    write(one_server, "a", *expected[::2])
    write(one_server, "b", *expected[1::2])

    async def main() -> tuple[list[bytes], int]:
        found: list[Any] = []
        cut = 0
        async with follow(one_server, a=0, b=0, count=2, block=10, **options) as streams:
            for _ in range(len(expected)):
                for at in range(1000):
                    is_cut, result = await step(ask(streams), at)
                    cut += is_cut
                    if result:
                        found += result
                        break
            assert streams.positions == {"a": b"29-0", "b": b"30-0"}
        return ids_of(found), cut

    found, cut = run(main())
    assert found == [entry_id.encode() for entry_id in expected]
    assert cut > 20


def test_being_cancelled_while_it_connects_and_logs_in_loses_nothing(
    one_server: Endpoint, run: Any
) -> None:
    """From the first turn of the loop to the first message."""
    write(one_server, "s", "1-0", "2-0")

    async def main() -> None:
        for at in range(40):
            streams = Streams(one_server.host, one_server.port, s=0, protocol=3, block=1000)
            _, first = await step(ask(streams), at)
            found = list(first or ())
            while len(found) < 2:
                found.append(await anext(streams))
            assert ids_of(found) == [b"1-0", b"2-0"]
            await streams.aclose()

    run(main())


def test_short_timeouts_around_each_message_get_a_connection_all_the_same(run: Any) -> None:
    """A connect that takes longer than they are goes on meanwhile."""

    async def main() -> list[Any]:
        streams = Streams(host, s=0, block=None)
        for _ in range(100):
            try:
                return [message async for message in streams]
            except ConnectionError as failure:
                await streams.aclose()
                return [failure]
        return []

    async def impatient() -> Any:
        streams = Streams(host, s=0, block=0)
        try:
            while True:
                try:
                    return await asyncio.wait_for(ask(streams), 0.02)
                except TimeoutError:
                    continue
                except ConnectionError as failure:
                    return failure
        finally:
            await streams.aclose()

    asked: list[float] = []

    def host() -> tuple[str, int]:
        asked.append(monotonic())
        while monotonic() < asked[0] + 0.2:
            pass
        return "127.0.0.1", closed_port()

    assert isinstance(run(impatient()), ConnectionError)
    assert len(asked) == 1
    assert isinstance(run(main())[0], ConnectionError)


def test_two_exceptions_in_a_row_lose_and_repeat_nothing(
    one_server: Endpoint, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of signal handlers, say: the second one before the first one was tidied up after."""
    write(one_server, "s", *(f"{i}-0" for i in range(1, 10)))

    async def main() -> None:
        async with follow(one_server, s=0, count=2, block=None) as streams:
            with monkeypatch.context() as patched:
                # While messages are out of the merge, and not handed over yet.
                for name in ("step", "rewind"):
                    patched.setattr(Reader, name, Mock(side_effect=KeyError))
                with pytest.raises(KeyError):
                    await anext(streams)
            begin = Mock(side_effect=Connection.begin)
            monkeypatch.setattr(Connection, "begin", lambda it: begin(it))
            found = [message async for message in streams]
            assert ids_of(found) == [b"%d-0" % i for i in range(1, 10)]
            assert begin.call_count == 1  # it was tidied up once

    run(main())


def test_a_cancelled_add_adds_nothing(one_server: Endpoint, run: Any) -> None:
    """And what was followed before goes on."""
    write(one_server, "s", "1-0", "2-0")

    async def main() -> None:
        for at in range(12):
            async with follow(one_server, s=0, block=20) as streams:
                assert (await anext(streams))[1] == b"1-0"
                _, added = await step(streams.add(t=0), at)
                assert ("t" in streams.positions) == bool(added)
                assert ids_of([message async for message in streams]) == [b"2-0"]

    run(main())


# Closing


@pytest.mark.parametrize("block", [0, 600_000])
def test_aclose_from_another_task_ends_a_wait(one_server: Endpoint, run: Any, block: int) -> None:
    """Contract 4.4: at once, and the iteration stops."""
    write(one_server, "s", "1-0")

    async def main() -> None:
        streams = follow(one_server, s=0, block=block)
        taken = [await anext(streams)]

        async def take() -> None:
            taken.extend([message async for message in streams])

        task = asyncio.create_task(take())
        await until_waiting(task)
        await streams.aclose()
        await task
        assert ids_of(taken) == [b"1-0"]
        assert streams.positions == {"s": b"1-0"}
        await streams.aclose()
        assert [message async for message in streams] == []

    run(main())


def test_aclose_ends_a_connect(run: Any) -> None:
    """To a peer that takes the connection and says nothing in the TLS handshake."""

    async def main() -> None:
        with Peer(Conversation.stay_silent) as peer:
            options: dict[str, Any] = {"ssl": True, "block": 0, "socket_connect_timeout": 600}
            streams = Streams("127.0.0.1", peer.port, s=0, **options)
            task = asyncio.create_task(ask(streams))
            await until_waiting(task)
            await streams.aclose()
            with pytest.raises(StopAsyncIteration):
                await task

    run(main())


def test_aclose_ends_the_wait_before_another_try(run: Any) -> None:
    async def main() -> None:
        streams = Streams(
            "127.0.0.1", closed_port(), s=0, block=600_000, raise_connection_exceptions=False
        )
        assert isinstance(await anext(streams), ConnectionError)
        task = asyncio.create_task(ask(streams))
        await until_waiting(task)
        await streams.aclose()
        with pytest.raises(StopAsyncIteration):
            await task

    run(main())


def test_aclose_at_any_moment_leaves_nothing_open(one_server: Endpoint, run: Any) -> None:
    """What was handed over up to then is without gaps."""
    write(one_server, "s", *(f"{i}-0" for i in range(1, 51)))

    async def main() -> None:
        for pause in range(30):
            streams = follow(one_server, s=0, block=0, count=5)
            found: list[Any] = []

            async def take(streams: Streams, found: list[Any]) -> None:
                async for message in streams:
                    found.append(message)  # noqa: PERF401  # seen while it goes on

            task = asyncio.create_task(take(streams, found))
            for _ in range(pause):
                await asyncio.sleep(0)
            await streams.aclose()
            await task
            assert ids_of(found) == [b"%d-0" % i for i in range(1, len(found) + 1)]

    run(main())


def test_aclose_that_is_cancelled_closes_all_connections(one_server: Endpoint, run: Any) -> None:
    """Contract 4.4: nobody could close them any more."""

    async def main() -> None:
        names = dict.fromkeys("abcd", 0)
        streams = follow(one_server, names, connections=4, client_name="many", block=50)
        assert [item async for item in streams] == []
        closing = asyncio.ensure_future(streams.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        await streams.aclose()
        await asyncio.to_thread(
            wait_until, lambda: b"name=many" not in one_server.command("CLIENT", "LIST")
        )

    run(main())


def test_a_busy_loop_takes_no_other_connection_for_silent(  # noqa: C901
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 5.5: its answer is there, only the event loop has not looked for it."""
    passed = 0.0
    for module in ("connection", "engine", "event_loop"):
        clock = f"pystreamredis.io.{module}.monotonic"
        monkeypatch.setattr(clock, lambda: monotonic() + passed)
    came, may_answer, answered = ({n: Semaphore(0) for n in (b"a", b"b")} for _ in range(3))

    def answer(conversation: Conversation) -> None:
        for at in count(1):
            name = conversation.expect("XREAD")[-2]
            came[name].release()
            assert may_answer[name].acquire(timeout=LONG)
            conversation.reply(entries("a", f"{at}-0") if name == b"a" else None)
            answered[name].release()

    def have_answered(name: bytes) -> None:
        may_answer[name].release()
        assert answered[name].acquire(timeout=LONG)

    async def main() -> None:
        nonlocal passed
        with Peer(answer) as peer, ExitStack() as stack:
            for each in may_answer.values():
                each.release()
                stack.callback(each.release, 9)
            streams = Streams(peer.host, peer.port, {"a": 0, "b": 0}, connections=2, block=50)
            async with streams:
                assert (await ask(streams))[1] == b"1-0"
                for each in (*answered.values(), *came.values()):
                    each.acquire()
                task = asyncio.create_task(ask(streams))
                for each in came.values():
                    while not each.acquire(blocking=False):
                        await asyncio.sleep(0.01)
                # Both answers come while the event loop is busy for long.
                have_answered(b"b")
                have_answered(b"a")
                passed = 100.0
                assert (await task)[1] == b"2-0"
                for each in may_answer.values():
                    each.release(100)
                # Before it a failure would be reported.
                assert (await ask(streams))[1] == b"3-0"

    run(main())


def test_the_connection_is_closed_by_async_with(one_server: Endpoint, run: Any) -> None:
    def clients() -> int:
        found: int = one_server.command("CLIENT", "LIST").count(b"name=closing")
        return found

    async def main() -> None:
        r = Redis(one_server.host, one_server.port, client_name="closing")

        async def fail() -> None:
            async with r.streams("s") as streams:
                assert clients() == 1
                raise KeyError(repr(streams))

        with pytest.raises(KeyError):
            await fail()
        wait_until(lambda: clients() == 0)

    run(main())


# Several tasks


def test_who_waits_does_nothing_else(
    one_server: Endpoint, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 4.1: no loop is busy for as long as nothing comes."""
    steps = 0

    def step(self: Reader, now: float, of: Any = Reader.step) -> Any:
        nonlocal steps
        steps += 1
        return of(self, now)

    monkeypatch.setattr(Reader, "step", step)

    async def main() -> None:
        async with follow(one_server, s=None, block=0) as streams:
            task = asyncio.create_task(ask(streams))
            await until_waiting(task)
            write(one_server, "s", "1-0")
            assert (await task)[1] == b"1-0"

    run(main())
    assert steps < 10


def test_another_event_loop_is_told_that_it_is_not_the_one(one_server: Endpoint, run: Any) -> None:
    """Over its connections nothing would ever be heard there."""

    async def main() -> None:
        async with follow(one_server, s=0, block=None) as streams:

            async def ask_elsewhere() -> None:
                with pytest.raises(RuntimeError, match="belong to another event loop"):
                    await ask(streams)

            await asyncio.to_thread(asyncio.run, ask_elsewhere())

    run(main())


FORKING = """
import asyncio, os, sys, warnings
from pystreamredis.asyncio import Streams
warnings.simplefilter("ignore")

async def ask():
    return await asyncio.wait_for(anext(streams), 60)

loop = asyncio.new_event_loop()
on_it = loop.run_until_complete
streams = Streams(**eval(sys.argv[1]), streams=["fork:a", "fork:b"], connections=2, block=0)
on_it(streams.__aenter__())
pid = os.fork()
if not pid:
    run = on_it if sys.argv[2] == "the same" else asyncio.run
    try:
        run(ask())
    except RuntimeError as error:
        print(error, flush=True)
    run(streams.aclose())
    os._exit(0)
os.waitpid(pid, 0)
print("ready", flush=True)
print(on_it(ask())[1], flush=True)
on_it(streams.aclose())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
@pytest.mark.parametrize("loop", ["the same", "another"])
def test_a_child_of_a_fork_is_told_and_does_its_parent_no_harm(
    one_server: Endpoint, loop: str
) -> None:
    """It would take the parent's replies, and have its event loop look for them no more."""
    command = [sys.executable, "-c", FORKING, repr(one_server.options), loop]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert "or to the parent of this process" in parent.stdout.readline()
        assert parent.stdout.readline() == "ready\n"
        one_server.command("XADD", "fork:b", "1-0", "f", "v")
        assert parent.stdout.readline() == "b'1-0'\n"
    assert parent.returncode == 0


def test_it_is_told_while_a_call_goes_on(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A wait may be without end, and who runs the program is to know meanwhile."""
    caplog.set_level(logging.INFO, "pystreamredis")

    def answer(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.reply(None)
        conversation.expect("XREAD")
        wait_until(lambda: "connected to" in caplog.text)
        conversation.reply(entries("s", "1-0"))

    async def main() -> None:
        with Peer(answer) as peer:
            async with Streams(peer.host, peer.port, s=0, block=0) as streams:
                assert (await anext(streams))[1] == b"1-0"

    run(main())


def test_two_tasks_do_not_wait_at_once(one_server: Endpoint, run: Any) -> None:
    """The second is refused, and does no harm to the first; streams may come and go (2.5)."""

    async def main() -> None:
        async with follow(one_server, s=0, block=0) as streams:
            task = asyncio.create_task(ask(streams))
            await until_waiting(task)
            with pytest.raises(RuntimeError, match="another task"):
                await ask(streams)
            await streams.add(t=0)
            assert list(streams.positions) == ["s", "t"]
            streams.discard("t")
            write(one_server, "s", "1-0")
            assert (await task)[1] == b"1-0"
            assert list(streams.positions) == ["s"]

    run(main())


def test_other_tasks_have_their_turn_while_a_history_is_read(
    one_server: Endpoint, run: Any
) -> None:
    """Between two batches, also where each message is there when it is asked for."""
    one_server.pipeline([["XADD", "s", f"{i}-0", "f", "v"] for i in range(1, 5001)])

    async def main() -> int:
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.create_task(count_turns())
        async with follow(one_server, s=0, block=None, count=100) as streams:
            assert len([message async for message in streams]) == 5000
        other.cancel()
        await asyncio.wait([other])
        return turns

    assert run(main()) >= 5000 // 100


# When "now" is


@pytest.mark.parametrize("way", ["async with", "connect", "first message", "from_url", "redis"])
def test_now_is_when_it_connects(one_server: Endpoint, run: Any, way: str) -> None:
    """The constructor connects to nothing."""

    async def main() -> None:
        url = f"redis://{one_server.host}:{one_server.port}"
        options: dict[str, Any] = {"s": None, "block": 50}
        if way == "from_url":
            streams = Streams.from_url(url, **options)
        elif way == "redis":
            streams = Redis.from_url(url).streams(**options)
        else:
            streams = follow(one_server, **options)
        assert streams.positions == {"s": None}
        write(one_server, "s", "1-0")
        if way == "connect":
            streams = await Streams.connect(one_server.host, one_server.port, **options)
        elif way == "first message":
            assert [message async for message in streams] == []
        else:
            assert await streams.__aenter__() is streams
        assert streams.positions == {"s": b"1-0"}
        write(one_server, "s", "2-0")
        assert ids_of([message async for message in streams]) == [b"2-0"]
        await streams.aclose()

    run(main())


def test_bad_input_is_told_by_the_constructor() -> None:
    """Contract 7: before there is an event loop."""
    with pytest.raises(ValueError, match="blok"):
        Streams(s=0, blok=-5)
    with pytest.raises(ValueError, match="no streams"):
        Streams()


def test_what_cannot_be_connected_is_closed_and_raised(one_server: Endpoint, run: Any) -> None:
    """Contract 5.2, 5.6: as the blocking constructor does."""
    one_server.command("SET", "s", "a string")

    async def main() -> None:
        with pytest.raises(ResponseError, match="'s'"):
            await Streams.connect(one_server.host, one_server.port, s=None)
        with pytest.raises(ConnectionError):
            await Streams.connect("127.0.0.1", closed_port(), s=0)

    run(main())


# The callers' own code


def test_an_error_of_a_callers_callable_stops_one_message_alone(
    one_server: Endpoint, run: Any
) -> None:
    write(one_server, "s", "1-0", "2-0")
    fails = [True]

    def fields(pairs: Any) -> Any:
        if fails.pop() if fails else False:
            raise ZeroDivisionError
        return dict(pairs)

    async def main() -> None:
        async with follow(one_server, s=0, block=None, fields=fields) as streams:
            with pytest.raises(MessageError) as caught:
                await anext(streams)
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            assert ids_of([message async for message in streams]) == [b"2-0"]

    run(main())


def test_who_does_not_ask_has_nothing_pile_up(run: Any) -> None:
    """A peer that sends without end is read no further than some chunks, until it is asked."""
    sent = 0
    pushes = b">1\r\n$60000\r\n%b\r\n" % (b"x" * 60_000) * 10

    def flood(conversation: Conversation) -> None:
        nonlocal sent
        conversation.expect()
        conversation.reply(entries("s", "1-0"))
        while sent < 60_000_000:
            conversation.send(pushes)
            sent += len(pushes)
        conversation.reply(entries("s", "2-0"))

    async def main() -> None:
        with Peer(flood) as peer:
            options: dict[str, Any] = {"block": None, "socket_timeout": LONG}
            async with Streams("127.0.0.1", peer.port, s=0, **options) as streams:
                await anext(streams)
                before = -1
                while sent != before or not before:
                    before = sent
                    await asyncio.sleep(0.5)
                # What the kernel takes on its own is some MB at most.
                assert before < 50_000_000
                assert (await anext(streams))[1] == b"2-0"

    run(main())


def test_the_names_are_those_of_the_contract() -> None:
    """Contract 1."""
    assert pystreamredis.asyncio.__all__ == ["Hub", "Redis", "Streams", "StrictRedis"]
    assert pystreamredis.asyncio.StrictRedis is Redis
    assert sys.modules["asyncio"] is asyncio is not pystreamredis.asyncio
