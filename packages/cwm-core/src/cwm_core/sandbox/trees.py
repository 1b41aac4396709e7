"""Directories as tar archives: packed on this machine, unpacked without trust.

Our own unpacking instead of tarfile's `data` filter, which several Python releases let be
bypassed by long link chains: every directory is opened without following links, and links are
written last.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from cwm_core.sandbox.base import SandboxError


def pack(source: Path) -> bytes:
    """Return a tar archive of a directory's content, without owners and times of access.

    Raises:
        SandboxError: it is no directory, or something in it cannot be read.
    """
    if not source.is_dir():
        raise SandboxError(f"{source} is no directory", "give the directory to upload")
    stream = io.BytesIO()
    try:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
                archive.add(entry.path, entry.name, filter=_anonymous)
    except OSError as error:
        raise SandboxError(f"cannot read {source}: {error}") from error
    return stream.getvalue()


def unpack(archive: bytes, target: Path, *, most_bytes: int, most_files: int) -> None:
    """Unpack an archive that nobody vouches for into `target`, and nowhere else.

    Takes regular files, hard links, directories, and relative links that stay inside. Modes keep
    their read, write and execute bits; the owner may always read and write.

    Raises:
        SandboxError: the archive is damaged, too large, or would write elsewhere.
    """
    target.mkdir(parents=True, exist_ok=True)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as source:
            _Unpacking(source, root, most_bytes, most_files).run()
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        raise SandboxError(f"cannot unpack a tree of the sandbox into {target}: {error}") from error
    finally:
        os.close(root)


class _Unpacking:
    def __init__(self, source: tarfile.TarFile, root: int, most_bytes: int, most_files: int):
        self._source, self._root = source, root
        self._bytes_left, self._files_left = most_bytes, most_files
        self._links: list[tuple[tuple[str, ...], str]] = []

    def run(self) -> None:
        for member in self._source:
            self._files_left -= 1
            self._bytes_left -= member.size if member.isfile() else 0
            if self._files_left < 0 or self._bytes_left < 0:
                raise SandboxError("the tree is too large", "raise transfer_bytes or disk_files")
            self._take(member, _parts(member.name))
        for parts, goal in self._links:
            with self._directory(parts[:-1]) as parent:
                _clear(parts[-1], parent)
                os.symlink(goal, parts[-1], dir_fd=parent)

    def _take(self, member: tarfile.TarInfo, parts: tuple[str, ...]) -> None:
        if member.isdir():
            with self._directory(parts):
                return
        if member.issym():
            _check_link(parts, member.linkname)
            self._links.append((parts, member.linkname))
        elif member.islnk():
            with self._opened(_parts(member.linkname)) as stream:
                self._write(parts, stream, os.fstat(stream.fileno()).st_mode)
        elif member.isfile():
            content = self._source.extractfile(member)
            assert content is not None
            self._write(parts, content, member.mode)
        else:
            raise SandboxError(f"{member.name!r} is neither file, directory nor link")

    def _write(self, parts: tuple[str, ...], content: IO[bytes], mode: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with self._directory(parts[:-1]) as parent:
            _clear(parts[-1], parent)
            with os.fdopen(os.open(parts[-1], flags, 0o600, dir_fd=parent), "wb") as stream:
                while block := content.read(2**20):
                    stream.write(block)
                os.fchmod(stream.fileno(), (mode & 0o777) | 0o600)

    @contextmanager
    def _opened(self, parts: tuple[str, ...]) -> Iterator[IO[bytes]]:
        with self._directory(parts[:-1]) as parent:
            handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
            with os.fdopen(handle, "rb") as stream:
                self._bytes_left -= os.fstat(handle).st_size
                if self._bytes_left < 0:
                    raise SandboxError("the tree is too large", "raise transfer_bytes")
                yield stream

    @contextmanager
    def _directory(self, parts: tuple[str, ...]) -> Iterator[int]:
        """Open a directory below the root, made where missing, through no link."""
        handle = os.dup(self._root)
        try:
            for name in parts:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=handle)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                deeper = os.open(name, flags, dir_fd=handle)
                os.close(handle)
                handle = deeper
            yield handle
        finally:
            os.close(handle)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise SandboxError(f"{name!r} leads out of the tree")
    return path.parts


def _check_link(parts: tuple[str, ...], goal: str) -> None:
    """Only leading ``..``, and no more than there are directories above: others could lead out."""
    path = PurePosixPath(goal)
    up = next((i for i, part in enumerate(path.parts) if part != ".."), len(path.parts))
    if path.is_absolute() or up > len(parts) - 1 or ".." in path.parts[up:] or "\0" in goal:
        raise SandboxError(f"the link {'/'.join(parts)!r} leads out of the tree, to {goal!r}")


def _clear(name: str, parent: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
