"""Redis Cluster's hash slots, and the replies that tell where a slot lives.

No table of a cluster is asked for, since nothing but XREAD may be sent: what is known
of it comes from redirections.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .cursors import Cursor
    from .protocol import ServerError

SLOTS = 16384

# What passes by itself: a slot is on the move, or its node just turned replica.
ON_THE_MOVE = frozenset({"ASK", "TRYAGAIN", "UNBLOCKED"})


def slot_of(key: bytes) -> int:
    """Say in which slot a key is: that of its hash tag, ``{...}``, if it has one."""
    from binascii import crc_hqx  # an extension to load, for clusters alone

    begin = key.find(b"{") + 1
    end = key.find(b"}", begin) if begin else -1
    # An empty tag is none, and what follows it is no tag either.
    return crc_hqx(key[begin:end] if end > begin else key, 0) % SLOTS


def by_slot(cursors: Iterable[Cursor]) -> dict[int, list[Cursor]]:
    """Group streams by the slot that they are in, in the order of each slot's first."""
    slots: dict[int, list[Cursor]] = {}
    for cursor in cursors:
        if cursor.slot is None:
            cursor.slot = slot_of(cursor.key)
        slots.setdefault(cursor.slot, []).append(cursor)
    return slots


def is_redirection(error: ServerError, *, is_divided: bool) -> bool:
    """Whether an error only says that streams are to be read elsewhere, by slots, or later.

    They are divided by slots already in what is known as a cluster.
    """
    if error.code == "CROSSSLOT":
        return not is_divided
    if moved_to(error, "") is not None or error.code == "ASK":
        return True
    return is_divided and error.code in ON_THE_MOVE


def moved_to(error: ServerError, host: str) -> tuple[int, str, int] | None:
    """Read a ``MOVED``, the reply of a node that has not the slot.

    Returns:
        The slot, and the host and port where it lives: that node's host where none is named;
        None if it is no MOVED, or one that cannot be understood.
    """
    if error.code != "MOVED":
        return None
    words = error.text.split(" ")
    if len(words) != 3:
        return None
    _, slot, address = words
    # An IPv6 address is full of colons, and newer servers put no brackets around it.
    named, colon, port = address.rpartition(":")
    named = named.strip("[]")
    if not colon or not (_is_number(slot, SLOTS - 1) and _is_number(port, 65535) and int(port)):
        return None
    if "://" in named or named.count(":") == 1:
        return None  # no host
    # "?" is said by a node that does not know its own name for the other.
    return int(slot), host if named in ("", "?") else named, int(port)


def _is_number(text: str, largest: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= largest
