"""Answers that were written elsewhere, in the published formats, graded like our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cwm_core.engine.base import Engine
from cwm_core.env.environment import Task
from cwm_core.errors import ConfigError, DataError
from cwm_eval.benchmarks.base import MetricInfo, Summary
from cwm_eval.benchmarks.rows import read_json, read_rows
from cwm_eval.benchmarks.text_benchmark import TextBenchmark
from cwm_eval.samples import Sample

_TEXTS = ("completion", "solution", "generation", "text", "answer", "response")


class StoredAnswers:
    """A benchmark whose answers are known; no engine is asked.

    `grade_as` is what the texts are: whole answers of a model (``answer``), or what a format of
    its own stores (``bare``): an expression, a call, a program, a completion of the prompt.
    """

    def __init__(
        self, benchmark: TextBenchmark, answers: Mapping[str, list[str]], grade_as: str
    ) -> None:
        self.benchmark = benchmark
        self.metric_infos: Mapping[str, MetricInfo] = benchmark.metric_infos
        self._answers = answers
        self._bare = grade_as == "bare"
        known = {task.id for task in benchmark.environment.tasks(benchmark.config.split)}
        strangers = sorted(set(answers) - known)
        if strangers and benchmark.config.limit is None:
            raise DataError(
                f"{len(strangers)} answers are to problems that the benchmark does not have, such "
                f"as {strangers[0]!r}",
                "give the benchmark the data that the answers are to",
            )

    def count(self) -> int | None:
        """Return the number of answers."""
        return sum(len(texts) for texts in self._answers.values())

    def tasks(self) -> Iterator[Task]:
        """Yield a task per answer, in the order of the problems."""
        for task in self.benchmark.environment.tasks(self.benchmark.config.split):
            for number, _ in enumerate(self._answers.get(task.id, ())):
                metadata = {**task.metadata, "problem": task.id, "sample": number}
                yield replace(task, id=f"{task.id}#{number}", metadata=metadata)

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Grade one answer."""
        text = self._answers[task.metadata["problem"]][task.metadata["sample"]]
        if not self._bare:
            return await self.benchmark.grade(task, text)
        environment = self.benchmark.environment
        method = next((name for name in _BARE if hasattr(environment, name)), None)
        if method is None:
            raise ConfigError(
                f"{self.benchmark.config.name} knows no bare answers", "use --as answer"
            )
        grade = await getattr(environment, method)(task, text)
        return {
            "question": environment.prompt(task),
            "text": text,
            "prompt_tokens": 0,
            "new_tokens": 0,
            "finish": "stop",
            "generate_s": 0.0,
            "right": grade.right,
            "outcome": grade.outcome,
            "answer": grade.answer,
            "truth": grade.truth,
            "detail": grade.detail,
            "scores": dict(grade.scores),
        }

    def summarise(self, samples: Iterable[Sample]) -> Summary:
        """Score the samples."""
        return self.benchmark.summarise(samples)

    def close(self) -> None:
        """Free sandboxes and processes."""
        self.benchmark.close()


_BARE = ("grade_expression", "grade_call", "grade_completion", "grade_code")


def read_answers(path: Path) -> dict[str, list[str]]:
    """Return the answers to each problem.

    Formats: ``{id: [text, ...]}`` (CRUXEval; also a single text), ``[{question_id, code_list}]``
    (LiveCodeBench), JSON lines with ``task_id`` (or ``id``, ``question_id``, ``instance_id``) and
    ``completion``, ``solution`` or the like, repeated per sample (HumanEval, EvalPlus).
    Raises `DataError`.
    """
    if path.suffix == ".json":
        answers = _from_json(read_json(path), path)
    else:
        answers = _from_lines(read_rows(str(path), {}), path)
    if not answers:
        raise DataError(f"{path} holds no answers", _HINT)
    return answers


def _from_json(content: Any, path: Path) -> dict[str, list[str]]:
    if isinstance(content, dict) and isinstance(content.get("raw_generations"), dict):
        content = content["raw_generations"]
    if isinstance(content, list):
        return _from_lines(content, path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no answers", _HINT)
    return {str(name): _texts(value, f"{path}, {name}") for name, value in content.items()}


def _from_lines(rows: list[Any], path: Path) -> dict[str, list[str]]:
    answers: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, answer {number}"
        if not isinstance(row, dict):
            raise DataError(f"{where} is no object", _HINT)
        ids = ("task_id", "question_id", "instance_id", "unique_id", "id")
        name = next((row[key] for key in ids if key in row), None)
        if name is None:
            raise DataError(f"{where} names no problem", _HINT)
        found = row.get("code_list", next((row[key] for key in _TEXTS if key in row), None))
        answers.setdefault(str(name), []).extend(_texts(found, where))
    return answers


def _texts(value: Any, where: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where} is no text and no list of texts", _HINT)
    return texts


_HINT = 'give {"ID": ["answer", ...]}, or JSON lines with "task_id" and "completion"'
