"""Rewards that run something or combine others; those that only compare are in test_score."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from cwm_core.env.concurrency import run_sync
from cwm_core.env.environment import Action, Task
from cwm_core.env.episode import advance, begin
from cwm_core.env.reward import Reward
from cwm_core.env.trajectory import Trajectory, Turn, task_metadata
from cwm_core.errors import DataError
from cwm_core.plugins import registry
from cwm_core.sandbox import bubblewrap
from cwm_rl.rewards.math_answer import last_boxed
from cwm_rl.rewards.patch import similarity
from cwm_rl.rewards.unit_tests import extract_code, same_value

sandboxed = pytest.mark.skipif(
    bubblewrap.why_not() is not None, reason=f"no bubblewrap: {bubblewrap.why_not()}"
)


def reward(name: str, **fields: Any) -> Reward:
    return registry().make("rewards", name, **fields).build()


def score(scorer: Reward, text: str, outcome: Any = None, **data: Any) -> float:
    task = Task("t", data)
    turns = (Turn("prompt", "?"), Turn("action", text))
    played = Trajectory("t", turns, outcome=outcome or {}, metadata=task_metadata(task))
    return run_sync(scorer.score(task, played))


MBPP = ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'", "assert not add(0, 0)"]


def fenced(code: str) -> str:
    return f"Here it is:\n```python\n{textwrap.dedent(code)}```\nDone."


@sandboxed
def test_code_is_judged_by_what_it_does() -> None:
    tests = reward("unit_tests")
    right = fenced("def add(a, b):\n    print('noise')\n    return a + b\n")
    assert score(tests, right, tests=MBPP) == 1.0
    assert score(tests, fenced("def add(a, b):\n    return 3\n"), tests=MBPP) == 0.0
    assert score(tests, fenced("def add(a, b:\n"), tests=MBPP) == 0.0


@sandboxed
def test_code_that_ends_the_process_or_prints_results_gains_nothing() -> None:
    tests = reward("unit_tests", wrong=-1.0)
    assert score(tests, fenced("import os\nos._exit(0)\n"), tests=MBPP) == -1.0
    cheat = """\
    class Yes(str):
        def __eq__(self, other): return True
    def add(a, b): return Yes('x')
    """
    assert score(tests, fenced(cheat), tests=MBPP) == -1.0


@sandboxed
def test_a_share_of_tests_and_a_time_limit() -> None:
    tests = reward("unit_tests", share=True, timeout_s=0.2)
    code = fenced("def f(x):\n    while x == 2: pass\n    return x\n")
    calls = [{"call": "f(1)", "value": "1"}, {"call": "f(2)", "value": "2"}]
    assert score(tests, code, tests=calls) == 0.5


@sandboxed
def test_programs_are_judged_by_what_they_print() -> None:
    tests = reward("unit_tests")
    cases = [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "4 5\n", "stdout": "9"}]
    assert score(tests, fenced("print(sum(map(int, input().split())))\n"), tests=cases) == 1.0
    assert score(tests, fenced("print(3)\n"), tests=cases) == 0.0


def test_two_blocks_are_no_answer() -> None:
    assert extract_code("```\na\n``` and ```\nb\n```") is None
    assert extract_code("a = 1") == "a = 1"
    assert score(reward("unit_tests", wrong=-1.0), fenced("a") + fenced("b"), tests=MBPP) == -1.0


def test_tests_that_cannot_be_read_are_errors() -> None:
    with pytest.raises(DataError, match="no list of tests"):
        score(reward("unit_tests"), "x", other=1)
    with pytest.raises(DataError, match="no known kind"):
        score(reward("unit_tests"), "x", tests=[3])
    with pytest.raises(DataError, match="no single statement"):
        score(reward("unit_tests"), "x", tests=["assert ("])


def test_values_are_compared_as_values() -> None:
    assert same_value("{1, 2}", "{2, 1}")
    assert same_value("1.0", "1")
    assert not same_value("'1'", "1")
    assert same_value("<function f>", "<function f>")
    assert not same_value(None, None)


def test_boxed_answers() -> None:
    assert last_boxed(r"so \boxed{1} no \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert last_boxed(r"\boxed{1") is None
    assert last_boxed("1") is None


def test_mathematics_is_compared_as_such() -> None:
    maths = reward("math_answer", wrong=-1.0)
    assert score(maths, r"\boxed{\frac{1}{2}}", answer="0.5") == 1.0
    assert score(maths, r"\boxed{2}", answer="0.5") == -1.0
    assert score(maths, "0.5", answer="0.5") == -1.0
    with pytest.raises(DataError, match="has no 'answer'"):
        score(maths, r"\boxed{2}", solution="2")


OLD = """\
diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1,2 +1,2 @@
 x = 1
