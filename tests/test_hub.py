"""`Hub` for threads and for asyncio: the hub itself, over real servers.

What a follower does, the contract's tests check over `tests/hubs.py`, and which entries it gets,
`tests/test_core_hub.py`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import pystreamredis
import pystreamredis.asyncio
from pystreamredis import ConnectionError, Hub, Redis, RedisError
from tests.proxy import Proxy
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.servers import Endpoint

AsyncHub = pystreamredis.asyncio.Hub
NAME = "the-hub"


def write(server: Endpoint, stream: str, *numbers: int) -> None:
    server.pipeline([("XADD", stream, f"{number}-0", "n", str(number)) for number in numbers])


def ids_of(messages: Any) -> list[bytes]:
    return [message[1] for message in messages]


def connections(server: Endpoint) -> int:
    """Count the connections of the hub."""
    lines = server.command("CLIENT", "LIST").decode().splitlines()
    return sum(f"name={NAME}" in line for line in lines)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, LONG))


# Making one.


@pytest.mark.parametrize("kind", [Hub, AsyncHub])
def test_bad_options_are_refused_before_anything_is_sent(kind: Any) -> None:
    with pytest.raises(TypeError, match="unknown option 'run'"):
        kind("localhost", run=0)
    with pytest.raises(ValueError, match="connections is 0"):
        kind(connections=0)
    with pytest.raises(TypeError, match="source 'fra' is of type str"):
        kind.from_sources({"fra": "localhost"})
    hub = kind()
    with pytest.raises(ValueError, match="no streams are given"):
        hub.follow()
    with pytest.raises(TypeError, match="'connections', which is an option"):
        hub.follow(s=0, connections=2)
    with pytest.raises(ValueError, match="hold is 'exact'"):
        hub.follow(s=0, hold="exact")
    with pytest.raises(ValueError, match="stream 's': start 'then'"):
        hub.follow(s="then")


@pytest.mark.parametrize("kind", [Hub, AsyncHub])
def test_a_hub_shows_no_secret_and_cannot_be_pickled(kind: Any) -> None:
    for hub in (kind(password="s3cret"), kind.from_url("redis://:s3cret@localhost/1")):
        assert repr(hub) == "<Hub at localhost:6379, 0 followers>"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(hub)
    assert kind[bytes].__origin__ is kind


# Threads.


def test_followers_in_many_threads_share_a_few_connections(one_server: Endpoint) -> None:
    hub = Hub(one_server.host, one_server.port, connections=2, client_name=NAME)
    found: dict[int, list[bytes]] = {}

    def follow(number: int) -> None:
        with hub.follow({f"s{number % 3}": 0}, block=0) as messages:
            found[number] = [next(messages)[1] for _ in range(4)]

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for number in range(1, 5):
        for stream in range(3):
            write(one_server, f"s{stream}", number)
        # Two that block, one for those behind, and one that came while both blocked.
        assert connections(one_server) <= 4
    for thread in threads:
        thread.join(LONG)
    assert found == {n: [b"1-0", b"2-0", b"3-0", b"4-0"] for n in range(12)}
    wait_until(lambda: not connections(one_server))


def test_close_ends_all_followers_and_the_thread(one_server: Endpoint) -> None:
    write(one_server, "s", 1)
    with Hub(one_server.host, one_server.port, client_name=NAME) as hub:
        followers = [hub.follow(s=0, block=0) for _ in range(3)]
        assert [ids_of([next(messages)]) for messages in followers] == [[b"1-0"]] * 3
        ended = threading.Thread(target=lambda: list(followers[0]))
        ended.start()
    ended.join(LONG)
    assert not ended.is_alive()
    assert [list(messages) for messages in followers] == [[]] * 3
    wait_until(lambda: not connections(one_server))
    wait_until(lambda: not any("hub" in thread.name for thread in threading.enumerate()))
    # It can be used again.
    with hub.follow(s=0, block=10) as messages:
        assert ids_of(messages) == [b"1-0"]


def test_streams_are_added_and_dropped_while_another_thread_waits(one_server: Endpoint) -> None:
    with Hub(one_server.host, one_server.port) as hub, hub.follow(s=None, block=0) as messages:
        found: list[Any] = []
        reader = threading.Thread(target=lambda: found.extend(next(messages) for _ in range(2)))
        reader.start()
        messages.add(t=0)
        write(one_server, "t", 1)
        wait_until(lambda: len(found) == 1)
        messages.discard("t")
        write(one_server, "t", 2)
        write(one_server, "s", 3)
        reader.join(LONG)
        assert [message[:2] for message in found] == [("t", b"1-0"), ("s", b"3-0")]
        assert messages.positions == {"s": b"3-0"}


def test_the_constructor_of_a_follower_raises_what_fails() -> None:
    with Hub("127.0.0.1", 1) as hub:
        with pytest.raises(ConnectionError, match="cannot connect"):
            hub.follow(s=0)
        with hub.follow(s=0, raise_connection_exceptions=False, block=1) as messages:
            assert isinstance(next(messages), ConnectionError)
            assert isinstance(next(messages), ConnectionError)


def test_an_error_that_nobody_expected_reaches_the_followers(
    one_server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(one_server, "s", 1)
    with Hub(one_server.host, one_server.port) as hub, hub.follow(s=0) as messages:
        assert next(messages)[1] == b"1-0"

        def fail(*_: object) -> None:
            monkeypatch.undo()
            raise ZeroDivisionError

        monkeypatch.setattr("pystreamredis.core.hub.Hub.pass_on", fail)
        write(one_server, "s", 2)
        with pytest.raises(RedisError, match="the hub has failed, which is a bug"):
            next(messages)
        assert next(messages)[1] == b"2-0"


# asyncio.


def test_followers_of_many_tasks_share_a_few_connections(one_server: Endpoint) -> None:
    async def follow(hub: Any, number: int) -> list[bytes]:
        async with hub.follow({f"s{number % 30}": 0}, block=0) as messages:
            return [(await anext(messages))[1] for _ in range(3)]

    async def main() -> list[list[bytes]]:
        async with AsyncHub(
            one_server.host, one_server.port, connections=2, client_name=NAME
        ) as hub:
            tasks = [asyncio.ensure_future(follow(hub, number)) for number in range(90)]
            for number in range(1, 4):
                for stream in range(30):
                    write(one_server, f"s{stream}", number)
                await asyncio.sleep(0.05)
                assert connections(one_server) <= 4
            return await asyncio.gather(*tasks)

    assert run(main()) == [[b"1-0", b"2-0", b"3-0"]] * 90
    wait_until(lambda: not connections(one_server))


def test_a_task_that_is_cancelled_loses_nothing(one_server: Endpoint) -> None:
    async def main() -> list[bytes]:
        hub, found = AsyncHub(one_server.host, one_server.port), []
        async with hub, hub.follow(s=0, block=0) as messages:
            for number in range(1, 20):
                waiting = asyncio.ensure_future(anext(messages))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                write(one_server, "s", number)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    found.append((await waiting)[1])
            while len(found) < 19:
                found.append((await anext(messages))[1])
        return found

    assert run(main()) == [b"%d-0" % number for number in range(1, 20)]


def test_a_follower_that_is_forgotten_leaves(one_server: Endpoint) -> None:
    async def main() -> None:
        hub = AsyncHub(one_server.host, one_server.port)
        async with hub.follow(s=0, block=0) as messages:
            await hub.follow(s=0).__aenter__()
            gc.collect()
            write(one_server, "s", 1)
            await anext(messages)
            assert repr(hub).endswith("1 followers>")
        await hub.aclose()

    run(main())


def test_a_hub_belongs_to_one_event_loop_at_a_time(one_server: Endpoint) -> None:
    write(one_server, "s", 1)
    hub = AsyncHub(one_server.host, one_server.port)

    async def follow() -> list[bytes]:
        async with hub.follow(s=0, block=10) as messages:
            found = [message[1] async for message in messages]
        await hub.aclose()
        return found

    assert run(follow()) == [b"1-0"]
    assert run(follow()) == [b"1-0"]


def test_a_hub_that_is_in_use_on_another_event_loop_says_so(one_server: Endpoint) -> None:
    hub = AsyncHub(one_server.host, one_server.port)

    async def follow() -> None:
        async with hub.follow(s=0):
            pass

    async def main() -> None:
        async with hub.follow(s=0):
            with pytest.raises(RuntimeError, match="another event loop; make one on each"):
                await asyncio.to_thread(asyncio.run, follow())
        await hub.aclose()

    run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_hub_of_the_parent_says_so(one_server: Endpoint) -> None:
    code = f"""
