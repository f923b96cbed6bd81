"""Where each stream stands: what was asked for, what has come, what may be handed over."""

from __future__ import annotations

from .ids import ZERO, is_before

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol.messages import Message
    from .starts import Followed


class Cursor:
    """One followed stream.

    Attributes:
        name: The stream's name, the very object that the caller gave; of several sources, a tuple
            of the source's and that.
        key: The same as bytes.
        start: The ID that the stream is followed from, itself not included; None while
            "now" is not fixed yet.
        fetched: The ID of the last entry that has come; before the first, the start.
        waiting: Messages that have come and were not released, in ID order.
        heard: When an entry has come, or when it was looked whether any was missed.
        told: Of which kind of gap was told since an entry has come.
        was_read: Whether there was a connection over which it was read.
        complete: Whether the server had no more entries at the last read.
        slot: The hash slot that it is in; None until someone has asked.
        place: Of two equal IDs, that of the smaller one comes first.
    """

    __slots__ = (
        "complete",
        "fetched",
        "heard",
        "key",
        "name",
        "place",
        "slot",
        "start",
        "told",
        "waiting",
        "was_read",
    )

    def __init__(self, name: Followed, key: bytes, start: bytes | None) -> None:
        self.name = name
        self.key = key
        self.start = start
        self.fetched = start or ZERO
        self.waiting: list[Message] = []
        self.complete = False
        self.heard = 0.0
        self.told: str | None = None
        self.place = 0
        self.slot: int | None = None
        self.was_read = False

    def __repr__(self) -> str:
        return f"<Cursor {self.name!r} at {self.fetched!r}, {len(self.waiting)} waiting>"

    @property
    def is_at_entry(self) -> bool:
        """Whether there is, or was, an entry at the position; not so before a point in time."""
        return self.start is not None and self.fetched != ZERO and not is_before(self.fetched)

    @property
    def has_read(self) -> bool:
        """Whether entries have come, and none of them waits."""
        return self.start is not None and self.fetched != self.start and not self.waiting

    def restart(self) -> None:
        """Follow the stream from its beginning."""
        self.start = self.fetched = ZERO
        self.complete = False
