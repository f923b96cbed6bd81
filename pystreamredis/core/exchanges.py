"""Exchanges: short dialogues with a server besides reading: log in, pin "now", find gaps.

Each exchange is a generator without I/O: it yields commands, which are sent all at once, and
is sent the list of their replies. It returns what it found out, or raises what went wrong.
"""

from __future__ import annotations

from math import inf

from ..exceptions import AuthenticationError, ConnectionError, RedisError
from ..protocol.encoder import encode_command, encode_xread
from ..protocol.errors import ProtocolError
from ..protocol.ids import ZERO, id_of, number_of
from ..protocol.messages import MessageFactory, stream_replies_of
from ..protocol.values import ServerError
from .assignment import wants_hello
from .events import WARNING, Failed, Log, Phase, Redirected
from .failures import is_temporary, login_failed, may_be_one_stream, refusal
from .slots import ON_THE_MOVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from typing import Any, TypeAlias, TypeVar

    from ..options import ConnectionOptions, Login
    from ..protocol.values import Value
    from .readahead import Request
    from .session import Session
    from .stream import StreamState

    Result = TypeVar("Result")
    Exchange: TypeAlias = Generator[list[bytes], list[Any], Result]

SILENCE = 30.0
"""Seconds without an entry of a stream after which to look whether it lost any."""

# Refusals of HELLO that are about this client, not about HELLO being unknown.
_NOT_ABOUT_HELLO = frozenset({"NOAUTH", "WRONGPASS", "DENIED", "NOPERM"})

# The most rounds of a search for an ID of 128 bits. Each one halves at least what is left, so
# that these are enough, unless what the server sends makes no sense.
_MAX_ROUNDS = 130
_MAX_SEQUENCE = 2**64 - 1

# The most entries that are counted at once.
_MOST_COUNTED = 1000

# The exchanges need the IDs of entries only.
IDS_ONLY = MessageFactory(fields=lambda _: None)


