"""The library's logger, made when there is something to log: importing logging takes time."""

from __future__ import annotations

import sys


def write(lines: list[tuple[int, str]]) -> None:
    """Log levels and texts to the logger ``pystreamredis``."""
    # Nobody asks for a log who has not imported logging.
    if "logging" not in sys.modules:
        return
    import logging

    logger = logging.getLogger("pystreamredis")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    for level, text in lines:
        logger.log(level, "%s", text)
