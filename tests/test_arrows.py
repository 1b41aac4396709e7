"""The arrows between packages: imports and declared dependencies, as docs/architecture.md draws."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
ARROWS = {
    "cwm-core": set(),
    "cwm-tracer": {"cwm-core"},
    "cwm-forager": {"cwm-core"},
    "cwm-eval": {"cwm-core"},
    "cwm-train": {"cwm-core"},
    "cwm-rl": {"cwm-core", "cwm-train"},
}
HEAVY = {"torch", "docker", "datasets", "ray", "openai", "transformers"}
"""Never imported when a module of core is imported."""


def module_name(package: str) -> str:
    return package.replace("-", "_")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / "packages" / package / "src").rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of everything imported anywhere in the tree."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def import_time(tree: ast.Module) -> set[str]:
    """Names imported when the module is: not inside functions, nor under TYPE_CHECKING."""
    names: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= imported(node)
        pending += ast.iter_child_nodes(node)
    return names


def test_every_package_has_its_arrows_drawn() -> None:
    assert {path.name for path in (ROOT / "packages").iterdir() if path.is_dir()} == set(ARROWS)


@pytest.mark.parametrize("package", ARROWS)
def test_imports_follow_the_arrows(package: str) -> None:
    allowed = {module_name(name) for name in ARROWS[package] | {package}}
    everyone = {module_name(name) for name in ARROWS}
    for path in sources(package):
        found = imported(ast.parse(path.read_text())) & everyone
        assert found <= allowed, f"{path.relative_to(ROOT)} imports {sorted(found - allowed)}"


@pytest.mark.parametrize("package", ARROWS)
def test_declared_dependencies_are_the_arrows(package: str) -> None:
    manifest = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())
    declared = [Requirement(text) for text in manifest["project"]["dependencies"]]
    siblings = {need.name: need for need in declared if need.name in ARROWS}
    assert set(siblings) == ARROWS[package]
    for need in siblings.values():
        sibling = tomllib.loads((ROOT / "packages" / need.name / "pyproject.toml").read_text())
        assert {clause.operator for clause in need.specifier} == {">=", "<"}, f"unbounded: {need}"
        assert sibling["project"]["version"] in need.specifier, f"{package} refuses {need.name}"


@pytest.mark.parametrize("path", sources("cwm-core"), ids=lambda path: path.stem)
def test_core_imports_nothing_heavy(path: Path) -> None:
    heavy = import_time(ast.parse(path.read_text())) & HEAVY
    assert not heavy, f"{path.relative_to(ROOT)} imports {sorted(heavy)} at module level"


@pytest.mark.parametrize("package", ARROWS)
def test_plugin_module_is_light(package: str) -> None:
    path = ROOT / "packages" / package / "src" / module_name(package) / "plugin.py"
    names = import_time(ast.parse(path.read_text()))
    assert names <= {"__future__", "typing", "cwm_core", module_name(package)}, names
    assert len(path.read_text().splitlines()) <= 120, "a plugin module fits on one screen or two"
