"""Fuzzing of whatever reads what others have written.

``make fuzz DURATION=60`` runs each target under atheris, in an environment of its own.
``python -m fuzz`` does so wherever pystreamredis is installed and this folder is, and without
atheris mutates the corpus at random. What breaks a target is kept in ``fuzz/found/``; it is
fixed together with a line in ``fuzz/corpus/``, and a test in tests/test_fuzz_regressions.py, which
also runs all targets on the corpus.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzz.targets import Target

CORPUS = Path(__file__).parent / "corpus"


def load_targets() -> dict[str, Target]:
    """Import all targets; those of the reader only where the tests are."""
    from fuzz.targets import TARGETS

    try:
        from fuzz.reading import TARGETS as OF_READING
    except ModuleNotFoundError:
        return TARGETS
    return TARGETS | OF_READING


def seeds_of(name: str) -> list[bytes]:
    """Read the inputs that a target begins with: one a line, as in the literals of Python."""
    lines = (CORPUS / f"{name}.txt").read_text("ascii").splitlines()
    return [ast.literal_eval(f"b'{line}'") for line in lines if not line.startswith("#")]
