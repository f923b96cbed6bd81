"""Failures as the caller sees them: which error it is, and what its text says.

A text says what was seen, what was expected, and what to do. What a peer has sent is escaped.
"""

from __future__ import annotations

import builtins

from ..escaping import escape
from ..exceptions import (
    AuthenticationError,
    ConnectionError,
    MessageError,
    ProtocolError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from ..protocol.errors import ProtocolError as WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..options import ConnectionOptions
    from ..protocol.messages import Unmade
    from ..protocol.values import ServerError
    from ..starts import Followed

# States of a server that pass: it loads its data, has lost its master or its cluster, runs a
# script, or becomes a replica while clients wait.
_TEMPORARY = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNBLOCKED"})
# The most that is shown of a peer's error, in characters.
_SHOWN = 500


def is_temporary(error: ServerError) -> bool:
    """Return True if the same command may succeed a moment later."""
    return error.code in _TEMPORARY or error.text.startswith("ERR max number of clients")


def may_be_one_stream(error: ServerError) -> bool:
    """Return True if one of several streams that were asked for may be at fault."""
    # NOPERM is also what a user gets who may not run the command at all.
    return error.code in ("WRONGTYPE", "NOPERM") and "'xread'" not in error.text.lower()


def refusal(
    error: ServerError, address: str, asked: str, stream: Followed | None = None
) -> RedisError:
    """Make the error for a server's refusal of what was asked: ``"XREAD"``, ``"AUTH"``."""
    at = "" if stream is None else f" of stream {stream!r}"
    text = f"{address} refused {asked}{at}: {escape(error.text, _SHOWN)}"
    if is_temporary(error):
        return ConnectionError(text)
    if error.code in ("NOAUTH", "WRONGPASS") or asked == "AUTH":
        return AuthenticationError(text, code=escape(error.code))
    return ResponseError(text, code=escape(error.code), stream=stream)


def not_connected(options: ConnectionOptions, address: str, cause: Exception) -> ConnectionError:
    """Make the error for a connection that could not be made."""
    text = f"cannot connect to {address}: {escape(str(cause), _SHOWN)}"
    if not isinstance(cause, builtins.TimeoutError):
        return ConnectionError(text)
    if options.is_tls:
        # A server without TLS waits for the end of what it takes for a command.
        text += " (is it a port for TLS?)"
    return TimeoutError(text)


def connection_lost(
    options: ConnectionOptions,
    address: str,
    cause: Exception | None,
    *,
    missing: str | None,
    is_understood: bool,
) -> ConnectionError:
    """Make the error for a connection that has ended.

    Args:
        options: Options of the connection.
        address: Address of the peer.
        cause: The error that ended it; None if the peer closed it.
        missing: The part of a reply that did not come, if one had begun.
        is_understood: True if this peer has ever sent RESP.
    """
    if cause is not None:
        text = f"lost the connection to {address}: {escape(str(cause), _SHOWN)}"
    else:
        text = f"{address} closed the connection" + (f" after {missing}" if missing else "")
    if not is_understood:
        if not (options.is_tls or options.unix_socket_path):
            text += " (if it is a port for TLS: ssl=True, or rediss://)"
        text += " (if it is a proxy: is there a server behind it, and does it pass XREAD on?)"
    return ConnectionError(text)


def no_reply(options: ConnectionOptions, address: str, seconds: float) -> TimeoutError:
    """Make the error for a reply that did not come in time."""
    return TimeoutError(
        f"no reply from {address} for {seconds:.1f} s, expected one within "
        f"{options.socket_timeout:g} s (socket_timeout) of when it was due"
    )


def not_resp(address: str, cause: WireError, *, is_secret_sent: bool) -> ProtocolError:
    """Make the error for bytes that are not RESP, or not the reply that was asked for.

    Some peers repeat what they were sent, and that may be a password, also much later.
    """
    if is_secret_sent:
        hidden = WireError("something unexpected (not shown, since a password was sent)")
        cause = hidden.with_traceback(None)
    failure = ProtocolError(f"{address} sent {escape(str(cause), _SHOWN)}")
    failure.__cause__ = cause
    return failure


def login_failed(address: str, cause: Exception) -> ConnectionError:
    """Make the error for a callable of the caller that has failed: it had no password to give."""
    return ConnectionError(f"cannot log in to {address}: {escape(str(cause), _SHOWN)}")


def no_descriptors(cause: OSError) -> ConnectionError:
    """Make the error for a reader that cannot even begin to connect."""
    error = ConnectionError(f"cannot begin to connect: {escape(str(cause), _SHOWN)}")
    error.__cause__ = cause
    return error


def message_error(name: Followed, entry_id: bytes | str, entry: Unmade) -> MessageError:
    """Make the error for an entry that could not be made into a message."""
    shown = entry_id if isinstance(entry_id, str) else entry_id.decode("ascii")
    cause = f"{type(entry.cause).__name__}: {entry.cause}"
    error = MessageError(
        f"entry {shown} of stream {name!r} could not be made into a message: "
        f"{escape(cause, 200)}; the next call goes on after it",
        stream=name,
        id=entry_id,
        pairs=entry.pairs,
    )
    error.__cause__ = entry.cause
    return error
