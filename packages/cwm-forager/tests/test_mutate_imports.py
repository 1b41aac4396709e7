from __future__ import annotations

import ast
import importlib.util
from importlib.resources import files
from typing import Any

import pytest


@pytest.fixture(scope="module")
def inside() -> Any:
    """Return the module as it runs inside of sandboxes: a file of its own."""
    path = files("cwm_forager.images.inside").joinpath("cwm_imports.py")
    spec = importlib.util.spec_from_file_location("cwm_imports_inside", str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import a.b, c", {"a", "a.b", "c"}),
        ("from a.b import c", {"a", "a.b", "a.b.c"}),
        ("def f():\n    from . import x", {"p", "p.q", "p.q.x"}),
        ("from ..r import s", {"p", "p.r", "p.r.s"}),
        ("pytest_plugins = ['a.b']", {"a", "a.b"}),
    ],
)
def test_imports_are_read_from_statements(inside: Any, text: str, names: set[str]) -> None:
    assert set(inside.imported(ast.parse(text), "p.q")) == names


@pytest.mark.parametrize(
    "text", ["importlib.import_module(x)", "__import__('a')", "from importlib import import_module"]
)
def test_imports_that_no_statement_says(inside: Any, text: str) -> None:
    assert inside._is_dynamic(ast.parse(text)) and not inside._is_dynamic(ast.parse("import a"))
