"""The environments `output_prediction` and `input_prediction`: one question about an execution."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cwm_core.config import Slot
from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_core.plugins import ComponentConfig
from cwm_core.trace.frames import START_OF_TRACE
from cwm_tracer.capture.limits import Limits
from cwm_tracer.capture.scripts import MODULE
from cwm_tracer.compare import same_output, same_value
from cwm_tracer.recorded import RecordedConfig, RecordedEnvironment

if TYPE_CHECKING:
    from cwm_core.data.records import TraceRecord
    from cwm_core.text.tokenizer import Tokenizer

_OUTPUT = """\
{source}
# What does this call return? Answer with the value alone, as `repr` writes it.
{entry}({input})
"""
_PRINTED = """\
{source}
# This program is run with {input}. What does it print? Answer with the output alone.
"""
_INPUT = """\
{source}
# Find arguments with which {entry} returns the value below. Answer with the call alone.
{value}
"""
_FENCED = re.compile(r"```[^\n]*\n(.*?)\n?```", re.DOTALL)
_ONE_AT_A_TIME = threading.Lock()
"""A tracer runs one program at a time; answers come from many threads."""
_LABEL = re.compile(r"^(final value|answer|output|input)\s*:\s*", re.IGNORECASE)


class OutputPrediction(RecordedConfig):
    """Tell what a recorded call returned, or what a script printed."""

    def build(self, tokenizer: Tokenizer | None = None) -> OutputPredictionEnvironment:
        """Build the environment; with a tokenizer it shows token ids, too."""
        return OutputPredictionEnvironment(self, tokenizer)


class InputPrediction(RecordedConfig):
    """Find arguments with which a function returns a recorded value; they are tried by running."""

    tracer: Annotated[ComponentConfig, Slot("tracers", default="settrace")]
    """What runs the answers, in processes of their own."""
    limits: Limits = Limits()
    """What running an answer may use."""

    def build(self, tokenizer: Tokenizer | None = None) -> InputPredictionEnvironment:
        """Build the environment; processes start with the first answer."""
        return InputPredictionEnvironment(self, tokenizer)


@dataclass(frozen=True, slots=True)
class Question:
    """An episode: the program, the call, and the recorded result."""

    source: str
    entry: str
    input: str
    value: str
    """`repr` of the returned value; of a script, what it printed."""


class _Questions(RecordedEnvironment):
    """One step: a question about the execution, and the answer's verdict."""

    outcomes = ("returned",)

    def __init__(self, config: RecordedConfig, tokenizer: Tokenizer | None) -> None:
        super().__init__(config)
        self._tokenizer = tokenizer

    def prompt(self, question: Question) -> str:
        """Return the text that is shown."""
        raise NotImplementedError

    def tasks_of(self, record: TraceRecord, metadata: dict[str, Any]) -> Iterator[Task]:
        """Yield a task, unless the result was too large to be recorded whole."""
        from cwm_tracer.capture.values import elided

        value = record.stdout if record.entry == MODULE else record.trace.frames[-1].value
        if value is None or (record.entry != MODULE and elided(value)):
            return
        source = record.context.replace(f"  {START_OF_TRACE}", "")
        data = {"source": source, "entry": record.entry, "input": record.input, "value": value}
        yield Task(record.trace_id, data, metadata, record.split)

    async def start(self, task: Task) -> Transition:
        """Ask the question."""
        question = Question(**task.data)
        text = self.prompt(question)
        ids = None if self._tokenizer is None else tuple(self._tokenizer.encode(text))
        return Transition(question, Observation(text, ids), done=False)

    def _said(self, action: Action) -> str:
        if action.token_ids is None or self._tokenizer is None:
            return action.text
        return self._tokenizer.decode(action.token_ids, skip_special=True)