class Refused(Exception):
    """The server answered with an error; the caller decides what that means."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.text)
        self.error = error


class Gap:
    """A reason to doubt that nothing was missed.

    Attributes:
        kind: ``"trimmed"``: the oldest entry is newer than the position; or ``"rewound"``:
            there are older entries, but none at the position or after it.
        oldest: The ID of the oldest entry.
    """

    __slots__ = ("kind", "oldest")

    def __init__(self, kind: str, oldest: bytes) -> None:
        self.kind: str = kind
        self.oldest: bytes = oldest


class Dialogue:
    """All that a session asks besides reads, one exchange after the other.

    Attributes:
        exchange: The exchange that is under way; None if there is none.
        received_before: Number of bytes that had been received when the last commands were
            sent, if some of them were not read by then; else 0.
        max_entries: The most entries that one reply may hold, while streams are looked back
            at; else 0.
        is_hello: True while a HELLO awaits its reply.
        newcomers: Streams that have to be prepared before they are read.
        login_at: Time to log in again.
        check_at: Time to look next for streams that are silent for too long.

    Args:
        session: The session.
        ask: As for the `Session`.
    """

    def __init__(self, session: Session, ask: Callable[[], None] | None) -> None:
        self.exchange: Exchange[None] | None = None
        self.received_before: int = 0
        self.max_entries: int = 0
        self.is_hello: bool = False
        self.newcomers: list[StreamState] = []
        self.login_at: float = inf
        self.check_at: float = 0.0
        self._session = session
        self._assignment = session.assignment
        self._ask = ask
        # The replies to the last commands, as far as they have come, and how many there will be.
        self._replies: list[Any] = []
        self._awaited = 0

    def prepare(self, now: float) -> bool:
        """Begin what has to be done before the next read, if nothing is on its way.

        Returns:
            True if the next read has to wait.
        """
        session = self._session
        if session.phase is not Phase.IDLE or now < session.poll_not_before:
            return True
        session.poll_not_before = 0.0
        if now >= self.login_at:
            self.begin_login(now)
        elif self.newcomers:
            newcomers, self.newcomers = self.newcomers, []
            session.streams.forget_names()
            self.run(self._prepare(newcomers))
        elif now >= self.check_at:
            self.check_at = min(now + SILENCE / 4, self.login_at)
            streams = self._assignment.streams
            silent = [stream for stream in streams if now - stream.last_activity >= SILENCE]
            for stream in silent:
                stream.last_activity = now
            if silent:
                self.run(self._check_gaps(silent))
        return session.phase is not Phase.IDLE or session.poll_not_before > 0

    def begin_login(self, now: float) -> None:
        """Log in, at first or again; nothing is read before there are credentials."""
        session = self._session
        self.login_at = now + (self._assignment.options.credentials_max_age or inf)
        if self._ask is None:
            self.log_in()
            return
        session.poll_not_before = inf
        try:
            self._ask()
        except Exception as error:  # noqa: BLE001 - there may be no thread for it
            session.fail(login_failed(session.address, error), now, error)

    def log_in(self, outcome: Callable[[], object] | None = None) -> None:
        """Log in with what the caller's callable has returned, or raised."""
        if self._session.phase is not Phase.CLOSED:
            self._session.poll_not_before = 0.0
            self.run(self._log_in(outcome))

    def run(self, exchange: Exchange[None]) -> None:
        """Begin an exchange; nothing is read before its end."""
        if self._session.phase is not Phase.HANDSHAKE:
            self._session.phase = Phase.STARTING
        self.exchange = exchange
        self.max_entries = 0
        self._awaited = 0
        self.advance()

    def take(self, reply: Value) -> bool:
        """Take a reply to the last commands; return True if it is the last one."""
        self.is_hello = False
        self._assignment.history.is_understood = True
        if self._session.phase is Phase.STARTING and not isinstance(reply, ServerError):
            self._session.note_answer()
        self._replies.append(reply)
        return len(self._replies) == self._awaited

    def advance(self) -> None:
        """Send the exchange its replies, and have its next commands sent."""
        session = self._session
        replies, self._replies = self._replies, []
        try:
            assert self.exchange is not None  # noqa: S101 - else nobody has asked for replies
            commands = self.exchange.send(replies if self._awaited else None)  # type: ignore[arg-type]  # pyright: ignore
        except StopIteration:
            self.exchange = None
            session.phase = Phase.IDLE
        except ProtocolError:
            raise
        except RedisError as failure:
            session.fail(failure, session.last_received)
        except Exception as error:  # noqa: BLE001 - a callable of the caller may raise anything
            session.fail(login_failed(session.address, error), session.last_received, error)
        else:
            self._awaited = len(commands)
            buffer = session.values.buffer
            self.received_before = buffer.fed if len(buffer) else 0
            session.outgoing += commands

    def close(self) -> None:
        """End the exchange."""
        if self.exchange is not None:
            self.exchange.close()
            self.exchange = None

    def explain(self, request: Request) -> None:
        """Report why a read was refused, or parts of it, and what of it was not."""
        failed = {stream for _, streams in request.refused for stream in streams}
        request.streams = [stream for stream in request.streams if stream not in failed]
        for error, streams in request.refused:
            if error.code in ON_THE_MOVE:
                request.put_off += len(streams)
        if request.streams or request.put_off:
            self._session.events.append(request)
        faults = [fault for fault in request.refused if not self._redirect(*fault)]
        # The others are reported when they are read again.
        for error, streams in faults[:1]:
            positions = {stream.key: stream.last_id for stream in streams}
            self.run(self._diagnose(error, positions))

    def _redirect(self, error: ServerError, streams: list[StreamState]) -> bool:
        """Report an error if it only says that streams are read elsewhere, or later."""
        session = self._session
        if not self._assignment.upstream.topology.is_redirection(error):
            return False
        # Streams that have left since are read elsewhere already.
        here = session.streams.distrust(streams)
        session.events.append(Redirected(error, here, session.last_received))
        return True

    def _log_in(self, outcome: Callable[[], object] | None) -> Exchange[None]:
        """Log in; at first, prepare all streams as well."""
        options, history = self._assignment.options, self._assignment.history
        is_first = self._session.phase is Phase.HANDSHAKE
        hello = is_first and history.says_hello
        login = options.credentials(outcome)
        self.is_hello = hello
        history.is_secret_sent = history.is_secret_sent or login[1] is not None
        is_unknown = yield from handshake(options, self._session.address, login, hello=hello)
        if is_first:
            # The next connection may be to a server that knows HELLO.
            history.says_hello = wants_hello(options) and not is_unknown
            self._session.phase = Phase.STARTING
            yield from self._prepare(self._assignment.streams)

    def _prepare(self, streams: list[StreamState]) -> Exchange[None]:
        """Check what was lost since streams were read last, and pin "now" where it is due."""
        known = [stream for stream in streams if stream.was_read]
        for stream in streams:
            stream.was_read = True
            stream.last_activity = self._session.last_received
        yield from self._check_gaps(known)
        unpinned = [stream for stream in streams if stream.start is None]
        for group in self._assignment.upstream.topology.group(unpinned):
            try:
                starts = yield from _find_starts(group)
            except Refused as refused:
                if not self._redirect(refused.error, group):
                    keys = dict.fromkeys((stream.key for stream in group), ZERO)
                    raise (yield from self._find_cause(refused.error, keys)) from None
                self.newcomers += group
            else:
                for stream in group:
                    stream.start = stream.last_id = starts[stream.key]

    def _check_gaps(self, streams: list[StreamState]) -> Exchange[None]:
        """Check whether streams have lost entries, and log each gap once."""
        upstream = self._assignment.upstream
        history = self._assignment.history
        if not history.look_back_size:
            history.look_back_size = 1
            return
        for group in upstream.topology.group([s for s in streams if s.is_at_entry]):
            positions = {stream.key: stream.last_id for stream in group}
            most = min(history.look_back_size, 2 * len(group))
            self.max_entries = most
            try:
                gaps = yield from look_back(positions, most)
            except Refused as refused:
                if upstream.topology.is_redirection(refused.error):
                    return  # the next read is refused, too
                raise refusal(refused.error, self._session.address, "XREAD") from None
            for stream in group:
                gap = gaps.get(stream.key)
                if gap is None:
                    continue
                if stream.reported_gap != gap.kind:
                    stream.reported_gap = gap.kind
                    stream.gaps += 1
                    self._session.events.append(
                        Log(WARNING, describe(stream, gap, self._session.address))
                    )
                restarts = upstream.reading.on_rewind == "restart"
                if gap.kind == "rewound" and restarts and stream.is_released:
                    stream.start = ZERO
                    stream.restart(ZERO)
                    self._session.streams.unsettled = None

    def _diagnose(self, error: ServerError, positions: dict[bytes, bytes]) -> Exchange[None]:
        """Report why an XREAD was refused; what a retry may repair costs the connection."""
        failure = yield from self._find_cause(error, positions)
        if isinstance(failure, (ConnectionError, AuthenticationError)):
            raise failure
        self._session.events.append(Failed(failure, self._session.last_received))

    def _find_cause(
        self, error: ServerError, positions: dict[bytes, bytes]
    ) -> Exchange[RedisError]:
        """Make the error for a refused XREAD, with the failing stream if it is one stream."""
        failure = refusal(error, self._session.address, "XREAD")
        if isinstance(failure, (ConnectionError, AuthenticationError)):
            return failure
        if not may_be_one_stream(error):
            return failure
        key = yield from find_failing_stream(positions, error)
        name = None if key is None else self._session.streams.names[key]
        return failure if key is None else refusal(error, self._session.address, "XREAD", name)


