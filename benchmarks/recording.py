"""Fill the server with a workload, and record what reading it takes.

What has to come of it (how many messages, which, in which order) is known from the
messages alone, and so are the requests of a merging reader and the sizes of their
replies: no client is needed to find them out, so none can be wrong about them.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from measure import Digest
from merge import Merge
from server import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from merge import Message
    from server import Link
    from workloads import Workload


class Recording:
    """A workload that is on the server: which messages, and what they add up to."""

    def __init__(self, link: Link, workload: Workload, messages: int) -> None:
        self.names = workload.names()
        self.messages = messages
        # The messages of each stream, with the size of the entry instead of its fields.
        self._streams: dict[str, list[Message]] = {name: [] for name in self.names}
        self._digest = Digest()
        link.send(self._commands(workload))
        self.digest = self._digest.text()
        self.unordered = self._digest.unordered()

    def _commands(self, workload: Workload) -> Iterator[bytes]:
        for name, entry_id, fields in workload.entries(self.messages):
            self._digest.add(name, entry_id, fields)
            items = [item for pair in fields.items() for item in pair]
            size = len(b"*2\r\n") + _bulk_size(entry_id) + len(encode(items))
            self._streams[name].append((name, entry_id, size))
            yield encode([b"XADD", name.encode(), entry_id, *items])

    def save_requests(self, count: int, path: Path) -> None:
        """Write down each request of a merging reader, and the size of its reply."""
        requests = []
        merge = Merge(self.names, count)
        read = dict.fromkeys(self.names, 0)
        while not merge.is_drained:
            asked = merge.asked()
            ids = [at if isinstance(at, bytes) else at.encode() for at in asked.values()]
            keys = [name.encode() for name in asked]
            request = encode([b"XREAD", b"COUNT", b"%d" % count, b"STREAMS", *keys, *ids])
            blocks = []
            for name in asked:
                if messages := self._streams[name][read[name] : read[name] + count]:
                    blocks.append((name, messages))
                    read[name] += len(messages)
            requests.append((request, _reply_size(blocks)))
            merge.put(asked, ((name, list(messages)) for name, messages in blocks))
        path.write_bytes(pickle.dumps(requests))


def _bulk_size(text: bytes) -> int:
    return len(b"$%d\r\n%b\r\n" % (len(text), text))


def _reply_size(blocks: list[tuple[str, list[Message]]]) -> int:
    if not blocks:
        return len(b"*-1\r\n")
    size = len(b"*%d\r\n" % len(blocks))
    for name, messages in blocks:
        size += len(b"*2\r\n") + _bulk_size(name.encode()) + len(b"*%d\r\n" % len(messages))
        size += sum(entry_size for _, _, entry_size in messages)
    return size
