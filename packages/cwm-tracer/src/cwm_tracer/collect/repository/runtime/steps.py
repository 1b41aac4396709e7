"""One step of a recorded execution: a statement, the state before it, and what came next."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

from cwm_tracer.capture.values import Renderer
from cwm_tracer.collect.repository.runtime.rebuild import Rebuilder, UnknownError, same_text

_NOTHING = (ast.Pass, ast.Break, ast.Continue, ast.Global, ast.Nonlocal)
_PLAIN = (
    ast.Expr,
    ast.Assign,
    ast.AugAssign,
    ast.AnnAssign,
    ast.Delete,
    ast.Assert,
    ast.Raise,
    ast.Import,
    ast.ImportFrom,
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Step:
    """A step, given as JSON values.

    ``context`` is the trace's source text and ``line`` the line in it that runs; ``locals`` the
    names and texts before; ``before_line`` the line of the same call's previous step (0: none);
    ``next`` the same call's next event: ``event``, ``line``, ``locals``, ``value``, ``suspended``.
    """

    def __init__(self, job: dict[str, Any], module: Any, alias: int = 0) -> None:
        self._locals: dict[str, str] = job["locals"]
        self._next: dict[str, Any] = job["next"]
        self._before_line: int = job["before_line"]
        self._budgets = job["values"]
        self._alias = alias
        self._module = module
        self._read: set[str] = set()
        self._stored: set[str] = set()
        self._name = job["module"]
        self._rebuilder = Rebuilder(vars(module), self._name, self._budgets, alias)
        if job["function"].endswith(">"):
            raise UnknownError("part of an expression: a lambda or generator expression")
        self._statement, self._owners = _statement_at(job["context"], job["line"])

    def difference(self) -> str | None:
        """Run the step; return how what follows differs from what was recorded, if it does.

        Raises:
            UnknownError: the state does not determine what follows, or cannot be rebuilt.
        """
        node = self._statement
        if isinstance(node, _NOTHING):
            return self._compare_state({})
        if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
            return self._compare_state({})
        if isinstance(node, ast.Return):
            return self._result(node.value or ast.Constant(None), "return")
        if isinstance(node, (ast.If, ast.While)):
            return self._branch(node)
        if isinstance(node, ast.For):
            return self._loop(node)
        if isinstance(node, _PLAIN):
            return self._plain(node)
        raise UnknownError(f"statement: {type(node).__name__}")

    def _plain(self, node: Any) -> str | None:
        yielded = getattr(node, "value", None)
        if isinstance(yielded, ast.Yield):
            return self._result(yielded.value or ast.Constant(None), "yield")
        if isinstance(node, ast.AnnAssign):
            if node.value is None:
                return self._compare_state({})
            node = ast.copy_location(ast.Assign([node.target], node.value), node)
        namespace = self._namespace(node)
        self._run(node, namespace)
        return self._compare(namespace)

    def _result(self, node: Any, what: str) -> str | None:
        """Compare the value of an expression that is returned or yielded."""
        if any(isinstance(inner, (ast.Yield, ast.YieldFrom, ast.Await)) for inner in _own(node)):
            raise UnknownError("hidden state: what is sent or awaited")
        namespace = self._namespace(node)
        self._run(ast.Assign([ast.Name("__value__", ast.Store())], node), namespace)
        if "__raised__" in namespace:
            return self._compare(namespace)
        if what == "return" and self._next["event"] == "line":
            raise UnknownError("return by way of a finally or with")
        text = self._text(namespace["__value__"])
        if self._next["event"] != "return" or self._next["suspended"] != (what == "yield"):
            return f"{what} of {text}, but {self._next['event']} follows"
        recorded = self._next["value"]
        return None if same_text(text, recorded) else f"{what} of {text}, recorded {recorded}"

    def _branch(self, node: Any) -> str | None:
        """Compare where a condition leads."""
        namespace = self._namespace(node.test)
        test = ast.Call(ast.Name("bool", ast.Load()), [node.test], [])
        self._run(ast.Assign([ast.Name("__value__", ast.Store())], test), namespace)
        if "__raised__" not in namespace:
            inside = _first_line(node.body[0]) <= self._next["line"] <= node.body[-1].end_lineno
            if bool(namespace["__value__"]) != (inside and self._next["line"] != node.lineno):
                return f"condition is {namespace['__value__']}; line {self._next['line']} follows"
        return self._compare(namespace)

    def _loop(self, node: Any) -> str | None:
        """Compare the first round of a loop; later ones depend on an iterator nobody sees."""
        if node.lineno <= self._before_line <= node.end_lineno:
            raise UnknownError("hidden state: iterator of a loop")
        namespace = self._namespace(ast.Tuple([node.iter, node.target], ast.Load()))
        body: list[Any] = [
            ast.Assign([ast.Name("__value__", ast.Store())], ast.Constant(True)),
            ast.Break(),
        ]
        self._run(ast.For(node.target, node.iter, body, []), namespace)
        if "__raised__" not in namespace:
            inside = _first_line(node.body[0]) <= self._next["line"] <= node.body[-1].end_lineno
            if namespace.pop("__value__", False) != (inside and self._next["line"] != node.lineno):
                return f"loop leads elsewhere than line {self._next['line']}"
        return self._compare(namespace)

    def _namespace(self, node: ast.AST) -> dict[str, Any]:
        """Return the module's names, and those of the state that the code reads."""
        if any(isinstance(inner, (ast.Yield, ast.YieldFrom, ast.Await)) for inner in _own(node)):
            raise UnknownError("hidden state: what is sent or awaited")
        namespace = dict(vars(self._module))
        names = _names_read(self._ready(node))
        if "__cwm_class__" in names:
            namespace["__cwm_class__"] = self._class()
        read = sorted(names & self._locals.keys())
        self._read = set(read)
        namespace.update((name, self._rebuild(name)) for name in read)
        if self._alias:
            self._rebuild_others(namespace)
        return namespace

    def _rebuild(self, name: str) -> Any:
        return self._rebuilder.rebuild(self._locals[name])

    def _rebuild_others(self, namespace: dict[str, Any]) -> None:
        """Rebuild what the code does not name, as far as possible: it may share values with it."""
        for name in sorted(self._locals.keys() - self._read):
            try:
                namespace[name] = self._rebuild(name)
            except UnknownError:
                continue
            self._read.add(name)

    def _may_share(self, name: str) -> bool:
        """Whether a variable that cannot be rebuilt may hold a value of one that was."""
        texts = {self._locals[other] for other in self._read if other in self._locals}
        text = self._locals.get(name, "")
        return bool(self._alias) and any(held[-1] in "]})" and held in text for held in texts)

    @property
    def places(self) -> int:
        """How many ways of sharing values there are, see `Rebuilder`."""
        return self._rebuilder.places

    def _class(self) -> Any:
        found = self._module
        for owner in self._owners:
            found = getattr(found, owner.name, None)
        if found is None:
            raise UnknownError("class that cannot be looked up")
        return found

    def _ready(self, node: Any) -> Any:
        """Spell out what depends on the class around a method: private names, ``super()``."""
        if not self._owners:
            return node
        function = self._owners[-1].function
        first = function.args.args[0].arg if function and function.args.args else ""
        return _Method(self._owners[-1].name, first).visit(copy.deepcopy(node))

    def _run(self, node: Any, namespace: dict[str, Any]) -> None:
        self._stored = _names_stored(node)
        tree = ast.Module([self._ready(node)], [])
        code = compile(ast.fix_missing_locations(tree), "<step>", "exec", dont_inherit=True)
        try:
            exec(code, namespace)
        except Exception as error:
            namespace["__raised__"] = self._text(error)

    def _text(self, value: Any) -> str:
        return Renderer(module=self._name, **self._budgets).text(value)

    def _compare(self, namespace: dict[str, Any]) -> str | None:
        """Compare exception, result of falling off the end, or state with what was recorded."""
        raised = namespace.get("__raised__")
        if raised is not None or self._next["event"] == "exception":
            recorded = self._next["value"] if self._next["event"] == "exception" else None
            return None if same_text(raised, recorded) else f"raised {raised}, recorded {recorded}"
        changed = {}
        for name in self._read | self._stored:
            changed[name] = self._text(namespace[name]) if name in namespace else ""
        return self._compare_state(changed)

    def _compare_state(self, changed: dict[str, str]) -> str | None:
        if self._next["event"] == "return":
            value, suspended = self._next["value"], self._next["suspended"]
            ends = value == "None" and not suspended
            return None if ends else f"returned {value} or raised"
        if self._next["event"] == "exception":
            return f"recorded exception {self._next['value']}"
        state = {**self._locals, **changed}
        expected = self._next["locals"]
        for name in sorted(state.keys() | expected.keys()):
            got = state.get(name) or None
            if not same_text(got, expected.get(name)):
                if name not in changed and self._may_share(name):
                    raise UnknownError("hidden state: a variable that may hold a changed value")
                return f"{name} = {got}, recorded {expected.get(name)}"
        return None


