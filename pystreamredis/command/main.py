"""The command itself: what is asked of the other modules, one after the other."""

from __future__ import annotations

import logging
import os
import sys
from time import time

from .. import __version__
from ..exceptions import RedisError
from .arguments import parse
from .connecting import connect, describe
from .console import Console
from .interrupts import Interrupts
from .printing import FAILED, INTERRUPTED, Printing
from .state import State, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .arguments import Settings

BAD_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What was typed; by default what this process was given.

    Returns:
        Its exit code.
    """
    console = Console()
    logger = logging.getLogger("pystreamredis")
    logger.setLevel(logging.INFO)
    logger.addHandler(console)
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments, time(), __version__)
        return _run(settings, console)
    except KeyboardInterrupt:
        console.erase()
        return INTERRUPTED
    finally:
        logger.removeHandler(console)
        _flush()


def _flush() -> None:
    """Write what argparse has printed, to a reader that may be gone by now."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            # Where Python, which tries it again at its end, has nothing to say about it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(settings: Settings, console: Console) -> int:
    if sys.stdout is None:
        # Its number would be given to the connection, and messages be sent to the server.
        console.tell("cannot write: stdout is closed")
        return FAILED
    try:
        state = State(settings.state) if settings.state is not None else None
        streams = connect(settings, state.positions if state is not None else {})
    except (ValueError, TypeError, StateError) as error:
        console.tell(str(error))
        return BAD_USAGE
    except RedisError as error:
        console.tell(describe(error))
        return FAILED
    with streams, Interrupts(streams.close) as interrupts:
        return Printing(settings, streams, state, console, interrupts).run()
