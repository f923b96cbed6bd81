"""Files that are written as a whole: other programs see the old content or the new one.

The content is written to a temporary file first. Its name cannot be foreseen and it is never
opened through a link, so a link that somebody planted in the folder is harmless.
"""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

# O_EXCL follows no link in the last part of the name.
_CREATE = (
    os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)
_PRIVATE = 0o600
# Age at which a temporary file is one of a killed command, in seconds.
_STALE = 3600.0
# Windows refuses to replace a file while another program has it open, for some ms here.
_ATTEMPTS = 200
_PAUSE = 0.01


def create(path: str, data: bytes) -> None:
    """Create a file that only its owner can access, with its content from the beginning.

    Raises:
        FileExistsError: The file exists already.
        OSError: The file cannot be created so, for instance because there are no hard links.
    """
    with _temporary(path, data) as temporary:
        os.link(temporary, path)
    _sync_folder(path)


def replace(path: str, data: bytes) -> None:
    """Replace a file, which keeps its mode and, as far as that is allowed, its owner.

    Raises:
        OSError: It cannot be replaced, and is as it was.
    """
    with _temporary(path, data) as temporary:
        _replace(temporary, path)
    _sync_folder(path)


def remove_leftovers(path: str) -> None:
    """Remove temporary files that killed commands have left beside a file."""
    folder, name = os.path.split(path)
    is_leftover = re.compile(re.escape(name) + r"\.[0-9a-f]{16}\.new").fullmatch
    try:
        leftovers = [other for other in os.listdir(folder) if is_leftover(other)]
    except OSError:
        return  # a folder may be searchable only
    for leftover in leftovers:
        leftover_path = os.path.join(folder, leftover)
        try:
            if os.lstat(leftover_path).st_mtime < time.time() - _STALE:
                os.unlink(leftover_path)
        except OSError:
            pass  # another command was faster, or the file is somebody else's


@contextmanager
def _temporary(path: str, data: bytes) -> Generator[str, None, None]:
    """Write a file beside another one; remove it in the end if it still has its name."""
    handle, temporary = _open_temporary(path)
    try:
        with open(handle, "wb") as file:
            _copy_access(path, handle)
            file.write(data)
            file.flush()
            os.fsync(handle)
        yield temporary
    finally:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass


def _open_temporary(path: str) -> tuple[int, str]:
    while True:
        temporary = f"{path}.{os.urandom(8).hex()}.new"
        try:
            return os.open(temporary, _CREATE, _PRIVATE), temporary
        except FileExistsError:
            pass  # once in a universe, or in a test


def _copy_access(path: str, handle: int) -> None:
    """Give an open file the owner, the group and the mode of another file that may exist."""
    if os.name != "posix":
        return
    try:
        old = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(old.st_mode):
        return
    mode = stat.S_IMODE(old.st_mode) & 0o777
    own = os.fstat(handle)
    if old.st_gid != own.st_gid:
        try:
            os.fchown(handle, -1, old.st_gid)
        except OSError:
            mode &= ~0o070  # this user's group is not the one that was meant
    if old.st_uid != own.st_uid:
        try:
            os.fchown(handle, old.st_uid, -1)
        except OSError:
            pass  # only root may give files away
    os.fchmod(handle, mode)


def _replace(temporary: str, path: str) -> None:
    for _ in range(_ATTEMPTS):
        try:
            os.replace(temporary, path)
        except PermissionError:
            if os.name == "posix":
                raise
            time.sleep(_PAUSE)
        else:
            return
    os.replace(temporary, path)


def _sync_folder(path: str) -> None:
    """Make the new name of a file survive a crash of the machine, as far as that is possible."""
    if os.name != "posix":
        return  # elsewhere folders cannot be opened
    try:
        handle = os.open(os.path.dirname(path), os.O_RDONLY)
    except OSError:
        return  # a folder may be writable and not readable
    try:
        os.fsync(handle)
    except OSError:
        pass  # some file systems cannot
    finally:
        os.close(handle)
