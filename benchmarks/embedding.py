"""Embedding: what the process of a reader takes until it has a message, and until it has many.

The readers here are whole programs, as short as their libraries allow, without this benchmark's
modules: a process is charged for its own imports alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server import Link

STREAMS = [f"embed:{number}" for number in range(4)]
MESSAGES = 10_000
LENGTHS = 1, MESSAGES
TIMEOUT = 120

# Each program has `port` and `limit`; it reads, merges nothing, and ends after so many messages.
# Replies have at most `count` entries of each stream, so that all read as many of them.
_REDIS_PY = """
client = {module}.{name}("127.0.0.1", port)
last = dict.fromkeys(streams, b"0")
while seen < limit:
    for name, entries in client.xread(last, count=count):
        for entry_id, data in entries:
            seen += 1
        last[name.decode()] = entry_id
"""
PROGRAMS = {
    "Python alone": "",
    "a loop over a socket": """
import socket
def read():
    line = file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"*":
        return [read() for _ in range(int(rest))]
    return file.read(int(rest) + 2)[:-2] if kind == b"$" else rest
file = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
last = {name.encode(): b"0" for name in streams}
while seen < limit:
    parts = [b"XREAD", b"COUNT", b"%d" % count, b"STREAMS", *last, *last.values()]
    file.write(b"*%d\\r\\n" % len(parts))
    file.writelines(b"$%d\\r\\n%b\\r\\n" % (len(part), part) for part in parts)
    file.flush()
    for name, entries in read():
        for entry_id, pairs in entries:
            data = dict(zip(pairs[::2], pairs[1::2]))
            seen += 1
        last[name] = entry_id
""",
    "pystreamredis": """
from pystreamredis import Streams
for message in Streams("127.0.0.1", port, dict.fromkeys(streams, 0), count=count):
    seen += 1
    if seen == limit:
        break
""",
    "pystreamredis.asyncio": """
import asyncio
from pystreamredis.asyncio import Streams
async def main():
    seen = 0
    async for message in Streams("127.0.0.1", port, dict.fromkeys(streams, 0), count=count):
        seen += 1
        if seen == limit:
            break
    return seen
seen = asyncio.run(main())
""",
    "redis-py": "sys.modules['hiredis'] = None\nimport redis"
    + _REDIS_PY.format(module="redis", name="Redis"),
    "redis-py+hiredis": "import redis" + _REDIS_PY.format(module="redis", name="Redis"),
    "valkey-py": "sys.modules['libvalkey'] = None\nimport valkey"
    + _REDIS_PY.format(module="valkey", name="Valkey"),
    "coredis": """
import asyncio, coredis
async def main():
    seen = 0
    last = dict.fromkeys(streams, b"0")
    async with coredis.Redis("127.0.0.1", port) as client:
        while seen < limit:
            found = await client.xread(last, count=count)
            for name, entries in found.items():
                for entry_id, data, *_ in entries:
                    seen += 1
                last[name.decode()] = entry_id
    return seen
seen = asyncio.run(main())
""",
}
NEEDS = {"redis-py+hiredis": "hiredis", "redis-py": "redis", "valkey-py": "valkey"}
# Opened by Python: sources, compiled modules, and libraries. The hook costs time, so another run
# counts them.
CHILD = """
import sys
port, limit, count, streams, counts, sys.path[:0] = {arguments!r}
opened = set()
if counts:
    def note(event, arguments):
        if event == "open" or event == "import" and arguments[1]:
            opened.add(arguments[event == "import"])
    sys.addaudithook(note)
seen = 0
{program}
assert not {program!r} or seen >= limit, seen
number = len(opened)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):
        print([int(line.split()[1]), number])
"""


def measure_embedding(link: Link, rounds: int, scale: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each reader, number of messages and round."""
    link.ask(b"FLUSHALL", b"SYNC")
    most = max(int(MESSAGES * scale), len(STREAMS))
    link.send(
        encode([b"XADD", STREAMS[at % len(STREAMS)].encode(), b"%d-0" % (at + 1), b"n", b"%d" % at])
        for at in range(most)
    )
    for number, length in product(range(-1, rounds), LENGTHS):
        for reader in PROGRAMS:
            row = {"job": "embed", "reader": reader, "length": length, "round": number}
            # In the round before the first, which fills the caches of the disk.
            counts = number < 0
            result = _measure(reader, link.port, min(length, most), counts=counts)
            if not counts:
                yield row | result
            elif length == MESSAGES and "void" not in result:
                yield {"job": "embed", "reader": reader, "files": result["files"]}


def _measure(reader: str, port: int, limit: int, *, counts: bool) -> dict[str, Any]:
    needed = NEEDS.get(reader, reader.partition(".")[0])
    if needed.isidentifier() and importlib.util.find_spec(needed) is None:
        return {"void": f"{needed} is not installed"}
    ours = importlib.util.find_spec("pystreamredis")
    assert ours is not None
    assert ours.origin is not None
    folders = [str(Path(ours.origin).parent.parent), sysconfig.get_path("purelib")]
    arguments = (port, limit, 100, STREAMS, counts, folders)
    program = CHILD.format(arguments=arguments, program=PROGRAMS[reader])
    # Without site, whose .pth files could import anything.
    command = [sys.executable, "-I", "-S", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = process.stdout.read(), process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"void": errors.decode().strip().splitlines()[-1][:300]}
    peak, files = json.loads(output)
    return {"user_ms": used.ru_utime * 1000, "peak_kib": peak, "files": files}
