"""Programs and generated tests: which program passes which test, in the grader's sandboxes."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Mapping, Sequence

from cwm_eval.benchmarks import answers
from cwm_eval.grading.pool import Grader, Tests
from cwm_eval.scaling.best_at_k import Candidate

_MOST = 40


def assertions(text: str, entry: str, most: int = _MOST) -> list[str]:
    """Return the single-line assertions about `entry` in a model's text, each once, in order."""
    found: dict[str, None] = {}
    for block in answers.code_blocks(text) or [text]:
        for line in block.splitlines():
            line = line.strip()
            if line.startswith("assert ") and _is_about(line, entry):
                found[line] = None
    return list(found)[:most]


def _is_about(line: str, entry: str) -> bool:
    try:
        tree = ast.parse(line)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return entry in names


async def run_generated(
    grader: Grader,
    programs: Sequence[str],
    tests: Sequence[str],
    entry: str,
    *,
    existing: Sequence[Tests] = (),
    tokens: Sequence[int] | None = None,
) -> list[Candidate]:
    """Run every program with every test and return what `best_at_k.choose` needs.

    `tests` are assertions that call `entry`; a test that is no valid Python passes nobody. They
    were written by a model, so they are no more trusted than the programs: calls are answered by
    the program in its sandbox, and the assertion is judged in another one. Raises `SandboxError`.
    """
    lengths = tokens or [len(program) for program in programs]
    made = []
    for program, length in zip(programs, lengths):
        old = await asyncio.gather(*(grader.check(program, test) for test in existing))
        new = await asyncio.gather(
            *(grader.check(program, Tests(test, names=(entry,))) for test in tests)
        )
        passed: Mapping[str, bool] = {t: v.passed for t, v in zip(tests, new)}
        share = sum(v.passed for v in old) / len(old) if old else 1.0
        made.append(Candidate(program, length, share, passed, empty=not program.strip()))
    return made
