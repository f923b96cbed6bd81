"""Build ``dist/pystreamredis.pyz``: the package and its command in one file, made by `zipapp`."""

from __future__ import annotations

import compileall
import re
import shutil
import zipapp
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "dist" / "pystreamredis.pyz"
# The program that `zipapp` writes by itself checks no version and drops the exit status.
# This one must run on every Python that opens a zip file: keep to the syntax of Python 2.7.
MAIN = """\
import sys

if sys.version_info < ({major}, {minor}):
    sys.exit(
        "pystreamredis: this is Python %d.%d, expected {major}.{minor} or later: "
        "run it with a newer python3" % tuple(sys.version_info[:2])
    )
try:
    from pystreamredis.command.main import main

    sys.exit(main())
except KeyboardInterrupt:  # during the imports
    sys.exit(130)
"""


def oldest_python() -> tuple[int, int]:
    """Return the oldest version of Python that the package supports."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found = re.search(r'^requires-python = ">= ?(\d+)\.(\d+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise ValueError('pyproject.toml has no line of the form requires-python = ">= 3.11"')
    return int(found[1]), int(found[2])


def build(target: Path) -> int:
    """Write the file; return its size in bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    major, minor = oldest_python()
    with TemporaryDirectory() as folder:
        # A copy, because `zipapp` does not follow the link to protocol/.
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "pystreamredis", Path(folder, "pystreamredis"), ignore=ignored)
        Path(folder, "__main__.py").write_text(MAIN.format(major=major, minor=minor), "utf-8")
        # Compiled for the Python that runs this; any other one takes the sources beside.
        compileall.compile_dir(
            folder,
            quiet=1,
            legacy=True,
            stripdir=folder,
            prependdir=target.name,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
        zipapp.create_archive(folder, target, "/usr/bin/env python3", compressed=True)
    target.chmod(0o755)
    return target.stat().st_size


if __name__ == "__main__":
    size = build(TARGET)
    print(f"{TARGET.relative_to(ROOT)}: {size} bytes")
