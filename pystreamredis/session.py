"""One conversation with one server: what to send it, and what its answers mean.

It has no socket and no clock: whoever has them tells what was received and when,
and sends what is `outgoing`. A conversation begins anew with each connection, and
since every XREAD names the IDs to read after, nothing is lost or repeated by that:

    opened -> log in -> fix "now" -> ask -> reply -> ask -> ...
"""

from __future__ import annotations

import builtins
from collections import deque
from math import inf
from operator import attrgetter

from .exceptions import (
    AuthenticationError,
    ConnectionError,
    ProtocolError,
    RedisError,
    TimeoutError,
)
from .ids import ZERO, is_later, number_of
from .merge import waiting_after
from .outages import WARNING, Outages
from .protocol import (
    MessageMaker,
    NeedData,
    Parser,
    Push,
    ServerError,
    XreadParser,
)
from .protocol import ProtocolError as WireError
from .protocol.encoder import encode_ids, encode_xread_head
from .refusals import may_be_one_streams, refusal
from .scripts import Gap, Refused, find_culprit, find_last, greet, look_back, wants_hello
from .slots import ON_THE_MOVE, by_slot, is_redirection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .cursors import Cursor
    from .options import ConnectionOptions, ReadOptions
    from .outages import Notice
    from .protocol.messages import Message
    from .protocol.xread import Block, Reply
    from .scripts import Script
    from .starts import Followed


# After how many seconds without an entry of a stream to look whether it lost any.
_SILENCE = 30.0
# How long to pause after a round of reads in turns, in seconds: at least, and for each slot.
# That many reads without blocking take a node 1 or 2 % of its time.
_REST = 0.01
_REST_FOR_SLOT = 0.0005


# Without a step of Python for each stream, since they may be many.
_fetched = attrgetter("fetched")
_complete = attrgetter("complete")
_waiting = attrgetter("waiting")


class Request:
    """An XREAD that was sent.

    Attributes:
        asked: The streams that it reads.
        after: The IDs to read after, one for each.
        due: When its reply is due at the latest, in seconds of the caller's clock.
        blocks: Whether the server may wait before it replies.
        put_off: How many streams more cannot be read for now, since their slot is on the move.
    """

    __slots__ = ("after", "asked", "blocks", "due", "put_off")

    def __init__(
        self, asked: list[Cursor], after: list[bytes], sent: float, block: int | None
    ) -> None:
        self.asked = asked
        self.after = after
        self.due = sent + (block or 0) / 1000
        self.blocks = block is not None
        self.put_off = 0


