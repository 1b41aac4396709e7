"""Patches: which files they touch, which of these are tests, and how alike two patches are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from cwm_core.errors import DataError

_TEST_DIRS = frozenset({"test", "tests", "testing", "e2e", "__tests__"})
_TEST_NAME = re.compile(r"(test_.*|.*_tests?|tests?|conftest)\.py")
CONFIG_NAMES = frozenset(
    [
        "conftest.py",
        "pytest.ini",
        ".pytest.ini",
        "pytest.toml",
        ".pytest.toml",
        "tox.ini",
        "setup.cfg",
        "pyproject.toml",
        "sitecustomize.py",
        "usercustomize.py",
    ]
)
"""Files that steer how pytest or the interpreter run, wherever they lie."""
_CLOSED_NAMES = CONFIG_NAMES | {
    "noxfile.py",
    ".coveragerc",
    ".git",
    ".gitattributes",
    ".gitmodules",
    "pytest.py",
    "_pytest",
    "pluggy",
    "pluggy.py",
}
_CLOSED_DIRS = frozenset(
    {".git", ".venv", "venv", ".tox", ".nox", "site-packages", "__pycache__", ".eggs", ".hg"}
)
_CLOSED_SUFFIXES = frozenset({".pth", ".pyc", ".pyo", ".so", ".pyd", ".egg-link"})
_HEADER = re.compile(r"^diff --git (.*)$", re.MULTILINE)


def is_test_file(path: str) -> bool:
    """Whether a path looks like a test: a name like ``test_x.py``, or below ``tests/``."""
    pure = PurePosixPath(path)
    in_tests = any(part in _TEST_DIRS for part in pure.parts[:-1])
    return in_tests or _TEST_NAME.fullmatch(pure.name) is not None


def is_config_file(path: str) -> bool:
    """Whether a path steers how tests or the interpreter run, or is no source at all.

    Such files never cross from an agent's sandbox into the one where its patch is judged.
    """
    pure = PurePosixPath(path)
    if any(
        part in _CLOSED_DIRS or part.endswith((".egg-info", ".dist-info")) for part in pure.parts
    ):
        return True
    names = {pure.name, pure.parts[0]} if pure.parts else set()
    return bool(names & _CLOSED_NAMES) or pure.suffix in _CLOSED_SUFFIXES


@dataclass(frozen=True, slots=True)
class FilePatch:
    """The part of a git diff that is about one file."""

    path: str
    """Path after the change, or before it for a deleted file."""
    text: str
    source: str
    """Path before the change."""


def file_patches(patch: str) -> list[FilePatch]:
    """Cut a git diff into the parts of its files.

    Raises:
        DataError: it holds something that is no git diff.
    """
    starts = [match.start() for match in _HEADER.finditer(patch)]
    if not starts and patch.strip():
        raise DataError("the patch is no git diff", "write it with `git diff`")
    parts = [patch[start:end] for start, end in zip(starts, [*starts[1:], len(patch)])]
    return [FilePatch(*_paths(part)) for part in parts]


def _paths(part: str) -> tuple[str, str, str]:
    source = target = None
    for line in part.splitlines():
        if line.startswith("--- "):
            source = _name(line[4:])
        elif line.startswith("+++ "):
            target = _name(line[4:])
        elif line.startswith(("rename from ", "copy from ")):
            source = _unquoted(line.split(" ", 2)[2])
        elif line.startswith(("rename to ", "copy to ")):
            target = _unquoted(line.split(" ", 2)[2])
        elif line.startswith("@@"):
            break
    if source is None and target is None:
        source = target = _header_name(part.partition("\n")[0])
    path = target or source
    if path is None:
        raise DataError(f"no path in {part.partition(chr(10))[0]!r}")
    return path, part, source or path


def _name(text: str) -> str | None:
    text = _unquoted(text.rstrip("\t"))
    return None if text == "/dev/null" else text.partition("/")[2]


def _header_name(header: str) -> str:
    """Return the name of a header whose two names are the same but for ``a/`` and ``b/``."""
    names = header.removeprefix("diff --git ")
    if names.startswith('"'):
        return _unquoted(names[: names.index('" ') + 1]).partition("/")[2]
    return names[: len(names) // 2].partition("/")[2]


def _unquoted(text: str) -> str:
    """Undo git's quoting of names with unusual bytes."""
    if not text.startswith('"'):
        return text
    raw = text[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def split_tests(patch: str) -> tuple[str, str]:
    """Return (changes to source, changes to tests and test configuration) of a git diff."""
    code: list[str] = []
    tests: list[str] = []
    for part in file_patches(patch):
        is_test = any(
            is_test_file(path) or is_config_file(path) for path in (part.path, part.source)
        )
        (tests if is_test else code).append(part.text)
    return "".join(code), "".join(tests)


def touched(patch: str) -> list[str]:
    """Return the paths that a git diff touches, in its order."""
    return list(dict.fromkeys(part.path for part in file_patches(patch)))


def reverse_patch(patch: str) -> str:
    """Return the git diff that undoes one.

    Raises:
        DataError: it renames, copies or holds binary files.
    """
    from unidiff import PatchSet

    for part in file_patches(patch):
        head = part.text.partition("\n@@")[0]
        if re.search(r"^(rename|copy|GIT binary|Binary files|old mode)", head, re.MULTILINE):
            raise DataError(f"the patch of {part.path!r} cannot be reversed", "give it reversed")
    return "".join(_reversed_file(file) for file in PatchSet(_ended(patch)))


def _ended(patch: str) -> str:
    return patch if patch.endswith("\n") or not patch else patch + "\n"


def _reversed_file(file: object) -> str:
    source, target = file.source_file, file.target_file  # type: ignore[attr-defined]
    path = (source if target == "/dev/null" else target).partition("/")[2]
    old = "/dev/null" if target == "/dev/null" else f"a/{path}"
    new = "/dev/null" if source == "/dev/null" else f"b/{path}"
    lines = [f"diff --git a/{path} b/{path}\n"]
    if old == "/dev/null":
        lines.append("new file mode 100644\n")
    elif new == "/dev/null":
        lines.append("deleted file mode 100644\n")
    lines += [f"--- {old}\n", f"+++ {new}\n"]
    for hunk in file:  # type: ignore[attr-defined]
        lines.append(
            f"@@ -{hunk.target_start},{hunk.target_length} "
            f"+{hunk.source_start},{hunk.source_length} @@\n"
        )
        lines += _reversed_lines(hunk)
    return "".join(lines)


def _reversed_lines(hunk: Iterable[object]) -> list[str]:
    """Swap signs; removed lines come before added ones within each run of changes."""
    result: list[str] = []
    removed: list[str] = []
    added: list[str] = []
    bucket = result
    for line in hunk:
        kind, value = line.line_type, line.value  # type: ignore[attr-defined]
        if kind == " ":
            result += [*removed, *added, f" {value}"]
            removed, added, bucket = [], [], result
        elif kind == "\\":
            bucket.append("\\ No newline at end of file\n")
            if bucket is result and not result[-2].endswith("\n"):
                result[-2] += "\n"
        else:
            bucket = removed if kind == "+" else added
            bucket.append(("-" if kind == "+" else "+") + value)
    return [*result, *removed, *added]


@dataclass(frozen=True, slots=True)
class FileSimilarity:
    """How alike the changes of two patches to one file are, from 0 to 1."""

    path: str
    similarity: float


def similarities(patch: str, oracle: str) -> list[FileSimilarity]:
    """Compare a patch with an oracle's, file by file, over the files of the oracle.

    The similarity is difflib's ratio over the changes as text, 0 for a file that the patch does not
    touch. A patch that cannot be parsed touches none. Empty when the oracle touches no file.
    """
    theirs, ours = normalized(oracle), normalized(patch)
    return [
        FileSimilarity(path, _ratio(ours.get(path, ""), change)) for path, change in theirs.items()
    ]


def mean_similarity(patch: str, oracle: str) -> float | None:
    """Return the mean over the oracle's files; None when it touches none."""
    found = similarities(patch, oracle)
    return sum(each.similarity for each in found) / len(found) if found else None


def _ratio(first: str, second: str) -> float:
    if not first or not second:
        return 0.0
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()


def normalized(patch: str) -> dict[str, str]:
    """Return the change of each text file: its hunks, with a rename spelled out in front."""
    from unidiff import PatchSet
    from unidiff.errors import UnidiffParseError

    try:
        files = PatchSet(patch)
    except (UnidiffParseError, UnboundLocalError):
        return {}
    changes = {}
    for file in files:
        if file.is_binary_file:
            continue
        path, header = file.path, ""
        if file.is_rename:
            path = file.source_file.removeprefix("a/")
            header = f"rename from {path} to {file.target_file.removeprefix('b/')}"
        body = "\n".join(str(hunk).strip() for hunk in file)
        changes[path] = f"{header}\n{body}".strip()
    return changes
