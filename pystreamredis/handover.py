"""What was handed to the caller: one message after the other, and the positions that gives.

Handing over costs nothing but the step of a list's iterator: how many of its
messages were taken, the iterator itself tells.
"""

from __future__ import annotations

from itertools import islice
from operator import length_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .protocol.messages import Message
    from .starts import Followed

    Handed = dict[Followed, bytes | str]


class Batch:
    """Messages in the order in which they are to be handed over.

    Args:
        messages: The messages.
        ends: For each stream that they are of, the ID of its last one.
    """

    __slots__ = ("_ends", "_settled", "_withdrawn", "iterator", "messages")

    def __init__(self, messages: list[Message], ends: Mapping[Followed, bytes | str]) -> None:
        self.messages = messages
        self.iterator: Iterator[Any] = iter(messages)
        self._ends = ends
        # How many messages at the front are in the positions already, and those that were
        # taken out at the end without being handed over, by each who did so.
        self._settled = 0
        self._withdrawn: list[list[Any]] = []

    @classmethod
    def of(cls, messages: list[Message]) -> Batch:
        """Make a batch of messages that are in order."""
        return cls(messages, {name: entry_id for name, entry_id, _ in messages})

    def withdraw(self) -> list[Message]:
        """Take out what was not handed over; another thread may be taking it, too."""
        rest: list[Any] = []
        self._withdrawn.append(rest)
        # Counted as soon as taken, for a thread that settles meanwhile.
        rest.extend(self.iterator)
        return rest

    def settle(self, positions: Handed) -> None:
        """Bring `positions` up to what was handed over so far."""
        if self._settled == len(self.messages):
            return
        if not length_hint(self.iterator) and not self._withdrawn:
            positions.update(self._ends)
            self._settled = len(self.messages)
            return
        withdrawn, left = -1, 0
        # Anew if another thread has withdrawn between the one and the other.
        while withdrawn != (withdrawn := sum(map(len, self._withdrawn))):
            left = length_hint(self.iterator)
        handed = len(self.messages) - left - withdrawn
        fresh = islice(self.messages, self._settled, handed)
        positions.update({name: entry_id for name, entry_id, _ in fresh})
        self._settled = handed


class Item(Batch):
    """Something that is handed over in lieu of a message, or nothing: it moves no position."""

    __slots__ = ()

    def __init__(self, *items: object) -> None:
        super().__init__([], {})
        self.iterator = iter(items)

    def withdraw(self) -> list[Message]:
        """Take it out: it is no message."""
        list(self.iterator)
        return []

    def settle(self, positions: Handed) -> None:
        """Leave `positions` as they are."""


NOTHING = Item()
"""What is handed over once all of that before was."""
