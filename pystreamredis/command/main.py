"""The command itself: what is asked of the other modules, one after the other.

They are imported only once Ctrl-C is taken note of, for that takes a while.
"""

from __future__ import annotations

import os
import sys

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .arguments import Settings
    from .diagnostics import Diagnostics

BAD_USAGE = 2
INTERRUPTED = 130


class CtrlC:
    """Handles SIGINT until messages are printed.

    Attributes:
        has_come: Whether it has. An exception may be lost in a finalizer; this is not.
        is_exception: Whether it is to be a `KeyboardInterrupt`, too.
    """

    def __init__(self) -> None:
        self.has_come = False
        self.is_exception = False

    def handle(self, *_: object) -> None:
        """Take note of the signal."""
        self.has_come = True
        if self.is_exception:
            self.check()

    def check(self) -> None:
        """End what was interrupted, by a `KeyboardInterrupt`."""
        if self.has_come:
            raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, with this process' arguments by default; return its exit code."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    from signal import SIGINT, default_int_handler, getsignal, signal

    ctrl_c = CtrlC()
    before = getsignal(SIGINT)
    try:
        # Who has it ignored wants it so.
        if before is default_int_handler:
            signal(SIGINT, ctrl_c.handle)
        return _follow(arguments, ctrl_c)
    finally:
        if before is default_int_handler:
            signal(SIGINT, before)


def _follow(arguments: Sequence[str] | None, ctrl_c: CtrlC) -> int:
    import logging
    from time import time

    from . import signals, printing  # noqa: F401 - for _run, where Ctrl-C is an exception
    from .arguments import parse
    from .diagnostics import Diagnostics

    # What waits for a server has to be ended by it.
    ctrl_c.is_exception = True
    ctrl_c.check()
    diagnostics = Diagnostics()
    logger = logging.getLogger("pystreamredis")
    logger.setLevel(logging.INFO)
    logger.addHandler(diagnostics)
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments, time(), __version__)
        return _run(settings, diagnostics, ctrl_c)
    finally:
        logger.removeHandler(diagnostics)
        _flush()


def _flush() -> None:
    """Write what argparse has printed, to a reader that may be gone by now."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            # Where Python, which tries it again at its end, has nothing to say about it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(settings: Settings, diagnostics: Diagnostics, ctrl_c: CtrlC) -> int:
    from ..exceptions import RedisError
    from .arguments import doubts_about
    from .connecting import connect, describe
    from .signals import Signals
    from .run import FAILED, Run
    from .state import State, StateError

    if sys.stdout is None:
        # Its number would be given to the connection, and messages be sent to the server.
        diagnostics.report("cannot write: stdout is closed")
        return FAILED
    for doubt in doubts_about(settings):
        diagnostics.report(doubt)
    try:
        state = State(settings.state) if settings.state is not None else None
        streams = connect(settings, state.positions if state is not None else {})
    except (ValueError, TypeError, StateError) as error:
        diagnostics.report(str(error))
        return BAD_USAGE
    except RedisError as error:
        diagnostics.report(describe(error))
        return FAILED
    with streams, Signals(streams.close) as signals:
        ctrl_c.check()
        return Run(settings, streams, state, diagnostics, signals).run()
