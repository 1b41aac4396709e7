"""Recording one execution from Python."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from cwm_core.data.records import TraceRecord
from cwm_core.errors import DataError
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.limits import Limits
from cwm_tracer.capture.tracer import SettraceTracer, Surroundings
from cwm_tracer.programs.program import Program, content_id


def trace(
    program: str | Callable[..., Any],
    entry: str | None = None,
    input: str = "",
    *,
    limits: Limits | None = None,
    **options: Any,
) -> TraceRecord:
    """Run a function in a process of its own and return the record of what it did.

    Args:
        program: the source of a program, or a function that is defined in a source file.
        entry: name of the function, or ``Class.method``; by default the function given, or the
            last one that the source defines.
        input: the argument list as Python source, such as ``"[1, 2], k=3"``.
        limits: what the execution may use.
        **options: fields of `SettraceConfig`, such as ``call_repr=True``.

    Raises:
        DataError: a function's source cannot be found, or the source defines no function.
    """
    source, name, around = _of_callable(program) if callable(program) else (program, None, None)
    with SettraceConfig(**options).build(limits) as tracer:
        return record_source(tracer, source, entry or name or _last_function(source), input, around)


def record_source(
    tracer: SettraceTracer,
    source: str,
    entry: str,
    input: str,
    around: Surroundings | None = None,
) -> TraceRecord:
    """Record a program that need not even parse."""
    program = Program(content_id(source), source, entry, (input,), origin="given")
    return tracer.record(program, input, around)


def _of_callable(function: Callable[..., Any]) -> tuple[str, str, Surroundings]:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = inspect.getmodule(function)
    if "<" in name or module is None:
        raise DataError(f"{name} is no top-level function", "give the source text and its entry")
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise DataError(
            f"the source of {name} cannot be found: {error}", "give the source text and its entry"
        ) from error
    file = getattr(module, "__file__", None) or "<program>"
    module_name = "program" if module.__name__ == "__main__" else module.__name__
    return source, name, Surroundings(module_name, file, tuple(path for path in sys.path if path))


def _last_function(source: str) -> str:
    import ast

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "?"
    names = [
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    if not names:
        raise DataError("the source defines no function", "give entry=")
    return names[-1]
