"""Positions in a file, so that a later run goes on where this one has ended.

The file is ``{"Stream0": "1529416095111-4"}`` in JSON: what `Streams(streams=...)` takes.
It is replaced as a whole or not at all, whenever the program, or the machine, goes down.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from ..ids import parse_start


class StateError(Exception):
    """The file cannot be read or written, or does not hold what it should."""


class State:
    """The file, which need not be there yet, and what it held when it was read.

    Raises:
        StateError: It cannot be read, or its folder not be written to.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        self.positions = self._stored = self._load()
        folder = os.path.dirname(self._path)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StateError(f"state {path}: its folder is not there, or not to be written to")

    def store(self, positions: Mapping[str, str]) -> None:
        """Store positions; those of streams that are not among them are kept.

        Raises:
            StateError: That cannot be, and the file is as it was.
        """
        held = self._load()
        for name in positions:
            # What was stored last, or was to be when an interruption came.
            if held.get(name) not in (None, self._stored.get(name), self.positions.get(name)):
                raise StateError(
                    f"state {self._path}: another command follows stream {name!r}, too, "
                    "and stores how far that is: expected a file for each"
                )
        self.positions = held | dict(positions)
        fresh = f"{self._path}.new"
        try:
            with open(fresh, "w", encoding="ascii") as file:
                json.dump(self.positions, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._path)
            self._stored = self.positions
            _sync_folder(os.path.dirname(self._path))
        except OSError as error:
            raise StateError(f"state {self._path}: {error.strerror}") from error

    def _load(self) -> dict[str, str]:
        try:
            with open(self._path, encoding="utf-8") as file:
                return _check(json.load(file))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StateError(f"state {self._path}: {error.strerror}") from error
        except ValueError as error:
            raise StateError(
                f"state {self._path} holds no positions ({error}), expected "
                '{"<stream>": "<ms>-<sequence>"}: mend it, or remove it to begin anew'
            ) from error


def _check(positions: object) -> dict[str, str]:
    if not isinstance(positions, dict):
        raise ValueError(f"a {type(positions).__name__}")  # noqa: TRY004
    for name, position in positions.items():
        if not isinstance(position, str) or "-" not in position:
            raise ValueError(f"stream {name!r}: {position!r}")
        parse_start(position)
    return positions


def _sync_folder(folder: str) -> None:
    """Have the file's new name outlive the machine's end."""
    if os.name != "posix":
        return  # elsewhere folders cannot be opened
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
