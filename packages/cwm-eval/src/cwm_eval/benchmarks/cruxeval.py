"""CRUXEval (Gu et al. 2024): what does `f` return, or what does it have to be given?"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from cwm_core.env.environment import Action, Observation, Task
from cwm_core.errors import ConfigError, DataError
from cwm_core.trace.codec import LenientTrace, parse_lenient, prompt_ids, render_ids
from cwm_core.trace.frames import START_OF_TRACE, Event, Frame, Trace
from cwm_eval.benchmarks import answers
from cwm_eval.benchmarks.checked_python import check_python
from cwm_eval.benchmarks.graded_code import CodeEnvironment, graded
from cwm_eval.benchmarks.questions import NO_ANSWER, WRONG, Grade, drawn, unique
from cwm_eval.benchmarks.rows import read_rows
from cwm_eval.grading.inside.wire import WireError
from cwm_eval.grading.pool import Tests

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_eval.benchmarks.config import CruxEvalInputTasks, CruxEvalOutputTasks

FIELDS: dict[str, type | tuple[type, ...]] = {"code": str, "input": str, "output": str, "id": str}
ENTRY = "f"

_OUTPUT_RULES = """\
You are given a Python function and an assertion containing an input to the function. Complete the
assertion with a literal (no unsimplified expressions, no function calls) containing the output when
executing the provided code on the given input, even if the function is incorrect or incomplete.
{how} Provide the full assertion with the correct output in [ANSWER] and [/ANSWER] tags.
"""
_OUTPUT_SHOTS = """
[PYTHON]
def f(n):
    return n
assert f(17) == ??
[/PYTHON]
[ANSWER]
assert f(17) == 17
[/ANSWER]

[PYTHON]
def f(s):
    return s + "a"
assert f("x9j") == ??
[/PYTHON]
[ANSWER]
assert f("x9j") == "x9ja"
[/ANSWER]
"""
_INPUT_RULES = """\
You are given a function f and an output in the form f(??) == output. Find any input such that
executing f on the input leads to the given output. There may be multiple answers, but you should
only output one. {how} Provide the passing assertion in [ANSWER] and [/ANSWER] tags.
"""
_INPUT_SHOTS = """
[PYTHON]
def f(my_list):
    count = 0
    for i in my_list:
        if len(i) % 2 == 0:
            count += 1
    return count
assert f(??) == 3
[/PYTHON]
[ANSWER]
assert f(["mq", "px", "zy"]) == 3
[/ANSWER]

[PYTHON]
def f(s1, s2):
    return s1 + s2
