"""Which language constructs a syntax tree uses, as tags."""

import ast
from collections.abc import Callable
from typing import Any

TAGS = (
    "assert",
    "augmented",
    "break",
    "bytes",
    "chained_comparison",
    "class",
    "closure",
    "comprehension",
    "continue",
    "decorator",
    "default_argument",
    "dict",
    "exception",
    "float",
    "for",
    "for_else",
    "format",
    "function_call",
    "generator",
    "global",
    "helper",
    "if",
    "if_expression",
    "import",
    "inheritance",
    "lambda",
    "list",
    "logic",
    "method_call",
    "nested_function",
    "nested_loop",
    "recursion",
    "set",
    "slice",
    "star_args",
    "str",
    "try",
    "tuple",
    "unpacking",
    "walrus",
    "while",
    "with",
)
"""Every tag there is, sorted."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LOOPS = (ast.For, ast.While, ast.AsyncFor)

_BY_TYPE: dict[type[ast.AST], tuple[str, ...]] = {
    ast.For: ("for",),
    ast.AsyncFor: ("for",),
    ast.While: ("while",),
    ast.If: ("if",),
    ast.IfExp: ("if_expression",),
    ast.List: ("list",),
    ast.Dict: ("dict",),
    ast.Set: ("set",),
    ast.Tuple: ("tuple",),
    ast.Slice: ("slice",),
    ast.ListComp: ("comprehension", "list"),
    ast.DictComp: ("comprehension", "dict"),
    ast.SetComp: ("comprehension", "set"),
    ast.GeneratorExp: ("comprehension",),
    ast.Yield: ("generator",),
    ast.YieldFrom: ("generator",),
    ast.Lambda: ("lambda",),
    ast.Try: ("try", "exception"),
    ast.Raise: ("exception",),
    ast.AugAssign: ("augmented",),
    ast.Starred: ("unpacking",),
    ast.JoinedStr: ("format", "str"),
    ast.Break: ("break",),
    ast.Continue: ("continue",),
    ast.Assert: ("assert",),
    ast.BoolOp: ("logic",),
    ast.Global: ("global",),
    ast.Nonlocal: ("closure",),
    ast.NamedExpr: ("walrus",),
    ast.With: ("with",),
    ast.Import: ("import",),
    ast.ImportFrom: ("import",),
}
_QUEUED = frozenset((*_FUNCTIONS, *_LOOPS))
_PLAIN = frozenset(
    (
        "attr",
        "arg",
        "asname",
        "ctx",
        "conversion",
        "id",
        "is_async",
        "kind",
        "level",
        "lineno",
        "n",
        "name",
        "names",
        "op",
        "ops",
        "returns",
        "simple",
        "type_comment",
        "type_params",
    )
)
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: ()}
_Scope = tuple[ast.AST, tuple[str, ...], bool]
_BUILTIN_TYPES = {"list": "list", "dict": "dict", "set": "set", "tuple": "tuple", "str": "str"}


def constructs_in(tree: ast.AST) -> tuple[str, ...]:
    """The sorted tags of a parsed program."""
    found: set[str] = set()
    if sum(isinstance(node, _FUNCTIONS) for node in getattr(tree, "body", ())) > 1:
        found.add("helper")
    scopes: list[_Scope] = [(tree, (), False)]
    while scopes:
        node, functions, looped = scopes.pop()
        if isinstance(node, _LOOPS):
            if looped:
                found.add("nested_loop")
            looped = True
        elif isinstance(node, _FUNCTIONS):
            functions, looped = (*functions, node.name), False
        _scan(node, found, scopes, functions, looped)
    return tuple(sorted(found))


def _scan(
    top: ast.AST,
    found: set[str],
    scopes: list[_Scope],
    functions: tuple[str, ...],
    looped: bool,
) -> None:
    """Tag all nodes below `top`, except those in inner loops and functions: these are queued."""
    stack: list[ast.AST] = []
    _children(top, stack)
    while stack:
        node = stack.pop()
        kind = type(node)
        if kind is ast.Name:
            continue
        if kind in _BY_TYPE:
            found.update(_BY_TYPE[kind])
        if kind in _LOOKERS:
            _LOOKERS[kind](node, found, functions)
        if kind in _QUEUED:
            scopes.append((node, functions, looped))
        else:
            _children(node, stack)


def _children(node: ast.AST, stack: list[ast.AST]) -> None:
    kind = type(node)
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(name for name in node._fields if name not in _PLAIN)
    for name in fields:
        value = getattr(node, name, None)
        if type(value) is list:
            stack += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            stack.append(value)


def _function(node: ast.FunctionDef, found: set[str], functions: tuple[str, ...]) -> None:
    if functions:
        found.add("nested_function")
    if node.decorator_list:
        found.add("decorator")
    if node.args.defaults or node.args.kw_defaults:
        found.add("default_argument")
    if node.args.vararg or node.args.kwarg:
        found.add("star_args")


def _class(node: ast.ClassDef, found: set[str], _functions: tuple[str, ...]) -> None:
    found.add("class")
    if node.bases:
        found.add("inheritance")


def _call(node: ast.Call, found: set[str], functions: tuple[str, ...]) -> None:
    func = node.func
    if isinstance(func, ast.Name):
        found.add("function_call")
        if func.id in functions:
            found.add("recursion")
        if func.id in _BUILTIN_TYPES:
            found.add(_BUILTIN_TYPES[func.id])
    elif isinstance(func, ast.Attribute):
        found.add("method_call")
        owner = func.value
        if func.attr in functions and isinstance(owner, ast.Name) and owner.id == "self":
            found.add("recursion")


def _constant(node: ast.Constant, found: set[str], _functions: tuple[str, ...]) -> None:
    kind = type(node.value).__name__
    if kind in ("str", "float", "bytes"):
        found.add(kind)


def _assign(node: ast.Assign, found: set[str], _functions: tuple[str, ...]) -> None:
    if isinstance(node.targets[0], (ast.Tuple, ast.List)):
        found.add("unpacking")


def _for(node: ast.For, found: set[str], _functions: tuple[str, ...]) -> None:
    if isinstance(node.target, (ast.Tuple, ast.List)):
        found.add("unpacking")
    if node.orelse:
        found.add("for_else")


def _compare(node: ast.Compare, found: set[str], _functions: tuple[str, ...]) -> None:
    if len(node.ops) > 1:
        found.add("chained_comparison")


_LOOKERS: dict[type[ast.AST], Callable[[Any, set[str], tuple[str, ...]], None]] = {
    ast.FunctionDef: _function,
    ast.ClassDef: _class,
    ast.Call: _call,
    ast.Constant: _constant,
    ast.Assign: _assign,
    ast.For: _for,
    ast.Compare: _compare,
}
