"""Mutants of an image: how many valid ones per minute, and what test selection saves and risks.

    python tools/bench/mutants.py runs/images/boltons --count 200 --out runs/mutants-bench

makes mutants with test selection, then runs every reliable test on each of them once more, and
compares: time per mutant, and every fail-to-pass and pass-to-pass list. Candidates that were turned
down for want of a failing test are run in full, too (``--rejected`` of them): a selection that
leaves out a test that fails would show there. Needs a Docker engine and the image of the manifest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

from cwm_core.rundir import open_run
from cwm_forager.images.manifest import ImageManifest
from cwm_forager.mutate.choose import Candidate
from cwm_forager.mutate.config import MutateConfig
from cwm_forager.mutate.pipeline import (
    TRIED,
    baseline_of,
    chooser_of,
    mutate,
    read_sources,
    suites_of,
)
from cwm_forager.mutate.records import MutantRecord, read_mutants
from cwm_forager.mutate.validate import Validator, Verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rejected", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    options = {key: value for key, value in vars(given).items() if key != "rejected"}
    config = MutateConfig.model_validate(options)
    started = time.perf_counter()
    with open_run(config.out, "forage mutate", config) as run:
        report = None if run.is_done else mutate(config, run)
    took = time.perf_counter() - started
    print(json.dumps({"made_s": round(took, 1), "report": report}, indent=2))
    print(json.dumps(asyncio.run(in_full(config, given.rejected)), indent=2))


async def in_full(config: MutateConfig, rejected: int) -> dict[str, Any]:
    """Run the same candidates with every reliable test, and compare."""
    manifest = ImageManifest.read(config.manifest)
    records = {record.patch: record for record in read_mutants(config.out)}
    tried = [json.loads(line) for line in (config.out / TRIED).read_text().splitlines()]
    async with suites_of(config, manifest) as suites:
        for suite in suites:
            await suite.install()
        reach, baseline = await baseline_of(manifest, suites, config.out)
        sources = await read_sources(suites[0].sandbox, manifest.workdir, reach)
        chooser = chooser_of(config, sources, reach)
        candidates = list(islice(chooser, len(tried)))
        silent = [c for c in candidates if tried[c.index]["reason"] == "no test fails"][:rejected]
        kept = [c for c in candidates if c.patch in records]
        validators = [Validator(suite, baseline) for suite in suites]
        verdicts = await _run(validators, [*kept, *silent], config.batch)
    return _compared(kept, silent, records, tried, verdicts)


async def _run(
    validators: list[Validator], candidates: list[Candidate], batch: int
) -> dict[int, Verdict]:
    stream = iter(candidates)
    found: dict[int, Verdict] = {}

    async def serve(validator: Validator) -> None:
        while wanted := list(islice(stream, batch)):
            verdicts = await validator.run(wanted, full=True)
            found.update({c.index: v for c, v in zip(wanted, verdicts, strict=True)})

    await asyncio.gather(*[serve(validator) for validator in validators])
    return found


def _compared(
    kept: list[Candidate],
    silent: list[Candidate],
    records: dict[str, MutantRecord],
    tried: list[dict[str, Any]],
    verdicts: dict[int, Verdict],
) -> dict[str, Any]:
    wrong: list[dict[str, Any]] = []
    for candidate in kept:
        record, full = records[candidate.patch], verdicts[candidate.index]
        same = record.fail_to_pass == full.fail_to_pass
        if not same or record.pass_to_pass != full.pass_to_pass:
            wrong.append({"mutant": record.mutant_id, "full": full.reason or "other lists"})
    wrong += [
        {"candidate": c.index, "full": "fails tests that were not selected"}
        for c in silent
        if verdicts[c.index].fail_to_pass
    ]
    both = [*kept, *silent]
    selected_s = sum(tried[c.index]["seconds"] for c in both)
    full_s = sum(verdicts[c.index].duration_s for c in both)
    return {
        "mutants": len(kept),
        "rejected_compared": len(silent),
        "operators": len({name for c in kept for name in c.operators}),
        "selected_s": round(selected_s, 1),
        "full_s": round(full_s, 1),
        "ratio": round(full_s / max(selected_s, 1e-9), 2),
        "wrong": wrong,
    }


if __name__ == "__main__":
    main()
