"""Files that are either old or new, never half written; disk errors in plain words."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cwm_core.errors import RunError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free space, or choose another output directory"),
    errno.EDQUOT: ("the disk quota is used up", "free space, or choose another output directory"),
    errno.EACCES: ("permission denied", "choose a directory that you can write to"),
    errno.EPERM: ("permission denied", "choose a directory that you can write to"),
    errno.EROFS: ("the file system is read-only", "choose a directory that you can write to"),
    errno.ENOTDIR: ("a file is in the way of a directory", "choose another output directory"),
    errno.EEXIST: ("a file is in the way of a directory", "choose another output directory"),
    errno.EISDIR: ("a directory is in the way of the file", "choose another output directory"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter path"),
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a RunError that says why and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        reason, hint = _REASONS[error.errno]
        raise RunError(f"cannot write '{path}': {reason}", hint) from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it when the block succeeds.

    The file is flushed to the disk before it gets its name. On any exception `path` is
    untouched and the temporary file is gone. Raises RunError when the disk refuses.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _give_default_mode(temporary)
            sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content` (text as UTF-8) in one step; RunError when the disk refuses."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _give_default_mode(path: Path) -> None:
    """mkstemp makes files private; a result should have the mode that open() gives."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
