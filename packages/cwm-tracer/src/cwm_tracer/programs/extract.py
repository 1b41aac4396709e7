"""Argument lists found in test code."""

import ast
import builtins
from collections import Counter
from collections.abc import Sequence


def unix_lines(text: str) -> str:
    """The text with `\\n` line ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def argument_text(call: ast.Call) -> str:
    """The argument list of a call as source."""
    given = [ast.unparse(arg) for arg in call.args]
    given += [ast.unparse(keyword) for keyword in call.keywords]
    return ", ".join(given)


def calls_of(tree: ast.AST, name: str) -> list[ast.Call]:
    """All calls of a plain name, in source order."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset))


def is_literal(node: ast.expr) -> bool:
    """Can `ast.literal_eval` evaluate it?"""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def literal_calls(source: str, name: str) -> tuple[str, ...]:
    """The different argument lists that `name` is called with, if all arguments are literals.

    Code that does not parse has none.
    """
    try:
        tree = ast.parse(unix_lines(source))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    found = [
        argument_text(call)
        for call in calls_of(tree, name)
        if all(is_literal(arg) for arg in call.args)
        and all(word.arg and is_literal(word.value) for word in call.keywords)
    ]
    return tuple(dict.fromkeys(found))


def defined_names(tree: ast.Module) -> list[str]:
    """Names that module-level statements bind, in order."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [(alias.asname or alias.name).split(".")[0] for alias in node.names]
        else:
            found += [
                n.id
                for n in ast.walk(node)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            ]
    return found


def asserted_calls(source: str, tests: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The function of `source` that the tests call most, and the argument lists they give it.

    Arguments may use names that the source defines and built-ins. Without any such call the entry
    is the source's last function, without inputs.
    """
    try:
        defined = defined_names(ast.parse(source))
        trees = [ast.parse(unix_lines(test)) for test in tests]
    except (SyntaxError, ValueError, RecursionError):
        return "", ()
    functions = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    counts = Counter(
        node.func.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in functions
    )
    if not counts:
        return (functions[-1] if functions else ""), ()
    entry = counts.most_common(1)[0][0]
    known = set(defined) | set(dir(builtins))
    found = [
        argument_text(call)
        for tree in trees
        for call in calls_of(tree, entry)
        if _names(call) <= known
    ]
    return entry, tuple(dict.fromkeys(found))


def _names(call: ast.Call) -> set[str]:
    """Names that the arguments read, their own comprehension and lambda variables aside."""
    bound = {node.arg for node in ast.walk(call) if isinstance(node, ast.arg)}
    names = [node for node in ast.walk(call) if isinstance(node, ast.Name)]
    bound |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - bound
