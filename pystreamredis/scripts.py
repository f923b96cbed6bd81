"""Short dialogues with a server besides following: log in, find "now", find the culprit.

Each is a generator without I/O: it yields the commands to send, all at once, and
is sent the list of their replies; it returns what it was to find out, or raises
what went wrong. Whoever holds the connection drives it.
"""

from __future__ import annotations

from .ids import ZERO, id_of, number_of
from .protocol import (
    MessageMaker,
    ProtocolError,
    ServerError,
    blocks_of,
    encode_command,
    encode_xread,
)
from .refusals import is_temporary, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any, TypeAlias, TypeVar

    from .options import ConnectionOptions

    Result = TypeVar("Result")
    Script: TypeAlias = Generator[list[bytes], list[Any], Result]

# Refusals of HELLO that are about this client, not about HELLO being unknown.
_NOT_ABOUT_HELLO = frozenset({"NOAUTH", "WRONGPASS", "DENIED", "NOPERM"})

# In how many rounds a last ID must be found: sixteen times nearer in each, some dozen
# are enough, unless what is sent makes no sense.
_MAX_ROUNDS = 100

# Of an entry only its ID is wanted here.
_IDS_ONLY = MessageMaker(fields=lambda _: None)


def greet(options: ConnectionOptions, *, hello: bool) -> Script[bool]:
    """Log in and choose protocol and database: nothing is sent that was not asked for.

    Returns:
        Whether HELLO was refused, if the server might have known it.

    Raises:
        RedisError: The server refuses.
    """
    password = options.password()
    commands: dict[str, bytes] = {}
    if password is not None or options.username is not None:
        login = (options.username, password or "") if options.username else (password or "",)
        commands["AUTH"] = encode_command("AUTH", *login)
    if options.db:
        commands[f"SELECT {options.db}"] = encode_command("SELECT", options.db)
    is_refused = hello and (yield from _hello(options, password))
    if hello and not is_refused:
        commands.pop("AUTH", None)
    if not commands:
        return is_refused
    replies = yield list(commands.values())
    for asked, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ServerError):
            raise refusal(_without(password, reply), options.address, asked)
    return is_refused


def wants_hello(options: ConnectionOptions) -> bool:
    """Whether anything was asked for that only HELLO can do."""
    return options.protocol != 2 or options.client_name is not None


def _hello(options: ConnectionOptions, password: str | bytes | None) -> Script[bool]:
    """Say HELLO; return whether the server does not know it."""
    arguments: list[str | bytes | int] = ["HELLO", options.protocol]
    if password is not None or options.username is not None:
        arguments += "AUTH", options.username or "default", password or ""
    if options.client_name is not None:
        arguments += "SETNAME", options.client_name
    (reply,) = yield [encode_command(*arguments)]
    if not isinstance(reply, ServerError):
        return False
    if is_temporary(reply) or reply.code in _NOT_ABOUT_HELLO:
        raise refusal(_without(password, reply), options.address, "HELLO")
    return True


def _without(password: str | bytes | None, error: ServerError) -> ServerError:
    """Take the password out of an error: servers repeat commands that they do not know."""
    text = error.text.partition(" with args beginning")[0]
    if isinstance(password, bytes):
        password = password.decode("utf-8", "surrogateescape")
    return ServerError(text.replace(password, "(not shown)") if password else text)


def find_last(keys: list[bytes]) -> Script[dict[bytes, bytes]]:
    """Find each stream's last ID, with XREAD alone: that is where "now" starts.

    Raises:
        Refused: The server refuses to read, for whatever reason.
    """
    (reply,) = yield [encode_xread(keys, [b"+"] * len(keys), count=1)]
    if isinstance(reply, ServerError) and (reply.code != "ERR" or is_temporary(reply)):
        raise Refused(reply)
    # Servers before Redis 7.4 take no "+". Those that do may have no answer though
    # there are entries: Redis 7.4.0, after XDEL of the last one.
    last = {} if isinstance(reply, ServerError) else _ids_in(reply, keys)
    unknown = [key for key in keys if last.get(key, ZERO) == ZERO]
    if not unknown:
        return last
    (reply,) = yield [encode_xread(unknown, [ZERO] * len(unknown), count=1)]
    if isinstance(reply, ServerError):
        raise Refused(reply)
    return dict.fromkeys(keys, ZERO) | last | (yield from _search(_ids_in(reply, unknown)))


