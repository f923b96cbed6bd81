"""The library's logger, made when there is something to tell: importing logging takes time."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .outages import Notice


def tell(notices: list[Notice]) -> None:
    """Log levels and texts to the logger ``pystreamredis``, and forget them."""
    if not notices:
        return
    told = notices[:]
    notices.clear()
    # Where nobody has imported it, nobody can have asked to be told.
    if "logging" not in sys.modules:
        return
    import logging

    logger = logging.getLogger("pystreamredis")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    for level, text in told:
        logger.log(level, "%s", text)
