"""Signals that end the command: taken note of, so that nothing is left half done.

No exception comes out of the blue, after which nobody could tell what was written. One
more, from somebody who does not want to wait, does what it does to any program.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

# Ctrl-C, an orderly end, and the end of the terminal.
_SIGNALS = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
# For how long after the first a signal is the same once more, in seconds: timeout(1) sends
# it to the program, and then to the group that this is in.
_TWICE = 0.5


class Signals:
    """Catches the first signal, within a `with` block, in the main thread.

    `stop`, which ends what may be waiting, is called within the handler; then `number` is that
    of the signal.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self.number: int | None = None
        self._stop = stop
        self._came = 0.0
        # A signal makes the first readable, which ends a wait.
        self._come, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            # Who has it ignored, as nohup does, wants it so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        signal.set_wakeup_fd(-1)
        self._come.close()
        self._wake.close()

    def wait(self, fd: int) -> bool:
        """Wait until a file can be written to, or a signal has come; say whether it can."""
        if os.name != "posix":  # where only sockets can be waited for
            return self.number is None
        poll = select.poll()
        poll.register(self._come, select.POLLIN)
        poll.register(fd, select.POLLOUT)
        poll.poll()
        return self.number is None

    def pause(self, seconds: float) -> None:
        """Wait for that long, or until a signal has come."""
        select.select([self._come], [], [], seconds)

    def _handle(self, number: int, _: object) -> None:
        now = monotonic()
        if self.number is None:
            self.number = number
            self._came = now
            self._stop()
        elif now - self._came >= _TWICE:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()


def can_write(fd: int, seconds: float) -> bool:
    """Wait until a file can be written to, whatever signals have come; say whether it can."""
    return seconds > 0 and bool(select.select([], [fd], [], seconds)[1])
