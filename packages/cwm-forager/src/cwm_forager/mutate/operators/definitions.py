"""Operators on imports, classes and signatures."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import libcst as cst

from cwm_forager.mutate.operators.tree import Change, definition, is_docstring, nodes


def delete_import(module: cst.Module, random: Random) -> Iterator[Change]:
    """An import goes, or one of the names that it brings."""
    for line in nodes(module, cst.SimpleStatementLine):
        (only,) = line.body if len(line.body) == 1 else (None,)
        if isinstance(only, (cst.Import, cst.ImportFrom)) and not _is_future(only):
            if not isinstance(only.names, cst.ImportStar) and len(only.names) > 1:
                for index in range(len(only.names)):
                    yield only, only.with_changes(names=_without(only.names, index))
            else:
                yield line, None


def _is_future(node: cst.Import | cst.ImportFrom) -> bool:
    module = node.module if isinstance(node, cst.ImportFrom) else None
    return isinstance(module, cst.Name) and module.value == "__future__"


def _without(names: object, index: int) -> list[cst.ImportAlias]:
    kept = list(names)  # type: ignore[call-overload]
    del kept[index]
    kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return kept


def remove_base(module: cst.Module, random: Random) -> Iterator[Change]:
    """A base class goes."""
    found = definition(module)
    if isinstance(found, cst.ClassDef):
        for index in range(len(found.bases)):
            bases = [*found.bases[:index], *found.bases[index + 1 :]]
            if bases:
                bases[-1] = bases[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            bare = {} if bases or found.keywords else _NO_PARENTHESES
            yield found, found.with_changes(bases=bases, **bare)


_NO_PARENTHESES = {"lpar": cst.MaybeSentinel.DEFAULT, "rpar": cst.MaybeSentinel.DEFAULT}


def remove_method(module: cst.Module, random: Random) -> Iterator[Change]:
    """A method goes."""
    found = definition(module)
    if isinstance(found, cst.ClassDef):
        for statement in found.body.body:
            if isinstance(statement, cst.FunctionDef):
                yield statement, None


def remove_attribute(module: cst.Module, random: Random) -> Iterator[Change]:
    """A class attribute goes."""
    found = definition(module)
    if isinstance(found, cst.ClassDef):
        for statement in found.body.body:
            if isinstance(statement, cst.SimpleStatementLine) and not is_docstring(statement):
                yield statement, None


def change_default(module: cst.Module, random: Random) -> Iterator[Change]:
    """A parameter's default changes, or two parameters change places."""
    function = definition(module)
    if not isinstance(function, cst.FunctionDef):
        return
    for param in nodes(function.params, cst.Param):
        if param.default is not None:
            yield param.default, _other_default(param.default)
    plain = [param for param in function.params.params if param.default is None]
    names = [param.name.value for param in plain]
    for index in range(int(names[:1] in (["self"], ["cls"])), len(plain) - 1):
        params = list(function.params.params)
        first, second = params[index], params[index + 1]
        params[index] = first.with_changes(name=second.name, annotation=second.annotation)
        params[index + 1] = second.with_changes(name=first.name, annotation=first.annotation)
        yield function.params, function.params.with_changes(params=params)


def _other_default(default: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(default, cst.Integer):
        return cst.Integer(str(default.evaluated_value + 1))
    if isinstance(default, cst.Name) and default.value in ("True", "False"):
        return cst.Name("False" if default.value == "True" else "True")
    if isinstance(default, cst.Name) and default.value == "None":
        return cst.Name("False")
    return cst.Name("None")
