"""From the first message to the end: wait, print, and save positions.

The saved positions are those of messages that were written as a whole, whatever ends the command
and when.
"""

from __future__ import annotations

import os
from functools import partial
from signal import SIGINT
from time import time

from ..core.assignment import add_jitter
from ..exceptions import ConnectionError, RedisError
from .clock import ms_of
from .connecting import describe
from .formats import Csv, Text, json_lines
from .monitoring import Monitor, list_silent
from .output import Output
from .progress import Progress
from .state import StateBusyError, StateError
from .template import Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..streams import Streams
    from .arguments import Settings
    from .diagnostics import Diagnostics
    from .formats import Format, Message
    from .signals import Signals
    from .state import State

OK, FAILED, INTERRUPTED = 0, 1, 128 + SIGINT

# Most messages that are printed at once.
_BATCH = 8192
# Time to wait before connecting again, in seconds.
_PAUSE = 1.0
# Times between two stores of the state, and two lines of progress, while messages come.
_STORE_EVERY = 1.0
_DRAW_EVERY = 0.1
# Time in which a history is read that needs no line of progress.
_DRAW_AFTER = 0.5
# Time after which streams without a message are named, though others have some.
_REMARK_AFTER = 1.0


class Run:
    """One run of the command, which saves positions if there is a state."""

    def __init__(
        self,
        settings: Settings,
        streams: Streams,
        state: State | None,
        diagnostics: Diagnostics,
        signals: Signals,
        monitor: Monitor,
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._batches = streams.batches(_BATCH)
        self._state = state
        self._diagnostics = diagnostics
        self._signals = signals
        self._monitor = monitor
        signals.report = self._report_figures
        self._output = Output(1, signals.wait)
        self._format = format_for(settings, for_terminal=self._output.is_terminal)
        self._positions = {str(name): str(at) for name, at in streams.positions.items()}
        stored = state.positions if state is not None else {}
        self._list_silent = partial(
            list_silent, dict(self._positions), {**settings.streams, **stored}
        )
        self._count = 0
        self._has_reached_until = False
        self._is_stored = False
        self._store_at = 0.0
        now = time()
        # None once streams without a message were named.
        self._remark_at: float | None = now + _REMARK_AFTER
        self._draw_at = now + _DRAW_AFTER
        self._progress: Progress | None = None
        # Another program, to which this one pipes, may write to the same terminal.
        if diagnostics.is_terminal and not self._output.is_pipe:
            until = min(now * 1000, settings.end.until or now * 1000)
            self._progress = Progress(now, int(until), settings.end.limit)

    def run(self) -> int:
        """Print messages until an end is reached; return the exit code."""
        try:
            code = self._run()
        except RedisError as error:
            self._diagnostics.report(describe(error, self._settings))
            code = FAILED
        finally:
            # A second Ctrl-C comes here, too.
            self._diagnostics.erase()
            is_stored = self._store(is_last=True)
        if self._output.failure is not None:
            self._diagnostics.report(f"cannot write: {self._output.failure.strerror}")
            code = FAILED
        if self._signals.number == SIGINT:
            return INTERRUPTED
        return code if is_stored else FAILED

    def _run(self) -> int:
        if isinstance(self._format, Csv) and self._output.is_empty:
            self._output.write([self._format.header])
        while not self._has_ended:
            if not self._store_if_due():
                return FAILED
            asked_at = time()
            try:
                messages = self._next_messages()
            except ConnectionError:
                if not self._diagnostics.has_connected:
                    raise
                # It was logged, and the next attempt resumes after the last message.
                self._signals.pause(add_jitter(_PAUSE))
                continue
            self._touch_file()
            if messages:
                self._print(messages)
                self._show_progress(messages)
                if self._remark_at is not None and time() >= self._remark_at:
                    self._report_silent(self._monitor.newest)
            elif self._is_over(asked_at):
                break
        return OK

    @property
    def _has_ended(self) -> bool:
        return (
            self._signals.number is not None
            or self._output.has_ended
            or self._count == self._settings.end.limit
            or self._has_reached_until
        )

    def _is_over(self, asked_at: float) -> bool:
        """Return whether no message can come any more, after a wait that found none."""
        end = self._settings.end
        self._forget_progress()
        is_over = end.when_drained or (end.until is not None and asked_at * 1000 >= end.until)
        if is_over or self._remark_at is not None:
            self._report_silent(self._positions, is_over=is_over)
        return is_over

    def _next_messages(self) -> list[Message]:
        """Wait for messages; return all that need no other wait."""
        return next(self._batches, [])

    def _print(self, messages: list[Message]) -> None:
        wanted = self._wanted(messages)
        if self._output.is_terminal:
            self._diagnostics.erase()
        size = self._output.write(self._format(wanted))
        self._positions.update({name: entry_id for name, entry_id, _ in wanted[:size]})
        self._count += size
        self._is_stored = False

    def _wanted(self, messages: list[Message]) -> list[Message]:
        """Return the messages before the end."""
        limit, until = self._settings.end.limit, self._settings.end.until
        if limit is not None:
            messages = messages[: limit - self._count]
        if until is None or ms_of(messages[-1][1]) < until:
            return messages
        self._has_reached_until = True
        return [message for message in messages if ms_of(message[1]) < until]

    # Remarks, figures and progress for operators, and positions in the file.

    def _report_silent(self, positions: Mapping[str, str], *, is_over: bool = False) -> None:
        """Name streams without a message, whose names may be misspelt."""
        self._remark_at = None
        if self._diagnostics.is_terminal:
            for remark in self._list_silent(positions, is_over=is_over):
                self._diagnostics.report(remark)

    def _touch_file(self) -> None:
        try:
            self._monitor.touch(time())
        except OSError as error:
            self._diagnostics.report(
                f"--health: {error.strerror}; the file is not touched any more"
            )

    def _report_figures(self) -> None:
        self._diagnostics.report(self._monitor.line(time(), self._count, self._positions))

    def _show_progress(self, messages: list[Message]) -> None:
        progress, settings = self._progress, self._settings
        if progress is None:
            return
        now = time()
        progress.add_sample(self._count, ms_of(messages[-1][1]), now)
        # With fewer messages than a read asks for of each stream, no stream has more.
        if progress.is_over or (len(messages) < settings.count and not settings.hold):
            self._forget_progress()
        elif now >= self._draw_at:
            self._diagnostics.show(lambda width: progress.line(now, width))
            # Among messages it is erased each time, and drawn again.
            self._draw_at = now if self._output.is_terminal else now + _DRAW_EVERY

    def _forget_progress(self) -> None:
        self._progress = None
        self._diagnostics.erase()

    def _store_if_due(self) -> bool:
        return time() < self._store_at or self._store(is_last=False)

    def _store(self, *, is_last: bool) -> bool:
        """Save the positions of written messages; return whether the command may go on."""
        if self._state is None or self._is_stored:
            return True
        try:
            self._output.sync()
            self._state.store(self._positions)
        except (OSError, StateError) as error:
            if isinstance(error, StateBusyError) and not is_last:
                self._diagnostics.report(f"{error}; trying again")
                self._store_at = time() + _STORE_EVERY
                return True
            text = f"cannot write: {error.strerror}" if isinstance(error, OSError) else str(error)
            self._diagnostics.report(text)
            self._state = None  # report it once
            return False
        self._is_stored = True
        self._store_at = time() + _STORE_EVERY
        return True


def format_for(settings: Settings, *, for_terminal: bool) -> Format:
    """Make the format that the settings ask for."""
    output = settings.output
    if output.json:
        return json_lines
    if output.csv is not None:
        return Csv(output.csv, for_terminal=for_terminal, for_spreadsheet=output.csv_safe)
    if output.template is not None:
        return Template(output.template, for_terminal=for_terminal)
    return Text(list(settings.streams), colour=_has_colours(output.color, for_terminal))


def _has_colours(when: str, for_terminal: bool) -> bool:
    if when != "auto":
        return when == "always"
    # https://no-color.org
    return for_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