def handshake(
    options: ConnectionOptions, address: str, login: Login, *, hello: bool
) -> Exchange[bool]:
    """Log in, and choose protocol and database, as far as the options ask for it.

    Args:
        options: Options of the connection.
        address: Address of the peer, for errors.
        login: The user name and the password; there is no login where both are None.
        hello: True to begin with HELLO.

    Returns:
        True if the server does not know HELLO.

    Raises:
        RedisError: The server refuses.
    """
    commands: dict[str, bytes] = {}
    user, password = login
    if password is not None or user is not None:
        words = (user, password or "") if user else (password or "",)
        commands["AUTH"] = encode_command("AUTH", *words)
    if options.db:
        commands[f"SELECT {options.db}"] = encode_command("SELECT", options.db)
    is_refused = hello and (yield from _hello(options, address, login))
    if hello and not is_refused:
        commands.pop("AUTH", None)
    if not commands:
        return is_refused
    replies = yield list(commands.values())
    for asked, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ServerError):
            raise refusal(_without(password, reply), address, asked)
    return is_refused


def _hello(options: ConnectionOptions, address: str, login: Login) -> Exchange[bool]:
    """Say HELLO; return True if the server does not know it."""
    arguments: list[str | bytes | int] = ["HELLO", options.protocol]
    user, password = login
    if password is not None or user is not None:
        arguments += "AUTH", user or "default", password or ""
    if options.client_name is not None:
        arguments += "SETNAME", options.client_name
    (reply,) = yield [encode_command(*arguments)]
    if not isinstance(reply, ServerError):
        return False
    if is_temporary(reply) or reply.code in _NOT_ABOUT_HELLO:
        raise refusal(_without(password, reply), address, "HELLO")
    return True


