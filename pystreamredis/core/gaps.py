"""Gaps: streams that were trimmed beyond the position, or that have begun again.

No command but XREAD tells, so it is asked for the oldest entry, and for the first entry from
the position on.
"""

from __future__ import annotations

from ..protocol import ServerError, encode_xread, stream_replies_of
from ..protocol.ids import ZERO, id_of, number_of
from .exchanges import IDS_ONLY, Refused
from .failures import is_temporary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .exchanges import Exchange
    from .stream import StreamState


class Gap:
    """A reason to doubt that nothing was missed.

    Attributes:
        kind: ``"trimmed"``: the oldest entry is newer than the position; or ``"rewound"``:
            there are older entries, but none at the position or after it.
        oldest: The ID of the oldest entry.
    """

    __slots__ = ("kind", "oldest")

    def __init__(self, kind: str, oldest: bytes) -> None:
        self.kind = kind
        self.oldest = oldest


def look_back(positions: Mapping[bytes, bytes], most: int) -> Exchange[dict[bytes, Gap]]:
    """Check whether streams still hold the entries that were read last.

    Args:
        positions: The ID of the last entry received, for each stream's key.
        most: The most entries that one reply may hold. There are up to two of each stream.

    Returns:
        The gap of each stream that has one. A stream that cannot be read at all has none: the
        next read reports it.

    Raises:
        Refused: The server refuses for now.
    """
    keys = [*positions, *positions]
    ids = [ZERO] * len(positions) + [_previous(position) for position in positions.values()]
    parts = [slice(at, at + most) for at in range(0, len(keys), most)]
    replies = yield [encode_xread(keys[part], ids[part], count=1) for part in parts]
    seen: dict[bytes, list[bytes]] = {key: [] for key in positions}
    for reply in replies:
        if isinstance(reply, ServerError) and is_temporary(reply):
            raise Refused(reply)
        if isinstance(reply, ServerError):
            return {}
        for key, messages in stream_replies_of(reply, {key: key for key in keys}, IDS_ONLY) or []:
            seen[key] += [entry_id for _, entry_id, _ in messages]
    gaps = {}
    for key, position in positions.items():
        numbers = sorted(map(number_of, seen[key]))
        # The oldest entry alone, and it is older: nothing is at the position or after it.
        if len(numbers) == 1 and numbers[0] < number_of(position):
            gaps[key] = Gap("rewound", id_of(numbers[0]))
        # The oldest entry, and the first from the position on, are both newer.
        elif numbers and numbers[0] > number_of(position):
            gaps[key] = Gap("trimmed", id_of(numbers[0]))
    return gaps


def describe(stream: StreamState, gap: Gap, address: str) -> str:
    """Describe a gap for the log: all that is known, and no more."""
    name, position, oldest = repr(stream.name), stream.last_id.decode(), gap.oldest.decode()
    if gap.kind == "trimmed":
        return (
            f"stream {name} at {address}: the oldest entry is {oldest} now, newer than the "
            f"position {position}: it was most likely trimmed, and messages may have been missed"
        )
    return (
        f"stream {name} at {address}: there are entries from {oldest} on, but none at the "
        f"position {position} or after it: it may have begun again, and messages may be missed "
        "until its IDs pass the position"
    )


def _previous(entry_id: bytes) -> bytes:
    return id_of(number_of(entry_id) - 1)
