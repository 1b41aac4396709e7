"""From an image to validated mutants: record what tests reach, draw, run, keep."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cwm_core.appended import AppendedLines
from cwm_core.atomic import atomic_write
from cwm_core.components import ComponentConfig
from cwm_core.env.concurrency import gather_all, run_sync
from cwm_core.errors import RunError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_core.sandbox.base import SandboxError
from cwm_forager.images.manifest import ImageManifest
from cwm_forager.images.suite import Place, Suite, SuiteLimits
from cwm_forager.mutate.choose import Candidate, Chooser
from cwm_forager.mutate.config import MutateConfig
from cwm_forager.mutate.reach import Reach
from cwm_forager.mutate.records import MUTANTS, MutantRecord
from cwm_forager.mutate.validate import Baseline, Validator, Verdict

TRIED = "tried.jsonl"
"""One line per candidate: its index, operators, and why it is no mutant."""
REACH = ("reach.json", "reach-reversed.json")


def mutate(config: MutateConfig, run: RunDir) -> dict[str, Any]:
    """Make mutants until there are enough; continues after an interruption.

    Writes ``mutants.jsonl`` (`MutantRecord` per line), ``tried.jsonl`` and ``report.json``, whose
    content is returned.

    Raises:
        DataError: there is no manifest.
        RunError: the sandbox cannot be made, the image has no test that passes reliably, or
            nothing in it that the mutators could change.
    """
    return run_sync(_mutate(config, run))


async def _mutate(config: MutateConfig, run: RunDir) -> dict[str, Any]:
    manifest = ImageManifest.read(config.manifest)
    if not manifest.reliable:
        raise RunError(f"no test of {manifest.name} passes in every run", "build the image anew")
    async with suites_of(config, manifest) as suites:
        for suite in suites:
            await suite.install()
        reach, baseline = await baseline_of(manifest, suites, run.path)
        sources = await read_sources(suites[0].sandbox, manifest.workdir, reach)
        chooser = chooser_of(config, sources, reach)
        validators = [Validator(suite, baseline) for suite in suites]
        with _Ledger(run.path, config, manifest) as ledger:
            await _work(config, iter(chooser), validators, ledger)
            if not ledger.next_index:
                names = ", ".join(sorted({each.name for each in config.mutators}))
                raise RunError(
                    f"none of {names} finds anything to break in what the tests of "
                    f"{manifest.name} run",
                    "use other mutators; `cwm plugins mutators` lists them",
                )
            return ledger.report(len(baseline.reliable))


def chooser_of(config: MutateConfig, sources: dict[str, str], reach: Reach) -> Chooser:
    """Return the stream of candidates that a configuration stands for: always the same one."""
    return Chooser(
        sources,
        reach,
        {each.name: (each.build(), getattr(each, "weight", 1.0)) for each in config.mutators},
        seed=config.seed,
        combined=config.combined,
        most=config.most_operators,
    )


@contextlib.asynccontextmanager
async def suites_of(config: MutateConfig, manifest: ImageManifest) -> AsyncIterator[list[Suite]]:
    """Open a sandbox per worker, each with the image's suite; they are deleted at the end."""
    limits = SuiteLimits(test_s=config.test_s)
    async with contextlib.AsyncExitStack() as stack:
        suites = []
        for _ in range(config.workers):
            box = await asyncio.to_thread(sandbox_for(config.sandbox, manifest).build)
            stack.push_async_callback(box.close)
            command = list(manifest.test_command)
            suite = Suite(box, command, manifest.workdir, manifest.environment, limits)
            suites.append(suite)
        yield suites


def sandbox_for(config: ComponentConfig, manifest: ImageManifest) -> ComponentConfig:
    """Return a sandbox's configuration with the image, where it takes one."""
    fields = type(config).model_fields
    wanted = {"image": manifest.image, "workdir": manifest.workdir}
    known = {key: value for key, value in wanted.items() if key in fields}
    return config.model_copy(update=known) if known else config


async def baseline_of(
    manifest: ImageManifest, suites: list[Suite], place: Path
) -> tuple[Reach, Baseline]:
    """Run the suite forwards and backwards while what each test reaches is recorded."""
    saved = place / "baseline.json"
    if not saved.exists():
        runs = [
            _traced(suites[number % len(suites)], place / name, reverse=bool(number))
            for number, name in enumerate(REACH)
        ]
        if len(suites) > 1:
            passed = await gather_all(runs)
        else:
            passed = [await each for each in runs]
        reliable = set(manifest.reliable).intersection(*passed)
        atomic_write(saved, json.dumps(sorted(reliable)))
    reach = Reach()
    for name in REACH:
        reach.add((place / name).read_bytes())
    seconds = {name: test.duration_s for name, test in manifest.tests.items()}
    always = frozenset(json.loads(saved.read_text()))
    return reach, Baseline(always, seconds, tuple(sorted(reach.modules)))


