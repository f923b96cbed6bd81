"""The caller's side: the wait for messages, their delivery, and the positions that result.

A delivery costs one step of a list's iterator and nothing else: the iterator itself knows the
number of messages that were taken.
"""

from __future__ import annotations

from itertools import islice, repeat, takewhile
from math import ceil, inf
from operator import length_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, TypeAlias

    from ..protocol.messages import Message
    from ..starts import Followed

    Delivered: TypeAlias = Mapping[Followed, bytes | str]

BATCH_SIZE = 8192
"""Number of messages that are sorted at once, unless the streams are many."""
# The longest that one XREAD blocks, in ms. A peer that is dead is noticed no later than this
# and socket_timeout; proxies and balancers often close connections that are silent for 30 s.
_SLICE = 20_000
# The longest that a read blocks after the caller's wait, in ms.
_SHORT = 20


class Wait:
    """The wait of the caller for a message.

    Attributes:
        block: How long the caller waits, in ms; 0 for ever, None for not at all.
        number: Number of the wait.
        ends_at: Time when the caller has waited for long enough, in seconds of the caller's
            clock.
        block_ahead: How long a read may block that is sent ahead of the caller's next wait,
            in ms; None for not at all.

    Args:
        block: The caller's `block`.
    """

    def __init__(self, block: int | None) -> None:
        self.block = block
        self.block_ahead: int | None = block if block is None else min(block or _SLICE, _SLICE)
        self.number: int = 0
        self._seconds = inf if block == 0 else (block or 0) / 1000
        self.ends_at: float = inf

    def begin(self, now: float) -> None:
        """Begin to wait."""
        self.number += 1
        self.ends_at = now + self._seconds

    def restart(self, now: float) -> None:
        """Have the wait count from here."""
        self.ends_at = now + self._seconds

    def block_for_caller(self, now: float, held_until: float | None) -> int | None:
        """Return how long a read may block while the caller waits, in ms.

        Args:
            now: Time, in seconds of the caller's clock.
            held_until: Time when the first message held back is released, if there is one:
                nothing is over before.
        """
        if held_until is None:
            if not self.block:
                return self.block_ahead
            until = self.ends_at
        else:
            until = held_until if self.block == 0 else max(self.ends_at, held_until)
        if now > until:
            # Other connections have not waited for long enough: ask ever more slowly meanwhile.
            return min(_SHORT, ceil((now - until) * 1000))
        return min(_SLICE, max(1, ceil((until - now) * 1000)))


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
        self.messages: list[Message] = messages
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

    @property
    def is_over(self) -> bool:
        """True if all messages were delivered or taken back."""
        return not length_hint(self.iterator)

    @property
    def count(self) -> int:
        """The number of messages delivered so far."""
        left = length_hint(self.iterator)
        if not self._taken_back:
            return len(self.messages) - left
        taken_back = -1
        # Count again if another thread has taken back some messages in between.
        while taken_back != (taken_back := sum(map(len, self._taken_back))):
            left = length_hint(self.iterator)
        return len(self.messages) - left - taken_back

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
        count = self.count
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
        self.iterator: Iterator[Any] = iter(items)
        self._in_batches = in_batches

    def take(self, n: int) -> Iterable[Any]:  # noqa: ARG002
        """Return what is delivered instead of lists of messages."""
        return [self._in_batches for _ in self.iterator]

    @property
    def count(self) -> int:
        """The number of messages: none."""
        return 0

    def take_back(self) -> list[Message]:
        """Drop the items, and return nothing: they are not messages."""
        list(self.iterator)
        return []

    def delivered(self) -> Mapping[Followed, bytes | str]:
        """Return no position."""
        return {}


EMPTY = Item()
"""The batch after the last message of another one."""
