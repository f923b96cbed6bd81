"""From the first message to the end: wait, print, and store how far that is.

What is stored is what is out as a whole, whatever ends it and when.
"""

from __future__ import annotations

import os
from signal import SIGINT
from time import time

from ..exceptions import ConnectionError, RedisError
from .clock import ms_of
from .connecting import describe
from .formats import Csv, Text, json_lines
from .output import Output
from .progress import Progress
from .state import StateError
from .template import Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..streams import Streams
    from .arguments import Settings
    from .diagnostics import Diagnostics
    from .formats import Format, Message
    from .signals import Signals
    from .state import State

OK, FAILED, INTERRUPTED = 0, 1, 128 + SIGINT

# How long to wait before connecting again, in seconds.
_PAUSE = 1.0
# How often to store the state, and to draw the line of progress, while messages come.
_STORE_EVERY = 1.0
_DRAW_EVERY = 0.1
# What is read by then needs no such line.
_DRAW_AFTER = 0.5


class Run:
    """One run, which stores how far it came if there is a state."""

    def __init__(
        self,
        settings: Settings,
        streams: Streams,
        state: State | None,
        diagnostics: Diagnostics,
        signals: Signals,
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._state = state
        self._console = diagnostics
        self._interrupts = signals
        self._output = Output(1, signals.wait)
        self._format = format_for(settings, for_terminal=self._output.is_terminal)
        self._positions = {str(name): str(at) for name, at in streams.positions.items()}
        self._count = 0
        self._has_come_to_until = False
        self._is_stored = False
        self._store_at = 0.0
        now = time()
        self._draw_at = now + _DRAW_AFTER
        self._progress: Progress | None = None
        # Never where another program may write to the same terminal what it is piped.
        if diagnostics.is_terminal and not self._output.is_pipe:
            until = min(now * 1000, settings.until or now * 1000)
            self._progress = Progress(now, int(until), settings.limit)

    def run(self) -> int:
        """Print messages until an end is reached; return the exit code."""
        try:
            code = self._run()
        except RedisError as error:
            self._console.tell(describe(error))
            code = FAILED
        finally:
            # A second Ctrl-C comes here, too.
            self._console.erase()
            is_stored = self._store()
        if self._output.failure is not None:
            self._console.tell(f"cannot write: {self._output.failure.strerror}")
            code = FAILED
        if self._interrupts.number == SIGINT:
            return INTERRUPTED
        return code if is_stored else FAILED

    def _run(self) -> int:
        if isinstance(self._format, Csv) and self._output.is_empty:
            self._output.write([self._format.header])
        while not self._has_ended:
            if not self._store_if_due():
                return FAILED
            asked = time()
            try:
                messages = self._next_messages()
            except ConnectionError:
                if not self._console.has_connected:
                    raise
                # It was logged, and the next try goes on where this one has ended.
                self._interrupts.pause(_PAUSE)
                continue
            if messages:
                self._print(messages)
                self._show_progress(messages)
            elif self._is_over(asked):
                break
        return OK

    @property
    def _has_ended(self) -> bool:
        return (
            self._interrupts.number is not None
            or self._output.has_ended
            or self._count == self._settings.limit
            or self._has_come_to_until
        )

    def _is_over(self, asked: float) -> bool:
        """Whether nothing can come any more, after a wait since `asked` found no message."""
        until = self._settings.until
        self._forget_progress()
        return self._settings.ends_when_drained or (until is not None and asked * 1000 >= until)

    def _next_messages(self) -> list[Message]:
        """Wait for messages; take all that can be had without another wait."""
        message = next(self._streams, None)
        if message is None:
            return []
        return [message, *self._streams._follower.batch.iterator]

    def _print(self, messages: list[Message]) -> None:
        wanted = self._wanted(messages)
        if self._output.is_terminal:
            self._console.erase()
        size = self._output.write(self._format(wanted))
        self._positions.update({name: entry_id for name, entry_id, _ in wanted[:size]})
        self._count += size
        self._is_stored = False

    def _wanted(self, messages: list[Message]) -> list[Message]:
        """Leave out what comes after the end."""
        limit, until = self._settings.limit, self._settings.until
        if limit is not None:
            messages = messages[: limit - self._count]
        if until is None or ms_of(messages[-1][1]) < until:
            return messages
        self._has_come_to_until = True
        return [message for message in messages if ms_of(message[1]) < until]

    # How far it is: on the terminal, and in the file.

    def _show_progress(self, messages: list[Message]) -> None:
        progress, settings = self._progress, self._settings
        if progress is None:
            return
        now = time()
        progress.read(self._count, ms_of(messages[-1][1]), now)
        # With fewer of them than one stream alone may have, no stream has more.
        if progress.is_over or (len(messages) < settings.count and not settings.hold):
            self._forget_progress()
        elif now >= self._draw_at:
            self._console.show(lambda width: progress.line(now, width))
            # Among messages it is erased each time, and drawn again.
            self._draw_at = now if self._output.is_terminal else now + _DRAW_EVERY

    def _forget_progress(self) -> None:
        self._progress = None
        self._console.erase()

    def _store_if_due(self) -> bool:
        return time() < self._store_at or self._store()

    def _store(self) -> bool:
        """Store how far that which was written goes; say whether that is stored."""
        if self._state is None or self._is_stored:
            return True
        try:
            self._output.sync()
            self._state.store(self._positions)
        except (OSError, StateError) as error:
            text = f"cannot write: {error.strerror}" if isinstance(error, OSError) else str(error)
            self._console.tell(text)
            self._state = None  # not to be told once more
            return False
        self._is_stored = True
        self._store_at = time() + _STORE_EVERY
        return True


def format_for(settings: Settings, *, for_terminal: bool) -> Format:
    """Make the format that was asked for."""
    if settings.json:
        return json_lines
    if settings.csv is not None:
        return Csv(settings.csv, for_terminal=for_terminal)
    if settings.template is not None:
        return Template(settings.template, for_terminal=for_terminal)
    # https://no-color.org
    colour = for_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Text(list(settings.streams), colour=colour)
