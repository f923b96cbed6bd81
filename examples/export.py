r"""What streams held over a span of time, merged, as lines of JSON.

    python examples/export.py redis://localhost:6379 \
        2018-06-30T00:00+00:00 2018-07-01T00:00+00:00 Stream0 Stream3 > day.jsonl

Messages come in the order of their IDs over all of the streams, so the first one that is
too late says that none of the span is left.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pystreamredis import RedisError, Streams


def messages_between(
    url: str, since: datetime, until: datetime, names: list[str]
) -> Iterator[tuple[str, datetime, dict[str, Any]]]:
    """Yield name, time and data of the messages from `since` until before `until`."""
    starts = dict.fromkeys(names, since)
    # block=None: what is not there yet is not waited for.
    with Streams.from_url(url, starts, block=None, decode_responses=True) as streams:
        for name, entry_id, data in streams:
            time = datetime.fromtimestamp(int(entry_id.split("-")[0]) / 1000, UTC)
            if time >= until:
                return
            yield name, time, data


def main(url: str, since: str, until: str, *names: str) -> None:
    """Print the messages of that span."""
    span = datetime.fromisoformat(since), datetime.fromisoformat(until)
    for name, time, data in messages_between(url, *span, list(names)):
        print(json.dumps({"time": time.isoformat(), "stream": name, "data": data}))
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except BrokenPipeError:
        # Whoever read the output has seen enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RedisError, ValueError) as error:
        sys.exit(f"export: {error}")
