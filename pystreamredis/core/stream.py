"""One followed stream: how far it was read, and the messages that wait to be delivered."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter

from ..protocol.ids import ZERO, id_of, is_before, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..protocol.messages import Message
    from ..starts import Followed
    from .session import Session


def count_until(messages: list[Message], limit: int) -> int:
    """Count the messages up to an ID.

    Args:
        messages: Messages in order.
        limit: The ID, as a number.
    """
    if not messages or number_of(messages[-1][1]) <= limit:
        return len(messages)
    # Mostly numbers compare as their texts do.
    text = id_of(limit)
    bound = text if isinstance(messages[0][1], bytes) else text.decode()
    cut = bisect_right(messages, bound, key=itemgetter(1))
    is_past = not cut or number_of(messages[cut - 1][1]) <= limit
    if is_past and cut < len(messages) and number_of(messages[cut][1]) > limit:
        return cut
    return bisect_right(messages, limit, key=lambda message: number_of(message[1]))


class StreamState:
    """One followed stream.

    Attributes:
        name: The stream's name, the very object that the caller gave; with several upstreams a
            tuple of the upstream's name and the stream's.
        key: The stream's name on the wire.
        start: The ID after which the stream is followed; None while it is not pinned yet.
        from_end: The number of entries before "now" at which to pin the start.
        last_id: The ID of the last entry received; before the first entry, the start.
        pending: Received messages that were not released for delivery, in ID order.
        caught_up: True if the server had no more entries at the last read.
        passed: The ID up to which entries are passed over, since an old server returns them
            again; None after the first entry beyond.
        session: The session that reads the stream. A reply that comes over any other session
            is not applied.
        last_activity: Time of the last entry, or of the last check for lost entries, in seconds.
        reported_gap: Kind of the gap that was reported since the last entry, if any.
        gaps: Number of gaps that were reported.
        was_read: True once the stream was read over any connection.
        slot: Hash slot of the key; None until it is needed.
        place: Rank of the stream among equal IDs.
    """

    __slots__ = (
        "caught_up",
        "from_end",
        "gaps",
        "key",
        "last_activity",
        "last_id",
        "name",
        "passed",
        "pending",
        "place",
        "reported_gap",
        "session",
        "slot",
        "start",
        "was_read",
    )

    def __init__(self, name: Followed, key: bytes, start: bytes | int | None) -> None:
        self.name: Followed = name
        self.key: bytes = key
        self.start: bytes | None = start if isinstance(start, bytes) else None
        self.from_end: int = start if isinstance(start, int) else 0
        self.last_id: bytes = self.start or ZERO
        self.pending: list[Message] = []
        self.caught_up: bool = False
        self.passed: bytes | None = None
        self.session: Session | None = None
        self.last_activity: float = 0.0
        self.reported_gap: str | None = None
        self.gaps: int = 0
        self.was_read: bool = False
        self.slot: int | None = None
        self.place: int = 0

    def __repr__(self) -> str:
        return f"<StreamState {self.name!r} at {self.last_id!r}, {len(self.pending)} pending>"

    @property
    def is_at_entry(self) -> bool:
        """True if an entry has, or had, the ID `last_id`, which is no mere point in time."""
        if self.start is None or self.last_id == ZERO or self.passed is not None:
            return False
        return not is_before(self.last_id)

    @property
    def is_released(self) -> bool:
        """True if entries were received, and all of them were released for delivery."""
        return self.start is not None and self.last_id != self.start and not self.pending

    def count_after(self, watermark: int) -> int:
        """Count the pending messages beyond a watermark."""
        return len(self.pending) - count_until(self.pending, watermark)

    def restart(self, last_id: bytes) -> None:
        """Read the stream again after an ID, and forget what is pending."""
        self.last_id = last_id
        self.pending = []
        self.caught_up = False
        self.passed = None
