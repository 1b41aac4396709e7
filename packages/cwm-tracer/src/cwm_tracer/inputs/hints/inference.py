"""What type a parameter without an annotation has, judged by defaults, docstring, body and name."""

from __future__ import annotations

import ast
import re
from collections import Counter

from cwm_tracer.inputs.callee import (
    Anatomy,
    FunctionNode,
    Parameter,
    find_definition,
    parameters_of,
)

_DEEPEST = 3
_LIST_METHODS = frozenset(("append", "extend", "insert", "pop", "sort", "remove", "reverse"))
_DICT_METHODS = frozenset(("items", "keys", "values", "get", "setdefault", "update"))
_SET_METHODS = frozenset(("add", "discard", "union", "intersection", "difference", "issubset"))
_STR_METHODS = frozenset(name for name in dir(str) if name not in dir(list) and name[0] != "_")
_OF_ITERABLES = frozenset(
    (
        *("all", "any", "enumerate", "iter", "len", "list", "map", "max", "min", "reversed"),
        *("set", "sorted", "sum", "tuple", "zip", "Counter", "filter"),
    )
)
_OF_INTS = frozenset(("range", "chr", "bin", "hex", "oct", "factorial", "isqrt", "sqrt", "abs"))
_ARITHMETIC = (ast.Mod, ast.FloorDiv, ast.Sub, ast.Pow, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)
_NAMES = (
    (
        r"n|m|k|i|j|a|b|c|x|y|z|num(ber)?\d*|count|size|limit|index|idx|low|high|start|end|step",
        "int",
    ),
    (r"(.*_)?(len|length|width|height|pos|position|value|total|target|year|month|day)", "int"),
    (
        r"(.*_)?(list|lst|arr|array|nums|numbers|items|values|seq|sequence|xs|ys|data)\d*",
        "list[int]",
    ),
    (r"(.*_)?(matrix|grid|mat|lists|board|cost|table)\d*", "list[list[int]]"),
    (r"(.*_)?(tup|tuple|tuples|t|pair)\d*", "tuple[int, ...]"),
    (r"(.*_)?(dict|d|mapping|counts|map)\d*", "dict[str, int]"),
    (r"(.*_)?(s|str|string|text|word|char|ch|sentence|line|name|key|prefix|suffix)\d*", "str"),
    (r"(.*_)?(words|strings|names|lines|strs)\d*", "list[str]"),
    (r"(is|has|use|allow)_.*|.*(flag|verbose|reverse|strict)", "bool"),
    (r"f|fn|func|function|callback|predicate|key_func", "Callable"),
    (r".*(rate|ratio|percent|price|amount|radius|angle|eps|tol|lat|lon)", "float"),
)
_WORDS = (
    (r"\b(list|array|sequence) of (str|string|word)s?", "list[str]"),
    (r"\b(list|array|sequence) of (list|array|tuple)s?", "list[list[int]]"),
    (r"\b(list|array|sequence|iterable)\b", "list[int]"),
    (r"\b(dict|dictionary|mapping)\b", "dict[str, int]"),
    (r"\b(str|string|text)\b", "str"),
    (r"\b(int|integer)\b", "int"),
    (r"\b(float|number|real)\b", "float"),
    (r"\b(bool|boolean)\b", "bool"),
    (r"\btuple\b", "tuple[int, ...]"),
    (r"\bset\b", "set[int]"),
)
_FALLBACK = ("int", "str", "list[int]", "list[str]", "list[list[int]]", "dict[str, int]")


def inferred(parameter: Parameter, parts: Anatomy) -> list[str]:
    """Return the annotations that a parameter may have, the likeliest first, at most three."""
    said = guessed(parameter) if parameter.default is not None else []
    said = said or _documented(parameter.name, parts.docstring)
    if said:
        return said[:1]
    votes = votes_for(parameter.name, parts.node, parts.tree)
    by_name = _by_name(parameter.name)
    if by_name:
        votes[by_name] += 1 if votes[by_name] or not votes.total() else 0
    best = [_named(annotation) for annotation, _ in votes.most_common(3)]
    return best or list(_FALLBACK)


def guessed(parameter: Parameter) -> list[str]:
    """Return annotations by the default and the name alone."""
    if parameter.default is not None:
        found = _of_value(parameter.default)
        if found is not None:
            return [found]
    by_name = _by_name(parameter.name)
    return [by_name] if by_name else list(_FALLBACK)


