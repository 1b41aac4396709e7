"""Value renderers of third parties: how values of certain classes become text.

A renderer is a function ``(value, part) -> str`` in a module that needs the standard library only.
It is loaded from its file into the traced process, under no name that the program could see, and
may ask the value anything; `part`, a `Part`, renders what lies inside within the budgets.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cwm_tracer.capture.values import Renderer

    Function = Callable[[Any, "Part"], str]

_QUALNAME = type.__dict__["__qualname__"].__get__
_MODULE = type.__dict__["__module__"].__get__


class ValueRenderer(NamedTuple):
    """Which classes are rendered, and by which function."""

    classes: tuple[str, ...]
    """``"module:qualified.name"`` of each; subclasses count, too. Nothing is imported for it."""
    target: str
    """``"module:function"``."""


class Part:
    """Renders what lies inside a value, within what the budgets have left."""

    def __init__(self, renderer: Renderer, depth: int) -> None:
        self._renderer = renderer
        self._depth = depth

    def value(self, value: Any) -> str:
        """Render one value; never raises, but for the end of memory or of the stack."""
        return self._renderer.render(value, self._depth)

    def items(self, values: Iterable[Any], count: int) -> str:
        """Render `count` values, separated by commas; ``<+N more>`` where a budget ends."""
        return self._renderer.items(values, count, self._depth)

    def fields(self, pairs: Iterable[tuple[str, Any]], count: int) -> str:
        """Render `count` pairs as ``name=value``, separated by commas."""
        return self._renderer.fields(pairs, count, self._depth)


class Renderers:
    """Finds the function for a class."""

    def __init__(self, functions: dict[str, Function]) -> None:
        self._functions = functions
        self._found: dict[int, tuple[type, Any]] = {}

    def function(self, bases: tuple[type, ...]) -> Any:
        """Return the function of the nearest of a class's bases; None if there is none."""
        kind = bases[0]
        known = self._found.get(id(kind))
        if known is None or known[0] is not kind:
            known = self._found[id(kind)] = kind, self._search(bases)
        return known[1]

    def _search(self, bases: tuple[type, ...]) -> Any:
        for base in bases:
            module = _MODULE(base)
            if type(module) is str:
                found = self._functions.get(f"{module}:{_QUALNAME(base)}")
                if found is not None:
                    return found
        return None


NONE = Renderers({})

_loaded: dict[str, Function] = {}


def load(requests: list[dict[str, Any]]) -> Renderers:
    """Load the functions that a job asks for; each file is run once per fork server.

    Raises whatever running a file raises, or KeyError for a function that it does not define.
    """
    functions = {}
    for request in requests:
        key = f"{request['file']}:{request['function']}"
        if key not in _loaded:
            import runpy  # most jobs have none

            namespace = runpy.run_path(request["file"], run_name="_cwm_value_renderer")
            _loaded[key] = namespace[request["function"]]
        functions.update(dict.fromkeys(request["classes"], _loaded[key]))
    return Renderers(functions) if functions else NONE