class OutputPredictionEnvironment(_Questions):
    """The answer is right when it is the recorded result.

    Values are compared as Python literals where both are, else as texts; a script's output word by
    word. `info` has ``answer`` (what was understood), ``right`` and ``truth``.
    """

    def prompt(self, question: Question) -> str:
        """Return the program and its call."""
        given = question.input or "no input"
        form = _PRINTED if question.entry == MODULE else _OUTPUT
        return form.format(source=question.source, entry=question.entry, input=given)

    async def step(self, state: Question, action: Action) -> Transition:
        """Judge an answer; never raises for what the action holds."""
        said = self._said(action)
        if state.entry == MODULE:
            answer = _unfenced(said)
            right = same_output(state.value, answer)
        else:
            answer = last_line(said)
            right = same_value(answer, state.value)
        info = {"answer": answer, "right": right, "truth": state.value}
        return Transition(state, Observation(), True, float(right), info)


class InputPredictionEnvironment(_Questions):
    """The answer is right when running it gives the recorded value.

    Answers that do more than make values (reach for files, modules or the program's own functions)
    are not run. `info` has ``answer``, ``right``, ``outcome`` of the run (empty without one) and
    ``reason``.
    """

    def __init__(self, config: InputPrediction, tokenizer: Tokenizer | None = None) -> None:
        super().__init__(config, tokenizer)
        self._config = config

    def tasks_of(self, record: TraceRecord, metadata: dict[str, Any]) -> Iterator[Task]:
        """Yield a task for a function; scripts have none."""
        if record.entry != MODULE:
            yield from super().tasks_of(record, metadata)

    def prompt(self, question: Question) -> str:
        """Return the program and the value to reach."""
        return _INPUT.format(source=question.source, entry=question.entry, value=question.value)

    async def step(self, state: Question, action: Action) -> Transition:
        """Run an answer; never raises for what the action holds.

        Raises:
            RunError: no process can be started.
        """
        import asyncio

        answer = argument_list(last_line(self._said(action)), state.entry)
        info: dict[str, Any] = {"answer": answer, "right": False, "outcome": "", "reason": ""}
        if answer is None or not _is_tame(answer, state.source):
            info["reason"] = "no argument list that only makes values"
        else:
            info.update(await asyncio.to_thread(self._try, state, answer))
        return Transition(state, Observation(), True, float(info["right"]), info)

    def _try(self, question: Question, answer: str) -> dict[str, Any]:
        from cwm_tracer.collect.recording import tracer_of
        from cwm_tracer.programs.program import Program, content_id

        program = Program(
            content_id(question.source), question.source, question.entry, (answer,), origin="answer"
        )
        with _ONE_AT_A_TIME:
            record = tracer_of(self._config.tracer, self._config.limits).record(program, answer)
        value = record.trace.frames[-1].value if record.frames else None
        right = record.outcome == "returned" and same_value(value or "", question.value)
        return {"right": right, "outcome": str(record.outcome), "reason": record.reason}


def last_line(text: str) -> str:
    """Return the last line that says something, without a label, code quotes or a prompt."""
    lines = [line.strip() for line in _unfenced(text).splitlines() if line.strip()]
    return _LABEL.sub("", lines[-1]).strip().strip("`").strip() if lines else ""


def argument_list(text: str, entry: str) -> str | None:
    """Return the argument list in an answer, which is a call of the entry or bare arguments."""
    from cwm_tracer.inputs.text import canonical

    name, text = entry.rpartition(".")[2], text.strip().removeprefix("assert ")
    if not text:
        return None
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return canonical(text)
    if isinstance(node, ast.Compare):  # assert f(1) == 2
        node = node.left
    called = node.func if isinstance(node, ast.Call) else None
    own = called.id if isinstance(called, ast.Name) else getattr(called, "attr", None)
    if own != name or not isinstance(node, ast.Call):
        return canonical(text)
    return canonical(ast.unparse(node)[len(ast.unparse(node.func)) + 1 : -1])


def _unfenced(text: str) -> str:
    found = _FENCED.findall(text)
    return found[-1] if found else text


def _is_tame(text: str, source: str) -> bool:
    from cwm_tracer.inputs.text import is_harmless, parse_call

    call = parse_call(text)
    if call is None:
        return False
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    classes = [node.name for node in body if isinstance(node, ast.ClassDef)]
    values = [*call.args, *(word.value for word in call.keywords)]
    return is_harmless(ast.Tuple(values, ast.Load()), classes)