import os
from pystreamredis import Hub
hub = Hub("{one_server.host}", {one_server.port})
with hub.follow(s=0, block=10) as messages:
    child = os.fork()
    for use in (lambda: hub.follow(s=0), lambda: next(messages)) if not child else ():
        try:
            use()
        except RuntimeError as error:
            print(error, flush=True)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    print(list(messages))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=LONG, text=True
    )
    assert done.stderr == ""
    first, second, parent = done.stdout.splitlines()
    assert "parent of this process" in first
    assert "parent of this process" in second
    assert parent == "[]"


def test_several_servers_are_followed(one_server: Endpoint) -> None:
    write(one_server, "s", 1)
    sources = {"a": Redis(**one_server.options), "b": Redis(**one_server.options)}
    with Hub.from_sources(sources) as hub, hub.follow(s=0, block=10) as messages:
        assert [message[:2] for message in messages] == [
            (("a", "s"), b"1-0"),
            (("b", "s"), b"1-0"),
        ]
        assert messages.positions == {"a": {"s": b"1-0"}, "b": {"s": b"1-0"}}


# Everything at once.


async def follow_some(hub: Any, rng: Random, streams: int) -> tuple[str, bytes | None, list[bytes]]:
    """Follow a stream for a while, at the pace of whoever it is; return what was found."""
    name, found = f"s{rng.randrange(streams)}", []
    start = rng.choice([0, None])
    async with hub.follow({name: start}, block=50, raise_connection_exceptions=False) as messages:
        begin = messages.positions[name]  # None if the connection was broken right then
        for _ in range(rng.randint(1, 200)):
            async for item in messages:
                if isinstance(item, tuple):
                    found.append(item[1])
                if rng.random() < 0.02:
                    await asyncio.sleep(rng.random() / 10)
                break
    return name, begin, found


