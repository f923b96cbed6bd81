"""The part that is trio's own: cancelling, closing, several tasks, and other event loops.

That all else is as in the other shells is shown by those of the contract's tests that run over it.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import pystreamredis.trio
from pystreamredis import ConnectionError, ResponseError
from pystreamredis.trio import Redis, Streams
from tests.peer import Conversation, Peer, closed_port
from tests.servers import LONG

if TYPE_CHECKING:
    from tests.servers import Endpoint


def run(main: Any) -> None:
    """Run a function as the main task; nothing may be left open."""

    async def bounded() -> None:
        with trio.fail_after(LONG):
            await main()

    gc.collect()  # what tests before have left, if anything, is not this one's
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trio.run(bounded, strict_exception_groups=True)
        gc.collect()
    assert [str(warning.message) for warning in warned] == []


def write(server: Endpoint, stream: str, *ids: str) -> None:
    for entry_id in ids:
        server.command("XADD", stream, entry_id, "f", "v")


def follow(server: Endpoint, *args: Any, **options: Any) -> Streams:
    return Streams(server.host, server.port, *args, **options)


def ids_of(messages: Any) -> list[bytes]:
    return [message[1] for message in messages]


async def step(streams: Streams, at: int) -> list[Any]:
    """Ask for a message, and cancel that some turns of the event loop later; return what came."""
    found: list[Any] = []

    async def ask() -> None:
        found.append(await anext(streams))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        for _ in range(at):
            # In which sockets are looked at, too.
            await trio.sleep(0.0002)
            if found:
                break
        nursery.cancel_scope.cancel()
    return found


@pytest.mark.parametrize("options", [{}, {"protocol": 3}, {"connections": 2}], ids=str)
def test_being_cancelled_anywhere_loses_and_repeats_nothing(
    one_server: Endpoint, options: dict[str, Any]
) -> None:
    """Each message is asked for again and again, cancelled one turn of the loop later each time."""
    expected = [f"{i}-0" for i in range(1, 21)]
    write(one_server, "a", *expected[::2])
    write(one_server, "b", *expected[1::2])

    async def main() -> None:
        found: list[Any] = []
        async with follow(one_server, a=0, b=0, count=2, block=0, **options) as streams:
            while len(found) < len(expected):
                for at in range(1000):
                    new = await step(streams, at)
                    found += new
                    if new:
                        break
            assert streams.positions == {"a": b"19-0", "b": b"20-0"}
        assert ids_of(found) == [entry_id.encode() for entry_id in expected]

    run(main)


@pytest.mark.parametrize("connections", [1, 2])
def test_aclose_from_another_task_ends_a_wait(one_server: Endpoint, connections: int) -> None:
    """Contract 4.4: at once, and the iteration stops."""
    write(one_server, "s", "1-0")

    async def main() -> None:
        streams = follow(one_server, s=0, t=0, block=0, connections=connections)
        taken = [await anext(streams)]

        async def take() -> None:
            taken.extend([message async for message in streams])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            await streams.aclose()
        assert ids_of(taken) == [b"1-0"]
        assert streams.positions == {"s": b"1-0", "t": b"0-0"}
        await streams.aclose()
        assert [message async for message in streams] == []

    run(main)


def test_aclose_ends_a_connect() -> None:
    """To a peer that takes the connection and says nothing in the TLS handshake."""

    async def main() -> None:
        with Peer(Conversation.stay_silent) as peer:
            options: dict[str, Any] = {"ssl": True, "block": 0, "socket_connect_timeout": 600}
            streams = Streams("127.0.0.1", peer.port, s=0, **options)

            async def ask() -> None:
                with pytest.raises(StopAsyncIteration):
                    await anext(streams)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await streams.aclose()

    run(main)


@pytest.mark.parametrize("connections", [1, 3])
def test_streams_come_and_go_while_another_task_waits(
    one_server: Endpoint, connections: int
) -> None:
    """Contract 2.5; a second task that would wait is refused, and does no harm to the first."""

    async def main() -> None:
        found: list[Any] = []
        async with follow(one_server, s=0, block=0, connections=connections) as streams:

            async def ask() -> None:
                found.append(await anext(streams))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(RuntimeError, match="another task"):
                    await anext(streams)
                await streams.add(t=0)
                await streams.add(u=None)
                assert list(streams.positions) == ["s", "t", "u"]
                streams.discard("t")
                write(one_server, "t", "1-0")
                write(one_server, "s", "2-0")
            assert ids_of(found) == [b"2-0"]
            with pytest.raises(ValueError, match="given twice"):
                await streams.add("s")
            assert list(streams.positions) == ["s", "u"]

    run(main)


def test_failures_are_raised_and_returned() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionError):
            await Streams.connect("127.0.0.1", closed_port(), s=None)
        failing = Streams(
            "127.0.0.1", closed_port(), s=0, block=1, raise_connection_exceptions=False
        )
        for _ in range(3):
            assert isinstance(await anext(failing), ConnectionError)
        await failing.aclose()

    run(main)


def test_a_refusal_is_raised_and_the_object_stays_good(one_server: Endpoint) -> None:
    one_server.command("SET", "s", "no stream")

    async def main() -> None:
        async with follow(one_server, s=0, block=None) as streams:
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                await anext(streams)
            one_server.command("DEL", "s")
            write(one_server, "s", "1-0")
            assert ids_of([message async for message in streams]) == [b"1-0"]

    run(main)


def test_an_exception_of_a_callers_callable_costs_one_message(one_server: Endpoint) -> None:
    write(one_server, "s", "1-0", "2-0", "3-0")

    def interrupt(pairs: Any) -> dict[Any, Any]:
        data = dict(pairs)
        if not seen:
            seen.append(data)
            raise KeyboardInterrupt
        return data

    seen: list[Any] = []

    async def main() -> None:
        async with follow(one_server, s=0, block=None, fields=interrupt) as streams:
            with pytest.raises(KeyboardInterrupt):
                await anext(streams)
            assert ids_of([message async for message in streams]) == [b"1-0", b"2-0", b"3-0"]

    run(main)


def test_batches_and_several_sources(one_server: Endpoint) -> None:
    write(one_server, "s", "1-0", "2-0", "3-0")

    async def main() -> None:
        here = Redis(one_server.host, one_server.port)
        async with Streams.from_sources({"a": here, "b": here}, s=0, block=None) as streams:
            found = [ids_of(batch) async for batch in streams.batches(4)]
        assert [entry_id for ids in found for entry_id in ids] == [
            b"1-0",
            b"1-0",
            b"2-0",
            b"2-0",
            b"3-0",
            b"3-0",
        ]

    run(main)


def test_another_event_loop_is_refused(one_server: Endpoint) -> None:
    streams = follow(one_server, s=0, block=None)

    async def ask() -> None:
        assert [message async for message in streams] == []

    async def ask_elsewhere() -> None:
        with pytest.raises(RuntimeError, match="belong to another event loop"):
            await anext(streams)
        await streams.aclose()

    run(ask)
    run(ask_elsewhere)


FORKING = """
import os, sys, trio
from pystreamredis.trio import Streams

