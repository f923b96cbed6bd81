"""`pystreamredis.core.events`: the levels that lines for the log have."""

from __future__ import annotations

import logging
from typing import get_args

from pystreamredis.core import events


def test_the_levels_are_those_of_logging() -> None:
    """Which is not imported for them."""
    assert events.DEBUG == logging.DEBUG
    assert events.INFO == logging.INFO
    assert events.WARNING == logging.WARNING


def test_every_event_is_one_of_the_union() -> None:
    """So that a type checker sees which of them a reader has left out."""
    made = {
        each
        for each in vars(events).values()
        if isinstance(each, type) and each.__module__ == events.__name__
    }
    assert set(get_args(events.Event)) == made
