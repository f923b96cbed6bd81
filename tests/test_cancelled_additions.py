"""Over asyncio, a cancelled `add` leaves no reply on its way (contract 2.5, 6.5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pystreamredis.asyncio import Streams
from tests.live import LiveServer
from tests.peer import Conversation, Peer
from tests.scripted import at, read
from tests.servers import LONG

HELD = {"s": ["1-0"], "t": ["5-0"]}


class SlowServer:
    """Answers each read some turns of the event loop later, so that all can come in between."""

    def __init__(self) -> None:
        self.streams = {name: ids[:] for name, ids in HELD.items()}

    def __call__(self, conversation: Conversation) -> None:
        while True:
            command = conversation.expect("XREAD")
            conversation.pause(0.004)
            conversation.reply(read(command, self.streams))


@pytest.mark.parametrize("start", [0, None, "+"])
@pytest.mark.parametrize("turns", [*range(12), 16, 24, 32])
def test_what_was_followed_goes_on_after_an_add_that_was_cancelled(turns: int, start: Any) -> None:
    """Contract 2.5, 6.5: the next reply is that to the next read, whichever was cut off."""
    server = SlowServer()

    async def main() -> None:
        async with Streams(**at(peer), s=0, block=2000) as streams:
            assert (await anext(streams))[:2] == ("s", b"1-0")
            adding = asyncio.ensure_future(streams.add(t=start))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            adding.cancel()
            was_added = not (await asyncio.gather(adding, return_exceptions=True))[0]
            assert was_added == ("t" in streams.positions)
            server.streams["s"].append("7-0")
            expected = [("s", b"7-0")]
            if was_added and start is not None:
                expected.insert(0, ("t", b"5-0"))
            assert [(await anext(streams))[:2] for _ in expected] == expected
            if not was_added:
                await streams.add(t=0)
                assert (await anext(streams))[:2] == ("t", b"5-0")
            server.streams["t"].append("8-0")
            assert (await anext(streams))[:2] == ("t", b"8-0")

    with Peer(server) as peer:
        asyncio.run(asyncio.wait_for(main(), LONG))


def test_additions_that_are_cancelled_again_and_again_are_made_at_last() -> None:
    """Contract 2.5: over one server, with one that waits for messages meanwhile."""
    server = LiveServer(s=["1-0"], t=[])

    async def main() -> None:
        async with Streams(**at(peer), s=0, block=0) as streams:
            assert (await anext(streams))[1] == b"1-0"
            for number in range(2, 30):
                adding = asyncio.ensure_future(streams.add(t=0))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                adding.cancel()
                await asyncio.gather(adding, return_exceptions=True)
                if "t" in streams.positions:
                    streams.discard("t")
                server.streams["s"].append(f"{number}-0")
                assert (await anext(streams))[:2] == ("s", b"%d-0" % number)
            await streams.add(t=0)
            server.streams["t"].append("99-0")
            assert (await anext(streams))[:2] == ("t", b"99-0")

    with Peer(server) as peer:
        asyncio.run(asyncio.wait_for(main(), LONG))


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 8])
def test_a_task_that_waits_goes_on_after_an_add_that_was_cancelled(turns: int) -> None:
    """Contract 2.5: the waiting task carries out the addition, and stops when it is taken back."""
    server = SlowServer()

    async def main() -> None:
        async with Streams(**at(peer), s="1-0", block=0) as streams:
            waiting = asyncio.ensure_future(anext(streams))
            await asyncio.sleep(0.01)
            adding = asyncio.ensure_future(streams.add("t"))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            adding.cancel()
            was_added = not (await asyncio.gather(adding, return_exceptions=True))[0]
            server.streams["s"].append("7-0")
            assert (await waiting)[:2] == ("s", b"7-0")
            assert was_added == ("t" in streams.positions)
            if not was_added:
                await streams.add(t=0)
                assert (await anext(streams))[:2] == ("t", b"5-0")

    with Peer(server) as peer:
        asyncio.run(asyncio.wait_for(main(), LONG))