assert f(??) == "banana"
[/PYTHON]
[ANSWER]
assert f("ba", "nana") == "banana"
[/ANSWER]
"""
_QUESTION = "\n[PYTHON]\n{code}\nassert {given} == {wanted}\n[/PYTHON]\n"
_DIRECT = "Do NOT output any extra information."
_STEPS = "Execute the program step by step before arriving at an answer."


def read_tasks(config: Any, limit: int | None) -> list[Task]:
    """Return the problems of a CRUXEval file; raises `DataError`."""
    rows = read_rows(config.data, FIELDS, config.split)
    for row in rows:
        where = f"{config.data}, {row['id']}"
        check_python(row["code"], f"{where}: the code", defines=ENTRY)
        check_python(f"{ENTRY}({row['input']})", f"{where}: the call", mode="eval")
        check_python(row["output"], f"{where}: the output", mode="eval")
    tasks = unique((Task(row["id"], row, {}, config.split) for row in rows), config.data)
    return drawn(tasks, config.bound(limit), config.seed)


class CruxEvalOutput(CodeEnvironment):
    """Tell what a call returns. The answer is evaluated in a sandbox, and compared outside of it.

    An answer that calls the function itself is wrong.
    """

    def __init__(
        self, config: CruxEvalOutputTasks, tokenizer: Tokenizer | None, limit: int | None
    ) -> None:
        super().__init__(read_tasks(config, limit), config.grading, reasoning=config.reasoning)
        self._mode = config.mode
        self._tokenizer = tokenizer
        if config.mode in ("trace", "step") and tokenizer is None:
            raise ConfigError(
                f"mode={config.mode} asks with tokens of traces, but there is no tokenizer",
                "give benchmark.tokenizer=DIR, or an engine that brings one",
            )

    def prompt(self, task: Task) -> str:
        """Return the question of the paper."""
        row = task.data
        question = _QUESTION.format(code=row["code"], given=f"{ENTRY}({row['input']})", wanted="??")
        if self._mode in ("trace", "step"):
            return f"{row['code']}\n{ENTRY}({row['input']})"
        if self._reasoning:
            return _OUTPUT_RULES.format(how=_STEPS) + question
        return _OUTPUT_RULES.format(how=_DIRECT) + _OUTPUT_SHOTS + question + "[ANSWER]\n"

    def observe(self, task: Task) -> Observation:
        """Return the question; in the modes of traces the context and the call frame."""
        if self._mode not in ("trace", "step"):
            return super().observe(task)
        assert self._tokenizer is not None
        context, frame = call_frame(task.data["code"], task.data["input"])
        ids = prompt_ids(context, frame, self._tokenizer)
        if self._mode == "step":  # the event is forced: what comes is the return's line and value
            ids.append(self._tokenizer.special_id("<|return_sep|>"))
        return Observation(self.prompt(task), tuple(ids))

    async def graded(self, task: Task, action: Action) -> Grade:
        """Grade an answer; of a trace, the value of its last frame."""
        if self._mode not in ("trace", "step"):
            return await super().graded(task, action)
        read = self._read(task, action)
        value = read.frames[-1].value if read.frames else None
        last = read.frames[-1].event if read.frames else None
        valid = not read.problems and (read.complete or self._mode == "step")
        if value is None or last is not Event.RETURN:
            problem = str(read.problems[0]) if read.problems else "it ends without a return"
            return Grade(NO_ANSWER, "", self.truth(task), problem, {"valid": 0.0, "output": 0.0})
        if self._mode == "trace" and not read.complete:
            return Grade(NO_ANSWER, value, self.truth(task), "it does not end", {"valid": 0.0})
        grade = await self.grade(task, value)
        scores = {"valid": float(valid), "output": float(grade.right)}
        return Grade(grade.outcome, grade.answer, grade.truth, grade.detail, scores)

    def _read(self, task: Task, action: Action) -> LenientTrace:
        assert self._tokenizer is not None
        ids = list(action.token_ids or self._tokenizer.encode(action.text, allow_special=True))
        if self._mode == "step":
            ids.insert(0, self._tokenizer.special_id("<|return_sep|>"))
        _, frame = call_frame(task.data["code"], task.data["input"])
        return parse_lenient(ids, self._tokenizer, before=(frame,))

    async def grade(self, task: Task, text: str) -> Grade:
        """Evaluate the answer's expression and compare the value."""
        answer = text.strip() if self._mode in ("trace", "step") else answers.value(text)
        return await self.grade_expression(task, answer)

    async def grade_expression(self, task: Task, answer: str) -> Grade:
        """Grade an expression as it is."""
        truth = self.truth(task)
        if not answer:
            return Grade(NO_ANSWER, "", truth)
        if f"{ENTRY}({task.data['input']})" in answer or mentions(answer, ENTRY):
            return Grade(WRONG, answer, truth, "it calls the function")
        source = f"expected = {task.data['output']}\nassert expected == evaluate(data['answer'])"
        try:
            tests = Tests(source, data={"answer": answer})
            verdict = await self.grader.check(task.data["code"], tests)
        except WireError as error:
            return Grade(WRONG, answer[:200], truth, str(error))
        return graded(verdict, answer, truth)

    def gold(self, task: Task) -> str | None:
        """Return the assertion."""
        row = task.data
        return f"[ANSWER]\nassert {ENTRY}({row['input']}) == {row['output']}\n[/ANSWER]"

    def gold_action(self, task: Task) -> Action | None:
        """Return the assertion, or a trace that returns at once with the right value."""
        if self._mode not in ("trace", "step"):
            return super().gold_action(task)
        assert self._tokenizer is not None
        context, frame = call_frame(task.data["code"], task.data["input"])
        last = Frame(Event.RETURN, "    return\n", None, task.data["output"])
        encoded = render_ids(Trace(context, (frame, last)), self._tokenizer)
        ids = encoded.ids[encoded.prompt_length :]
        return Action("", tuple(ids[1:] if self._mode == "step" else ids))

    def truth(self, task: Task) -> str:
        """Return the expected value."""
        return str(task.data["output"])


