"""Four sensors in another process, and their messages here, merged: ``make demo``.

    python examples/demo.py [URL] [--seconds 10]

Without a URL it starts a server of its own. On a server that you name, it adds to four
streams whose names begin with ``pystreamredis-demo:`` and a random word, and deletes these
in the end; it touches nothing else. It prints messages without that beginning.

The exit status is 1 if a message came out of order, twice, or not at all. Ctrl-C ends it like the
end of its time.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from embedded_server import embedded_server, stop, uninterrupted
from sensors import SENSORS, Client, measure

from pystreamredis import Redis, RedisError, Streams

_HISTORY = 25  # messages of Stream0 and Stream3 that are older than the reader
_STEP = 2000  # ms between them
_EXPIRY = 3600  # seconds after which a server of yours forgets the streams in any case
_WANTED = 10  # messages of Stream3 that are read of its history, the last ones
_SEEN = f"""\
Four sensors add to four streams at {{address}}, and one reader merges them:
Stream0 from its beginning, Stream1 and Stream2 from now on, and Stream3 from
{_WANTED * _STEP // 1000} s ago. Each line is a message: stream, ID, data. They come sorted by ID.
"""
_NEXT = """
next: `make server` here, and in another terminal the programs of README.rst
      or docs/tutorial.rst; `make demo URL=redis://...` takes a server of yours
"""


class Check:
    """Looks at each message: is it in order, and the one after its stream's last?

    Args:
        first: For each stream the count at which its messages are to begin.
    """

    def __init__(self, first: dict[str, int]) -> None:
        self.messages = 0
        self.in_order = True
        self.complete = True
        self._last = (0, 0)
        self._expected = first

    def look_at(self, message: tuple[str, bytes, dict[bytes, bytes]]) -> None:
        """Take one message into account."""
        name, entry_id, data = message
        ms, sequence = map(int, entry_id.split(b"-"))
        index = int(data[b"index"])
        self.messages += 1
        self.in_order = self.in_order and (ms, sequence) >= self._last
        self.complete = self.complete and index == self._expected[name]
        self._last = ms, sequence
        self._expected[name] = index + 1


def write_history(client: Client, prefix: str) -> tuple[int, dict[str, int], dict[str, int]]:
    """Add what is older than the reader.

    Returns:
        From when on Stream3 is wanted, in ms; how many messages each stream has; and
        the count of the first that is wanted of each.
    """
    now = int(client.add(f"{prefix}Stream1", "*", measure("Stream1", 0)).split(b"-")[0])
    client.add(f"{prefix}Stream2", "*", measure("Stream2", 0))
    for index in range(_HISTORY):
        ms = now - (_HISTORY - index) * _STEP
        client.add(f"{prefix}Stream0", f"{ms}-0", measure("Stream0", index))
        client.add(f"{prefix}Stream3", f"{ms}-0", measure("Stream3", index))
    counts = {"Stream0": _HISTORY, "Stream1": 1, "Stream2": 1, "Stream3": _HISTORY}
    return now - _WANTED * _STEP, counts, counts | {"Stream0": 0, "Stream3": _HISTORY - _WANTED}


@contextmanager
def writer(url: str, prefix: str, counts: dict[str, int]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the sensors in a process of their own, which ends with this one at the latest."""
    program = Path(__file__).with_name("sensors.py")
    options = [f"--prefix={prefix}", "--counts", *map(str, counts.values())]
    process = None
    try:
        with uninterrupted():
            process = subprocess.Popen(
                [sys.executable, program, url, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        assert process.stdout is not None
        process.stdout.readline()  # it is writing, or has said why not
        yield process
    finally:
        if process is not None:
            stop(process)
            for pipe in filter(None, (process.stdin, process.stdout)):
                pipe.close()


@contextmanager
def own_streams(client: Client, prefix: str) -> Iterator[None]:
    """Delete the streams at the end, and only them."""
    keys = [prefix + name for name in SENSORS]
    try:
        yield
    finally:
        client.call("DEL", *keys)


def follow(streams: Streams, seconds: float, check: Check, prefix: str) -> None:
    """Print messages as they come."""
    deadline = time.monotonic() + seconds
    # A second without a message ends a `for`; the next one goes on where it stopped.
    while time.monotonic() < deadline:
        for message in streams:
            shown = message[0].removeprefix(prefix), *message[1:]
            print(shown, flush=True)
            check.look_at(shown)
            if time.monotonic() >= deadline:
                break


def try_to_connect(url: str, stream: str) -> None:
    """Connect as a reader does, whose errors say what is wrong with a URL or a server.

    Raises:
        ValueError: The URL is not valid.
        RedisError: The server cannot be reached, or refuses.
    """
    Redis.from_url(url).streams(stream).close()


def address_of(url: str) -> str:
    """Return the address in a URL, without what may be a password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"


def run(url: str, prefix: str, seconds: float) -> bool:
    """Run the demo; return whether all was as it should be."""
    try_to_connect(url, f"{prefix}Stream0")
    with ExitStack() as stack:
        client = Client(url)
        stack.callback(client.close)
        print(_SEEN.format(address=address_of(url)))
        if prefix:
            print(f"They are {prefix}Stream0 to Stream3, and deleted in the end.\n")
        sys.stdout.flush()
        stack.enter_context(own_streams(client, prefix))
        start, counts, first = write_history(client, prefix)
        if prefix:
            for name in SENSORS:
                client.call("EXPIRE", prefix + name, _EXPIRY)
        r = Redis.from_url(url)
        if prefix:
            starts = dict(zip(SENSORS, (0, None, "$", start), strict=True))
            streams = r.streams({prefix + name: value for name, value in starts.items()})
        else:
            streams = r.streams(Stream0=0, Stream1=None, Stream2="$", Stream3=start)
        stack.enter_context(streams)
        process = stack.enter_context(writer(url, prefix, counts))
        check, began = Check(first), time.monotonic()
        try:
            follow(streams, seconds, check, prefix)
        finally:
            sum_up(check, time.monotonic() - began)
        if process.poll() is not None:
            print("the writer has ended before its time", file=sys.stderr)
            return False
        return check.messages > 0 and check.in_order and check.complete


def sum_up(check: Check, seconds: float) -> None:
    """Print what came of it."""
    answer = {True: "yes", False: "no"}
    print(f"\nmessages: {check.messages} in {seconds:.1f} s")
    print(f"rate: {check.messages / max(seconds, 0.001):.1f} per second")
    print(f"in order: {answer[check.in_order]}")
    print(f"none missing, none twice: {answer[check.complete]}")
    print(_NEXT, end="", flush=True)


def interrupt(*_: Any) -> None:
    """End at the first signal; a second one must not cut short what is left to be done."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo as the command line says."""
    parser = argparse.ArgumentParser(description="Follow four streams of sensors' messages.")
    parser.add_argument("url", nargs="?", default="", help="your server; else one is started")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)
    try:
        if not arguments.url:
            with embedded_server() as url:
                return 0 if run(url, "", arguments.seconds) else 1
        prefix = f"pystreamredis-demo:{secrets.token_hex(4)}:"
        return 0 if run(arguments.url, prefix, arguments.seconds) else 1
    except KeyboardInterrupt:
        # Somebody has seen enough: for `make`, too, that is no error.
        return 0
    except BrokenPipeError:
        # Whoever read the output has seen enough, as in `make demo | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, RedisError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