def _without(password: str | bytes | None, error: ServerError) -> ServerError:
    """Remove the password from an error: servers repeat commands that they do not know."""
    text = error.text.partition(" with args beginning")[0]
    if isinstance(password, bytes):
        password = password.decode("utf-8", "surrogateescape")
    return ServerError(text.replace(password, "(not shown)") if password else text)


def _find_starts(streams: list[StreamState]) -> Exchange[dict[bytes, bytes]]:
    """Find the ID after which each of these streams starts, counted from its end."""
    starts = yield from find_last_ids([stream.key for stream in streams])
    for number in {stream.from_end for stream in streams} - {0}:
        last = {s.key: starts[s.key] for s in streams if s.from_end == number}
        starts |= yield from find_ids_before_last(last, number)
    return starts


def find_last_ids(keys: list[bytes]) -> Exchange[dict[bytes, bytes]]:
    """Find the last ID of each stream, where "now" starts, by XREAD alone.

    Raises:
        Refused: The server refuses to read, for whatever reason.
    """
    (reply,) = yield [encode_xread(keys, [b"+"] * len(keys), count=1)]
    if isinstance(reply, ServerError) and (reply.code != "ERR" or is_temporary(reply)):
        raise Refused(reply)
    # Servers before Redis 7.4 refuse "+". Redis 7.4.0 has no answer after XDEL of the last
    # entry, though there are others.
    last = {} if isinstance(reply, ServerError) else _ids_in(reply, keys)
    unknown = [key for key in keys if last.get(key, ZERO) == ZERO]
    if not unknown:
        return last
    found = dict.fromkeys(unknown, ZERO)
    # Once more from what was found, unless "+" has found nothing, too: a nil that nobody asked for
    # says that nothing is there.
    for _ in range(2 if isinstance(reply, ServerError) else 1):
        count = 1 + any(map(_is_last_of_ms, map(number_of, found.values())))
        (reply,) = yield [encode_xread(unknown, found.values(), count=count)]
        if isinstance(reply, ServerError):
            raise Refused(reply)
        later = _ids_in(reply, unknown).items()
        more = {key: at for key, at in later if number_of(at) > number_of(found[key])}
        found |= yield from _search(more)
    return last | found


def _search(low: dict[bytes, bytes]) -> Exchange[dict[bytes, bytes]]:
    """Find the last ID of each stream from the ID of an entry on, where "+" is unknown.

    Several reads at once look for entries between the last one known and an ID known to have
    none after it. The first of them starts at the last entry known, so the search is over
    when that read finds nothing.
    """
    high = dict.fromkeys(low, 2**128 - 1)
    found: dict[bytes, bytes] = {}
    for _ in range(_MAX_ROUNDS):
        if not low:
            return found
        known = {key: number_of(entry_id) for key, entry_id in low.items()}
        probes = {key: _probes(number, high[key]) for key, number in known.items()}
        rounds = list(zip(*probes.values(), strict=True))
        count = 1 + any(map(_is_last_of_ms, known.values()))
        replies = yield [encode_xread(probes, map(id_of, ids), count=count) for ids in rounds]
        for ids, reply in zip(rounds, replies, strict=True):
            if isinstance(reply, ServerError):
                raise Refused(reply)
            later = _ids_in(reply, probes)
            for key, after in zip(probes, ids, strict=True):
                _check_after([later[key]] if key in later else [], after)
                if key in later and number_of(later[key]) > known[key]:
                    low[key] = max(low[key], later[key], key=number_of)
                else:
                    high[key] = min(high[key], after)
        for key in probes:
            if high[key] <= number_of(low[key]):
                found[key] = low.pop(key)
    raise ProtocolError(f"another entry of {list(low)!r:.60} in each of {_MAX_ROUNDS} answers")


