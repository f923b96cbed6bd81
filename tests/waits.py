"""Wait for one socket, and connect over one, with what the library waits for many with."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from pystreamredis.transport import connecting

if TYPE_CHECKING:
    import socket

    from pystreamredis.options import ConnectionOptions
    from pystreamredis.transport import Transport
    from pystreamredis.waiting import Waiter


def wait_for(
    waiter: Waiter, sock: socket.socket | None, events: int, timeout: float | None
) -> bool:
    """Wait until this socket is ready, and no other; return whether it is."""
    for other in list(waiter._watched):
        if other is not sock:
            waiter.forget(other)
    if sock is not None:
        waiter.watch(sock, events)
    return bool(waiter.wait(timeout))


def forget_all(waiter: Waiter) -> None:
    """Stop watching whatever is watched."""
    for sock in list(waiter._watched):
        waiter.forget(sock)


def connect(options: ConnectionOptions, waiter: Waiter) -> Transport:
    """Make a connection, and wait until it is made."""
    steps, is_ready = connecting(options), None
    try:
        while True:
            sock, events, deadline = steps.send(is_ready)
            left = None if deadline is None else deadline - monotonic()
            is_ready = wait_for(waiter, sock, events, left)
    except StopIteration as made:
        transport: Transport = made.value
        return transport
    finally:
        # Where the wait was interrupted, it is half made.
        steps.close()
