"""Zip files compressed as far as can be, as wheels are: ``python -m tools.squeeze FILE``.

What is in them stays what it is, and any Python reads it: zopfli finds a shorter way to write
what zlib would, and takes its time for it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import zopfli.zlib  # type: ignore[import-untyped]


class Zopfli:
    """Compresses what zlib's own compressor does, to some percent less."""

    def __init__(self) -> None:
        self._data = b""

    def compress(self, data: bytes) -> bytes:
        """Take data in."""
        self._data += data
        return b""

    def flush(self) -> bytes:
        """Compress what was taken in, without the head and the sum that zlib puts around it."""
        compressed: bytes = zopfli.zlib.compress(self._data)
        return compressed[2:-4]


def add(archive: ZipFile, entry: ZipInfo, data: bytes) -> None:
    """Write a file into an archive."""
    entry.compress_type = ZIP_DEFLATED
    with archive.open(entry, "w") as member:
        member._compressor = Zopfli()  # type: ignore[attr-defined]
        member.write(data)


def squeeze(path: Path) -> None:
    """Write an archive anew."""
    with ZipFile(path) as before:
        files = [(entry, before.read(entry)) for entry in before.infolist()]
    with ZipFile(path, "w") as after:
        for entry, data in files:
            add(after, entry, data)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        size = Path(name).stat().st_size
        squeeze(Path(name))
        print(f"{name}: {size} bytes, {Path(name).stat().st_size} squeezed")
