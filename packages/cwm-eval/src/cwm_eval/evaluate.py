"""One evaluation run, from configuration to report."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig
from cwm_core.engine.base import Engine
from cwm_core.engine.scripted import ScriptedEngine
from cwm_core.errors import ConfigError, RunError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir, open_run
from cwm_eval.benchmarks.base import Benchmark
from cwm_eval.benchmarks.text_benchmark import TextBenchmark
from cwm_eval.caching import CachedEngine, Completions
from cwm_eval.config import BestConfig, EvalConfig, GradeConfig
from cwm_eval.engines import AnswersKnown, EmptyEngine, GoldEngine
from cwm_eval.report.page import write_report
from cwm_eval.report.text import examples_text
from cwm_eval.results import SAMPLES, EvalRun, load_run, origin_of, write_results
from cwm_eval.runner import Runner
from cwm_eval.samples import Sample, SampleFile
from cwm_eval.stored import StoredAnswers, read_answers


def evaluate(config: EvalConfig) -> EvalRun:
    """Measure what `config` says, or continue doing so; return the finished run.

    Writes samples.jsonl, results.json, report.md, report.html and examples.txt. Raises `RunError`
    when tasks are left over after infrastructure failures: the same call tries them again.
    """
    with open_run(config.out, "eval", config) as run:
        if run.is_done:
            found = load_run(config.out)
        else:
            found = finish(config, run, asyncio.run(_measure(config, run.path)), origin_of(config))
    tell(found, run)
    return found


def grade(config: GradeConfig) -> EvalRun:
    """Grade stored answers, or continue doing so; writes what `evaluate` writes.

    Raises `DataError` for answers that fit no problem, `ConfigError` for a benchmark without
    questions.
    """
    with open_run(config.out, "eval grade", config) as run:
        if run.is_done:
            found = load_run(config.out)
        else:
            found = finish(config, run, asyncio.run(_grade(config, run.path)), origin_of(config))
    tell(found, run)
    return found


async def _grade(config: GradeConfig, path: Path) -> Benchmark:
    asking = config.benchmark.build()
    if not isinstance(asking, TextBenchmark):
        raise ConfigError(
            f"{config.benchmark.name} cannot grade stored answers", "choose one with questions"
        )
    try:
        benchmark = StoredAnswers(asking, read_answers(config.answers), config.grade_as)
        with (
            SampleFile(path / SAMPLES) as samples,
            progress(benchmark.count(), "grading", "answers") as shown,
        ):
            work = Runner(benchmark, EmptyEngine(), samples, concurrency=config.concurrency)
            await work.run(shown)
    finally:
        asking.close()
    return benchmark


async def _measure(config: EvalConfig, path: Path) -> Benchmark:
    engine = config.engine.build()
    benchmark: Benchmark | None = None
    try:
        tokenizer = getattr(engine, "tokenizer", None)
        benchmark = config.benchmark.build(tokenizer=tokenizer, limit=config.limit)
        _check_tokenizer(benchmark, engine)
        if isinstance(engine, GoldEngine) and isinstance(benchmark, AnswersKnown):
            engine.learn(benchmark)
        with (
            cached(config.cache, config.engine, engine) as asked,
            SampleFile(path / SAMPLES) as samples,
            progress(benchmark.count(), "evaluating", "tasks") as shown,
        ):
            await runner(config, benchmark, asked, samples).run(shown)
    finally:
        await engine.close()
        close_benchmark(benchmark)
    assert benchmark is not None
    return benchmark


def _check_tokenizer(benchmark: Benchmark, engine: Engine) -> None:
    """Raise `ConfigError` where a model would be asked in tokens that are not its own."""
    if not isinstance(benchmark, TextBenchmark) or benchmark.config.tokenizer is not None:
        return
    replays = isinstance(engine, ScriptedEngine | EmptyEngine)
    if getattr(engine, "tokenizer", None) is None and not replays:
        raise ConfigError(
            "the engine brings no tokenizer, and questions are asked in tokens",
            "give benchmark.tokenizer=DIR, the model's own",
        )


@contextlib.contextmanager
def cached(path: Path | None, config: ComponentConfig | None, engine: Engine) -> Iterator[Engine]:
    """Yield the engine, behind the file of completions where there are both."""
    if path is None or config is None:
        yield engine
        return
    with Completions(path) as completions:
        yield CachedEngine(engine, config.model_dump_json(), completions)


def close_benchmark(benchmark: Benchmark | None) -> None:
    """Free what a benchmark holds, if it holds anything."""
    close = getattr(benchmark, "close", None)
    if close is not None:
        close()


def runner(
    config: EvalConfig | BestConfig, benchmark: Benchmark, engine: Engine, samples: SampleFile
) -> Runner:
    """Return the runner that a configuration asks for."""
    return Runner(
        benchmark,
        engine,
        samples,
        concurrency=config.concurrency,
        retries=config.retries,
        failures=config.failures,
    )


def finish(
    config: CommandConfig, run: RunDir, benchmark: Benchmark, origin: Mapping[str, Any]
) -> EvalRun:
    """Write results and reports of a run whose samples are there.

    `origin` says whose answers these are. Raises `RunError` when tasks are left over.
    """
    found = write_results(config, benchmark, run.path, origin)
    values = {
        name: metric["value"]
        for name, metric in found.results["metrics"].items()
        if metric["value"] is not None
    }
    run.log_metrics(0, values)
    for name in ("report.html", "report.md"):
        write_report([found], run.path / name)
    atomic_write(run.path / "examples.txt", examples_text(found.samples))
    failed = found.results["counts"]["infrastructure_failures"]
    if failed:
        raise RunError(
            f"{failed} of {found.results['counts']['tasks']} tasks could not be evaluated (reasons "
            f"in {run.path / SAMPLES}; most often {_usual_error(found.samples)}); "
            f"{run.path / 'results.json'} covers the others",
            "see that the engine works, then start the same command again: it tries them again",
        )
    return found


def _usual_error(samples: Sequence[Sample]) -> str:
    errors = [each.error for each in samples if each.error is not None]
    told = Counter(f"{error['kind']}: {error['message']}" for error in errors)
    return told.most_common(1)[0][0].splitlines()[0][:300]


def tell(found: EvalRun, run: RunDir) -> None:
    """Say what was found."""
    results = found.results
    run.log(f"{results['label']}: {results['counts']['scored']} tasks scored")
    for metric in results["metrics"].values():
        run.log("  " + _line(metric))
    run.log(f"Report: {found.path / 'report.html'}")


def _line(metric: dict[str, Any]) -> str:
    interval = (
        "" if metric["low"] is None else f" ({_number(metric, 'low')} to {_number(metric, 'high')})"
    )
    value = "-" if metric["value"] is None else _number(metric, "value")
    unit = "%" if metric["unit"] == "share" else metric["unit"]
    return f"{metric['title']:<31} {value:>7} {unit:<4}{interval}, n = {metric['count']:,}"


def _number(metric: dict[str, Any], key: str) -> str:
    value = metric[key]
    return f"{100 * value:.1f}" if metric["unit"] == "share" else f"{value:.4f}"
