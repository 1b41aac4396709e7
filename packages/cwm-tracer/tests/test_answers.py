"""The environments `output_prediction` and `input_prediction`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.data.records import TRACE_SCHEMA, Outcome, TraceRecord
from cwm_core.data.shards import ShardWriter
from cwm_core.env.environment import Action, Environment, Transition
from cwm_core.errors import ConfigError, DataError
from cwm_core.plugins import registry
from cwm_core.text.tokenizer import train_bpe
from cwm_tracer import trace
from cwm_tracer.answers import argument_list, last_line
from cwm_tracer.api import record_source
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.scripts import MODULE, script_input
from cwm_tracer.compare import same_value
from cwm_tracer.inputs.text import canonical

ADD = """\
class P:
    def __init__(self, x):
        self.x = x


def f(a, b=0):
    if type(a) is P:
        a = a.x
    return [a + b]
"""


@pytest.fixture(scope="module")
def records() -> list[TraceRecord]:
    call = trace(ADD, entry="f", input="1, b=2")
    raised = trace(ADD, entry="f", input="1, b='x'")
    with SettraceConfig().build() as tracer:
        printing = "n = int(input())\nprint(n, n * 2)\n"
        script = record_source(tracer, printing, MODULE, script_input(stdin="4\n"))
    large = trace("def f():\n    return [0] * 100_000\n")
    return [replace(record, split="test") for record in (call, raised, script, large)]


@pytest.fixture(scope="module")
def data(records: list[TraceRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shards")
    with ShardWriter(directory, TRACE_SCHEMA) as writer:
        for record in records:
            writer.write(record.to_row())
        writer.finish()
    return directory


def make(name: str, data: Path, **fields: Any) -> Any:
    tokenizer = fields.pop("tokenizer", None)
    return registry().make("environments", name, data=data, **fields).build(tokenizer)


def play(environment: Any, action: Action, entry: str = "f") -> tuple[Transition, Transition]:
    task = next(task for task in environment.tasks() if task.metadata["entry"] == entry)

    async def both() -> tuple[Transition, Transition]:
        first = await environment.start(task)
        return first, await environment.step(first.state, action)

    return asyncio.run(both())


@pytest.mark.parametrize("name", ["output_prediction", "input_prediction"])
def test_tasks_are_what_returned_a_whole_value(data: Path, name: str) -> None:
    environment = make(name, data)
    assert isinstance(environment, Environment)
    entries = [task.metadata["entry"] for task in environment.tasks("test")]
    assert entries == (["f", MODULE] if name == "output_prediction" else ["f"])
    with pytest.raises(DataError, match="no traces of split 'train'"):
        list(environment.tasks("train"))


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("[3]", True),
        (" [ 3 ] \n", True),
        ("It adds.\n\n```python\n[3]\n```", True),
        ("a + b is 3\nAnswer: `[3]`", True),
        ("[3.0]", False),
        ("3", False),
        ("[4]\n", False),
        ("", False),
        ("[3", False),
    ],
)
def test_outputs_are_judged(data: Path, said: str, right: bool) -> None:
    first, last = play(make("output_prediction", data), Action(text=said))
    assert "f(1, b=2)" in first.observation.text and "[3]" not in first.observation.text
    assert "START_OF_TRACE" not in first.observation.text
    assert last.done and last.reward == float(right) and last.info["right"] is right
    assert last.info["truth"] == "[3]"


def test_the_output_of_a_script(data: Path) -> None:
    environment = make("output_prediction", data)
    first, last = play(environment, Action(text="```\n4   8\n\n```"), MODULE)
    assert r"stdin='4\n'" in first.observation.text and last.reward == 1.0
    assert play(environment, Action(text="4 9"), MODULE)[1].reward == 0.0


def test_token_ids(data: Path) -> None:
    tokenizer = train_bpe([ADD], 300)
    environment = make("output_prediction", data, tokenizer=tokenizer)
    first, last = play(environment, Action(token_ids=tuple(tokenizer.encode("[3]"))))
    assert tokenizer.decode(first.observation.token_ids or ()) == first.observation.text
    assert last.reward == 1.0
    ended = (*tokenizer.encode("[3]"), tokenizer.special_id("<|end_of_text|>"))
    said = Action(tokenizer.decode(ended), ended)  # as an engine says it, with its end
    assert play(environment, said)[1].reward == 1.0


@pytest.mark.parametrize(
    ("said", "right", "outcome"),
    [
        ("f(1, b=2)", True, "returned"),
        ("f(3)", True, "returned"),
        ("2, 1", True, "returned"),
        ("assert f(0, 3) == [3]", True, "returned"),
        ("f(P(3))", True, "returned"),
        ("We take three.\n```python\nf(b=3, a=0)\n```", True, "returned"),
        ("f(1)", False, "returned"),
        ("f('1')", False, "raised"),
        ("f(", False, ""),
        ("no idea", False, ""),
        ("", False, ""),
        ("f(__import__('os').getpid())", False, ""),
        ("f(open('/etc/passwd').read())", False, ""),
        ("f(globals().update(f=3))", False, ""),
        ("f(f(1))", False, ""),
        ("f(10 ** 10 ** 10)", False, "timeout"),
    ],
)
def test_inputs_are_run(data: Path, said: str, right: bool, outcome: str) -> None:
    environment = make("input_prediction", data, limits={"timeout_s": 2.0})
    first, last = play(environment, Action(text=said))
    assert first.observation.text.endswith("[3]\n") and "f(1" not in first.observation.text
    assert last.done and last.reward == float(right)
    assert last.info["right"] is right and last.info["outcome"] == outcome


def test_answers_do_not_run_in_this_process(tmp_path: Path) -> None:
    source = (
        "import sys\n\ndef f(name):\n    sys.modules[name] = sys\n    return name in sys.modules\n"
    )
    record = replace(trace(source, input="'cwm_trap'"), split="test")
    with ShardWriter(tmp_path, TRACE_SCHEMA) as writer:
        writer.write(record.to_row())
    _, last = play(make("input_prediction", tmp_path), Action(text="f('cwm_trap')"))
    assert last.reward == 1.0 and "cwm_trap" not in sys.modules


def test_answers_side_by_side(data: Path) -> None:
    environment = make("input_prediction", data)
    task = next(iter(environment.tasks()))

    async def all_of_them() -> list[float | None]:
        first = await environment.start(task)
        steps = (environment.step(first.state, Action(text=f"f({n})")) for n in range(6))
        return [last.reward for last in await asyncio.gather(*steps)]

    assert asyncio.run(all_of_them()) == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def test_nothing_to_ask(tmp_path: Path, records: list[TraceRecord]) -> None:
    with ShardWriter(tmp_path, TRACE_SCHEMA) as writer:
        writer.write(replace(records[0], outcome=Outcome.TIMEOUT).to_row())
    with pytest.raises(DataError, match="none of the 1 traces"):
        make("output_prediction", tmp_path).count()
    with pytest.raises(ConfigError, match="limits"):
        make("input_prediction", tmp_path, limits={"steps": 0})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_values_are_the_same_when_they_are_equal_and_of_one_type(left: Any, right: Any) -> None:
    assert same_value(repr(left), repr(left))
    if left != right:
        assert not same_value(repr(left), repr(right))


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("{'a': 1, 'b': 2}", '{"b": 2, "a": 1}', True),
        ("{1, 2}", "{2, 1}", True),
        ("1", "True", False),
        ("[1]", "(1,)", False),
        ("<object>", "<object>", True),
        ("f(", "f(", True),
    ],
)
def test_values_are_compared(left: str, right: str, same: bool) -> None:
    assert same_value(left, right) is same


@given(st.text() | st.text().map(lambda text: f"f({text})"))
def test_any_answer_is_read(text: str) -> None:
    found = argument_list(last_line(text), "f")
    assert found is None or canonical(found) == found
