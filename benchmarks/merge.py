"""The merge that a client has to add to XREAD to deliver several streams in ID order.

All peers share it, so that readers differ only in how they get at a reply. It is
the strongest form that was found in plain Python: `count` entries of each stream are
asked for, what is delivered is cut at a watermark, and each batch is sorted once,
in C, on the cheapest key that is right for it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    Message = tuple[str, Any, Any]
    Block = tuple[str, list[Message]]

_id_of = itemgetter(1)


class Merge:
    """The state of a merge: the next request, and the messages that can be delivered."""

    def __init__(self, names: list[str], count: int) -> None:
        self.is_drained = False
        # For each stream the last ID that was received.
        self.positions: dict[str, Any] = dict.fromkeys(names, "0")
        self._count = count
        self._order = names
        # The messages beyond the watermark.
        self._held: dict[str, list[Message]] = {}

    def asked(self) -> dict[str, Any]:
        """Tell what to ask for: streams and the IDs after which to read them."""
        left_out = {name for name, kept in self._held.items() if len(kept) >= self._count}
        if not left_out:
            return self.positions
        return {name: at for name, at in self.positions.items() if name not in left_out}

    def put(self, asked: dict[str, Any], blocks: Iterable[Block]) -> list[Message]:
        """Take in the reply to what was asked; return what can be delivered, sorted."""
        held, positions = self._held, self.positions
        # Nothing is known of a stream that was left out beyond its last entry, ...
        bounds = []
        if len(asked) < len(positions):
            bounds = [at for name, at in positions.items() if name not in asked]
        is_empty = True
        for name, messages in blocks:
            is_empty = False
            last = positions[name] = messages[-1][1]
            # ... nor of one that may have more.
            if len(messages) >= self._count:
                bounds.append(last)
            if name in held:
                held[name] += messages
            else:
                held[name] = messages
        if not bounds:
            self.is_drained = is_empty
            parts, self._held = self._in_given_order(held), {}
        else:
            parts = self._cut(min(bounds, key=_numbers))
        return _sorted(parts)

    def _cut(self, bound: Any) -> list[list[Message]]:
        limit = _numbers(bound)
        parts, kept = [], {}
        for name, messages in self._held.items():
            end = bisect_right(messages, limit, key=_message_numbers)
            if end:
                parts.append((name, messages[:end]))
            if end < len(messages):
                kept[name] = messages[end:]
        self._held = kept
        return self._in_given_order(dict(parts))

    def _in_given_order(self, parts: dict[str, list[Message]]) -> list[list[Message]]:
        """Equal IDs come in the order in which the streams were given."""
        if len(parts) == 1:
            return list(parts.values())
        return [parts[name] for name in self._order if name in parts]


def _numbers(entry_id: Any) -> tuple[int, int]:
    text = entry_id if isinstance(entry_id, str) else entry_id.decode()
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


def _message_numbers(message: Message) -> tuple[int, int]:
    return _numbers(message[1])


def _sorted(parts: list[list[Message]]) -> list[Message]:
    if len(parts) < 2:
        return parts[0] if parts else []
    batch = list(chain.from_iterable(parts))
    # Parts are in order, so if the first and the last ms of all have the same number
    # of digits, then so have those between.
    ends = [_ms_width(message[1]) for part in parts for message in (part[0], part[-1])]
    width = ends[0]
    if ends.count(width) != len(ends):
        batch.sort(key=_message_numbers)
    elif len(set(map(len, map(_id_of, batch)))) == 1:
        batch.sort(key=_id_of)
    else:
        batch.sort(key=lambda message: (message[1][:width], len(message[1]), message[1]))
    return batch


def _ms_width(entry_id: Any) -> int:
    width: int = entry_id.index("-" if isinstance(entry_id, str) else b"-")
    return width