def test_nothing_is_lost_or_repeated_while_followers_come_and_go(one_server: Endpoint) -> None:
    """Contract 9.1: over connections that break, each compared with the whole stream."""
    rng, streams, followers = Random("hub"), 5, 40

    async def write_and_break(proxy: Proxy) -> None:
        for number in range(1, 301):
            names = [f"s{rng.randrange(streams)}" for _ in range(rng.randint(1, 20))]
            one_server.pipeline([("XADD", name, "*", "n", str(number)) for name in names])
            if number % 60 == 0:
                proxy.drop_all(reset=rng.random() < 0.5)
            await asyncio.sleep(0.005)

    async def main() -> list[tuple[str, bytes | None, list[bytes]]]:
        with Proxy(one_server.host, one_server.port) as proxy:
            async with AsyncHub(proxy.host, proxy.port) as hub:
                writer = asyncio.ensure_future(write_and_break(proxy))
                tasks = []
                for _ in range(followers):
                    tasks.append(asyncio.ensure_future(follow_some(hub, rng, streams)))
                    await asyncio.sleep(0.02)
                await writer
                return await asyncio.gather(*tasks)

    total = 0
    for name, begin, found in run(main()):
        entries = [entry[0] for entry in one_server.command("XRANGE", name, "-", "+")]
        at = entries.index(found[0]) if begin is None and found else 0
        after = [e for e in entries[at:] if begin is None or number_of(e) > number_of(begin)]
        assert found == after[: len(found)]
        total += len(found)
    assert total > 1000


def number_of(entry_id: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split(b"-")))
