"""Hash slots of Redis Cluster, and the replies that name the owner of a slot.

The only command sent is XREAD, so all that is known of a cluster comes from redirections.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..protocol.values import ServerError
    from .stream import StreamState

SLOTS = 16384

# Errors that pass by themselves: a slot is migrating, or its node has just become a replica.
ON_THE_MOVE = frozenset({"ASK", "TRYAGAIN", "UNBLOCKED"})


def slot_of(key: bytes) -> int:
    """Return the hash slot of a key: that of its hash tag, ``{...}``, if it has one."""
    from binascii import crc_hqx  # an extension module, loaded for clusters alone

    begin = key.find(b"{") + 1
    end = key.find(b"}", begin) if begin else -1
    # An empty tag is none, and what follows it is no tag either.
    return crc_hqx(key[begin:end] if end > begin else key, 0) % SLOTS


def by_slot(streams: Iterable[StreamState]) -> dict[int, list[StreamState]]:
    """Group streams by hash slot, in the order of each slot's first stream."""
    slots: dict[int, list[StreamState]] = {}
    for stream in streams:
        if stream.slot is None:
            stream.slot = slot_of(stream.key)
        slots.setdefault(stream.slot, []).append(stream)
    return slots


def is_cluster_error(error: ServerError) -> bool:
    """Return True for an error that only a cluster answers with."""
    return error.code in ("CROSSSLOT", "ASK") or moved_to(error, "") is not None


def is_slot_error(error: ServerError) -> bool:
    """Return True if a node of a cluster says that a slot is read elsewhere, or later."""
    return error.code in ON_THE_MOVE or moved_to(error, "") is not None


def moved_to(error: ServerError, host: str) -> tuple[int, str, int] | None:
    """Read a ``MOVED``, the reply of a node that does not own the slot.

    Args:
        error: The reply.
        host: Host of the node that sent it, for a MOVED that names none.

    Returns:
        The slot, and host and port of its owner; None for any other error, or a MOVED that
        makes no sense.
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
        return None  # that is not a host
    # A node that does not know the other's name says "?".
    return int(slot), host if named in ("", "?") else named, int(port)


def _is_number(text: str, largest: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= largest
