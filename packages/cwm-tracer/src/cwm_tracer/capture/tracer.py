"""What records executions: the protocol, and the default tracer."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.errors import ConfigError
from cwm_core.trace.frames import Frame
from cwm_tracer.capture import native_choice
from cwm_tracer.capture.decode import Recording, context_of, decode
from cwm_tracer.capture.located import located
from cwm_tracer.capture.process import Ending, TracedProcess, signal_name
from cwm_tracer.capture.scripts import MODULE, read_input
from cwm_tracer.capture.values import Renderer

if TYPE_CHECKING:
    from cwm_tracer.capture.config import SettraceConfig
    from cwm_tracer.capture.limits import Limits
    from cwm_tracer.programs.program import Program


@runtime_checkable
class Tracer(Protocol):
    """Records executions; a context manager whose exit ends all processes that it started."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def record(self, program: Program, input: str) -> TraceRecord:
        """Run the entry of a program on one argument list; whatever it does becomes a record."""
        ...

    def record_many(self, jobs: Iterable[tuple[Program, str]]) -> Iterator[TraceRecord]:
        """Record one job after the other, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a program's module comes from, for those that import their neighbours."""

    module: str = "program"
    """Its `__name__`."""
    file: str = "<program>"
    """Its `__file__`."""
    path: tuple[str, ...] = ()
    """Directories to put first on `sys.path`."""


class SettraceTracer:
    """Runs each program in a process of its own under the `sys.settrace` recorder."""

    def __init__(self, config: SettraceConfig, limits: Limits) -> None:
        self._limits = limits
        self._values = {
            "value_bytes": config.value_bytes,
            "value_nodes": config.value_nodes,
            "value_depth": config.value_depth,
            "call_repr": config.call_repr,
        }
        self._renderers = [located(each.build()) for each in config.renderers]
        self._native = native_choice.wanted(config.native)
        if self._native and native_choice.missing is not None:
            raise ConfigError(
                f"the native recorder is not there: {native_choice.missing}",
                "install cwm-tracer where there is a C compiler, or leave tracer.native at auto",
            )
        self._fork = config.fork
        self._hash_seed = config.hash_seed
        self._process: TracedProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; a later recording starts new ones."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def record(
        self, program: Program, input: str, surroundings: Surroundings | None = None
    ) -> TraceRecord:
        """Run the entry of a program on one argument list.

        Raises:
            RunError: no process can be started.
        """
        source = _normalised(program.source)
        ending = self._run(self._request(source, program.entry, input, surroundings))
        recording = decode(ending.records, source)
        outcome, reason = _outcome(recording, ending, self._limits)
        return TraceRecord(
            trace_id=trace_id(program, input),
            program_id=program.id,
            split="",
            origin=program.origin,
            entry=program.entry,
            input=input,
            difficulty=program.difficulty,
            constructs=tuple(program.constructs),
            context=context_of(source, recording.entry_line),
            frames=tuple(_with_input(recording.frames, program.entry, input)),
            outcome=outcome,
            reason=reason,
            stdout=(bytes(recording.stdout) + ending.stdout).decode("utf-8", "replace"),
            events=len(recording.frames),
            duration_s=ending.duration_s,
            python=platform.python_version(),
        )

    def record_many(self, jobs: Iterable[tuple[Program, str]]) -> Iterator[TraceRecord]:
        """Record one job after the other, in order."""
        for program, text in jobs:
            yield self.record(program, text)

    def _run(self, request: dict[str, Any]) -> Ending:
        if self._process is None:
            self._process = TracedProcess(
                trace_bytes=self._limits.trace_bytes, fork=self._fork, hash_seed=self._hash_seed
            )
        return self._process.run(request)

    def _request(
        self, source: str, entry: str, text: str, surroundings: Surroundings | None
    ) -> dict[str, Any]:
        script = entry == MODULE
        around = surroundings or Surroundings("__main__" if script else "program")
        return {
            **(_script_request(text) if script else {}),
            "source": source,
            "entry": entry,
            "input": text,
            "module": around.module,
            "file": around.file,
            "path": list(around.path),
            "limits": self._limits.model_dump(),
            "values": self._values,
            "renderers": self._renderers,
            "native": self._native,
        }


def _script_request(text: str) -> dict[str, Any]:
    try:
        argv, stdin = read_input(text)
    except ValueError as error:
        return {"argv": [], "stdin": "", "problem": str(error)}
    return {"argv": argv, "stdin": stdin, "problem": ""}


def _with_input(frames: list[Frame], entry: str, text: str) -> list[Frame]:
    """Show the input of a script on its call, as that of a function is: it decides what follows."""
    if entry != MODULE or not frames or not text:
        return frames
    argv, stdin = read_input(text)
    given = {"argv": argv, "stdin": stdin}
    shown = {name: Renderer(module="").text(value) for name, value in given.items() if value}
    return [dataclasses.replace(frames[0], locals=shown), *frames[1:]]


def trace_id(program: Program, input: str) -> str:
    """Name the execution of a program on an argument list."""
    import hashlib

    digest = hashlib.sha256(input.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{program.id}-{digest}"


def _normalised(source: str) -> str:
    """Return the source with `\\n` line ends and a final newline."""
    return source.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"


def _outcome(recording: Recording, ending: Ending, limits: Limits) -> tuple[Outcome, str]:
    """Decide how an execution ended, from what it said itself and from what became of it."""
    if recording.damaged:
        return Outcome.TRACER_LOST, "the program damaged the record of its own events"
    if ending.timed_out:
        return Outcome.TIMEOUT, f"more than {limits.timeout_s:g} s{_during(recording)}"
    if len(ending.stdout) >= limits.output_bytes > 0:
        return Outcome.OUTPUT_LIMIT, f"more than {limits.output_bytes} bytes printed"
    if recording.outcome is not None and ending.code == 0:
        try:
            return Outcome(recording.outcome), recording.reason
        except ValueError:
            return Outcome.TRACER_LOST, "the program damaged the record of its own events"
    return _unexpected_end(recording, ending)


def _unexpected_end(recording: Recording, ending: Ending) -> tuple[Outcome, str]:
    during = _during(recording)
    if ending.code is None:
        return Outcome.CRASHED, f"the process that runs the program was killed{during}"
    if ending.code >= 0:
        return Outcome.EXITED, f"the process exited with code {ending.code}{during}"
    name = signal_name(ending.code)
    if name == "SIGXCPU":
        return Outcome.TIMEOUT, f"too much processor time{during}"
    detail = ending.stderr.decode("utf-8", "replace").partition("\n")[0][:200]
    return Outcome.CRASHED, f"killed by {name}{during}{f': {detail}' if detail else ''}"


def _during(recording: Recording) -> str:
    return {"load": " while the program was loaded", "input": " in the input"}.get(
        recording.phase, ""
    )
