"""The repository as an archive: a directory, an sdist or a git URL."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from cwm_core.errors import DataError, RunError

_LEFT_OUT = {".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".nox"}
_LEFT_OUT |= {".mypy_cache", ".pytest_cache", ".ruff_cache"}
_CLONE_TIMEOUT_S = 900.0


def pack(repository: str, revision: str = "") -> bytes:
    """Return a tar archive of the repository, with a single directory at its top.

    Raises:
        DataError: there is no such directory or archive.
        RunError: git cannot clone it.
    """
    if _is_url(repository):
        return _cloned(repository, revision)
    path = Path(repository).expanduser()
    if path.is_dir():
        return _packed(path.resolve())
    if not path.is_file():
        raise DataError(
            f"{repository} does not exist",
            "give a directory, an archive such as package-1.0.tar.gz, or a git URL",
        )
    if not tarfile.is_tarfile(path):
        raise DataError(f"{path} is no tar archive", "give an sdist (.tar.gz) or a directory")
    return path.read_bytes()


def name_of(repository: str) -> str:
    """Return a short name: that of the directory or archive, without its suffix."""
    name = repository.rstrip("/").rpartition("/")[2] or repository
    if name in (".", ".."):
        name = Path(repository).resolve().name
    for suffix in (".git", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar"):
        name = name.removesuffix(suffix)
    return name


def _is_url(repository: str) -> bool:
    return "://" in repository or repository.startswith("git@")


def _packed(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(directory, arcname=directory.name or "repository", filter=_kept)
    return buffer.getvalue()


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if Path(member.name).name in _LEFT_OUT or not (
        member.isreg() or member.isdir() or member.issym()
    ):
        return None
    member.uid = member.gid = 0
    return member


def _cloned(url: str, revision: str) -> bytes:
    branch = ["--branch", revision] if revision else []
    with tempfile.TemporaryDirectory(prefix="cwm-clone-") as place:
        target = Path(place) / (name_of(url) or "repository")
        line = ["git", "clone", "--quiet", "--depth", "1", *branch, "--", url, str(target)]
        try:
            done = subprocess.run(
                line,
                capture_output=True,
                timeout=_CLONE_TIMEOUT_S,
                check=False,
                env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            )
        except FileNotFoundError as error:
            raise RunError("git is not installed", "install git, or give a directory") from error
        except subprocess.TimeoutExpired as error:
            raise RunError(f"cloning {url} takes more than {_CLONE_TIMEOUT_S:g} s") from error
        if done.returncode != 0:
            reason = done.stderr.decode("utf-8", "replace").strip()[-500:]
            raise RunError(f"git cannot clone {url}: {reason}", "check the URL and the revision")
        return _packed(target)
