"""One traced execution, from the program's text to its last record; runs in a process of its own.

Uses the standard library only.
"""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import io
import json
import mmap
import os
import random
import sys
import types
from _thread import get_ident
from collections.abc import Callable, Iterator
from sys import settrace
from typing import Any, NoReturn, cast

from cwm_tracer.capture.native_choice import recorder_class
from cwm_tracer.capture.recorder import Recorder
from cwm_tracer.capture.renderers import Renderers, load
from cwm_tracer.capture.scripts import MODULE
from cwm_tracer.capture.statements import Statements, binding_line, find_entry
from cwm_tracer.capture.stream import FIELD, RECORD, FullError, Region
from cwm_tracer.capture.threads import follow
from cwm_tracer.capture.values import Renderer

FILENAME = "<program>"
_STARTING = ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system")
HEADROOM = 1000
"""Stack depth left for the library, and the recorder, beyond the program's own nested calls."""


class Job:
    """A program, how to call it, and under which limits; `request` comes from `process.py`."""

    def __init__(self, request: dict[str, Any], region: Region, console: Console) -> None:
        self._request = request
        self._console = console
        self._limits = request["limits"]
        self._region = region
        self._process = os.getpid()
        self._forked = False
        self._tracing_changed = False

    def run(self) -> NoReturn:
        """Load the program, call its entry function under the recorder, and end the process."""
        self._adopt_process()
        tree, code = self._compiled()
        if self._request["entry"] == MODULE:
            self._run_script(tree, code)
        self._phase("load")
        with self._problems("load_error", "the program raised while it was loaded"):
            module = self._module()
            exec(code, module.__dict__)
        with self._problems("load_error", None):
            function = self._entry(module.__dict__)
        self._phase("input")
        with self._problems("load_error", "the input raised while it was evaluated"):
            arguments, named = self._arguments(module.__dict__)
        self._phase("run")
        self._call(self._recorder(tree), function, arguments, named)

    def _run_script(self, tree: ast.Module, code: types.CodeType) -> NoReturn:
        """Run the module level itself under the recorder."""
        if self._request["problem"]:
            self.finish("load_error", self._request["problem"])
        sys.argv = [self._request["file"], *self._request["argv"]]
        sys.stdin = sys.__stdin__ = open(  # type: ignore[misc]  # noqa: SIM115
            0, encoding="utf-8", errors="surrogateescape", closefd=False
        )
        module = self._module()
        module.__dict__["__builtins__"] = builtins
        self._phase("run")
        self._call(self._recorder(tree), exec, (code, module.__dict__), {})

    def finish(self, outcome: str, reason: str) -> NoReturn:
        """Write the end record and end the process, running nothing else of the program."""
        settrace(None)
        if os.getpid() != self._process:
            os._exit(0)
        if self._forked:
            outcome, reason = "forked", "the program started another process with os.fork"
        elif self._tracing_changed:
            outcome, reason = "tracer_lost", "the program set another trace function (sys.settrace)"
        end = json.dumps({"outcome": outcome, "reason": reason[:1000]})
        self._region.write(f"x{FIELD}{end}{RECORD}")
        os._exit(0)

    def _adopt_process(self) -> None:
        random.seed(int(os.environ["PYTHONHASHSEED"]))
        sys.argv = [""]
        sys.path[:0] = self._request["path"]
        sys.setrecursionlimit(self._limits["depth"] + HEADROOM)
        self._console.open(self._limits["output_bytes"], self.finish)
        self._bound_forks()
        sys.settrace = self._settrace

    def _settrace(self, function: Any) -> None:
        """Note that the program sets a trace function; one that is already set stays unnoticed."""
        if function is not sys.gettrace():
            self._tracing_changed = True
            settrace(function)

    def _bound_forks(self) -> None:
        """Count started processes across all descendants, in shared memory; refuse too many."""
        if not hasattr(os, "fork"):
            return
        self._console.forks[:4] = bytes(4)
        for name in _STARTING:
            if hasattr(os, name):
                setattr(os, name, self._bounded(getattr(os, name)))
        import _posixsubprocess

        posix: Any = _posixsubprocess
        posix.fork_exec = self._bounded(posix.fork_exec)
        os.register_at_fork(before=self._forking, after_in_child=self._in_child)

    def _bounded(self, start: Callable[..., Any]) -> Callable[..., Any]:
        most, counter = self._limits["processes"], self._console.forks

        def bounded(*args: Any, **named: Any) -> Any:
            used = int.from_bytes(counter[:4], "little")
            if used >= most:
                raise BlockingIOError(11, "too many processes")
            counter[:4] = (used + 1).to_bytes(4, "little")
            return start(*args, **named)

        return bounded

    def _forking(self) -> None:
        self._forked = True

    def _in_child(self) -> None:
        """Keep a child of the program from writing into its parent's recording."""
        if os.getpid() != self._process:
            settrace(None)
            self._region.write = lambda record: None  # type: ignore[method-assign]

    def _compiled(self) -> tuple[ast.Module, types.CodeType]:
        source = self._request["source"]
        try:
            tree = ast.parse(source, FILENAME)
            code = compile(tree, FILENAME, "exec", dont_inherit=True)
        except SyntaxError as error:
            self.finish("syntax_error", f"line {error.lineno}: {error.msg}")
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            self.finish("syntax_error", f"{type(error).__name__}: {error}")
        entry = find_entry(tree, self._request["entry"])
        line = entry.line if entry else binding_line(tree, self._request["entry"])
        if self._request["entry"] == MODULE and tree.body:
            line = Statements.of(tree).shown(tree.body[0].lineno)
        if line is not None:
            self._region.write(f"d{FIELD}{line}{RECORD}")
        return tree, code

    def _module(self) -> types.ModuleType:
        name = self._request["module"]
        module = types.ModuleType(name)
        sys.modules[name] = module
        module.__file__ = self._request["file"]
        module.__package__ = name.rpartition(".")[0]
        return module

    def _entry(self, namespace: dict[str, Any]) -> Callable[..., Any]:
        """Find the entry function; a method's class is instantiated without arguments.

        Where that is no call that the class takes, the input's first argument is the instance.
        """
        first, *rest = self._request["entry"].split(".")
        if first not in namespace:
            raise _ProblemError(f"the program defines no {first!r}")
        found = namespace[first]
        for index, name in enumerate(rest):
            static = _raw_attribute(found, name)
            if static is None:
                raise _ProblemError(f"{'.'.join([first, *rest[:index]])} has no {name!r}")
            if isinstance(found, type) and isinstance(static, types.FunctionType):
                with contextlib.suppress(TypeError):
                    found = found()
            found = getattr(found, name)
        if not callable(found):
            raise _ProblemError(f"{self._request['entry']!r} is not callable")
        return found

    def _arguments(self, namespace: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        text = self._request["input"]
        try:
            code = compile(f"(lambda *a, **k: (a, k))({text}\n)", "<input>", "eval")
        except (SyntaxError, ValueError) as error:
            raise _ProblemError(f"the input is no argument list: {error}") from None
        return eval(code, namespace)

    def _recorder(self, tree: ast.Module) -> Recorder:
        values = self._request["values"]
        made: Recorder = recorder_class(self._request["native"])(
            self._region,
            Renderer(module=self._request["module"], renderers=self._renderers(), **values),
            Statements.of(tree),
            filename=FILENAME,
            entry=find_entry(tree, self._request["entry"]),
            steps=self._limits["steps"],
            depth=self._limits["depth"],
            finish=self.finish,
        )
        return made

    def _renderers(self) -> Renderers:
        try:
            return load(self._request["renderers"])
        except BaseException as error:
            text = Renderer().text(error)
            self.finish("tracer_lost", f"a value renderer cannot be loaded: {text}")

    def _call(
        self,
        recorder: Recorder,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
    ) -> NoReturn:
        """Call the entry; the recorder ends the process when the entry's own frame is left."""
        self._tracing_changed = False
        if sys.gettrace() is not None:
            self.finish("tracer_lost", "another trace function is set: a debugger, or coverage")
        trace = recorder.trace
        follow(_Threads(recorder, self._console))
        recorder.start()
        try:
            _exhaust(function(*arguments, **named))
            outcome, reason = "returned", ""
        except BaseException as error:
            outcome = "memory_limit" if isinstance(error, MemoryError) else "raised"
            reason = recorder.renderer.text(error)
        if sys.gettrace() is not trace and sys.gettrace() != trace:
            self.finish("tracer_lost", "the program replaced or removed the trace function")
        if recorder.started:
            self.finish("tracer_lost", "the end of the entry function was not seen")
        self.finish(outcome, reason)

    def _phase(self, name: str) -> None:
        self._region.write(f"p{FIELD}{name}{RECORD}")

    @contextlib.contextmanager
    def _problems(self, outcome: str, what: str | None) -> Iterator[None]:
        try:
            yield
        except _ProblemError as problem:
            self.finish(outcome, str(problem))
        except MemoryError:
            self.finish("memory_limit", "no memory left before the entry function was called")
        except BaseException as error:
            text = Renderer(module=self._request["module"]).text(error)
            self.finish(outcome, f"{what or 'the entry function cannot be looked up'}: {text}")


class _Threads:
    """Has every thread of the program recorded."""

    def __init__(self, recorder: Recorder, console: Console) -> None:
        self.start_thread = recorder.start_thread
        self.end_thread = recorder.end_thread
        self._share = recorder.share
        self._console = console

    def share(self) -> None:
        """Prepare for a second thread."""
        self._console.share()
        self._share()


class _ProblemError(Exception):
    """What is wrong with the program or its input, said in one sentence."""


def _exhaust(result: Any) -> None:
    """Run what a generator or coroutine function returned; its frame is the entry's own."""
    if isinstance(result, types.GeneratorType):
        for _ in result:
            pass
    elif isinstance(result, (types.CoroutineType, types.AsyncGeneratorType)):
        import asyncio

        asyncio.run(result if isinstance(result, types.CoroutineType) else _drain(result))


def _raw_attribute(found: Any, name: str) -> Any:
    """Look up a name in a class and its bases without binding it; None if it is not there."""
    for base in found.__mro__ if isinstance(found, type) else (found,):
        if name in vars(base):
            return vars(base)[name]
    return None


async def _drain(result: types.AsyncGeneratorType[Any, Any]) -> None:
    async for _ in result:
        pass


class Console:
    """What a job needs of the process around it, made before the fork because that is cheaper."""

    def __init__(self, region: Region) -> None:
        self._output = _Output(region)
        self._text: Any = io.TextIOWrapper(
            cast(Any, self._output), encoding="utf-8", errors="backslashreplace", write_through=True
        )
        self.forks = mmap.mmap(-1, mmap.PAGESIZE)
        """Shared with all descendants: how many processes were started."""

    def open(self, limit: int, finish: Callable[[str, str], NoReturn]) -> None:
        """Make standard output write records, up to a limit of bytes."""
        self._output.limit = limit
        self._output.finish = finish
        sys.stdout = sys.__stdout__ = self._text  # type: ignore[misc]

    def share(self) -> None:
        """Have what is printed from now on, by any thread, go into a file, in its order."""
        self._output.shared = True


class _Output(io.RawIOBase):
    """Standard output of the program, as records among the events."""

    limit: int
    finish: Callable[[str, str], NoReturn]

    def __init__(self, region: Region) -> None:
        self._region = region
        self._written = 0
        self._main = get_ident()
        self.shared = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, data: Any, /) -> int:
        size = len(data)
        if self.shared or get_ident() != self._main:
            return os.write(1, data)
        room = self.limit - self._written
        self._written += size
        text = base64.b64encode(bytes(data[: max(room, 0)])).decode("ascii")
        try:
            self._region.write(f"o{FIELD}{text}{RECORD}")
        except FullError:
            self.finish("value_limit", "the trace is larger than allowed")
        if size > room:
            self.finish("output_limit", f"more than {self.limit} bytes printed")
        return size
