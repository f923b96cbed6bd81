"""A lock on a file that is replaced as a whole, between the commands that replace it.

Where there is `fcntl`, the lock is on the file itself: a killed command leaves nothing behind, and
nobody who may not read the file can hold the lock. Elsewhere, and on file systems without such
locks, the lock is a file beside it.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager

from . import files

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# Time to wait for other commands, each of which holds the lock for some ms, in seconds.
PATIENCE = 15.0
_PAUSE = 0.005
# Time for which a lock file must stay the same to be one of a killed command, in seconds. Windows
# removes such a file by itself, and does not let anybody remove one that is in use.
_STALE = 10.0
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_TEMPORARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextmanager
def hold(path: str) -> Generator[None, None, None]:
    """Keep other commands from replacing a file, within a `with` block.

    The file must not be a link, and may be replaced within the block.

    Raises:
        FileNotFoundError: The file does not exist: use `create`.
        TimeoutError: The lock was not free in time.
        OSError: The file cannot be opened.
    """
    release = _lock_itself(path) or _lock_beside(path)
    try:
        yield
    finally:
        release()


def create(path: str, data: bytes) -> None:
    """Create a file with its content from the beginning, of several commands only by one.

    Raises:
        FileExistsError: The file exists already.
        TimeoutError: The lock was not free in time.
        OSError: The file cannot be created.
    """
    try:
        files.create(path, data)
    except (FileExistsError, FileNotFoundError):
        raise
    except (OSError, AttributeError):
        # The file system, or the operating system, has no hard links.
        release = _lock_beside(path)
        try:
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
            files.replace(path, data)
        finally:
            release()


def _lock_itself(path: str) -> Callable[[], object] | None:
    """Lock the file; return what releases it, or None where there are no such locks."""
    if fcntl is None:
        os.lstat(path)  # raises if it does not exist
        return None
    for _ in _attempts(path):
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another command may have replaced the file between the two calls.
            if os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False)):
                return lambda: os.close(handle)
        except OSError as error:
            if error.errno not in _BUSY:
                os.close(handle)
                if isinstance(error, FileNotFoundError):
                    raise
                return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise AssertionError("unreachable")


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | _NO_LINK)
    except PermissionError:
        return os.open(path, os.O_RDONLY | _NO_LINK)


def _lock_beside(path: str) -> Callable[[], object]:
    """Create a lock file, and return what removes it."""
    lock = f"{path}.lock"
    seen, since = None, 0.0
    for now in _attempts(path):
        try:
            handle = os.open(lock, _CREATE, 0o600)
            return lambda: _remove(lock, handle)
        except FileExistsError:
            found = _identity(lock)
            if found != seen:
                seen, since = found, now
            elif now - since >= _STALE:
                _remove_stale(lock)
        except PermissionError:
            # Windows says so of a file that is about to be gone.
            if os.name == "posix":
                raise
    raise AssertionError("unreachable")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _remove_stale(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # another command was faster, or the owner is alive after all


def _remove(path: str, handle: int) -> None:
    """Remove a lock file, unless another command took this one for stale."""
    try:
        if os.name == "posix" and os.path.samestat(os.fstat(handle), os.lstat(path)):
            os.unlink(path)
    except FileNotFoundError:
        pass
    finally:
        os.close(handle)


def _attempts(path: str) -> Iterator[float]:
    """Yield the time of each attempt, in seconds, with pauses between them.

    Raises:
        TimeoutError: There were enough of them.
    """
    now = time.monotonic()
    deadline = now + PATIENCE
    while now < deadline:
        yield now
        time.sleep(_PAUSE)
        now = time.monotonic()
    raise TimeoutError(errno.ETIMEDOUT, "another program does not release its lock", path)
