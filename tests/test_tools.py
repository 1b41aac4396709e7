"""The maintainers' tools, on small workspaces of their own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A root with pins, and two packages of which one needs the other."""
    (tmp_path / "pyproject.toml").write_text(
        "# kept\n[tool.uv]\nconstraint-dependencies = []  # pins\n\n[tool.cwm.pin]\nhold = ['a']\n"
    )
    for name, version, needs in (("cwm-a", "0.2.0", ""), ("cwm-b", "0.1.0", '"cwm-a>=0.1,<0.2"')):
        package = tmp_path / "packages" / name
        package.mkdir(parents=True)
        (package / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = [{needs}]\n'
        )
        (package / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0\n\nFirst.\n")
    return tmp_path


def test_pins_replace_only_the_pins(workspace: Path) -> None:
    pin = load("pin")
    pin.write_pins(workspace, ["a==1", 'b==2 ; python_full_version < "3.12"'])
    assert pin.read_pins(workspace) == ["a==1", 'b==2 ; python_full_version < "3.12"']
    text = (workspace / "pyproject.toml").read_text()
    assert text.startswith("# kept") and pin.held(workspace) == {"a"}


@pytest.mark.parametrize(
    ("exported", "pinned"),
    [
        ("torch==2.13.0+cpu", "torch==2.13.0"),
        ("a==1.0.post2 ; os_name == 'nt'", 'a==1.0.post2 ; os_name == "nt"'),
    ],
)
def test_pins_drop_the_local_version(exported: str, pinned: str) -> None:
    assert load("pin").public(exported) == pinned


def test_release_names_what_is_missing(workspace: Path) -> None:
    release = load("release")
    assert release.problems("cwm-a", workspace) == [
        "CHANGELOG.md of cwm-a has no section '## 0.2.0'"
    ]
    (problem,) = release.problems("cwm-b", workspace)
    assert "cwm-a is at 0.2.0" in problem


def test_every_package_could_be_released() -> None:
    release = load("release")
    names = [path.name for path in (ROOT / "packages").iterdir() if path.is_dir()]
    assert [release.problems(name) for name in names] == [[] for _ in names]


def test_interpreter_search_finds_this_one_and_no_other() -> None:
    import sys

    pythons = load("test_pythons")
    assert pythons.find(f"{sys.version_info.major}.{sys.version_info.minor}") is not None
    assert pythons.find("3.99") is None