def _search(low: dict[bytes, bytes]) -> Script[dict[bytes, bytes]]:
    """Find each stream's last ID, from the ID of an entry on, where it cannot be asked for.

    Between the last entry known and an ID known to have none after it, several
    reads at once look for more entries; the first of them right at the last entry
    known, so that the search is over when that read finds nothing.
    """
    high = dict.fromkeys(low, 2**128 - 1)
    found: dict[bytes, bytes] = {}
    for _ in range(_MAX_ROUNDS):
        if not low:
            return found
        probes = {key: _probes(number_of(low[key]), high[key]) for key in low}
        rounds = list(zip(*probes.values(), strict=True))
        replies = yield [encode_xread(probes, map(id_of, ids), count=1) for ids in rounds]
        for ids, reply in zip(rounds, replies, strict=True):
            if isinstance(reply, ServerError):
                raise Refused(reply)
            later = _ids_in(reply, probes)
            for key, after in zip(probes, ids, strict=True):
                if key in later and number_of(later[key]) <= after:
                    raise ProtocolError(
                        f"entry {later[key]!r}, expected one after {id_of(after)!r}"
                    )
                if key in later:
                    low[key] = max(low[key], later[key], key=number_of)
                else:
                    high[key] = min(high[key], after)
        for key in probes:
            if high[key] <= number_of(low[key]):
                found[key] = low.pop(key)
    raise ProtocolError(f"another entry of {list(low)!r:.60} in each of {_MAX_ROUNDS} answers")


def _probes(low: int, high: int) -> list[int]:
    """Where to look next: `low` itself, steps of powers of two, and even steps.

    Entries lie close together but anywhere in 128 bits: the powers find the order
    of magnitude in one round, the even steps narrow it down sixteen times a round.
    """
    powers = [min(low + (1 << exponent), high) for exponent in range(0, 128, 4)]
    return [low, *powers, *(low + (high - low) * step // 16 for step in range(1, 16))]


def look_back(positions: Mapping[bytes, bytes]) -> Script[dict[bytes, Gap]]:
    """Look whether streams still hold the entries that were read last.

    Returns:
        The streams of which that can be doubted. A stream that cannot be read at all
        is none of them: the next read will tell.

    Raises:
        Refused: The server refuses for now.
    """
    ids = [ZERO] * len(positions) + [_previous(position) for position in positions.values()]
    (reply,) = yield [encode_xread([*positions, *positions], ids, count=1)]
    if isinstance(reply, ServerError) and is_temporary(reply):
        raise Refused(reply)
    if isinstance(reply, ServerError):
        return {}
    seen: dict[bytes, list[bytes]] = {key: [] for key in positions}
    for key, messages in blocks_of(reply, {key: key for key in positions}, _IDS_ONLY) or []:
        seen[key] += [entry_id for _, entry_id, _ in messages]
    gaps = {}
    for key, position in positions.items():
        numbers = sorted(map(number_of, seen[key]))
        # The oldest entry alone, and it is older: nothing is at the position or after it.
        if len(numbers) == 1 and numbers[0] < number_of(position):
            gaps[key] = Gap("rewound", id_of(numbers[0]))
        # The oldest entry, and the first from the position on, are both newer.
        elif numbers and numbers[0] > number_of(position):
            gaps[key] = Gap("trimmed", id_of(numbers[0]))
    return gaps


class Gap:
    """What makes it doubtful that nothing was missed.

    Attributes:
        kind: ``"trimmed"``: the oldest entry is newer than the position; or
            ``"rewound"``: there are older entries, but none at the position or after it.
        oldest: The ID of that entry.
    """

    __slots__ = ("kind", "oldest")

    def __init__(self, kind: str, oldest: bytes) -> None:
        self.kind = kind
        self.oldest = oldest


def _previous(entry_id: bytes) -> bytes:
    return id_of(number_of(entry_id) - 1)


def find_culprit(positions: Mapping[bytes, bytes], error: ServerError) -> Script[bytes | None]:
    """Find the stream at fault after an XREAD over several was refused as a whole.

    Returns:
        Its key, or None if that error comes for none of them alone.
    """
    keys = list(positions)
    replies = yield [encode_xread([key], [positions[key]], count=1) for key in keys]
    for key, reply in zip(keys, replies, strict=True):
        if isinstance(reply, ServerError) and reply.code == error.code:
            return key
    return None


def _ids_in(reply: Any, keys: Mapping[bytes, Any] | list[bytes]) -> dict[bytes, bytes]:
    """Map the streams that a reply has an entry of to the last ID there."""
    blocks = blocks_of(reply, {key: key for key in keys}, _IDS_ONLY) or []
    return {key: messages[-1][1] for key, messages in blocks if messages}


class Refused(Exception):
    """The server answered with an error; the streams may have to be asked one by one."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.text)
        self.error = error
