"""How many forks are between this process and the first.

What a parent has made is not its child's.
"""

from __future__ import annotations

import os

generation = 0


def _note_fork() -> None:
    global generation
    generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
