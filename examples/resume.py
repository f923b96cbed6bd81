"""Copy streams into an SQLite file, and go on after a restart where it was stopped.

    python examples/resume.py messages.db redis://localhost:6379 Stream0 Stream1

Messages and positions are committed together, so the file never has one without the
other: however the program ends, nothing is lost and nothing is there twice.
"""

import json
import sqlite3
import sys
import time
from contextlib import closing

from pystreamredis import ConnectionError, Streams

TABLES = """
CREATE TABLE IF NOT EXISTS messages (stream TEXT, id TEXT, data TEXT);
CREATE TABLE IF NOT EXISTS positions (stream TEXT PRIMARY KEY, id TEXT);
"""


def copy(db: sqlite3.Connection, streams: Streams) -> None:
    """Copy messages as they come, and commit every second."""
    commit_at = time.monotonic() + 1
    for message in streams:
        if isinstance(message, ConnectionError):
            print(f"{message}; trying again", file=sys.stderr)
        elif message is not None:  # None: a second without messages
            stream, entry_id, data = message
            row = stream, entry_id, json.dumps(data)
            db.execute("INSERT INTO messages VALUES (?, ?, ?)", row)
        if time.monotonic() >= commit_at:
            positions = streams.positions.items()
            db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions)
            db.commit()
            commit_at = time.monotonic() + 1


def main(path: str, url: str, *names: str) -> None:
    """Follow the named streams from the stored positions, or else from their beginning."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(TABLES)
        stored = dict(db.execute("SELECT stream, id FROM positions"))
        starts = {name: stored.get(name, 0) for name in names}
        with Streams.from_url(
            url,
            streams=starts,
            decode_responses=True,
            stop_on_timeout=True,
            raise_connection_exceptions=False,
        ) as streams:
            copy(db, streams)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass  # what was not committed is read again next time
