"""Argument lists out of Python texts and out of free text."""

from __future__ import annotations

import ast
import copy
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from cwm_tracer.inputs.text import MAX_CHARACTERS, canonical, is_harmless
from cwm_tracer.programs.extract import argument_text, unix_lines

_SCOPES = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)
_MOST_CASES = 64
Values = Mapping[str, ast.expr]


def calls_in_source(
    text: str, names: Collection[str], known: Collection[str], owner: str = ""
) -> Iterator[tuple[ast.expr | None, ast.Call]]:
    """Yield the calls of a function that can be made elsewhere, in source order.

    Variables that are set once to a value of literals, and the parameters of
    `pytest.mark.parametrize`, are put in; calls whose arguments still depend on something other
    than `known` names are left out. A method's call comes with its object, None for a plain name.
    Code that does not parse has no calls.
    """
    try:
        tree = ast.parse(unix_lines(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from _of_scope(tree, {}, frozenset(), names, known, owner)


def _of_scope(
    scope: ast.AST,
    outer: Values,
    shadowed: frozenset[str],
    names: Collection[str],
    known: Collection[str],
    owner: str,
) -> Iterator[tuple[ast.expr | None, ast.Call]]:
    """Yield the calls in a scope and those inside; `shadowed` names have values unknown here."""
    inner, nodes = _own_nodes(scope)
    bound = _bound(scope, nodes)
    shadowed |= bound - set(known) if isinstance(scope, ast.Module) else bound
    constants = {name: value for name, value in outer.items() if name not in bound}
    constants |= _constants(nodes, known)
    cases = _cases(scope, known)
    calls = [node for node in nodes if isinstance(node, ast.Call) and _called(node, names, owner)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        for case in cases:
            filled = _filled(call, {**constants, **case})
            given = [*filled.args, *(word.value for word in filled.keywords)]
            if all(is_harmless(each, known) and not _uses(each, shadowed) for each in given):
                yield filled.func.value if isinstance(filled.func, ast.Attribute) else None, filled
    for each in inner:
        yield from _of_scope(each, constants, shadowed, names, known, owner)


def _bound(scope: ast.AST, nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Return the variables and parameters of a scope."""
    found = {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    arguments = getattr(scope, "args", None)
    found |= (
        {node.arg for node in ast.walk(arguments) if isinstance(node, ast.arg)}
        if arguments
        else set()
    )
    return frozenset(found)


def _uses(node: ast.expr, names: Collection[str]) -> bool:
    """Whether an expression reads one of the names, and not as a variable of its own."""
    read = [each for each in ast.walk(node) if isinstance(each, ast.Name) and each.id in names]
    own = {each.id for each in read if isinstance(each.ctx, ast.Store)}
    own |= {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    return any(each.id not in own for each in read)


def _own_nodes(scope: ast.AST) -> tuple[list[ast.AST], list[ast.AST]]:
    """Return the functions inside a scope, and all nodes that are in none of them."""
    inner: list[ast.AST] = []
    nodes: list[ast.AST] = []
    stack = list(ast.iter_child_nodes(scope))[::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, _SCOPES):
            inner.append(node)
        else:
            nodes.append(node)
            stack += list(ast.iter_child_nodes(node))[::-1]
    return inner, nodes


def _called(call: ast.Call, names: Collection[str], owner: str) -> bool:
    func = call.func
    if isinstance(func, ast.Name):
        return func.id in names and not owner
    if not isinstance(func, ast.Attribute) or func.attr not in names:
        return False
    # Without its class known, `x.f()` may be a method of anything: only modules' functions count.
    return bool(owner) or isinstance(func.value, ast.Name)


def _constants(nodes: Iterable[ast.AST], known: Collection[str]) -> dict[str, ast.expr]:
    """Return the names that these statements bind once, to a value of literals."""
    values: dict[str, ast.expr] = {}
    bound: Counter[str] = Counter()
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bound[node.id] += 1
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) and is_harmless(node.value, known):
                values[target.id] = node.value
    return {name: value for name, value in values.items() if bound[name] == 1}


def _cases(scope: ast.AST, known: Collection[str]) -> list[Values]:
    """Return what `pytest.mark.parametrize` gives a test's parameters, one mapping per case."""
    tables: list[list[Values]] = []
    for each in getattr(scope, "decorator_list", ()):
        if isinstance(each, ast.Call) and ast.unparse(each.func).endswith("parametrize"):
            table = [case for case in _table(each) if _all_harmless(case, known)]
            tables += [table] if table else []
    products = itertools.islice(itertools.product(*tables), _MOST_CASES)
    return [{name: value for case in chosen for name, value in case.items()} for chosen in products]


def _all_harmless(case: Values, known: Collection[str]) -> bool:
    return all(is_harmless(value, known) for value in case.values())


def _table(call: ast.Call) -> list[Values]:
    if len(call.args) < 2 or not isinstance(call.args[1], ast.List | ast.Tuple):
        return []
    try:
        names = ast.literal_eval(call.args[0])
    except ValueError:
        return []
    names = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    rows: list[Values] = []
    for row in call.args[1].elts:
        if isinstance(row, ast.Call):  # pytest.param(...)
            row = ast.Tuple(row.args, ast.Load())
        elif len(names) == 1:
            row = ast.Tuple([row], ast.Load())
        if isinstance(row, ast.List | ast.Tuple) and len(row.elts) == len(names):
            rows.append(dict(zip(names, row.elts, strict=True)))
    return rows


def _filled(call: ast.Call, values: Values) -> ast.Call:
    """Put values in for names, in a copy."""
    if not any(isinstance(node, ast.Name) and node.id in values for node in ast.walk(call)):
        return call
    made = copy.deepcopy(call)
    made.args = [_put_in(each, values) for each in made.args]
    for word in made.keywords:
        word.value = _put_in(word.value, values)
    if isinstance(made.func, ast.Attribute):
        made.func.value = _put_in(made.func.value, values)
    return made


def _put_in(node: ast.expr, values: Values) -> ast.expr:
    class Fill(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return copy.deepcopy(values.get(name.id, name))

    return Fill().visit(node)


def texts_of(calls: Iterable[ast.Call]) -> Iterator[str]:
    """Yield the argument lists of calls."""
    for call in calls:
        try:
            text = argument_text(call)
        except (ValueError, RecursionError):
            continue
        if len(text) <= MAX_CHARACTERS:
            yield text


def calls_in_text(text: str, names: Collection[str]) -> Iterator[str]:
    """Yield the argument lists of everything that looks like a call of the names.

    Whatever stands around the calls is ignored: prose, bullets, code fences, results.
    """
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\s*\(")
    for match in pattern.finditer(text):
        inner = _balanced(text, match.end())
        found = None if inner is None else canonical(inner)
        if found is not None:
            yield found


def _balanced(text: str, start: int) -> str | None:
    """Return the text up to the parenthesis that closes the one before `start`."""
    depth, quote, at = 1, "", start
    while at < min(len(text), start + MAX_CHARACTERS):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif text.startswith(quote, at):
                at += len(quote) - 1
                quote = ""
        elif char in "\"'":
            quote = char * 3 if text.startswith(char * 3, at) else char
            at += len(quote) - 1
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if not depth:
                return text[start:at]
        at += 1
    return None
