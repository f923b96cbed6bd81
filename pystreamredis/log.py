"""The library's logger, made when there is something to say: importing logging takes time."""

from __future__ import annotations


def warn(text: str) -> None:
    """Log a warning to the logger ``pystreamredis``."""
    import logging

    logger = logging.getLogger("pystreamredis")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.warning("%s", text)
