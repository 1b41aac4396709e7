"""`cwm eval best`: choices among the answers of a finished run, from configuration to report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cwm_core.components import ComponentConfig
from cwm_core.engine.base import Engine
from cwm_core.env.environment import Task
from cwm_core.errors import ConfigError, DataError
from cwm_core.plugins import registry
from cwm_core.progress import progress
from cwm_core.rundir import open_run
from cwm_core.text.special_tokens import FRAME_SEP, RETURN_SEP, TRACE_CONTEXT_START
from cwm_eval.benchmarks.base import Benchmark
from cwm_eval.benchmarks.graded_code import ProgramEnvironment
from cwm_eval.benchmarks.shown_tests import as_call
from cwm_eval.benchmarks.text_benchmark import TextBenchmark
from cwm_eval.config import BestConfig
from cwm_eval.engines import EmptyEngine
from cwm_eval.evaluate import cached, close_benchmark, finish, runner, tell
from cwm_eval.results import SAMPLES, EvalRun, load_run
from cwm_eval.samples import SampleFile
from cwm_eval.scaling import generated_tests
from cwm_eval.scaling.choosing import Choosing, ChosenPatches, ChosenPrograms
from cwm_eval.scaling.metrics import usual_ks
from cwm_eval.scaling.problems import Problem, read_problems

COMPLETIONS = "completions.jsonl"


def best(config: BestConfig) -> EvalRun:
    """Choose among the answers of `config.run`, or continue doing so; return the finished run.

    Writes what `evaluate` writes. Raises `DataError` for a run with nothing to choose from,
    `ConfigError` for a benchmark without programs or patches, or where nothing could guide a
    choice, and `RunError` as `evaluate`.
    """
    source = load_run(config.run)
    with open_run(config.out, "eval best", config) as run:
        if run.is_done:
            found = load_run(config.out)
        else:
            benchmark = asyncio.run(_choose(config, source, run.path))
            found = finish(config, run, benchmark, _origin(config, source))
    tell(found, run)
    return found


def _origin(config: BestConfig, source: EvalRun) -> dict[str, Any]:
    """Say what was chosen from, and whose tests or predictions helped."""
    helper = "" if config.engine is None else f", helped by {config.engine.name}"
    return {
        "label": config.label or f"choices among {source.results['label']}",
        "benchmark": source.results["benchmark"],
        "out_of_distribution": source.results.get("out_of_distribution", False),
        "engine": f"{source.results.get('engine')}{helper}",
        "train_run": source.results.get("train_run"),
    }


async def _choose(config: BestConfig, source: EvalRun, out: Path) -> Benchmark:
    problems = read_problems(source)
    ks = _ks(config, problems)
    engine = _engine(config)
    benchmark: Choosing | None = None
    try:
        benchmark = _benchmark(config, source, problems, ks, engine)
        with (
            cached(config.cache or out / COMPLETIONS, config.engine, engine) as asked,
            SampleFile(out / SAMPLES) as samples,
            progress(benchmark.count(), "choosing", "problems") as shown,
        ):
            await runner(config, benchmark, asked, samples).run(shown)
    finally:
        await engine.close()
        close_benchmark(benchmark)
    return benchmark


def _engine(config: BestConfig) -> Engine:
    wanted = bool(config.generate or config.verify)
    if config.engine is None and wanted:
        raise ConfigError("generate and verify ask a model", "give engine=...")
    if config.engine is None:
        return EmptyEngine()
    if not wanted:
        raise ConfigError(
            "there is nothing to ask the engine",
            "generate=8 lets it write tests, verify=true lets it predict executions",
        )
    engine: Engine = config.engine.build()
    return engine


def _ks(config: BestConfig, problems: Sequence[Problem]) -> tuple[int, ...]:
    most = max(len(problem.results) for problem in problems)
    if config.ks and min(config.ks) > most:
        raise ConfigError(
            f"ks={list(config.ks)}, but no problem has more than {most} answers", "give smaller ks"
        )
    return config.ks or usual_ks(most)


def _benchmark(
    config: BestConfig,
    source: EvalRun,
    problems: Sequence[Problem],
    ks: Sequence[int],
    engine: Engine,
) -> Choosing:
    if source.results["benchmark"] == "swebench":
        if config.generate or config.verify or config.tests is not None:
            raise ConfigError(
                "patches are not run here",
                "put the results of generated tests into the samples, as generated_tests",
            )
        return ChosenPatches(problems, ks)
    asking = _rebuilt(config, source, engine)
    try:
        return _programs(config, asking, problems, ks, engine)
    except BaseException:
        asking.close()
        raise


def _rebuilt(config: BestConfig, source: EvalRun, engine: Engine) -> TextBenchmark:
    """Build the benchmark that the run answered."""
    fields = dict(source.results["config"].get("benchmark") or {})
    name = fields.pop("name", source.results["benchmark"])
    if config.data is not None:
        fields["data"] = config.data
    if config.tokenizer is not None:
        fields["tokenizer"] = config.tokenizer
    made: ComponentConfig = registry().make("benchmarks", name, **fields)
    tokenizer = getattr(engine, "tokenizer", None)
    asks = config.engine is not None
    if asks and tokenizer is None and getattr(made, "tokenizer", None) is None:
        raise ConfigError("the engine brings no tokenizer", "give tokenizer=DIR")
    built = made.build(tokenizer=tokenizer)
    if isinstance(built, TextBenchmark) and isinstance(built.environment, ProgramEnvironment):
        return built
    close_benchmark(built)
    raise ConfigError(
        f"{name} asks for no programs, so there is nothing to run",
        "the majority of its answers is in the run's results.json",
    )


def _programs(
    config: BestConfig,
    asking: TextBenchmark,
    problems: Sequence[Problem],
    ks: Sequence[int],
    engine: Engine,
) -> ChosenPrograms:
    environment = asking.environment
    assert isinstance(environment, ProgramEnvironment)
    tasks = {task.id: task for task in environment.tasks(asking.config.split)}
    strangers = [problem.id for problem in problems if problem.id not in tasks]
    if strangers:
        raise DataError(
            f"{len(strangers)} problems of the run are not in its data, such as {strangers[0]!r}",
            "give the data that were evaluated as data=...",
        )
    asked = [tasks[problem.id] for problem in problems]
    given = {}
    if config.tests is not None:
        given = generated_tests.read_file(config.tests, environment, asked)
    _check_guides(config, environment, asked)
    if config.verify:
        _check_verifying(asking, environment, asked)
    return ChosenPrograms(config, asking, tasks, given, problems, ks)


def _check_guides(
    config: BestConfig, environment: ProgramEnvironment, tasks: Sequence[Task]
) -> None:
    if config.generate or config.verify or config.tests is not None:
        return
    hint = "give tests=FILE, or engine=... with generate=8 or verify=true"
    if not config.existing:
        raise ConfigError("there are no tests to choose by", hint)
    if not any(environment.shown_tests(task) for task in tasks):
        raise ConfigError("the questions show no tests, so there are none to choose by", hint)


def _check_verifying(
    asking: TextBenchmark, environment: ProgramEnvironment, tasks: Sequence[Task]
) -> None:
    missing = {FRAME_SEP, RETURN_SEP, TRACE_CONTEXT_START} - asking.tokenizer.special_ids.keys()
    if missing:
        raise ConfigError(
            f"the engine's tokenizer has no {min(missing)}, so it predicts no executions",
            "verify=true needs a code world model",
        )
    for task in tasks:
        entry = environment.entry(task)
        if any(as_call(test.name, entry) for test in environment.shown_tests(task)):
            return
    raise ConfigError(
        "no question shows a call with its value, so there is nothing to predict",
        "leave verify away",
    )