class _Owner:
    """A class around a statement, and the method."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.function: Any = None


class _Method(ast.NodeTransformer):
    def __init__(self, owner: str, first: str) -> None:
        self._owner = owner.lstrip("_")
        self._first = first

    def _mangled(self, name: str) -> str:
        private = name.startswith("__") and not name.endswith("__") and "." not in name
        return f"_{self._owner}{name}" if private and self._owner else name

    def visit_Attribute(self, node: Any) -> Any:
        node.attr = self._mangled(node.attr)
        return self.generic_visit(node)

    def visit_Name(self, node: Any) -> Any:
        node.id = "__cwm_class__" if node.id == "__class__" else self._mangled(node.id)
        return node

    def visit_Call(self, node: Any) -> Any:
        node = self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            names = ("__cwm_class__", self._first)
            node.args = [ast.Name(name, ast.Load()) for name in names]
        return node


def _statement_at(context: str, line: int) -> tuple[Any, list[_Owner]]:
    """Return the statement that a line shows, and the classes around it."""
    try:
        tree = ast.parse(context)
    except SyntaxError:
        raise UnknownError("context that does not parse") from None
    found = [pair for pair in _statements(tree, []) if _shown_line(pair[0]) == line]
    if len(found) != 1:
        raise UnknownError("several statements on a line" if found else "no statement on the line")
    return found[0]


def _statements(node: ast.AST, owners: list[_Owner]) -> Iterator[tuple[Any, list[_Owner]]]:
    for child in ast.iter_child_nodes(node):
        inner = owners
        if isinstance(child, ast.ClassDef):
            inner = [*owners, _Owner(child.name)]
        elif isinstance(node, ast.ClassDef) and isinstance(child, _FUNCTIONS):
            owners[-1].function = child
        if isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield child, _copied(owners)
        yield from _statements(child, inner)


def _copied(owners: list[_Owner]) -> list[_Owner]:
    return [copy.copy(owner) for owner in owners]


def _shown_line(node: Any) -> int:
    return int(node.lineno)


def _first_line(node: Any) -> int:
    return min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what is evaluated by the code itself, not by functions that it makes."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            yield from _own(child)


def _names_read(node: ast.AST) -> set[str]:
    names: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        if isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Name):
            names.add(inner.target.id)
    return names


def _names_stored(node: ast.AST) -> set[str]:
    names: set[str] = set()
    for inner in _own(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            names.add(inner.id)
        if isinstance(inner, ast.alias):
            names.add(inner.asname or inner.name.partition(".")[0])
    comprehensions = [node_ for node_ in _own(node) if isinstance(node_, ast.comprehension)]
    hidden = {
        name.id
        for part in comprehensions
        for name in ast.walk(part.target)
        if isinstance(name, ast.Name)
    }
    return {name for name in names - hidden if not name.startswith("__cwm") and name != "__value__"}