async def main():
    streams = Streams(**eval(sys.argv[1]), streams=["fork:a", "fork:b"], connections=2, block=0)
    await streams.__aenter__()
    async with trio.open_nursery() as nursery:
        async def ask():
            print((await anext(streams))[1], flush=True)
        nursery.start_soon(ask)
        await trio.sleep(0.05)
        pid = os.fork()
        if not pid:
            try:
                await streams.add("fork:c")
            except RuntimeError as error:
                print(error, flush=True)
            await streams.aclose()
            os._exit(0)
        os.waitpid(pid, 0)
        print("ready", flush=True)
    await streams.aclose()

trio.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_child_of_a_fork_does_its_parent_no_harm(one_server: Endpoint) -> None:
    """It has the same descriptors, by which the parent's event loop watches the sockets."""
    command = [sys.executable, "-W", "ignore", "-c", FORKING, repr(one_server.options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        assert "or to the parent of this process" in next(lines)
        assert next(lines) == "ready\n"
        one_server.command("XADD", "fork:b", "1-0", "f", "v")
        assert next(lines) == "b'1-0'\n"
    assert parent.returncode == 0


def test_asyncio_is_not_imported() -> None:
    code = "import sys, pystreamredis.trio; print('asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=LONG
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_the_names_are_those_of_the_contract() -> None:
    assert pystreamredis.trio.__all__ == ["Redis", "Streams", "StrictRedis"]
    assert pystreamredis.trio.StrictRedis is Redis
    assert repr(Redis("h")) == "<Redis at h:6379, db 0>"