def find_ids_before_last(last: Mapping[bytes, bytes], number: int) -> Exchange[dict[bytes, bytes]]:
    """Find, in each stream, the entry before the last `number` ones, by XREAD alone.

    Entries are counted by reading them. So that no reply is large, at most a thousand are counted
    at once, from the end on.

    Args:
        last: The last ID of each stream, as `find_last_ids` has found it.
        number: The number of entries after the one that is looked for.

    Returns:
        The ID of that entry, or 0-0 where there are no more than `number` entries.

    Raises:
        Refused: The server refuses to read, for whatever reason.
    """
    found = {key: number_of(last_id) for key, last_id in last.items()}
    spans: dict[bytes, int] = {}
    while number:
        end = {key: at for key, at in found.items() if at}
        if not end:
            break
        step = min(number, _MOST_COUNTED)
        found |= yield from _find_ids_before(end, step, spans)
        spans = {key: at - found[key] for key, at in end.items()}
        number -= step
    return {key: id_of(at) for key, at in found.items()}


def _find_ids_before(
    end: dict[bytes, int], number: int, spans: dict[bytes, int]
) -> Exchange[dict[bytes, int]]:
    """Find the entry that `number` entries follow, up to one of each stream and including it.

    Args:
        end: The ID of the last of these entries, for each stream.
        number: The number of entries.
        spans: The distances over which there were as many entries before.
    """
    # The entry is not before `low`, which is an entry or 0, and not after `high`.
    low, high = dict.fromkeys(end, 0), dict(end)
    most = 2 * number + 2
    for _ in range(_MAX_ROUNDS):
        keys = [key for key in end if low[key] < high[key]]
        if not keys:
            yield from _check_number(low, end, number)
            return low
        rounds = list(zip(*(_probes_from_end(low[k], high[k], end[k]) for k in keys), strict=True))
        if spans:
            # Mostly entries are as close together as those after them.
            rounds = [tuple(max(0, end[key] - spans[key] * 5 // 4) for key in keys)]
            spans = {}
        replies = yield [encode_xread(keys, map(id_of, ids), count=most) for ids in rounds]
        for ids, reply in zip(rounds, replies, strict=True):
            if isinstance(reply, ServerError):
                raise Refused(reply)
            entries = _entries_in(reply, keys)
            for key, after in zip(keys, ids, strict=True):
                later = entries.get(key, [])
                _check_after(later, after)
                later = [entry_id for entry_id in later if number_of(entry_id) <= end[key]]
                if low[key] >= high[key]:
                    continue
                if len(later) >= most:
                    low[key] = max(low[key], number_of(later[-number - 1]))
                elif len(later) > number:
                    low[key] = high[key] = number_of(later[-number - 1])
                else:
                    high[key] = min(high[key], after)
    raise ProtocolError(f"other entries of {list(low)!r:.60} in each of {_MAX_ROUNDS} answers")


def _check_number(low: dict[bytes, int], end: dict[bytes, int], number: int) -> Exchange[None]:
    """Check that no more entries are between an ID and the end of each stream.

    There may be fewer by now, since streams are trimmed.

    Raises:
        ProtocolError: There are: a reply that nobody asked for was taken for another one.
    """
    (reply,) = yield [encode_xread(low, map(id_of, low.values()), count=number + 1)]
    if isinstance(reply, ServerError):
        raise Refused(reply)
    entries = _entries_in(reply, list(low))
    for key, after in low.items():
        later = [at for at in map(number_of, entries.get(key, [])) if after < at <= end[key]]
        if len(later) > number:
            raise ProtocolError(f"more than {number} entries of {key!r:.60}, expected so many")


def _probes_from_end(low: int, high: int, end: int) -> list[int]:
    """Choose IDs to read after: by distance from the end, by distance from `low`, and midway.

    Entries may lie close together next to the end, or a long time before it.
    """
    exponent = ((end - high).bit_length() + (end - low).bit_length()) // 2
    from_end = max(low, end - (1 << exponent))
    from_low = min(high, low + (1 << (high - low).bit_length() // 2)) if low else 0
    return [at - _is_last_of_ms(at) for at in (from_end, from_low, (low + high) // 2)]


def _probes(low: int, high: int) -> list[int]:
    """Choose IDs to read after: `low` itself, steps of powers of two, and even steps.

    Entries lie close together but anywhere in 128 bits. The powers find the order of
    magnitude in one round, and the even steps narrow it down sixteen times a round.
    """
    steps = [min(low + (1 << exponent), high) for exponent in range(0, 128, 4)]
    steps += [low + (high - low) * step // 16 for step in range(1, 16)]
    # Redis before 5.0.8 reads from the start of the ms after its largest sequence. The read
    # after the ID before that one returns two entries.
    return [at - _is_last_of_ms(at) for at in (low, *steps)]


def _is_last_of_ms(number: int) -> bool:
    """Return True for the largest ID of a ms."""
    return number & _MAX_SEQUENCE == _MAX_SEQUENCE


def find_failing_stream(
    positions: Mapping[bytes, bytes], error: ServerError
) -> Exchange[bytes | None]:
    """Find the stream at fault after an XREAD over several was refused as a whole.

    Returns:
        Its key; None if no stream alone is answered with that error.
    """
    keys = list(positions)
    replies = yield [encode_xread([key], [positions[key]], count=1) for key in keys]
    for key, reply in zip(keys, replies, strict=True):
        if isinstance(reply, ServerError) and reply.code == error.code:
            return key
    return None


def look_back(positions: Mapping[bytes, bytes], most: int) -> Exchange[dict[bytes, Gap]]:
    """Check whether streams still hold the entries that were read last.

    No command but XREAD tells, so it is asked for the oldest entry, and for the first entry
    from the position on.

    Args:
        positions: The ID of the last entry received, for each stream's key.
        most: The most entries that one reply may hold. There are up to two of each stream.

    Returns:
        The gap of each stream that has one. A stream that cannot be read at all has none: the
        next read reports it.

    Raises:
        Refused: The server refuses for now.
    """
    keys = [*positions, *positions]
    ids = [ZERO] * len(positions) + [
        id_of(number_of(position) - 1) for position in positions.values()
    ]
    parts = [slice(at, at + most) for at in range(0, len(keys), most)]
    replies = yield [encode_xread(keys[part], ids[part], count=1) for part in parts]
    seen: dict[bytes, list[bytes]] = {key: [] for key in positions}
    for reply in replies:
        if isinstance(reply, ServerError) and is_temporary(reply):
            raise Refused(reply)
        if isinstance(reply, ServerError):
            return {}
        for key, messages in stream_replies_of(reply, {key: key for key in keys}, IDS_ONLY) or []:
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


def describe(stream: StreamState, gap: Gap, address: str) -> str:
    """Describe a gap for the log: all that is known, and no more."""
    name, position, oldest = repr(stream.name), stream.last_id.decode(), gap.oldest.decode()
    if gap.kind == "trimmed":
        return (
            f"stream {name} at {address}: the oldest entry is {oldest} now, newer than the "
            f"position {position}: it was most likely trimmed, and messages may have been missed"
        )
    return (
        f"stream {name} at {address}: there are entries from {oldest} on, but none at the "
        f"position {position} or after it: it may have begun again, and messages may be missed "
        "until its IDs pass the position"
    )


def _ids_in(reply: Any, keys: Mapping[bytes, Any] | list[bytes]) -> dict[bytes, bytes]:
    """Map each stream that a reply has entries of to the last ID there."""
    return {key: entries[-1] for key, entries in _entries_in(reply, keys).items()}


def _entries_in(reply: Any, keys: Mapping[bytes, Any] | list[bytes]) -> dict[bytes, list[bytes]]:
    """Map each stream that a reply has entries of to their IDs."""
    replies = stream_replies_of(reply, {key: key for key in keys}, IDS_ONLY) or []
    return {key: [entry_id for _, entry_id, _ in found] for key, found in replies if found}


def _check_after(entries: list[bytes], after: int) -> None:
    """Check that entries are after an ID.

    Raises:
        ProtocolError: They are not.
    """
    if entries and number_of(entries[0]) <= after:
        raise ProtocolError(f"entry {entries[0]!r}, expected one after {id_of(after)!r}")
