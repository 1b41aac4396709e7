"""Published figures, reproduced by running the published files.

By default a part of each file; `CWM_FULL_BENCHMARKS=1` takes all, which needs some minutes.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cwm_core.sandbox.base import SandboxError
from cwm_eval.benchmarks import humaneval, mbpp
from cwm_eval.benchmarks.config import CruxEvalOutputEnvironment
from cwm_eval.benchmarks.python_tests import joined
from cwm_eval.grading.config import Grading
from cwm_eval.grading.math_pool import MathGrader
from cwm_eval.grading.pool import Grader, Tests, Verdict
from cwm_eval.statistics import pass_at_k

FULL = os.environ.get("CWM_FULL_BENCHMARKS", "") not in ("", "0")
pytestmark = pytest.mark.timeout(3600 if FULL else 600)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(Grading(workers=2)) as built:
        try:
            built.run_sync("", "")
        except SandboxError as error:
            pytest.skip(f"no sandbox here: {error}")
        yield built


def rows(path: Path, every: int) -> list[Any]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    found = [json.loads(line) for line in text.splitlines()]
    return found if FULL else found[::every]


def verdicts(grader: Grader, jobs: list[tuple[str, Tests]]) -> list[Verdict]:
    async def all_of_them() -> list[Verdict]:
        return await asyncio.gather(*(grader.check(code, tests) for code, tests in jobs))

    return asyncio.run(all_of_them())


def test_humaneval_references(grader: Grader, shared_data: Path) -> None:
    tasks = rows(shared_data / "HumanEval.jsonl.gz", 6)
    found = verdicts(grader, [(humaneval.reference(r), humaneval.tests(r)) for r in tasks])
    assert [r["task_id"] for r, v in zip(tasks, found) if not v.passed] == []
    assert len(tasks) == (164 if FULL else 28)
    nothing = [(r["prompt"] + "    return None\n", humaneval.tests(r)) for r in tasks]
    assert [r["task_id"] for r, v in zip(tasks, verdicts(grader, nothing)) if v.passed] == []


def test_mbpp_references(grader: Grader, shared_data: Path) -> None:
    tasks = rows(shared_data / "mbpp.jsonl", 30)
    found = verdicts(grader, [(joined(r["code"]), mbpp.tests(r)) for r in tasks])
    assert [r["task_id"] for r, v in zip(tasks, found) if not v.passed] == []
    assert len(tasks) == (974 if FULL else 33)


def test_cruxeval_generations(shared_data: Path) -> None:
    generations = json.loads((shared_data / "cruxeval_sample_generations_output.json").read_text())
    published = json.loads((shared_data / "cruxeval_sample_scored_output.json").read_text())
    config = CruxEvalOutputEnvironment(
        data=str(shared_data / "cruxeval.jsonl"),
        limit=None if FULL else 24,
        grading=Grading(workers=2),
    )
    environment = config.make(None)
    tasks = list(environment.tasks("test"))

    async def graded() -> dict[str, list[bool]]:
        cache: dict[tuple[str, str], asyncio.Future[Any]] = {}
        for task in tasks:
            for text in generations[task.id]:
                grade = environment.grade_expression(task, text)  # type: ignore[attr-defined]
                if (task.id, text) in cache:
                    grade.close()
                else:
                    cache[task.id, text] = asyncio.ensure_future(grade)
        await asyncio.gather(*cache.values())
        return {t.id: [cache[t.id, x].result().right for x in generations[t.id]] for t in tasks}

    try:
        found = asyncio.run(graded())
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")
    finally:
        environment.close()
    assert found == {t.id: published["raw_scored_generations"][t.id] for t in tasks}
    if FULL:
        shares = [
            100 * np.mean([pass_at_k(len(f), sum(f), k) for f in found.values()]) for k in (1, 5)
        ]
        assert [round(share, 4) for share in shares] == [34.2125, 40.2867]


def perturbed(answer: str) -> str:
    """Return an answer with one digit, or else one letter or symbol, changed."""
    digits = [match.start() for match in re.finditer(r"\d", answer)]
    if digits:
        at = digits[-1]
        return f"{answer[:at]}{(int(answer[at]) + 1) % 10}{answer[at + 1 :]}"
    letters = [m.start() for m in re.finditer(r"(?<![\\a-zA-Z])[a-zA-Z]|(?<=\{)[a-zA-Z]", answer)]
    if not letters:
        return answer + "+1"
    at = letters[-1]
    return f"{answer[:at]}{chr((ord(answer[at].lower()) - 96) % 26 + 97)}{answer[at + 1 :]}"


def test_math_500_answers(shared_data: Path) -> None:
    tasks = rows(shared_data / "math500_test.jsonl", 20)
    grader = MathGrader(2)

    async def compared(change: Any) -> list[bool | None]:
        answers = [(row["answer"], change(row["answer"])) for row in tasks]
        return await asyncio.gather(*(grader.same(gold, answer) for gold, answer in answers))

    try:
        right = asyncio.run(compared(lambda answer: answer))
        wrong = asyncio.run(compared(perturbed))
    finally:
        grader.close()
    assert [r["answer"] for r, same in zip(tasks, right) if not same] == []
    assert [(r["answer"], perturbed(r["answer"])) for r, s in zip(tasks, wrong) if s] == []
    assert len(tasks) == (500 if FULL else 25)
