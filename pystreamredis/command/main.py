"""The command itself: calls the other modules, one after the other.

They are imported only once Ctrl-C is handled, because that takes a while.
"""

from __future__ import annotations

import os
import sys

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .arguments import Settings
    from .diagnostics import Diagnostics

BAD_USAGE = 2
INTERRUPTED = 130


class CtrlC:
    """Handles SIGINT until messages are printed.

    Attributes:
        has_come: True if the signal has come. A finalizer may lose an exception, not this.
        is_exception: True to raise a `KeyboardInterrupt`, too.
    """

    def __init__(self) -> None:
        self.has_come: bool = False
        self.is_exception: bool = False

    def handle(self, *_: object) -> None:
        """Record the signal."""
        self.has_come = True
        if self.is_exception:
            self.check()

    def check(self) -> None:
        """Raise a `KeyboardInterrupt` if the signal has come."""
        if self.has_come:
            raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, with this process' arguments by default; return its exit code.

    Called without arguments after Ctrl-C, it ends the process by SIGINT, as shells expect: the
    exit code 130 alone would not end a loop around the command.
    """
    try:
        code = _main(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED and arguments is None:
        _die_of_ctrl_c()
    return code


def _main(arguments: Sequence[str] | None) -> int:
    import signal
    from signal import SIG_DFL, SIGINT, default_int_handler

    ctrl_c = CtrlC()
    handlers: dict[int, Callable[..., object]] = {SIGINT: ctrl_c.handle}
    if hasattr(signal, "SIGUSR1"):
        # There are no figures yet, and without a handler it would end the process.
        handlers[signal.SIGUSR1] = lambda *_: None
    before = {number: signal.getsignal(number) for number in handlers}
    try:
        for number, handler in handlers.items():
            # A signal that the caller ignores stays ignored.
            if before[number] in (default_int_handler, SIG_DFL):
                signal.signal(number, handler)
        return _follow(arguments, ctrl_c)
    finally:
        for number, earlier in before.items():
            if earlier in (default_int_handler, SIG_DFL):
                signal.signal(number, earlier)


def _die_of_ctrl_c() -> None:
    from signal import SIG_DFL, SIGINT, signal

    if os.name != "posix":
        return
    _flush()
    signal(SIGINT, SIG_DFL)
    os.kill(os.getpid(), SIGINT)


def _follow(arguments: Sequence[str] | None, ctrl_c: CtrlC) -> int:
    import logging
    from time import time

    from . import run, signals  # noqa: F401 - for _run, where Ctrl-C is an exception
    from .arguments import parse
    from .connecting import is_socket
    from .diagnostics import Diagnostics

    # Ctrl-C must end what waits for a server.
    ctrl_c.is_exception = True
    ctrl_c.check()
    diagnostics = Diagnostics()
    logger = logging.getLogger("pystreamredis")
    logger.setLevel(logging.INFO)
    logger.addHandler(diagnostics)
    try:
        typed = sys.argv[1:] if arguments is None else arguments
        return _run(parse(typed, time(), __version__, is_socket), diagnostics, ctrl_c)
    finally:
        logger.removeHandler(diagnostics)
        _flush()


def _flush() -> None:
    """Flush the help that argparse has printed, to a reader that may have gone."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            # Python tries it again at its end, and would print a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(settings: Settings, diagnostics: Diagnostics, ctrl_c: CtrlC) -> int:
    from time import time

    from ..exceptions import RedisError
    from .arguments import list_doubts
    from .connecting import connect, describe
    from .monitoring import Monitor
    from .run import FAILED, Run
    from .signals import Signals
    from .state import State, StateError

    if sys.stdout is None:
        # The connection would get its number, and the server the messages.
        diagnostics.report("cannot write: stdout is closed")
        return FAILED
    for doubt in list_doubts(settings):
        diagnostics.report(doubt)
    try:
        state = State(settings.state) if settings.state is not None else None
        streams = connect(settings, state.positions if state is not None else {})
    except (ValueError, TypeError, StateError) as error:
        diagnostics.report(describe(error, settings))
        return BAD_USAGE
    except RedisError as error:
        diagnostics.report(describe(error, settings))
        return FAILED
    with streams, Signals(streams.close) as caught:
        ctrl_c.check()
        try:
            monitor = Monitor(streams.stats, settings.health, time())
        except OSError as error:
            diagnostics.report(f"--health {settings.health}: {error.strerror}")
            return BAD_USAGE
        return Run(settings, streams, state, diagnostics, caught, monitor).run()
