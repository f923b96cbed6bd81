"""The tests on every Python that is supported and on this machine: `nox -s tests`.

What comes after `--` goes to pytest: `nox -s tests -- tests/test_ids.py -q`.
"""

from __future__ import annotations

import subprocess
import sys

import nox

SUPPORTED = ["3.11", "3.12", "3.13", "3.14", "3.14t", "3.15", "pypy3.11"]

nox.options.sessions = ["tests"]
nox.options.download_python = "never"


def command(version: str) -> str:
    """Return the name of the program of a version, as nox looks for it."""
    return version if version.startswith("pypy") else f"python{version}"


def runs(version: str) -> bool:
    """Whether that Python is here; a command of that name may be a shim for none."""
    try:
        done = subprocess.run([command(version), "-c", ""], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


HERE = [version for version in SUPPORTED if runs(version)]
for missing in sorted(set(SUPPORTED) - set(HERE)):
    print(f"nox: there is no {command(missing)} here: skipped", file=sys.stderr)


@nox.session(python=HERE)
def tests(session: nox.Session) -> None:
    """Run the tests, on each Python in an environment of its own."""
    session.install("--quiet", "-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "4", "--dist", "worksteal", *session.posargs)
