"""Files that take the place of others: whole, or not at all."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_UNNAMED = getattr(os, "O_TMPFILE", 0)  # only on Linux


@contextlib.contextmanager
def replace(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a file that becomes `path` when all is written.

    Until then it has no name, where the system can do that: whoever is killed leaves
    nothing. A file that is there keeps its mode and owner, a link leads where it led,
    and a device is written to.

    Args:
        path: Where to.

    Yields:
        The file, which can be read, too.

    Raises:
        OSError: If it cannot be written, of `path`. What was there is there still.
    """
    with _name_errors(path):
        target = Path(os.path.realpath(path))
        old = _find(target)
        if old is not None and not stat.S_ISREG(old.st_mode):
            with open(target, "wb") as file:  # of a folder, an error
                yield file
            return
        name = target.with_name(f".{target.name[:200]}-{secrets.token_hex(8)}.tmp")
        try:
            with _open(name, stat.S_IMODE(old.st_mode) if old else 0o666) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                _link(file, name)
            if old is not None:
                _copy_rights(old, name)
            os.replace(name, target)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
        _sync(target.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a text in place of a file."""
    with replace(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def _name_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Names the file in errors that name none, or one that only this module knows."""
    try:
        yield
    except OSError as error:
        named = error.filename is not None and not str(error.filename).endswith(".tmp")
        if named or not error.errno:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _find(target: Path) -> os.stat_result | None:
    """Returns what a file is that may be written, None if there is none."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if not os.access(target, os.W_OK):  # though its folder would let it be replaced
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(target))
    return found


def _open(name: Path, mode: int) -> IO[bytes]:
    """Opens a new file, which has a name only where none without can be linked."""
    if _UNNAMED and os.path.isdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # of some file systems
            unnamed = os.open(name.parent, _UNNAMED | os.O_RDWR, mode)
            return open(unnamed, "w+b")
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    return open(os.open(name, flags, mode), "w+b")


def _link(file: IO[bytes], name: Path) -> None:
    """Gives a file its name, if it has none yet."""
    if os.fstat(file.fileno()).st_nlink == 0:
        folder = os.open(name.parent, os.O_RDONLY)
        try:  # of the descriptor's own link, only what takes a folder follows it
            os.link(f"/proc/self/fd/{file.fileno()}", name.name, dst_dir_fd=folder)
        finally:
            os.close(folder)


def _copy_rights(old: os.stat_result, name: Path) -> None:
    if hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):  # to give it to somebody else
            os.chown(name, old.st_uid, old.st_gid)
    os.chmod(name, stat.S_IMODE(old.st_mode))


def _sync(folder: Path) -> None:
    """Makes sure that a folder keeps its new name through a loss of power."""
    with contextlib.suppress(OSError):  # of systems where a folder is no file
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
