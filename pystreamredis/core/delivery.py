"""Delivery: one message after the other to the caller, and the positions that result.

A delivery costs one step of a list's iterator and nothing else: the iterator itself knows the
number of messages that were taken.
"""

from __future__ import annotations

from itertools import islice, repeat, takewhile
from operator import length_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, TypeAlias

    from ..protocol.messages import Message
    from ..starts import Followed

    Delivered: TypeAlias = Mapping[Followed, bytes | str]


class Batch:
    """Messages in the order of delivery.

    Attributes:
        messages: All messages of the batch.
        iterator: The iterator that delivers them.

    Args:
        messages: The messages.
        ends: The ID of the last message of each stream among them.
    """

    __slots__ = ("_ends", "_seen", "_taken_back", "iterator", "messages")

    def __init__(self, messages: list[Message], ends: Mapping[Followed, bytes | str]) -> None:
        self.messages = messages
        self.iterator: Iterator[Any] = iter(messages)
        self._ends = ends
        # The number of messages delivered before the last look, and the last ID of each stream
        # among them. Never changed in place: several threads may look.
        self._seen: tuple[int, Mapping[Followed, bytes | str]] = 0, {}
        # The messages that were taken back, one list for each call.
        self._taken_back: list[list[Any]] = []

    @classmethod
    def of(cls, messages: list[Message]) -> Batch:
        """Make a batch of messages that are in order."""
        return cls(messages, {name: entry_id for name, entry_id, _ in messages})

    def take(self, n: int) -> Iterable[Any]:
        """Return an iterator over lists of 1 to `n` messages, which delivers them.

        A list counts as delivered by the very step that yields it, which no signal can divide.
        """
        return takewhile(bool, map(list, map(islice, repeat(self.iterator), repeat(n))))

    def take_back(self) -> list[Message]:
        """Take out the messages that were not delivered. Several threads may do so at once."""
        rest: list[Any] = []
        self._taken_back.append(rest)
        # Each message counts as soon as it is taken, for a thread that looks meanwhile.
        rest.extend(self.iterator)
        return rest

    def delivered(self) -> Mapping[Followed, bytes | str]:
        """Return the ID of the last message delivered so far, for each stream that has one."""
        if not length_hint(self.iterator) and not self._taken_back:
            return self._ends
        taken_back, left = -1, 0
        # Count again if another thread has taken back some messages in between.
        while taken_back != (taken_back := sum(map(len, self._taken_back))):
            left = length_hint(self.iterator)
        count = len(self.messages) - left - taken_back
        seen, ends = self._seen
        if count > seen:
            fresh = islice(self.messages, seen, count)
            ends = {**ends, **{name: entry_id for name, entry_id, _ in fresh}}
            self._seen = count, ends
        return ends


class Item(Batch):
    """A batch of items that are delivered instead of messages. They move no position.

    Args:
        items: The items, at most one.
        in_batches: The replacement of an item where lists of messages are asked for.
    """

    __slots__ = ("_in_batches",)

    def __init__(self, *items: object, in_batches: object = None) -> None:
        super().__init__([], {})
        self.iterator = iter(items)
        self._in_batches = in_batches

    def take(self, n: int) -> Iterable[Any]:  # noqa: ARG002
        """Return what is delivered instead of lists of messages."""
        return [self._in_batches for _ in self.iterator]

    def take_back(self) -> list[Message]:
        """Drop the items, and return nothing: they are not messages."""
        list(self.iterator)
        return []

    def delivered(self) -> Mapping[Followed, bytes | str]:
        """Return no position."""
        return {}


EMPTY = Item()
"""The batch after the last message of another one."""
