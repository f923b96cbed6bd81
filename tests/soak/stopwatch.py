"""What the contract bounds in time, measured: how waits end, silence, rest, and `hold`.

Run as a process, it does nothing but end waits, in a reader whose connection is broken
meanwhile like that of others: one line of JSON says where, the end of its input that it
is enough, and one line of JSON says how long each took.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from threading import Event, Thread
from time import monotonic, sleep, thread_time
from typing import TYPE_CHECKING, Any, NamedTuple

from pystreamredis import ConnectionError, Streams, TimeoutError
from tests.peer import CLOSE, Conversation, Expect, Peer, closed_port, deaf_port
from tests.proxy import Proxy
from tests.resp import Client, Error

if TYPE_CHECKING:
    from tests.servers import Server

    Waits = dict[str, list[float]]
    """How long it took to end each wait, in seconds, by how it was ended."""

TRIES = 100
_MOST_TO_END = 0.1
_MOST_CPU = 0.02
# What a busy machine may add to a wait for bytes, in seconds.
_LATE = 0.25
_BLOCK_FOR_EVER, _NOTICED_WITHIN = 0, 25.0


class Figure(NamedTuple):
    """Something measured, and its limit.

    Attributes:
        what: What was measured.
        seen: The result, with its unit.
        limit: What it may be at most; empty if there is no limit.
        is_good: Whether it is within that.
    """

    what: str
    seen: str
    limit: str
    is_good: bool


# Ctrl-C and close() in another thread.


def end_waits(host: str, port: int, is_over: Callable[[], bool], seed: str) -> Waits:
    """Wait for messages that never come, and be ended, again and again."""
    # A shell has what it starts with "&" ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random = Random(seed)
    waits: Waits = {"close()": [], "Ctrl-C": []}
    while not is_over():
        for how, took in waits.items():
            # So that failures are waits, too: for the next try to connect.
            options: dict[str, Any] = {"block": 0, "raise_connection_exceptions": False}
            with Streams(host, port, {"nothing": 0}, **options, socket_timeout=1.0) as streams:
                end = streams.close if how == "close()" else _interrupt
                took.append(_time_to_end(streams, end, random.uniform(0.005, 0.15)))
    return waits


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _time_to_end(streams: Streams, end: Callable[[], None], after: float) -> float:
    began = 0.0
    waits = Event()

    def end_it() -> None:
        nonlocal began
        waits.wait()
        sleep(after)
        began = monotonic()
        end()

    # Not waited for where this ends by SIGTERM.
    thread = Thread(target=end_it, daemon=True)
    thread.start()
    with suppress(KeyboardInterrupt):
        waits.set()
        for _ in streams:
            pass
    took = monotonic() - began
    thread.join()
    return took


def judge_waits(waits: Waits, when: str) -> list[Figure]:
    """Say how long it took. On a busy machine one in a hundred may come late."""
    figures = []
    for how, took in waits.items():
        late = sum(each > _MOST_TO_END for each in took)
        if took:
            figures.append(
                Figure(
                    f"{how} ends a wait, {when}: median and worst of {len(took)}",
                    f"{median(took) * 1000:.1f} and {max(took) * 1000:.1f} ms",
                    f"{_MOST_TO_END * 1000:.0f} ms in 99 of 100",
                    late <= len(took) / 100,
                )
            )
    return figures


# Silence.


def notice_silence(server: Server, block: int | None, timeout: float) -> float:
    """Let a peer fall silent, with its connection open; return how long nobody noticed."""
    key = server.key(f"silent-{block}-{timeout}")
    server.command("XADD", key, "*", "f", "v")
    with (
        Proxy(server.host, server.port) as proxy,
        Streams(proxy.host, proxy.port, {key: 0}, block=block, socket_timeout=timeout) as streams,
    ):
        next(streams)
        proxy.silence()
        began = monotonic()
        while True:
            try:
                next(streams, None)
            except TimeoutError:
                return monotonic() - began


def judge_silence(server: Server) -> list[Figure]:
    """Measure it for options with which it does not take long."""
    figures = []
    for block, timeout in ((None, 0.5), (200, 0.5), (1000, 1.0)):
        took = max(notice_silence(server, block, timeout) for _ in range(3))
        # A read sent before the silence may still be answered, and is followed by another one.
        figures.append(_silence_figure(block, timeout, took, (block or 0) / 1000 + timeout))
    return figures


def judge_connects() -> list[Figure]:
    """Measure how long it takes to give up on a peer with which there is no connection."""
    figures = []
    with deaf_port(full=True) as port, Peer(Conversation.stay_silent) as peer:
        ways: dict[str, dict[str, Any]] = {
            "a host that answers no connect": {"port": port},
            "a peer that answers no TLS handshake": {"port": peer.port, "ssl": True},
        }
        for way, where in ways.items():
            began = monotonic()
            with suppress(TimeoutError):
                Streams("127.0.0.1", **where, socket_connect_timeout=0.5, s=None)
            took = monotonic() - began
            what = f"{way} is given up on, socket_connect_timeout=0.5"
            limit = f"0.5 s + {_LATE:g} s"
            figures.append(Figure(what, f"{took:.2f} s", limit, 0.5 <= took <= 0.5 + _LATE))
    return figures


class LongSilence(Thread):
    """The same where nothing was asked for, in the background, since it takes half a minute."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._took = float("inf")

    def run(self) -> None:
        self._took = notice_silence(self._server, _BLOCK_FOR_EVER, 5.0)

    def judge(self) -> Figure:
        """Wait for its end."""
        self.join(2 * _NOTICED_WITHIN)
        return _silence_figure(_BLOCK_FOR_EVER, 5.0, self._took, _NOTICED_WITHIN)


