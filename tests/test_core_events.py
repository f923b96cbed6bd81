"""`pystreamredis.core.events`: the levels that lines for the log have."""

from __future__ import annotations

import logging

from pystreamredis.core import events


def test_the_levels_are_those_of_logging() -> None:
    """Which is not imported for them."""
    assert events.DEBUG == logging.DEBUG
    assert events.INFO == logging.INFO
    assert events.WARNING == logging.WARNING
