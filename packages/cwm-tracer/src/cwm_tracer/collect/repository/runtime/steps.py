"""One step of a recorded execution: a statement, the state before it, and what came next."""

from __future__ import annotations

import ast
import copy
from typing import Any

from cwm_tracer.capture.values import Renderer
from cwm_tracer.collect.repository.runtime.outside import Calls, mentioned
from cwm_tracer.collect.repository.runtime.rebuild import Rebuilder, UnknownError, same_text
from cwm_tracer.collect.repository.runtime.syntax import (
    Method,
    first_line,
    handler_of,
    names_read,
    names_stored,
    own,
    statement_at,
)

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
        self.mentioned: set[str] = set()
        """Names that the step and the functions that it called mention."""
        self._name = job["module"]
        self._rebuilder = Rebuilder(vars(module), self._name, self._budgets, alias)
        if job["function"].endswith(">"):
            raise UnknownError("part of an expression: a lambda or generator expression")
        self._statement, self._owners = statement_at(job["context"], job["line"])
        self._handler = handler_of(job["context"], self._statement)

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
        if isinstance(node, ast.Raise) and node.exc is None:
            raise UnknownError("hidden state: the exception that is handled")
        namespace = self._namespace(node)
        self._run(node, namespace)
        return self._compare(namespace)

    def _result(self, node: Any, what: str) -> str | None:
        """Compare the value of an expression that is returned or yielded."""
        if any(isinstance(inner, (ast.Yield, ast.YieldFrom, ast.Await)) for inner in own(node)):
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
            inside = first_line(node.body[0]) <= self._next["line"] <= node.body[-1].end_lineno
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
            inside = first_line(node.body[0]) <= self._next["line"] <= node.body[-1].end_lineno
            if namespace.pop("__value__", False) != (inside and self._next["line"] != node.lineno):
                return f"loop leads elsewhere than line {self._next['line']}"
        return self._compare(namespace)

    def _namespace(self, node: ast.AST) -> dict[str, Any]:
        """Return the module's names, and those of the state that the code reads."""
        if any(isinstance(inner, (ast.Yield, ast.YieldFrom, ast.Await)) for inner in own(node)):
            raise UnknownError("hidden state: what is sent or awaited")
        namespace = dict(vars(self._module))
        names = names_read(self._ready(node))
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

    def _unbound_after(self) -> str:
        """Return the name that ``except ... as name`` loses if the step is the last one in it."""
        handler = self._handler
        if handler is None or handler.lineno <= self._next["line"] <= handler.end_lineno:
            return ""
        return str(handler.name or "")

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
        return Method(self._owners[-1].name, first).visit(copy.deepcopy(node))

    def _run(self, node: Any, namespace: dict[str, Any]) -> None:
        self._stored = names_stored(node)
        tree = ast.Module([self._ready(node)], [])
        code = compile(ast.fix_missing_locations(tree), "<step>", "exec", dont_inherit=True)
        calls = Calls()
        try:
            with calls:
                exec(code, namespace)
        except Exception as error:
            namespace["__raised__"] = self._text(error)
        self.mentioned = calls.names() | set(mentioned(code))
        if "getattr" in self.mentioned:
            self.mentioned |= {v for n in self._read if isinstance(v := namespace.get(n), str)}

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
        state.pop(self._unbound_after(), None)
        expected = self._next["locals"]
        for name in sorted(state.keys() | expected.keys()):
            got = state.get(name) or None
            if not same_text(got, expected.get(name)):
                if name not in changed and self._may_share(name):
                    raise UnknownError("hidden state: a variable that may hold a changed value")
                return f"{name} = {got}, recorded {expected.get(name)}"
        return None
