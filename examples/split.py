"""Copy streams into a file each, and go on after a restart where it was stopped.

    python examples/split.py folder redis://localhost:6379 Stream0 Stream1

A file has a line of JSON for each message. Its last line says where its stream goes on, so there
is nothing else to store: however the program ends, nothing is lost and nothing is there twice. A
line that was written in part is cut off at the next start. SIGTERM and Ctrl-C end it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from pystreamredis import ConnectionError, RedisError, Streams

_SYNC_EVERY = 1.0  # seconds


def open_at_end(path: Path) -> tuple[BinaryIO, str | None]:
    """Open a file to append to, without a last line that is not whole.

    Returns:
        The file, and the ID in its last line; None if it has none.
    """
    file = path.open("a+b")
    end = file.seek(0, os.SEEK_END)
    tail, size = b"", 4096
    # A line with another one before it, or all there is.
    while tail.count(b"\n") < 2 and len(tail) < end:
        size *= 2
        file.seek(max(0, end - size))
        tail = file.read()
    whole = tail.rfind(b"\n") + 1
    file.truncate(end - len(tail) + whole)
    lines = tail[:whole].splitlines()
    return file, json.loads(lines[-1])["id"] if lines else None


def copy(streams: Streams, files: dict[str, BinaryIO]) -> None:
    """Append messages to their files as they come, until the streams are closed."""
    sync_at = time.monotonic() + _SYNC_EVERY
    for messages in streams.batches(1000):
        if isinstance(messages, ConnectionError):
            print(f"split: {messages}; trying again", file=sys.stderr)
            continue
        for name, entry_id, data in messages:  # none after a second without messages
            files[name].write(json.dumps({"id": entry_id, "data": data}).encode() + b"\n")
        for file in files.values():
            file.flush()
        if time.monotonic() >= sync_at:
            for file in files.values():
                os.fsync(file.fileno())
            sync_at = time.monotonic() + _SYNC_EVERY


def main(folder: str, url: str, *names: str) -> None:
    """Follow the named streams, each from the end of its file, or else from its beginning."""
    with ExitStack() as stack:
        files, starts = {}, {}
        Path(folder).mkdir(exist_ok=True)
        for name in names:
            # A stream's name may have a slash in it.
            file, last = open_at_end(Path(folder, f"{quote(name, safe='')}.jsonl"))
            files[name] = stack.enter_context(file)
            starts[name] = last or 0
        streams = Streams.from_url(
            url,
            streams=starts,
            decode_responses=True,
            stop_on_timeout=True,
            raise_connection_exceptions=False,
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: streams.close())
        with streams:
            copy(streams, files)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, RedisError) as error:
        sys.exit(f"split: {error}")
