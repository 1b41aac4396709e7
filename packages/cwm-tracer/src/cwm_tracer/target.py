"""Finding the program that `FILE.py:function` or `module:function` names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from cwm_core.errors import DataError
from cwm_tracer.capture.tracer import Surroundings
from cwm_tracer.programs.program import content_id


def is_target(word: str) -> bool:
    """Whether a word of the command line names a function rather than a configuration key."""
    place, colon, function = word.partition(":")
    return bool(colon and place) and "=" not in place and "=" not in function


def load_target(target: str) -> tuple[str, str, Surroundings]:
    """Return source, entry and surroundings of a target, without running anything.

    Raises:
        DataError: there is no such file or module, or it is no text.
    """
    place, _, entry = target.rpartition(":")
    if not entry:
        raise DataError(f"{target!r} names no function", "write FILE.py:function")
    if place.endswith(".py") or "/" in place:
        path = Path(place)
        around = Surroundings("program", str(path.resolve()), (str(path.resolve().parent),))
    else:
        path, roots = _module_file(place)
        around = Surroundings(place, str(path.resolve()), roots)
    return read_source(path), entry, around


def read_source(path: Path) -> str:
    """Read a Python file, whatever encoding it declares.

    Raises:
        DataError: it cannot be read.
    """
    import tokenize

    try:
        with tokenize.open(path) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{path} is no Python text: {error}") from error


def program_id(source: str) -> str:
    """Name a program by its content."""
    return content_id(source)


def _module_file(name: str) -> tuple[Path, tuple[str, ...]]:
    """Find a module's file as the import system would, without importing its packages."""
    roots = tuple(dict.fromkeys([str(Path.cwd()), *sys.path[1:]]))
    search: Sequence[str] | None = roots
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for index in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: index + 1]), search) if search else None
        if spec is None:
            break
        search = spec.submodule_search_locations
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise DataError(f"no Python module {name!r} is found", "give a FILE.py:function instead")
    return Path(spec.origin), roots
