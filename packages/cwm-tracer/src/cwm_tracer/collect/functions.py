"""From functions to shards of traces: find them, choose inputs for them, record them."""

from __future__ import annotations

import atexit
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cwm_core.appended import AppendedEntries
from cwm_core.atomic import atomic_write
from cwm_core.errors import ConfigError, RunError
from cwm_core.plugins import ComponentConfig
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_tracer.capture.limits import Limits
from cwm_tracer.collect.config import DropConfig
from cwm_tracer.collect.function_finder import Function, find_functions
from cwm_tracer.collect.functions_config import FunctionsConfig
from cwm_tracer.collect.journal import Journal
from cwm_tracer.collect.pipeline import collect_programs, executor_of
from cwm_tracer.collect.recording import drop_reason, tracer_of
from cwm_tracer.inputs.budget import Budget
from cwm_tracer.inputs.choice import Choice, choose
from cwm_tracer.inputs.generator import InputGenerator
from cwm_tracer.inputs.given import with_given
from cwm_tracer.programs.program import Program

OTHER_SEED = 1
"""Hash seed of the second execution, by which what is not deterministic shows."""


def collect_functions(config: FunctionsConfig, run: RunDir) -> dict[str, Any]:
    """Do all that is not done yet; return (and write) the summary.

    Functions and chosen inputs are written to ``inputs.jsonl`` as they are chosen, so a run that
    was stopped or killed goes on after the last ones.

    Raises:
        CwmError: a source cannot be read, the disk refuses, or workers keep dying.
    """
    _check(config)
    found = find_functions(config)
    with Journal(run.path / "dropped.jsonl") as journal, Choices(run.path / "inputs.jsonl") as log:
        for where, reason in found.skipped:
            journal.add(where, reason)
        _choose_all(config, found.functions, log, journal)
        chosen = log.choices
    programs = [
        replace(function.program, inputs=chosen[function.program.id].inputs)
        for function in found.functions
        if function.program.id in chosen and chosen[function.program.id].inputs
    ]
    summary = collect_programs(config, run, programs, benchmark=found.benchmark)
    summary["functions"] = len(found.functions)
    summary["inputs"] = _of_choices(chosen.values())
    atomic_write(run.path / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


class Choices(AppendedEntries):
    """The chosen inputs by program id, as JSON lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.choices: dict[str, Choice] = {}

    def add(self, program: Program, choice: Choice) -> None:
        """Append the choice for one function."""
        fields = {"program_id": program.id, "function": program.origin, **asdict(choice)}
        self.append(fields)

    def _take(self, entry: dict[str, Any]) -> None:
        fields = {name: entry[name] for name in Choice.__slots__}
        self.choices[entry["program_id"]] = Choice(**{**fields, "inputs": tuple(fields["inputs"])})


@dataclass(frozen=True, slots=True)
class ChooseBatch:
    """Chooses inputs for a batch of functions in a worker; picklable."""

    tracer: ComponentConfig
    limits: Limits
    drop: DropConfig
    generators: tuple[ComponentConfig, ...]
    budget: Budget
    seed: int
    deterministic: bool

    def __call__(self, batch: list[Function]) -> list[Choice]:
        """Choose for every function of a batch, in order."""
        return [self._choose(function) for function in batch]

    def _choose(self, function: Function) -> Choice:
        twin = self.tracer.model_copy(update={"hash_seed": OTHER_SEED})
        return choose(
            function.callee,
            with_given(function.program.inputs, _generators_of(self.generators)),
            tracer_of(self.tracer, self.limits),
            tracer_of(twin, self.limits) if self.deterministic else None,
            self.budget,
            self.seed,
            lambda record: drop_reason(record, self.drop),
        )


def _choose_all(
    config: FunctionsConfig, functions: list[Function], log: Choices, journal: Journal
) -> None:
    todo = [function for function in functions if function.program.id not in log.choices]
    size = config.inputs_batch
    batches = [todo[start : start + size] for start in range(0, len(todo), size)]
    work = ChooseBatch(
        *(config.tracer, config.limits, config.drop, tuple(config.generators)),
        *(config.budget, config.seed, config.deterministic),
    )
    done = failed = 0
    with executor_of(config) as executor, progress(len(todo), "inputs", "fn") as bar:
        for result in executor.map(work, batches):
            batch = batches[result.index]
            if result.error is not None:
                failed += len(batch)
                for function in batch:
                    journal.add(function.program.id, "worker failed", "", result.error.message)
                _check_alive(done, failed, str(result.error.message))
            for function, choice in zip(batch, result.value or (), strict=False):
                done += 1
                log.add(function.program, choice)
                if not choice.inputs:
                    journal.add(function.program.origin, "no inputs", "", choice.reason)
            log.flush()
            journal.flush()
            bar.set(done + failed)


def _check_alive(done: int, failed: int, message: str) -> None:
    if not done and failed > 20:
        raise RunError(f"no inputs can be chosen: {message}", "try one generator at a time")


def _check(config: FunctionsConfig) -> None:
    if config.deterministic and "hash_seed" not in type(config.tracer).model_fields:
        raise ConfigError(
            f"tracer '{config.tracer.name}' takes no hash seed, so it cannot tell what differs",
            "set deterministic=false, or use tracer=settrace",
        )
    names = [generator.name for generator in config.generators]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"generators={names} must name each generator once", "see `cwm plugins`")


_generators: dict[str, dict[str, InputGenerator]] = {}


def _generators_of(configs: Iterable[ComponentConfig]) -> Mapping[str, InputGenerator]:
    """Return this process's generators, which live as long as the process."""
    configs = list(configs)
    key = json.dumps([config.model_dump(mode="json") for config in configs])
    if key not in _generators:
        _generators[key] = {config.name: config.build() for config in configs}
        for generator in _generators[key].values():
            close = getattr(generator, "close", None)
            if close is not None:
                atexit.register(close)
    return _generators[key]


def _of_choices(choices: Iterable[Choice]) -> dict[str, Any]:
    """Sum up what was tried and what became of it."""
    dropped: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    tried = 0
    for choice in choices:
        tried += choice.tried
        dropped.update(choice.dropped)
        kept.update(choice.by_generator)
    return {
        "tried": tried,
        "kept": sum(kept.values()),
        "kept_by_generator": dict(kept.most_common()),
        "dropped": dict(dropped.most_common()),
    }
