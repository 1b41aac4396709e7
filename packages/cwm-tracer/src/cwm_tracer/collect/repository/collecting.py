"""The collector of `cwm trace tests`: test files to workers to shards."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.data import records
from cwm_core.data.shards import ShardWriter, read_shards
from cwm_core.errors import RunError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_tracer.collect.journal import Journal
from cwm_tracer.collect.pipeline import executor_of, summary_of
from cwm_tracer.collect.repository.config import TestsConfig
from cwm_tracer.collect.repository.ledger import Ledger
from cwm_tracer.collect.repository.listing import function_source
from cwm_tracer.collect.repository.outcomes import COLLECT_ERROR, Outcomes
from cwm_tracer.collect.repository.repository import pack
from cwm_tracer.collect.repository.session import Session
from cwm_tracer.collect.repository.unit import FileResult, RunTestFile
from cwm_tracer.collect.sides import Sides
from cwm_tracer.programs.program import Program

_Side = tuple[str, str | None]


def collect_tests(config: TestsConfig, run: RunDir) -> dict[str, Any]:
    """Run the test files that were not run yet; return (and write) the summary.

    Raises:
        CwmError: the repository cannot be read or tested, the disk refuses, or every test file
            fails.
    """
    archive = _archive(config, run)
    with contextlib.closing(Session(config, archive.read_bytes())) as session:
        collected = session.collect()
        index = session.index()
    for path, reason in index["files"]["refused"].items():
        run.log(f"not traced: {path}: {reason}")
    writer = ShardWriter(
        run.path / "traces", records.TRACE_SCHEMA, rows_per_shard=config.rows_per_shard
    )
    sides = _sides(config, index)
    with writer, Journal(run.path / "dropped.jsonl") as journal, Ledger(run.path) as ledger:
        files = [file for file in _files(collected) if file not in ledger.files]
        collector = _Collector(config, writer, journal, ledger, sides)
        function = RunTestFile(config, archive.resolve())
        with executor_of(config) as executor, progress(len(files), "test", "file") as bar:
            for result in executor.map(function, files, key=str):
                if result.error is not None:
                    collector.lost(result.key, result.error.message)
                if result.value is not None:
                    collector.take(result.value)
                bar.advance(traces=collector.new)
        writer.finish()
        collector.complain()
        summary = summary_of(writer.directory if writer.rows else None, journal)
        summary |= ledger.summary()
        atomic_write(run.path / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


class _Collector:
    """Files what comes back: shards, provenance, and what was left out."""

    def __init__(
        self,
        config: TestsConfig,
        writer: ShardWriter,
        journal: Journal,
        ledger: Ledger,
        sides: Mapping[str, _Side],
    ) -> None:
        self.new = 0
        self._limit = config.sampling.per_function
        self._writer = writer
        self._journal = journal
        self._ledger = ledger
        self._sides = sides
        self._done = writer.done_keys("trace_id") | journal.ids
        self._of_program: Counter[str] = Counter()
        for row in read_shards(writer.directory, ["program_id"]) if writer.rows else ():
            self._of_program[row["program_id"]] += 1
        self._failed: list[str] = []

    def take(self, result: FileResult) -> None:
        """File the traces of a test file; only then is the file done."""
        counts = Counter(result.counts)
        for found in result.found:
            name, record = found.recorded.trace_id, found.recorded
            if name in self._done:
                counts["duplicate"] += 1
                continue
            self._done.add(name)
            if record.row is None or found.trace is None:
                self._journal.add(name, record.dropped or "", record.outcome, record.reason)
            elif (refusal := self._refusal(record.row)) is not None:
                self._journal.add(name, refusal)
            else:
                self._writer.write(
                    {**record.row, "split": self._sides[record.row["program_id"]][0]}
                )
                self._of_program[record.row["program_id"]] += 1
                self._ledger.trace(found.trace.provenance)
                self.new += 1
        self._writer.flush()
        self._journal.flush()
        self._ledger.file(result, counts)

    def lost(self, file: str, message: str) -> None:
        """Note a test file whose worker raised or died; the others go on."""
        self._failed.append(f"{file}: {message}")
        self._ledger.failure(file, message)

    def complain(self) -> None:
        """Raise if no test file could be run at all."""
        if self._failed and not self._ledger.files:
            raise RunError(f"every test file fails; {self._failed[0]}")

    def _refusal(self, row: Mapping[str, Any]) -> str | None:
        program = row["program_id"]
        objection = self._sides[program][1]
        if objection is not None:
            return objection
        enough = self._limit is not None and self._of_program[program] >= self._limit
        return "enough of this function" if enough else None


def _archive(config: TestsConfig, run: RunDir) -> Path:
    """Return the archive in the run directory, which later starts and all workers read."""
    path = run.path / "repository.tar"
    if not path.exists():
        atomic_write(path, pack(config.repository, config.revision))
    return path


def _files(collected: Outcomes) -> list[str]:
    """Return the test files, in the order of their tests."""
    names = [*collected.collected]
    names += [name for name, text in collected.tests.items() if text == COLLECT_ERROR]
    return list(dict.fromkeys(name.partition("::")[0] for name in names))


def _sides(config: TestsConfig, index: Mapping[str, Any]) -> dict[str, _Side]:
    """Return the side of each function by its id, and the objection to it, if any."""
    by_function = config.split.side in ("auto", "fractions")
    sides = Sides(config.split, by_function, config.exclude_traces)
    programs = {program.id: program for program in _functions(index)}
    sides.look_ahead(programs.values())
    return {
        program.id: (side, objection)
        for program, side, objection in sides.assign(programs.values())
    }


def _functions(index: Mapping[str, Any]) -> Iterator[Program]:
    for name, described in index.items():
        if name == "files":
            continue
        functions: Iterable[tuple[int, str, int]] = described["functions"]
        for _, qualname, line in functions:
            yield Program.of(function_source(described, line), qualname, ())
