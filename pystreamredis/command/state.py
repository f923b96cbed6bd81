"""Positions in a file, so that a later run resumes where this one ended.

The file is ``{"Stream0": "1529416095111-4"}`` in JSON: what `Streams(streams=...)` takes.
It is replaced as a whole or not at all, whenever the program, or the machine, goes down, and
several commands may share it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping

from ..protocol import ids
from .files import remove_leftovers, replace
from .locking import create, hold

# The file may be removed, and created by another command, between two looks at it.
_ATTEMPTS = 100


class StateError(Exception):
    """The file cannot be read or written, or does not hold positions."""


class StateBusyError(StateError):
    """Other programs keep the file locked: another attempt may succeed."""


class State:
    """The file, which need not exist yet, and the positions it held when it was read.

    Raises:
        StateError: The file cannot be read, or its folder cannot be written to.
    """

    def __init__(self, path: str) -> None:
        # A link stays: the file that it points to is replaced.
        self._path = os.path.realpath(path)
        self.positions: dict[str, str] = self._load()
        self._stored = self.positions
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise StateError(f"state {path}: the folder {folder} does not exist")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StateError(
                f"state {path}: the folder {folder} is not writable; it must be, "
                "because the file is replaced as a whole"
            )
        remove_leftovers(self._path)

    def store(self, positions: Mapping[str, str]) -> None:
        """Store positions; those of other streams are kept.

        Raises:
            StateBusyError: They cannot be stored for now, and the file is as it was.
            StateError: They cannot be stored, and the file is as it was.
        """
        try:
            for _ in range(_ATTEMPTS):
                if self._update(positions) or self._create(positions):
                    return
            raise StateBusyError(f"state {self._path}: other programs remove and create it")
        except TimeoutError as error:
            raise StateBusyError(f"state {self._path}: {error.strerror or error}") from error
        except OSError as error:
            raise StateError(f"state {self._path}: {error.strerror or error}") from error

    def _update(self, positions: Mapping[str, str]) -> bool:
        """Store positions in the file; return whether it exists."""
        try:
            with hold(self._path):
                held = self._load()
                self._check_ownership(held, positions)
                self.positions = held | dict(positions)
                replace(self._path, _encode(self.positions))
                self._stored = self.positions
        except FileNotFoundError:
            return False
        return True

    def _create(self, positions: Mapping[str, str]) -> bool:
        """Store positions in a new file; return whether it did not exist."""
        self.positions = dict(positions)
        try:
            create(self._path, _encode(self.positions))
        except FileExistsError:
            return False
        self._stored = self.positions
        return True

    def _check_ownership(self, held: Mapping[str, str], positions: Mapping[str, str]) -> None:
        for name in positions:
            # The position stored last, or about to be stored when an interruption came.
            if held.get(name) not in (None, self._stored.get(name), self.positions.get(name)):
                raise StateError(
                    f"state {self._path}: another command follows stream {name!r}, too, and "
                    "stores its position; use a file for each"
                )

    def _load(self) -> dict[str, str]:
        try:
            mode = os.stat(self._path).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise StateError(f"state {self._path} is not a regular file")
            with open(self._path, encoding="utf-8") as file:
                return _check(json.load(file))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StateError(f"state {self._path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise StateError(
                f"state {self._path} holds no positions ({error}), expected "
                '{"<stream>": "<ms>-<sequence>"}; fix the file, or remove it to start over'
            ) from error


def _encode(positions: Mapping[str, str]) -> bytes:
    return f"{json.dumps(positions, indent=1)}\n".encode("ascii")


def _check(positions: object) -> dict[str, str]:
    if not isinstance(positions, dict):
        raise ValueError(f"a {type(positions).__name__}")  # noqa: TRY004
    for name, position in positions.items():
        if not isinstance(position, str) or "-" not in position:
            raise ValueError(f"stream {name!r}: {position!r}")
        ids.parse_start(position)
    return positions
