"""Signals that end the command, or ask it for figures: nothing is left half done by them.

No exception interrupts a write, after which it would not be known what was written. One more
signal, from somebody who does not want to wait, acts as in any other program.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

# Ctrl-C, an orderly end, and the end of the terminal.
_NUMBERS = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
# Asks for figures, where there is such a signal.
_FIGURES = getattr(signal, "SIGUSR1", None)
# Time after the first signal in which another one repeats it, in seconds: timeout(1) sends each
# signal to the program, and then to the group that the program is in.
REPEAT_WINDOW = 0.5


class Signals:
    """Catches the first signal that ends the command, within a `with` block, in the main thread.

    The handler calls `stop`, which ends what may be waiting.

    Attributes:
        number: Number of the signal that has come; None before that.
        report: A function that SIGUSR1 calls, whatever else is being done.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self.number: int | None = None
        self.report: Callable[[], object] = lambda: None
        self._stop = stop
        self._came_at = 0.0
        # A signal makes the first one readable, which ends a wait.
        self._wakeup, self._wakeup_writer = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_writer.setblocking(False)
        self._handlers_before: dict[int, object] = {}

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        for number in _NUMBERS:
            # A signal that the caller ignores, as nohup does, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers_before[number] = signal.signal(number, self._handle)
        if _FIGURES is not None and signal.getsignal(_FIGURES) is not signal.SIG_IGN:
            self._handlers_before[_FIGURES] = signal.signal(_FIGURES, self._report)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        signal.set_wakeup_fd(-1)
        self._wakeup.close()
        self._wakeup_writer.close()

    def wait(self, fd: int) -> bool:
        """Wait until a file is writable or a signal has come; return whether it is writable."""
        if os.name != "posix":  # only sockets can be waited for there
            return self.number is None
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(fd, select.POLLOUT)
        while self.number is None:
            if any(ready == fd for ready, _ in poll.poll()):
                break
            self._take_wakeups()
        return self.number is None

    def pause(self, seconds: float) -> None:
        """Wait for so many seconds, or until a signal has come."""
        deadline = monotonic() + seconds
        while self.number is None and (left := deadline - monotonic()) > 0:
            if select.select([self._wakeup], [], [], left)[0]:
                self._take_wakeups()

    def _take_wakeups(self) -> None:
        with suppress(BlockingIOError):
            self._wakeup.recv(4096)

    def _handle(self, number: int, _: object) -> None:
        now = monotonic()
        if self.number is None:
            self.number = number
            self._came_at = now
            self._stop()
        elif now - self._came_at >= REPEAT_WINDOW:
            self._restore()
            signal.raise_signal(number)

    def _report(self, _: int, __: object) -> None:
        self.report()

    def _restore(self) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # pyright: ignore
        self._handlers_before.clear()


def can_write(fd: int, seconds: float) -> bool:
    """Wait until a file is writable, regardless of signals; return whether it is."""
    return seconds > 0 and bool(select.select([], [fd], [], seconds)[1])
