"""Copy streams into Parquet files, with positions in the metadata of each.

    pip install pyarrow
    python examples/parquet.py folder redis://localhost:6379 Stream0 Stream1

A file has up to so many rows, or those of some seconds. It appears as a whole, with the positions
at its end, so the newest one says where to go on: however the program ends, nothing is lost and
nothing is there twice. SIGTERM and Ctrl-C write what is there, and end it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pystreamredis import ConnectionError, RedisError, Streams

SCHEMA = pa.schema(
    {
        "stream": pa.dictionary(pa.int32(), pa.string()),
        "id": pa.string(),
        "time": pa.timestamp("ms", tz="UTC"),
        # A field may come twice.
        "data": pa.map_(pa.string(), pa.string()),
    }
)


class Parts:
    """The files of a folder, numbered in the order in which they are written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._paths = sorted(folder.glob("*.parquet"))

    def positions(self) -> dict[str, str]:
        """Return the positions at the end of the newest file."""
        if not self._paths:
            return {}
        metadata = pq.read_schema(self._paths[-1]).metadata
        found: dict[str, str] = json.loads(metadata[b"positions"])
        return found

    def write(self, messages: list[tuple[str, str, Any]], positions: dict[str, str]) -> None:
        """Write the next file: all of it, or none."""
        names, ids, data = zip(*messages, strict=True)
        times = [int(entry_id.partition("-")[0]) for entry_id in ids]
        # Streams that are not followed this time keep theirs.
        positions = self.positions() | positions
        schema = SCHEMA.with_metadata({"positions": json.dumps(positions)})
        table = pa.table([list(names), list(ids), times, list(data)], schema=schema)
        number = int(self._paths[-1].stem) + 1 if self._paths else 0
        path = self._folder / f"{number:08}.parquet"
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            pq.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._paths.append(path)


def copy(streams: Streams, parts: Parts, rows: int, seconds: float) -> None:
    """Write a file whenever there are so many rows, or some after so many seconds."""
    waiting: list[tuple[str, str, Any]] = []
    due = time.monotonic() + seconds
    for messages in streams.batches(rows):
        if isinstance(messages, ConnectionError):
            print(f"parquet: {messages}; trying again", file=sys.stderr)
            continue
        waiting += messages  # none after a second without messages
        if waiting and (len(waiting) >= rows or time.monotonic() >= due):
            parts.write(waiting, streams.positions)
            waiting = []
        if not waiting:
            due = time.monotonic() + seconds
    if waiting:
        parts.write(waiting, streams.positions)


def main() -> None:
    """Follow the streams from the stored positions, or else from their beginning."""
    parser = argparse.ArgumentParser(description="Copy streams into Parquet files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("url", help="redis://..., rediss://... or unix://...")
    parser.add_argument("streams", nargs="+")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of a file, about")
    parser.add_argument("--seconds", type=float, default=60.0, help="the longest wait for them")
    arguments = parser.parse_args()
    parts = Parts(arguments.folder)
    stored = parts.positions()
    streams = Streams.from_url(
        arguments.url,
        {name: stored.get(name, 0) for name in arguments.streams},
        decode_responses=True,
        encoding_errors="replace",  # a Parquet file takes nothing but UTF-8
        fields=list,
        stop_on_timeout=True,
        raise_connection_exceptions=False,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: streams.close())
    with streams:
        copy(streams, parts, arguments.rows, arguments.seconds)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, RedisError) as error:
        sys.exit(f"parquet: {error}")