class CruxEvalInput(CodeEnvironment):
    """Find arguments with which the function returns a value; they are tried in a sandbox.

    The answer has to be a call of the function whose arguments only make values, so that nothing
    but the function can lead to the expected one.
    """

    def __init__(self, config: CruxEvalInputTasks, limit: int | None) -> None:
        super().__init__(read_tasks(config, limit), config.grading, reasoning=config.reasoning)

    def prompt(self, task: Task) -> str:
        """Return the question of the paper."""
        row = task.data
        question = _QUESTION.format(code=row["code"], given=f"{ENTRY}(??)", wanted=row["output"])
        if self._reasoning:
            return _INPUT_RULES.format(how=_STEPS) + question
        return _INPUT_RULES.format(how=_DIRECT) + _INPUT_SHOTS + question + "[ANSWER]\n"

    async def grade(self, task: Task, text: str) -> Grade:
        """Call the function."""
        return await self.grade_call(task, answers.call(text, ENTRY))

    async def grade_call(self, task: Task, answer: str) -> Grade:
        """Grade a call as it is."""
        truth = self.truth(task)
        if not answer:
            return Grade(NO_ANSWER, "", truth)
        if not is_call_with_values(answer, ENTRY, task.data["code"]):
            return Grade(WRONG, answer[:500], truth, "it is no call with plain arguments")
        source = f"expected = {task.data['output']}\nassert evaluate(data['answer']) == expected"
        tests = Tests(source, data={"answer": answer})
        return graded(await self.grader.check(task.data["code"], tests), answer, truth)

    def gold(self, task: Task) -> str | None:
        """Return the assertion."""
        row = task.data
        return f"[ANSWER]\nassert {ENTRY}({row['input']}) == {row['output']}\n[/ANSWER]"

    def truth(self, task: Task) -> str:
        """Return one right input."""
        return f"{ENTRY}({task.data['input']})"


def mentions(expression: str, name: str) -> bool:
    """Whether an expression uses a name; False for what is no Python."""
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


_MAKERS = {
    *("set", "dict", "list", "tuple", "frozenset", "range", "str", "int", "float", "bool"),
    *("bytes", "bytearray", "complex", "chr", "ord"),
}
_VALUES = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Starred),
    *(ast.unaryop, ast.operator, ast.expr_context, ast.keyword, ast.JoinedStr, ast.FormattedValue),
    *(ast.Subscript, ast.Slice, ast.Lambda, ast.arguments, ast.arg, ast.ListComp, ast.GeneratorExp),
    *(ast.comprehension, ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop, ast.IfExp, ast.Call),
)


def is_call_with_values(text: str, name: str, code: str = "") -> bool:
    """Whether a text is one call of `name` whose arguments cannot reach into the program.

    They may use constructors of builtin types, public methods of values, lambdas, comprehensions
    and the variables that `code` assigns at its top level.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        variables = _assigned(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return False
    if node.func.id != name:
        return False
    parts = [part for child in (*node.args, *node.keywords) for part in ast.walk(child)]
    bound = {part.arg for part in parts if isinstance(part, ast.arg)}
    bound |= {p.id for p in parts if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Store)}
    known = (_MAKERS | variables | bound) - {name}
    return not bound & {name} and all(_is_value(part, known) for part in parts)


def _assigned(tree: ast.Module) -> set[str]:
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _is_value(node: ast.AST, known: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("_")
    return isinstance(node, _VALUES)


def call_frame(code: str, arguments: str, entry: str = ENTRY) -> tuple[str, Frame]:
    """Return the context of a trace and the frame of the call, as the tracer writes them.

    Arguments that are no literals keep the text that the data set gives them. Raises `DataError`
    when the program has no function `entry` or the call does not fit it.
    """
    try:
        tree = ast.parse(code)
        call = ast.parse(f"{entry}({arguments})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise DataError(f"a program of the data set is no valid Python: {error}") from None
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == entry]
    if not functions or not isinstance(call, ast.Call):
        raise DataError(f"a program of the data set defines no function {entry!r}")
    lines = code.splitlines(keepends=True)
    number = functions[-1].lineno - 1
    source = lines[number] if lines[number].endswith("\n") else lines[number] + "\n"
    lines[number] = f"{source.rstrip()}  {START_OF_TRACE}\n"
    return "".join(lines), Frame(Event.CALL, source, _bound(functions[-1], call))


def _bound(function: ast.FunctionDef, call: ast.Call) -> dict[str, str]:
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    values = dict(zip(names, (_text(node) for node in call.args)))
    if function.args.vararg is not None:
        rest = [_text(node) for node in call.args[len(names) :]]
        values[function.args.vararg.arg] = f"({', '.join(rest)}{',' if len(rest) == 1 else ''})"
    given = {word.arg: _text(word.value) for word in call.keywords if word.arg is not None}
    known = {*names, *(arg.arg for arg in function.args.kwonlyargs)}
    values.update({name: text for name, text in given.items() if name in known})
    defaults = zip(names[len(names) - len(function.args.defaults) :], function.args.defaults)
    for name, node in defaults:
        values.setdefault(name, _text(node))
    if function.args.kwarg is not None:
        extra = {name: text for name, text in given.items() if name not in known}
        items = ", ".join(f"{name!r}: {text}" for name, text in extra.items())
        values[function.args.kwarg.arg] = f"{{{items}}}"
    return values


def _text(node: ast.expr) -> str:
    try:
        return repr(ast.literal_eval(node))
    except (ValueError, TypeError, RecursionError, MemoryError):
        return ast.unparse(node)