async def _traced(suite: Suite, path: Path, *, reverse: bool) -> set[str]:
    inside = f"{suite.place}/{path.name}"
    report = await suite.run(reach=inside, reverse=reverse)
    try:
        atomic_write(path, await suite.sandbox.read_file(inside))
    except SandboxError as error:
        raise RunError(
            "what tests reach could not be recorded: pytest did not reach its end",
            f"its output ends with: {report.output[-400:]}",
        ) from error
    return {name for name, outcome in report.tests.items() if outcome == "passed"}


async def read_sources(sandbox: Place, workdir: str, reach: Reach) -> dict[str, str]:
    """Return the text of every file that tests reach; files that are no UTF-8 are left out."""
    paths = sorted({path for path, _ in [*reach.tests, *reach.always]})
    found = {}
    for path in paths:
        with contextlib.suppress(SandboxError, UnicodeDecodeError):
            found[path] = (await sandbox.read_file(f"{workdir}/{path}")).decode("utf-8")
    return found


async def _work(
    config: MutateConfig,
    candidates: Iterator[Candidate],
    validators: list[Validator],
    ledger: _Ledger,
) -> None:
    """Validate batches side by side; keep verdicts in the order of the candidates."""
    most = config.candidates or 20 * config.count
    stream = (each for each in islice(candidates, most) if each.index >= ledger.next_index)
    verdicts: dict[int, tuple[Candidate, Verdict]] = {}
    with progress(config.count, "mutate", "mutants") as bar:
        bar.set(ledger.kept)

        async def serve(validator: Validator) -> None:
            while ledger.kept < config.count:
                batch = list(islice(stream, config.batch))
                if not batch:
                    return
                found = await validator.run(batch, full=not config.selection)
                verdicts.update({each.index: (each, v) for each, v in zip(batch, found)})
                while ledger.next_index in verdicts and ledger.kept < config.count:
                    ledger.take(*verdicts.pop(ledger.next_index))
                bar.set(ledger.kept, tried=ledger.next_index)

        await gather_all(serve(validator) for validator in validators)


class _Ledger:
    """What was tried, and what was kept; goes on where an earlier process stopped."""

    def __init__(self, place: Path, config: MutateConfig, manifest: ImageManifest) -> None:
        self._config, self._manifest = config, manifest
        self._mutants = AppendedLines(place / MUTANTS)
        self._tried = AppendedLines(place / TRIED)
        self._place = place
        self.next_index = 0
        self.kept = 0

    def __enter__(self) -> _Ledger:
        self._mutants.__enter__()
        self._tried.__enter__()
        tried = _lines(self._place / TRIED)
        kept = _lines(self._place / MUTANTS)
        self.next_index, self.kept = len(tried), sum(not line["reason"] for line in tried)
        if len(kept) > self.kept:  # killed between the two lines
            self._tried.write(_tried_line(self.next_index, kept[-1]["operators"], "", 0.0, 0))
            self.next_index, self.kept = self.next_index + 1, len(kept)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._mutants.__exit__(None, None, None)
        self._tried.__exit__(None, None, None)

    def take(self, candidate: Candidate, verdict: Verdict) -> None:
        """Write down what became of a candidate."""
        if verdict.valid:
            self._mutants.write(self._record(candidate, verdict).model_dump(mode="json"))
            self._mutants.flush()
            self.kept += 1
        self._tried.write(
            _tried_line(
                candidate.index,
                candidate.operators,
                verdict.reason,
                verdict.duration_s,
                verdict.tests_run,
            )
        )
        self._tried.flush()
        self.next_index += 1

    def _record(self, candidate: Candidate, verdict: Verdict) -> MutantRecord:
        manifest = self._manifest
        name = manifest.name.replace("/", "__")
        operators = "+".join(candidate.operators)
        return MutantRecord(
            mutant_id=f"{name}.{manifest.commit[:8]}.{operators}.{candidate.hash}",
            name=manifest.name,
            commit=manifest.commit,
            image=manifest.image,
            operators=candidate.operators,
            patch=candidate.patch,
            paths=(candidate.path,),
            functions=candidate.functions,
            fail_to_pass=verdict.fail_to_pass,
            pass_to_pass=verdict.pass_to_pass,
            not_run=verdict.not_run,
            tests_run=verdict.tests_run,
            duration_s=verdict.duration_s,
            seed=self._config.seed,
            explanation=candidate.explanation,
        )

    def report(self, reliable: int) -> dict[str, Any]:
        """Write and return ``report.json``."""
        tried, kept = _lines(self._place / TRIED), _lines(self._place / MUTANTS)
        reasons = Counter(line["reason"].partition(":")[0] or "kept" for line in tried)
        report = {
            "kept": len(kept),
            "tried": len(tried),
            "reasons": dict(reasons.most_common()),
            "operators": dict(Counter(op for line in kept for op in line["operators"])),
            "reliable_tests": reliable,
            "tests_run_on_average": round(
                sum(line["tests_run"] for line in tried) / max(1, len(tried)), 1
            ),
        }
        atomic_write(self._place / "report.json", json.dumps(report, indent=2) + "\n")
        return report


def _tried_line(
    index: int, operators: Any, reason: str, seconds: float, tests: int
) -> dict[str, Any]:
    return {
        "index": index,
        "operators": list(operators),
        "reason": reason,
        "seconds": seconds,
        "tests_run": tests,
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]
