"""What an error reply means: try again later, log in otherwise, or give up."""

from __future__ import annotations

from .exceptions import AuthenticationError, ConnectionError, RedisError, ResponseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol import ServerError
    from .starts import Followed

# The state of the server, which passes: it loads its data, has lost its master or
# its cluster, runs a script, turns replica while clients wait.
_TEMPORARY = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNBLOCKED"})
_MAX_CLIENTS = "ERR max number of clients"
_CREDENTIALS = frozenset({"NOAUTH", "WRONGPASS"})


def is_temporary(error: ServerError) -> bool:
    """Whether the same command may be answered a moment later."""
    return error.code in _TEMPORARY or error.text.startswith(_MAX_CLIENTS)


def may_be_one_streams(error: ServerError) -> bool:
    """Whether the fault may be one stream's, of several that were asked for."""
    # NOPERM is also what a user gets who may not run the command at all.
    return error.code in ("WRONGTYPE", "NOPERM") and "'xread'" not in error.text.lower()


def refusal(
    error: ServerError, address: str, asked: str, stream: Followed | None = None
) -> RedisError:
    """Make the exception for what a server replied that was asked for ``"XREAD"``, ``"AUTH"``."""
    at = "" if stream is None else f" of stream {stream!r}"
    text = f"{address} refused {asked}{at}: {error.text}"
    if is_temporary(error):
        return ConnectionError(text)
    if error.code in _CREDENTIALS or asked == "AUTH":
        return AuthenticationError(text, code=error.code)
    return ResponseError(text, code=error.code, stream=stream)