-y = 2
+y = 3
diff --git a/b.py b/b.py
--- a/b.py
+++ b/b.py
@@ -1 +1 @@
-z = 1
+z = 2
"""


def test_likeness_of_patches() -> None:
    first = OLD[: OLD.index("diff --git a/b.py")]
    assert similarity(OLD, OLD) == 1.0
    assert similarity(first, OLD) == 0.5
    assert similarity("", OLD) == 0.0
    assert similarity(OLD.replace("+y = 3", "+y = 4"), OLD) == pytest.approx(0.75)


def test_the_hybrid_of_tests_and_likeness() -> None:
    hybrid = reward("patch_similarity", threshold=0.5)
    first = OLD[: OLD.index("diff --git a/b.py")]
    assert score(hybrid, "", {"passed": True}, patch=OLD) == 1.0
    assert score(hybrid, "", {"passed": False, "patch": first}, patch=OLD) == 0.0
    assert score(hybrid, "", {"patch": "nothing"}, patch=OLD) == -1.0
    assert score(reward("patch_similarity"), "", {"patch": OLD}, patch=OLD) == -1.0
    assert score(reward("patch_similarity", scale=1.0), "", {"passed": True}) == 0.0


def test_the_form_of_an_answer() -> None:
    form = reward("format", one=["code_block"], pattern=r"Done\.$")
    assert score(form, fenced("a = 1\n")) == 0.0
    assert score(form, fenced("a = 1\n") + "!") == -1.0
    assert score(form, "Done.") == -1.0


def test_rewards_are_combined() -> None:
    parts = {"match": {"name": "exact_match"}, "form": {"name": "format", "pattern": "^4"}}
    both = reward("combined", parts=parts, weights={"match": 2.0})
    assert score(both, "42", answer="42") == 2.0
    assert score(both, "41", answer="42") == 0.0
    assert score(both, "24", answer="42") == -1.0
    least = reward("combined", parts=parts, mode="least")
    assert score(least, "24", answer="24") == -1.0
    with pytest.raises(Exception, match="unknown rewards: other"):
        reward("combined", parts=parts, weights={"other": 1.0})


# Environments


def lookup(**fields: Any) -> Any:
    return registry().make("environments", "lookup", **fields).build()


def test_lookup_takes_two_turns() -> None:
    async def play() -> tuple[Any, Any, Any]:
        environment = lookup(tasks=3)
        task = next(iter(environment.tasks("train")))
        episode = await begin(environment, task)
        call, answer = task.data["demonstration"]
        assert task.data["value"] not in episode.observations[0].text
        called = await advance(environment, episode, Action(call))
        assert task.data["value"] in called.observations[-1].text
        right = await advance(environment, called, Action(answer))
        other = await advance(environment, called, Action("x"))
        wrong_key = await advance(environment, episode, Action("<tool: get>\nnobody\n</tool>"))
        return right, other, wrong_key

    right, other, wrong_key = run_sync(play())
    assert (right.done, right.rewards[-1], other.rewards[-1]) == (True, 1.0, 0.0)
    assert "none" in wrong_key.observations[-1].text


def test_splits_of_lookup_differ() -> None:
    environment = lookup(tasks=20)
    tasks = {
        split: [t.data["key"] for t in environment.tasks(split)] for split in ("train", "test")
    }
    assert tasks["train"] != tasks["test"]
    assert tasks["train"] == [t.data["key"] for t in environment.tasks("train")]


@sandboxed
def test_questions_may_use_python_and_show_hints(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "prompt": "2**20?", "answer": "1048576", "hint": "compute"}\n')
    environment = (
        registry()
        .make("environments", "questions", data=path, python_calls=1, validation=0.0)
        .build()
    )

    async def play() -> Any:
        (task,) = environment.tasks("train")
        plain = await begin(environment, task)
        assert "compute" not in plain.observations[0].text
        hinted = await begin(environment, Task(task.id, task.data, {"show_hint": True}))
        assert "Hint: compute" in hinted.observations[0].text
        call = Action("let me see</think>\n<tool: python>\nprint(2**20)\n</tool>")
        called = await advance(environment, plain, call)
        assert "[stdout]1048576\n[/stdout]" in called.observations[-1].text
        return await advance(environment, called, Action("sure</think>\n1048576"))

    done = run_sync(play())
    assert done.done
    assert done.info["answer"] == "1048576"
    assert done.rewards[-1] is None


def test_questions_name_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n{"text": "b"}\n')
    with pytest.raises(DataError, match="line 2 has no 'prompt'"):
        registry().make("environments", "questions", data=path).build()
