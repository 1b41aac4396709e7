"""A small repository with a bug, as an instance for the local sandbox."""

from __future__ import annotations

import atexit
import compileall
import io
import shutil
import tarfile
import tempfile
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from cwm_core.sandbox.config import LocalSandboxConfig
from cwm_forager.tasks.formats import file_diff
from cwm_forager.tasks.instance import Instance

MODULE = '''"""Shapes."""


def area(width, height):
    """Return the area of a rectangle."""
    return width * height


def around(width, height):
    return 2 * (width + height)
'''
BROKEN = MODULE.replace("width * height", "width + height")
TESTS = """import pytest

import shapes


@pytest.mark.parametrize("side", [3, 5])
def test_square(side):
    assert shapes.area(side, side) == side * side


def test_area():
    assert shapes.area(2, 5) == 10


def test_around():
    assert shapes.around(2, 5) == 14


class TestStrip:
    def test_flat(self):
        assert shapes.area(0, 5) == 0
"""
FILES = {
    "shapes/__init__.py": MODULE,
    "shapes/colors.py": "RED = 'red'\n",
    "tests/test_shapes.py": TESTS,
    "setup.cfg": "[tool:pytest]\ntestpaths = tests\n",
    "README.md": "Shapes.\n",
}
BUG = file_diff("shapes/__init__.py", MODULE, BROKEN)
FIX = file_diff("shapes/__init__.py", BROKEN, MODULE)
FAIL = (
    "tests/test_shapes.py::test_square[3]",
    "tests/test_shapes.py::test_square[5]",
    "tests/test_shapes.py::test_area",
    "tests/test_shapes.py::TestStrip::test_flat",
)
PASS = ("tests/test_shapes.py::test_around",)


def archive(path: Path, files: dict[str, str]) -> Path:
    """Write a tar file of a repository."""
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def shapes_instance(directory: Path, **changes) -> Instance:
    """Return the instance; `pytest` comes from this interpreter's own site-packages."""
    tar = directory / "shapes.tar"
    if not tar.exists():
        archive(tar, FILES)
    values = {
        "id": "shapes-1",
        "kind": "mutate-fix",
        "repository": "acme/shapes",
        "archive": str(tar),
        "root": "repo",
        "problem_statement": "The area of a rectangle of 2 by 5 is 7.",
        "setup_patch": BUG,
        "gold_patch": FIX,
        "fail_to_pass": FAIL,
        "pass_to_pass": PASS,
        "environment": {"PYTHONPATH": str(libraries()), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        "python": "python3",
        "timeout_s": 60.0,
        **changes,
    }
    return Instance(**values)


@cache
def libraries() -> Path:
    """Return a directory with pytest and what it needs: few files to watch."""
    directory = Path(tempfile.mkdtemp(prefix="cwm-libraries-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        for file in distribution(name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (directory / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), directory / file)
    compileall.compile_dir(directory, quiet=1)  # or else every run of pytest does it again
    return directory


def local_sandbox() -> LocalSandboxConfig:
    """Return a local sandbox that sees these libraries."""
    return LocalSandboxConfig(name="local", read_only=(libraries(),))