class Conversation:
    """One connection's worth of following.

    Attributes:
        options: Where the server is, and how to log in. Whoever connects replaces them by
            those of where it is by then.
        cursors: The streams that are read over this connection.
        notices: What is to be logged: levels and texts.
        failure: What went wrong and was not told yet. After a `ConnectionError`
            the conversation is not open any more.
        answered: The read that was answered last, until someone has taken note.
        outgoing: What is to be sent.
        has_unread: Whether bytes came that are not understood yet.
        redirections: Which streams the server does not serve, or not for now, and what it
            said, until someone has taken note.
        told_at: When it failed last, or was redirected.
        stir: Called when anything happens to it.

    Args:
        is_divided: Whether each hash slot's streams are read by themselves, as the nodes of
            a cluster demand. Where there are several slots, they are read in turns, without
            blocking.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        reading: ReadOptions,
        cursors: list[Cursor],
        *,
        is_divided: bool = False,
    ) -> None:
        self.options = options
        self.cursors = cursors
        self.failure: RedisError | None = None
        self.answered: Request | None = None
        self.redirections: list[tuple[ServerError, list[Cursor]]] = []
        self.told_at = 0.0
        self.stir: Callable[[], object] = lambda: None
        self._is_divided = is_divided
        # Whether there are streams of several slots.
        self._takes_turns = False
        self._outages = Outages()
        self.notices: list[Notice] = self._outages.notices
        self._count = reading.count
        self._holds = reading.hold > 0
        self._maker = MessageMaker(
            reading.fields,
            options.encoding if options.decode_responses else None,
            options.encoding_errors,
        )
        # Whether to say HELLO at the next connection: not right after a server has refused
        # it, or closed the connection over it.
        self._says_hello = wants_hello(options)
        self._restarts_rewound = reading.on_rewind == "restart"
        self._waits = reading.block is not None
        # When to look next whether any stream is silent for too long.
        self._look_at = 0.0
        # Whether anything was understood, over whichever connection: without TLS then.
        self._is_understood = False
        self._reset()

    def _reset(self) -> None:
        self.is_open = False
        self.has_unread = False
        self.outgoing: list[bytes] = []
        # What a read begins with: mostly the same streams as in the one before.
        self._head = b""
        self._head_of: tuple[list[Cursor], int | None] = [], None
        self._by_name: dict[Followed, Cursor] = {}
        self._names: dict[bytes, Followed] = {}
        self._values = Parser()
        self._replies = XreadParser(
            self._names, self._maker, max_entries=self._count, values=self._values
        )
        self._script: Script[None] | None = None
        self._script_replies: list[Any] = []
        self._awaited = 0
        self._awaits_hello = False
        # Whether the server has answered an XREAD over this connection.
        self._is_answered = False
        self._is_logging_in = False
        self._request: Request | None = None
        # Those that were sent after it, for other slots; all of them in one; and those that
        # were refused.
        self._turns: deque[Request] = deque()
        self._round: Request | None = None
        self._refused: list[tuple[ServerError, list[Cursor]]] = []
        # Streams that have come to it since it was opened.
        self._newcomers: list[Cursor] = []
        # Until when no next read is to be sent; 0 for none.
        self.rests_until = 0.0
        # A read that was sent on a guess of where the reply to `_request` will end, and
        # how many replies to wrong guesses are still to come.
        self._guess: Request | None = None
        self._stale = 0
        self._right_guesses = 0
        self._wrong_guesses = 0
        # Of which streams messages wait, or may be left at the server: no others than these, as
        # long as it is these that are followed.
        self._unsettled: list[Cursor] = []
        self._unsettled_of: list[Cursor] = []
        # Whether streams had more entries at the last read, as far as is known.
        self._expects_more = False
        # When the last bytes came, when the last that were of an awaited reply, and when
        # the last were sent.
        self._arrived = 0.0
        self._left = 0.0
        self._heard = 0.0

    # What the holder of the connection asks.

    @property
    def is_ready(self) -> bool:
        """Whether streams can be read: logged in, and every start is known."""
        return self.is_open and self._script is None and not self._newcomers

    @property
    def is_idle(self) -> bool:
        """Whether it is logged in and nothing is on its way."""
        return self._request is None and self.is_open and self._script is None

    @property
    def is_settled(self) -> bool:
        """Whether a read is on its way, and nothing is to be done before its answer comes."""
        return (
            self.answered is None
            and self._request is not None
            and self._script is None
            and self.failure is None
            and not (self.outgoing or self.has_unread or self.notices or self.redirections)
        )

    def find_unsettled(self) -> list[Cursor]:
        """List the streams that have a part in the merge.

        Of the others nothing waits, nor is anything left at the server. Where they are many,
        they need not be looked at for each message.
        """
        if self._unsettled_of != self.cursors:
            self._unsettled = self._unsettled_of = self.cursors[:]
        self._unsettled = [c for c in self._unsettled if c.waiting or not c.complete]
        return self._unsettled

    def is_blocked_for(self, cursors: list[Cursor]) -> bool:
        """Whether any of these would have to wait for a read that may block."""
        if self._request is None or not self._request.blocks:
            return False
        return any(cursor not in self.cursors for cursor in cursors)

    @property
    def silent_at(self) -> float | None:
        """From when on silence means that the peer is gone; None if nothing is awaited."""
        timeout = self.options.socket_timeout
        request = self._request or self._guess
        if timeout is None or not (self._awaited or request or self._stale):
            return None
        return max(request.due if request else 0.0, self._heard, self._left) + timeout

    def take_outgoing(self, now: float = 0.0) -> bytes:
        """Take out the bytes to send, at the time they are sent."""
        if not self.outgoing:
            return b""
        self._left = now
        data = b"".join(self.outgoing)
        self.outgoing.clear()
        return data

    # What the holder of the connection tells.

    def opened(self, now: float) -> None:
        """A connection was made: log in, and fix "now" where that is to be done."""
        self.abandon()
        self.is_open = True
        self._outages.opened(self.options.address, now)
        self._heard = now
        self._know(self.cursors)
        self._awaits_hello = self._says_hello
        self._is_logging_in = True
        self._run(self._establish(hello=self._says_hello))

    def received(self, data: bytes, now: float) -> None:
        """Bytes came. What is `outgoing` now is to be sent before `process` is called."""
        self.stir()
        self._arrived = now
        self.has_unread = True
        self._values.feed(data)
        if self._expects_more and self._guess is None and not self._stale:
            self._guess_on(now)

    def process(self) -> None:
        """Understand what came."""
        try:
            is_read = True
            while is_read and self.has_unread:
                is_read = self._read_one()
                self.has_unread = not self._values.buffer.forget()
            if self._heard < self._arrived:
                self._take_note_of_part()
        except WireError as error:
            # Some peers repeat what they were sent, and that may be a password.
            hidden = WireError("what is no RESP, in reply to the login")
            cause = hidden if self._is_logging_in else error
            self._fail(ProtocolError(f"{self.options.address} sent {cause}"), self._arrived, cause)

    def closed(self, now: float, cause: Exception | None = None) -> None:
        """The connection is gone: the peer has closed it, or `cause` happened."""
        if self._awaits_hello:
            # Some proxies close the connection on a command that they do not know.
            self.abandon()
            self._says_hello = False
            return
        if cause is None:
            expecting = self._replies.expecting()
            after = f" after {expecting}" if expecting else ""
            text = f"{self.options.address} closed the connection{after}"
        else:
            text = f"lost the connection to {self.options.address}: {cause}"
        options = self.options
        if not (self._is_understood or options.ssl_context or options.unix_socket_path):
            text += " (if it is a port for TLS: ssl=True, or rediss://)"
        self._fail(ConnectionError(text), now, cause)

    def not_opened(self, now: float, cause: Exception) -> None:
        """No connection could be made."""
        text = f"cannot connect to {self.options.address}: {cause}"
        timed_out = isinstance(cause, builtins.TimeoutError)
        if timed_out and self.options.ssl_context:
            # A server without TLS waits for the end of what it takes for a command.
            text += " (is it a port for TLS?)"
        self._fail(TimeoutError(text) if timed_out else ConnectionError(text), now, cause)

    def fell_silent(self, now: float) -> None:
        """Nothing came until `silent_at`."""
        since = now - self._heard
        self._fail(
            TimeoutError(
                f"no reply from {self.options.address} for {since:.1f} s, expected one within "
                f"{self.options.socket_timeout:g} s (socket_timeout) of when it was due"
            ),
            now,
        )

    def abandon(self) -> None:
        """The holder has dropped the connection, for reasons of its own."""
        self.stir()
        self._reset()

    def look_back(self, now: float) -> bool:
        """Before the next read, look after streams that have been silent for long.

        Returns:
            Whether that has begun; the next read has to wait for it.
        """
        if now < self._look_at or self._guess is not None or self._stale:
            return False
        if now < self.rests_until:
            return True
        self.rests_until = 0.0
        if self._newcomers:
            self.welcome()
            return self._script is not None
        self._look_at = now + _SILENCE / 4
        silent = [cursor for cursor in self.cursors if now - cursor.heard >= _SILENCE]
        for cursor in silent:
            cursor.heard = now
        self._run(self._look_after(silent))
        return self._script is not None

    def follow(self, cursors: list[Cursor]) -> None:
        """Read these streams from now on; those that were not read before are looked at first."""
        wanted, known = set(cursors), set(self.cursors)
        gone = [cursor for cursor in self.cursors if cursor not in wanted]
        come = [cursor for cursor in cursors if cursor not in known]
        self.cursors[:] = cursors
        self._unsettled_of = []
        for cursor in gone:
            # What is on its way of them is no more taken in.
            self._by_name.pop(cursor.name, None)
        if self.is_open:
            self._know(come)
            self._newcomers = [c for c in self._newcomers if c in wanted] + come
            self._look_at = 0.0
        if come and self._guess is not None:
            # It does not ask for them; they are looked at once it is answered.
            self._guess = None
            self._stale += 1

    def welcome(self) -> None:
        """Look after the streams that have come to it, and fix "now" for them, if it can now."""
        if self._newcomers and self.is_idle and not (self._stale or self.rests_until):
            newcomers, self._newcomers = self._newcomers, []
            self._run(self._begin(newcomers))

    def rest_until(self, time: float) -> None:
        """Send no next read before that time."""
        if time > self._heard:
            self.rests_until = max(self.rests_until, time)
            self._look_at = 0.0

    def ask(self, now: float, block: int | None) -> Request | None:
        """Send the next XREAD.

        Streams with `count` messages or more waiting are left out of it. While messages
        wait for what other streams hold it does not block: its very answer releases them.

        Returns:
            What was sent; None if there is nothing to ask, or a read on its way already.
        """
        guess, self._guess = self._guess, None
        if guess is not None and self._is_right(guess):
            self._right_guesses += 1
            self._request = self._round = guess
            return None
        if guess is not None:
            # Its reply will come first.
            self._wrong_guesses += 1
            self._stale += 1
        asked = self.cursors[:]
        unsettled = self._unsettled if self._unsettled_of == self.cursors else self.cursors
        if any(map(_waiting, unsettled)):
            asked = [cursor for cursor in asked if len(cursor.waiting) < self._count]
            block = block if all(cursor.complete for cursor in asked) else None
        if self._is_divided:
            return self._ask_by_slot(asked, now, block)
        if asked:
            self._request = self._send(asked, list(map(_fetched, asked)), now, block)
        return self._request

    # What happens inside.

    def _fail(self, failure: RedisError, now: float, cause: Exception | None = None) -> None:
        """The connection is of no more use."""
        # Where it was made does not matter to anyone, and a login's frame has the password.
        failure.with_traceback(None).__cause__ = cause
        self.told_at = now
        self._outages.failed(failure, now)
        self.abandon()
        self.failure = failure

    def _send(
        self, asked: list[Cursor], after: list[bytes], now: float, block: int | None
    ) -> Request:
        if self._head_of != (asked, block):
            keys = [cursor.key for cursor in asked]
            self._head_of = asked, block
            self._head = encode_xread_head(keys, count=self._count, block=block)
        self.outgoing.append(self._head + encode_ids(after))
        return Request(asked, after, now, block)

    def _ask_by_slot(self, asked: list[Cursor], now: float, block: int | None) -> Request | None:
        """Send one XREAD for each slot, all at once; where there are several, none may block."""
        for cursor in self.cursors:
            cursor.complete = cursor.complete and len(cursor.waiting) < self._count
        slots = by_slot([cursor for cursor in asked if cursor.start is not None])
        if not slots:
            return None
        if self._takes_turns:
            block = None
        for cursors in slots.values():
            after = [cursor.fetched for cursor in cursors]
            self._turns.append(self._send(cursors, after, now, block))
        self.rests_until = 0.0
        self._request = self._turns.popleft()
        self._round = Request(asked, [], now, block) if self._turns else self._request
        return self._round

    def _guess_on(self, now: float) -> None:
        """Send the next XREAD before the reply to this one was read, while many are full.

        So the server works while this side does. Streams that will be left with more than
        `count` messages waiting are left out of it.
        """
        request = self._request
        if request is None or self._holds or self._takes_turns or self._newcomers:
            return
        if self._wrong_guesses > 1 + self._right_guesses // 16:
            return
        full = [cursor for cursor in request.asked if not cursor.complete]
        foreseen = self._replies.foresee([cursor.key for cursor in full], self._count)
        if not foreseen:
            return
        ends = dict(zip(full, foreseen, strict=True))
        left_out = [] if request.asked == self.cursors else self._left_out_of(request)
        watermark = min(map(number_of, foreseen + [cursor.fetched for cursor in left_out]))
        # What is full now is left with `count` at most, unless some that came before stay.
        beyond = {cursor for cursor in full if waiting_after(cursor, watermark)}
        beyond.update(c for c in left_out if waiting_after(c, watermark) > self._count)
        asked = [cursor for cursor in self.cursors if cursor not in beyond]
        after = [ends.get(cursor, cursor.fetched) for cursor in asked]
        self._guess = self._send(asked, after, now, None)

    def _left_out_of(self, request: Request) -> list[Cursor]:
        asked = set(request.asked)
        return [cursor for cursor in self.cursors if cursor not in asked]

    def _is_right(self, guess: Request) -> bool:
        """Whether a read sent on a guess is one that can be sent now."""
        left_out = [] if guess.asked == self.cursors else self._left_out_of(guess)
        return (
            len(guess.asked) + len(left_out) == len(self.cursors)
            and all(len(cursor.waiting) >= self._count for cursor in left_out)
            and all(
                cursor.fetched == after and len(cursor.waiting) <= self._count
                for cursor, after in zip(guess.asked, guess.after, strict=True)
            )
        )

    def _read_one(self) -> bool:
        """Understand one more value, if it is there."""
        if (self._request is not None or self._stale) and self._script is None:
            reply = self._replies.next_reply()
            if isinstance(reply, NeedData):
                return False
            self._heard = self._arrived
            if self._stale:
                self._stale -= 1
            elif self._request is not None:
                self._understand(reply, self._request)
            return True
        if self._guess is not None:
            # What comes next may be the answer to it, if it turns out to be right.
            return False
        value = self._values.next_value()
        if isinstance(value, NeedData):
            return False
        if isinstance(value, Push):
            return True
        if self._script is None:
            raise WireError("a reply that nobody asked for")
        self._awaits_hello = False
        self._is_understood = True
        self._heard = self._arrived
        self._script_replies.append(value)
        if len(self._script_replies) == self._awaited:
            replies, self._script_replies, self._awaited = self._script_replies, [], 0
            self._advance(self._script, replies)
        return True

    def _take_note_of_part(self) -> None:
        """What has come completes no answer. Pushes are none, however many, and however fast."""
        if self._replies.is_within_reply:
            self._heard = self._arrived
        elif self._arrived >= (self.silent_at or inf):
            self.fell_silent(self._arrived)

    def _understand(self, reply: Reply, request: Request) -> None:
        self._request = self._turns.popleft() if self._turns else None
        if isinstance(reply, ServerError):
            self._refused.append((reply, request.asked))
        else:
            self._take_in(reply or [], request)
        if self._request is not None:
            return
        self.answered = self._round if self._is_divided else request
        if self._is_divided:
            self._rest_after_turns()
        if self._refused:
            self._take_note_of_refusals()

    def _take_in(self, blocks: list[Block], request: Request) -> None:
        self._take_note_of_answer()
        asked, by_name = request.asked, self._by_name
        is_all = asked == self.cursors
        if self._is_divided:
            # Some may be read elsewhere by now, and others have come under their name.
            asked = [cursor for cursor in asked if by_name.get(cursor.name) is cursor]
            by_name = {cursor.name: cursor for cursor in asked}
        elif not is_all:
            self._unsettled_of = []
            for known in self.cursors:
                known.complete = False
        for known in self.find_unsettled() if is_all else asked:
            known.complete = True
        # Nothing is taken in of a reply of which a part is wrong.
        fresh: list[tuple[Cursor, list[Message]]] = []
        ends: dict[Cursor, bytes] = {}
        for name, messages in blocks:
            # Streams that were discarded since are still in the reply.
            if messages and (cursor := by_name.get(name)) is not None:
                fresh.append((cursor, messages))
                ends[cursor] = _check(cursor, messages, ends.get(cursor, cursor.fetched))
        for cursor, messages in fresh:
            cursor.waiting = cursor.waiting + messages if cursor.waiting else messages
            cursor.complete = len(messages) < self._count
            cursor.fetched = ends[cursor]
            cursor.heard = self._heard
            cursor.told = None
        self._unsettled = list(dict.fromkeys([*self._unsettled, *ends]))
        self._expects_more = not is_all or not all(map(_complete, ends))

    def _rest_after_turns(self) -> None:
        """Pause after a round that has found all there is of several slots."""
        asked = self._round.asked if self._round is not None else []
        if self._takes_turns and self._waits and all(cursor.complete for cursor in asked):
            slots = len(by_slot(asked))
            self.rest_until(self._heard + max(_REST, slots * _REST_FOR_SLOT))

    def _take_note_of_refusals(self) -> None:
        refused, self._refused = self._refused, []
        failed = {cursor for _, cursors in refused for cursor in cursors}
        if (answered := self.answered) is not None:
            answered.asked = [cursor for cursor in answered.asked if cursor not in failed]
            answered.put_off = sum(
                len(cursors) for error, cursors in refused if error.code in ON_THE_MOVE
            )
            self.answered = answered if answered.asked or answered.put_off else None
        faults = [
            (error, cursors) for error, cursors in refused if not self._redirect(error, cursors)
        ]
        # The others will be told when it is their turn again.
        for error, cursors in faults[:1]:
            positions = {cursor.key: cursor.fetched for cursor in cursors}
            self._run(self._explain(error, positions))

    def _redirect(self, error: ServerError, cursors: list[Cursor]) -> bool:
        """Take note of an error if it only says that streams are to be read elsewhere, or later."""
        if not is_redirection(error, is_divided=self._is_divided):
            return False
        self.told_at = self._heard
        # Those that have left since are read elsewhere already.
        here = [cursor for cursor in cursors if self._by_name.get(cursor.name) is cursor]
        self.redirections.append((error, here))
        return True

    def _know(self, cursors: list[Cursor]) -> None:
        for cursor in cursors:
            self._by_name[cursor.name] = cursor
            self._names[cursor.key] = cursor.name
        self._takes_turns = self._is_divided and len(by_slot(self.cursors)) > 1

    def _groups(self, cursors: list[Cursor]) -> list[list[Cursor]]:
        """Those that one XREAD may name."""
        if not self._is_divided:
            return [cursors] if cursors else []
        return list(by_slot(cursors).values())

    def _take_note_of_answer(self) -> None:
        if not self._is_answered:
            self._is_answered = self._is_understood = True
            self._outages.answered()

    def _run(self, script: Script[None]) -> None:
        self._script = script
        self._advance(script, None)

    def _advance(self, script: Script[None], replies: list[Any] | None) -> None:
        """Give the script the replies to what it has sent; None to begin with."""
        try:
            commands = next(script) if replies is None else script.send(replies)
        except StopIteration:
            self._script = None
        except RedisError as failure:
            self._fail(failure, self._heard)
        else:
            self._awaited = len(commands)
            self.outgoing.extend(commands)

    def _establish(self, *, hello: bool) -> Script[None]:
        """Log in, look what was missed meanwhile, and fix "now" where streams start there."""
        # Once it goes without HELLO, the next connection may be to a server that knows it.
        is_refused = yield from greet(self.options, hello=hello)
        self._is_logging_in = False
        self._says_hello = wants_hello(self.options) and not is_refused
        yield from self._begin(self.cursors)

    def _begin(self, cursors: list[Cursor]) -> Script[None]:
        """Look what was missed since streams were read, and fix "now" where they start there."""
        read = [cursor for cursor in cursors if cursor.was_read]
        for cursor in cursors:
            cursor.was_read = True
            cursor.heard = self._heard
        yield from self._look_after(read)
        for starting in self._groups([cursor for cursor in cursors if cursor.start is None]):
            yield from self._fix_now({cursor.key: cursor for cursor in starting})

    def _fix_now(self, starting: dict[bytes, Cursor]) -> Script[None]:
        try:
            last = yield from find_last(list(starting))
        except Refused as refused:
            if self._redirect(refused.error, list(starting.values())):
                self._newcomers += starting.values()
                self._look_at = 0.0
                return
            failure = yield from self._blame(refused.error, dict.fromkeys(starting, ZERO))
            raise failure from None
        self._take_note_of_answer()
        for key, cursor in starting.items():
            cursor.start = cursor.fetched = last[key]

    def _look_after(self, cursors: list[Cursor]) -> Script[None]:
        """Look whether streams have lost entries, and tell of each gap once."""
        for group in self._groups([cursor for cursor in cursors if cursor.is_at_entry]):
            yield from self._look_for_gaps({cursor.key: cursor for cursor in group})

    def _look_for_gaps(self, read: dict[bytes, Cursor]) -> Script[None]:
        try:
            gaps = yield from look_back({key: cursor.fetched for key, cursor in read.items()})
        except Refused as refused:
            if is_redirection(refused.error, is_divided=self._is_divided):
                return  # the next read will tell
            raise refusal(refused.error, self.options.address, "XREAD") from None
        self._take_note_of_answer()
        for key, gap in gaps.items():
            cursor = read[key]
            if cursor.told != gap.kind:
                cursor.told = gap.kind
                self.notices.append((WARNING, _describe(cursor, gap, self.options.address)))
            if gap.kind == "rewound" and self._restarts_rewound and cursor.has_read:
                cursor.restart()
                self._unsettled_of = []

    def _explain(self, error: ServerError, positions: dict[bytes, bytes]) -> Script[None]:
        """Say why an XREAD was refused; what a retry may mend costs the connection."""
        failure = yield from self._blame(error, positions)
        if isinstance(failure, (ConnectionError, AuthenticationError)):
            raise failure
        self.failure = failure

    def _blame(self, error: ServerError, positions: dict[bytes, bytes]) -> Script[RedisError]:
        """Make the exception for a refused XREAD, with the stream at fault if it is one."""
        address = self.options.address
        failure = refusal(error, address, "XREAD")
        if isinstance(failure, (ConnectionError, AuthenticationError)):
            return failure
        if not may_be_one_streams(error):
            return failure
        key = yield from find_culprit(positions, error)
        return failure if key is None else refusal(error, address, "XREAD", self._names[key])


def _check(cursor: Cursor, messages: list[Message], after: bytes) -> bytes:
    """See to it that messages, which are in order, are after an ID; return the last one's."""
    first: Any = messages[0][1]
    last: Any = messages[-1][1]
    if isinstance(first, str):
        first, last = first.encode("ascii"), last.encode("ascii")
    if is_later(first, after):
        return bytes(last)
    raise WireError(f"entry {first!r} of stream {cursor.name!r}, expected one after {after!r}")


def _describe(cursor: Cursor, gap: Gap, address: str) -> str:
    """Say what is known, and no more."""
    stream, position, oldest = repr(cursor.name), cursor.fetched.decode(), gap.oldest.decode()
    if gap.kind == "trimmed":
        return (
            f"stream {stream} at {address}: the oldest entry is {oldest} now, newer than the "
            f"position {position}: it was trimmed, and messages may have been missed"
        )
    return (
        f"stream {stream} at {address}: there are entries from {oldest} on, but none at the "
        f"position {position} or after it: it may have begun again, and messages may be missed "
        "until its IDs pass the position"
    )