def _silence_figure(block: int | None, timeout: float, took: float, due: float) -> Figure:
    return Figure(
        f"a silent peer is noticed, block={block} and socket_timeout={timeout:g}",
        f"{took:.2f} s",
        f"{due:g} s + {_LATE:g} s",
        took <= due + _LATE,
    )


# Rest, while there is no server.


def judge_rest(seconds: float) -> list[Figure]:
    """Measure which part of a core a reader takes while a server is away, with block=1000."""
    loading = [Expect(), Error("LOADING Redis is loading the dataset in memory")]
    ways: dict[str, Any] = {
        "refuses": None,
        "closes each connection": [CLOSE],
        "loads its data": loading,
        "is silent": [Expect()],
    }
    figures = []
    for way, script in ways.items():
        if script is None:
            used = _cpu_while_away(closed_port(), seconds)
        else:
            with Peer(script) as peer:
                used = _cpu_while_away(peer.port, seconds)
        what = f"CPU of a reader while its server {way}"
        figures.append(Figure(what, f"{used:.2%} of a core", f"{_MOST_CPU:.0%}", used < _MOST_CPU))
    return figures


def _cpu_while_away(port: int, seconds: float) -> float:
    options: dict[str, Any] = {"block": 1000, "raise_connection_exceptions": False}
    with Streams("127.0.0.1", port, "s", **options, socket_timeout=0.5) as streams:
        next(streams)
        began, used = monotonic(), thread_time()
        while monotonic() - began < seconds:
            assert isinstance(next(streams), ConnectionError)
        return (thread_time() - used) / (monotonic() - began)


# hold.


def judge_hold(server: Server) -> list[Figure]:
    """Measure what it adds to the latency of a message, and what order it makes."""
    plain = median(_latencies(server, 0))
    figures = [Figure("from XADD to next(), no hold: median", f"{plain * 1000:.2f} ms", "", True)]
    for hold in (5, 50):
        added = (median(_latencies(server, hold)) - plain) * 1000
        what = f"what hold={hold} adds to that: median"
        # Systems wake who waits at the next ms, and a busy machine a little later.
        limit = f"{hold} ms and a tick"
        figures.append(Figure(what, f"{added:.2f} ms", limit, added <= hold + 2))
    messages = 5000
    for hold in (0, 5):
        found = _disorders(server, hold, messages)
        what = f"of {messages:,} by two writers, how many out of order, hold={hold}"
        # A machine that stands still for 5 ms may spoil one or two.
        figures.append(Figure(what, f"{found}", "none" if hold else "", not hold or found <= 2))
    return figures


def _latencies(server: Server, hold: int) -> list[float]:
    key = server.key(f"hold-{hold}")
    ending = Event()

    def write() -> None:
        with Client(server.unix_socket) as client:
            while not ending.wait(0.01):
                client.command("XADD", key, "*", "t", repr(monotonic()))

    writer = Thread(target=write)
    with Streams(server.host, server.port, {key: 0}, hold=hold, block=5000) as streams:
        writer.start()
        took = []
        for _ in range(TRIES):
            data = next(streams)[2]
            took.append(monotonic() - float(data[b"t"]))
        ending.set()
        writer.join()
    return took


def _disorders(server: Server, hold: int, messages: int) -> int:
    keys = [server.key(f"order-{hold}-{i}") for i in range(2)]
    ending = Event()

    def write(key: str) -> None:
        with Client(server.unix_socket) as client:
            while not ending.is_set():
                client.command("XADD", key, "*", "f", "v")

    writers = [Thread(target=write, args=(key,)) for key in keys]
    with Streams(
        server.host, server.port, dict.fromkeys(keys, 0), hold=hold, block=5000
    ) as streams:
        for writer in writers:
            writer.start()
        found = [tuple(map(int, next(streams)[1].split(b"-"))) for _ in range(messages)]
        ending.set()
        for writer in writers:
            writer.join()
    return sum(later < earlier for earlier, later in pairwise(found))


def judge_quiet(server: Server) -> list[Figure]:
    """Measure all of it but the long silence, on a server that nothing happens to."""
    left = iter(range(TRIES + 1))
    waits = end_waits(server.host, server.port, lambda: next(left) >= TRIES, "quiet")
    return [
        *judge_waits(waits, "without faults"),
        *judge_silence(server),
        *judge_connects(),
        *judge_rest(3.0),
        *judge_hold(server),
    ]


class Waiting:
    """A process that ends waits, until it is told that it is enough."""

    def __init__(self, host: str, port: int, seed: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.soak.stopwatch"],
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"host": host, "port": port, "seed": seed}) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Waits:
        """End it, and say what it has seen."""
        waits, _ = self._process.communicate("enough\n", timeout=60)
        found: Waits = json.loads(waits)
        return found

    def close(self) -> None:
        """End it in any case."""
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """End waits until the input ends."""
    plan = json.loads(sys.stdin.readline())
    over = Event()

    def listen() -> None:
        sys.stdin.readline()
        over.set()

    Thread(target=listen, daemon=True).start()
    waits = end_waits(plan["host"], plan["port"], over.is_set, plan["seed"])
    sys.stdout.write(json.dumps(waits) + "\n")


if __name__ == "__main__":
    main()
