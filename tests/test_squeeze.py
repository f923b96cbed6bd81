"""Zip files that are written anew, to be smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from tools.pyz import ROOT
from tools.squeeze import squeeze

if TYPE_CHECKING:
    from pathlib import Path


def what_is_in(path: Path) -> list[tuple[object, ...]]:
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        return [
            (entry.filename, entry.date_time, entry.external_attr, archive.read(entry))
            for entry in archive.infolist()
        ]


def test_all_that_is_in_it_stays_as_it_is_and_takes_less(tmp_path: Path) -> None:
    path = tmp_path / "some.whl"
    with ZipFile(path, "w") as archive:
        for name, how in (("b/large.py", ZIP_DEFLATED), ("a", ZIP_STORED), ("b/empty", ZIP_STORED)):
            entry = ZipInfo(name, (2018, 7, 1, 0, 0, 2))
            entry.external_attr = 0o100755 << 16
            entry.compress_type = how
            text = (ROOT / "README.rst").read_bytes() if "large" in name else name[3:].encode()
            archive.writestr(entry, text if "empty" not in name else b"", compresslevel=9)
    before, size = what_is_in(path), path.stat().st_size
    squeeze(path)
    assert what_is_in(path) == before
    assert path.stat().st_size < 0.99 * size
