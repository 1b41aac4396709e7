"""Where a repository comes from: a local one, a URL, or a source distribution."""

from __future__ import annotations

import re
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cwm_core.errors import DataError, RunError
from cwm_forager.images.history import first_commit, git, scrub

_URL = re.compile(r"^(?:[a-z+]+://|[\w.-]+@[\w.-]+:)")
_SDIST = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository's files with their history up to a commit."""

    name: str
    source: str
    commit: str
    directory: Path


def check_out(source: str, directory: Path, commit: str = "", name: str = "") -> Checkout:
    """Put a repository into an empty directory, at a commit (empty: its HEAD).

    Raises:
        DataError: there is no such thing, or it is no repository, URL or sdist.
        RunError: git fails.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if _URL.match(source):
        made = _clone(source, directory, commit)
    else:
        path = Path(source).expanduser()
        if path.is_dir() and (path / ".git").exists():
            made = _clone(str(path.resolve()), directory, commit)
        elif path.is_dir():
            shutil.copytree(path, directory, symlinks=True, dirs_exist_ok=True)
            made = first_commit(directory, f"{path.name}")
        elif path.is_file() and path.name.endswith(_SDIST):
            _unpack(path, directory)
            made = first_commit(directory, path.name)
        else:
            raise DataError(
                f"{source!r} is no repository, URL or source distribution",
                "give a directory, a git URL, or a .tar.gz or .zip file",
            )
    return Checkout(name or name_of(source), without_credentials(source), made, directory)


def name_of(source: str) -> str:
    """Return a short name: the last part of a path or URL, without version and suffix."""
    last = re.split(r"[/:]", source.rstrip("/"))[-1].removesuffix(".git")
    for suffix in _SDIST:
        if last.endswith(suffix):
            last = re.sub(r"-\d[\w.!+-]*$", "", last.removesuffix(suffix))
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower().replace("_", "-")).strip("-.") or "repository"


def without_credentials(text: str) -> str:
    """Return text with the user part of every URL left out."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def _clone(source: str, directory: Path, commit: str) -> str:
    url = source if _URL.match(source) else f"file://{source}"
    try:
        git(directory, "clone", "--quiet", "--no-checkout", url, ".")
        git(directory, "checkout", "--quiet", "--force", "--detach", commit or "HEAD")
    except RunError as error:
        message = without_credentials(error.message)
        raise RunError(message, "check the URL and the commit") from None
    scrub(directory)
    return git(directory, "rev-parse", "HEAD").strip()


def _unpack(path: Path, directory: Path) -> None:
    """Unpack an archive without its top directory; links and paths that lead outside raise."""
    inner = directory / ".unpacked"
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(inner)
        else:
            with tarfile.open(path) as tar:
                tar.extractall(inner, filter="data")
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be unpacked: {error}", "is it whole?") from error
    entries = list(inner.iterdir())
    root = entries[0] if len(entries) == 1 and entries[0].is_dir() else inner
    for entry in list(root.iterdir()):
        shutil.move(str(entry), directory / entry.name)
    shutil.rmtree(inner)