def _of_value(node: ast.expr) -> str | None:
    """Return the type of a literal; None for None and for what is no literal."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
    if isinstance(value, list | tuple | set) and value:
        kind = type(next(iter(value))).__name__
        return f"{type(value).__name__}[{kind}{', ...' if isinstance(value, tuple) else ''}]"
    return None if value is None else type(value).__name__


def _by_name(name: str) -> str | None:
    for pattern, annotation in _NAMES:
        if re.fullmatch(pattern, name.lower()):
            return annotation
    return None


def _documented(name: str, docstring: str) -> list[str]:
    """Read ``name (int)``, ``name : list of str`` and ``:type name: str``."""
    escaped = re.escape(name)
    for pattern in (
        rf":type\s+{escaped}\s*:\s*(.+)",
        rf":param\s+(\w+)\s+{escaped}\s*:",
        rf"^\s*{escaped}\s*\(([^)]+)\)",
        rf"^\s*{escaped}\s*:\s*(.+)$",
    ):
        match = re.search(pattern, docstring, re.MULTILINE)
        if match:
            for words, annotation in _WORDS:
                if re.search(words, match[1].lower()):
                    return [annotation]
    return []


def votes_for(name: str, node: FunctionNode, tree: ast.Module, depth: int = 0) -> Counter[str]:
    """Count what the uses of a name in a function speak for."""
    votes = _Votes(name, node, tree, depth)
    for statement in node.body:
        votes.visit(statement)
    return votes.found


class _Votes(ast.NodeVisitor):
    """Reads a body for the uses of one name."""

    def __init__(self, name: str, node: FunctionNode, tree: ast.Module, depth: int) -> None:
        self.found: Counter[str] = Counter()
        self._name = name
        self._node = node
        self._tree = tree
        self._depth = depth

    def _is_it(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == self._name

    def visit_For(self, node: ast.For) -> None:
        self._iterated(node.iter, node.target)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._iterated(node.iter, node.target)
        self.generic_visit(node)

    def _iterated(self, iterable: ast.expr, target: ast.expr) -> None:
        if isinstance(iterable, ast.Call) and _name_of(iterable.func) == "enumerate":
            iterable = iterable.args[0] if iterable.args else iterable
            target = target.elts[-1] if isinstance(target, ast.Tuple) else target
        if self._is_it(iterable):
            self.found[self._sequence_of(target)] += 2

    def _sequence_of(self, target: ast.expr) -> str:
        """Return the type of something that is iterated over, by what becomes of its items."""
        if isinstance(target, ast.Tuple):
            return f"list[tuple[{', '.join(['int'] * len(target.elts))}]]"
        if not isinstance(target, ast.Name) or self._depth >= _DEEPEST:
            return "list[int]"
        inner = votes_for(target.id, self._node, self._tree, self._depth + 1)
        item = inner.most_common(1)[0][0] if inner else "int"
        return "str" if item == "char" else f"list[{item}]"

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self._is_it(node.value):
            key = node.slice
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self.found["dict[str, int]"] += 2
            else:
                self.found["list[int]"] += 1
        elif isinstance(node.value, ast.Subscript) and self._is_it(node.value.value):
            self.found["list[list[int]]"] += 2
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = _name_of(node.func)
        if isinstance(node.func, ast.Attribute) and self._is_it(node.func.value):
            self._method(node.func.attr)
        elif self._is_it(node.func):
            self.found["Callable"] += 3
        for index, argument in enumerate(node.args):
            if self._is_it(argument):
                self._passed(called, index, node)
        self.generic_visit(node)

    def _method(self, name: str) -> None:
        for names, annotation in (
            (_LIST_METHODS, "list[int]"),
            (_DICT_METHODS, "dict[str, int]"),
            (_SET_METHODS, "set[int]"),
            (_STR_METHODS, "str"),
        ):
            if name in names:
                self.found[annotation] += 3

    def _passed(self, called: str, index: int, call: ast.Call) -> None:
        if called in _OF_INTS:
            self.found["int"] += 2
        elif called in _OF_ITERABLES:
            self.found["list[int]"] += 1
        elif called == "ord":
            self.found["char"] += 3
        elif called == "isinstance" and len(call.args) == 2 and index == 0:
            self.found[ast.unparse(call.args[1])] += 2 if isinstance(call.args[1], ast.Name) else 0
        elif called in ("search", "match", "findall", "fullmatch", "finditer") and index == 1:
            self.found["str"] += 3
        elif self._depth < _DEEPEST and called != self._node.name:
            self._of_helper(called, index)

    def _of_helper(self, called: str, index: int) -> None:
        """Ask the program's own function that the name is passed to."""
        helper = find_definition(self._tree.body, called)
        if isinstance(helper, ast.FunctionDef):
            parameters = parameters_of(helper)
            if index < len(parameters):
                name = parameters[index].name
                self.found += votes_for(name, helper, self._tree, self._depth + 1)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if self._is_it(node.left) or self._is_it(node.right):
            other = node.right if self._is_it(node.left) else node.left
            kind = type(other.value).__name__ if isinstance(other, ast.Constant) else ""
            if isinstance(node.op, ast.Mod) and kind == "str":
                pass
            elif kind in ("int", "float", "str"):
                self.found["int" if kind == "float" else kind] += 2
            elif isinstance(node.op, ast.Div):
                self.found["float"] += 1
                self.found["int"] += 1
            elif isinstance(node.op, _ARITHMETIC):
                self.found["int"] += 1
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if self._is_it(node.target) and isinstance(node.op, ast.FloorDiv | ast.RShift | ast.Sub):
            self.found["int"] += 2
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        if any(self._is_it(side) for side in sides):
            for side in sides:
                if isinstance(side, ast.Constant) and type(side.value) in (int, float, str):
                    single = isinstance(side.value, str) and len(side.value) == 1
                    self.found["char" if single else type(side.value).__name__] += 2
        if isinstance(node.ops[0], ast.In | ast.NotIn) and self._is_it(node.comparators[0]):
            self.found["list[int]"] += 1
        self.generic_visit(node)


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _named(annotation: str) -> str:
    """Turn ``char``, the item of a text, into a type that Python has."""
    return re.sub(r"\bchar\b", "str", annotation)
