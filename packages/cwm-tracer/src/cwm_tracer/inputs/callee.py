"""A function that needs inputs, and what its source says about it."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass

from cwm_core.errors import DataError
from cwm_tracer.programs.extract import defined_names

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_FREE_OF_INIT = frozenset(("object", "ABC", "Generic", "Protocol"))


@dataclass(frozen=True, slots=True)
class Callee:
    """A function, the program that it is in, and where else it is used."""

    source: str
    """The whole program."""
    entry: str
    """Name of the function, or ``Class.method``."""
    usages: tuple[str, ...] = ()
    """Other Python texts that may call it: its module, tests."""
    aliases: tuple[str, ...] = ()
    """Further names by which those texts may call it."""

    @property
    def name(self) -> str:
        """The last part of the entry."""
        return self.entry.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `kind` is ``positional``, ``keyword``, ``args`` or ``kwargs``."""

    name: str
    kind: str
    annotation: ast.expr | None
    default: ast.expr | None

    @property
    def required(self) -> bool:
        """Whether a call has to give it."""
        return self.default is None and self.kind in ("positional", "keyword")


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What the syntax tree of a callee's program says."""

    tree: ast.Module
    node: FunctionNode
    owner: ast.ClassDef | None
    """The class of a method."""
    parameters: tuple[Parameter, ...]
    """What an argument list gives: without `self`, unless `takes_instance`."""
    takes_instance: bool
    """Whether the first argument is the instance, since its class needs arguments itself."""
    defined: frozenset[str]
    """Names that the program binds at its top."""

    @property
    def docstring(self) -> str:
        """The texts of the function's own docstring and its class's."""
        nodes = [self.node] if self.owner is None else [self.node, self.owner]
        return "\n\n".join(filter(None, (ast.get_docstring(node) for node in nodes)))


@functools.lru_cache(maxsize=8)
def anatomy(callee: Callee) -> Anatomy:
    """Take a callee apart.

    Raises:
        DataError: the source does not parse, or does not define the entry with `def`.
    """
    try:
        tree = ast.parse(callee.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"the program of {callee.entry} does not parse: {error}") from None
    owner: ast.stmt | None = None
    body = tree.body
    *classes, name = callee.entry.split(".")
    for each in classes:
        owner = find_definition(body, each)
        body = owner.body if isinstance(owner, ast.ClassDef) else []
    node = find_definition(body, name)
    if not isinstance(node, _FUNCTIONS):
        raise DataError(f"the program defines no function {callee.entry!r}")
    parameters, instance = _parameters(tree, owner if classes else None, node)
    return Anatomy(
        tree,
        node,
        owner if isinstance(owner, ast.ClassDef) else None,
        tuple(parameters),
        instance,
        frozenset(defined_names(tree)),
    )


def find_definition(body: list[ast.stmt], name: str) -> ast.stmt | None:
    """Return the last class or function of the name in a list of statements."""
    for node in reversed(body):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and node.name == name:
            return node
    return None


def _parameters(
    tree: ast.Module, owner: ast.stmt | None, node: FunctionNode
) -> tuple[list[Parameter], bool]:
    found = parameters_of(node)
    if not isinstance(owner, ast.ClassDef) or is_static(node, "staticmethod"):
        return found, False
    if is_static(node, "classmethod"):
        return found[1:], False
    if not found or not needs_arguments(tree, owner):
        return found[1:], False
    me = Parameter(found[0].name, "positional", ast.Name(owner.name, ast.Load()), None)
    return [me, *found[1:]], True


def parameters_of(node: FunctionNode) -> list[Parameter]:
    """Return the parameters of a function in the order of a call."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    defaults += given.defaults
    found = [
        Parameter(each.arg, "positional", each.annotation, default)
        for each, default in zip(positional, defaults, strict=True)
    ]
    if given.vararg:
        found.append(Parameter(given.vararg.arg, "args", given.vararg.annotation, None))
    found += [
        Parameter(each.arg, "keyword", each.annotation, default)
        for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    if given.kwarg:
        found.append(Parameter(given.kwarg.arg, "kwargs", given.kwarg.annotation, None))
    return found


def is_static(node: FunctionNode, name: str) -> bool:
    """Whether a function bears the decorator of the name, without arguments."""
    return any(isinstance(each, ast.Name) and each.id == name for each in node.decorator_list)


def base_names(owner: ast.ClassDef) -> list[str]:
    """Return the last parts of the names of a class's bases."""
    nodes = [base.value if isinstance(base, ast.Subscript) else base for base in owner.bases]
    return [ast.unparse(node).rpartition(".")[2] for node in nodes]


def is_enum(owner: ast.ClassDef) -> bool:
    """Whether a class derives from one of the enumerations of the standard library."""
    return any(
        name in ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag") for name in base_names(owner)
    )


def needs_arguments(tree: ast.Module, owner: ast.ClassDef) -> bool:
    """Whether a class cannot be called without arguments, as far as its source tells."""
    if is_enum(owner):
        return True
    return any(parameter.required for parameter in constructor(tree, owner) or ())


def constructor(tree: ast.Module, owner: ast.ClassDef, depth: int = 0) -> list[Parameter] | None:
    """Return what a class is called with; None if its bases outside the program decide that."""
    init = find_definition(owner.body, "__init__") or find_definition(owner.body, "__new__")
    if isinstance(init, _FUNCTIONS):
        return parameters_of(init)[1:]
    bases = base_names(owner)
    if _is_record(owner):
        inherited = [_inherited(tree, name, depth) for name in reversed(bases)]
        return [field for fields in inherited for field in fields or ()] + _fields(owner)
    for name in bases:
        found = _inherited(tree, name, depth)
        if found is not None:
            return found
    return [] if all(name in _FREE_OF_INIT for name in bases) else None


def _inherited(tree: ast.Module, name: str, depth: int) -> list[Parameter] | None:
    base = find_definition(tree.body, name)
    if not isinstance(base, ast.ClassDef) or depth > 8:
        return None
    return constructor(tree, base, depth + 1)


def _is_record(owner: ast.ClassDef) -> bool:
    """Whether the class's annotated fields are the parameters of its constructor."""
    decorators = (
        each.func if isinstance(each, ast.Call) else each for each in owner.decorator_list
    )
    names = [ast.unparse(each).rpartition(".")[2] for each in decorators]
    return "dataclass" in names or "NamedTuple" in base_names(owner)


def _fields(owner: ast.ClassDef) -> list[Parameter]:
    found = []
    for node in owner.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if "ClassVar" in ast.unparse(node.annotation) or _is_left_out(node.value):
            continue
        found.append(Parameter(node.target.id, "positional", node.annotation, _default(node.value)))
    return found


def _keywords(value: ast.expr | None) -> dict[str | None, ast.expr]:
    """Return the arguments of a call of `dataclasses.field`."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "field":
        return {word.arg: word.value for word in value.keywords}
    return {}


def _is_left_out(value: ast.expr | None) -> bool:
    init = _keywords(value).get("init")
    return isinstance(init, ast.Constant) and init.value is False


def _default(value: ast.expr | None) -> ast.expr | None:
    words = _keywords(value)
    if not words:
        is_bare_field = isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field")
        return None if is_bare_field else value
    return words.get("default") or words.get("default_factory")
