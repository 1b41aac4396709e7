"""Oracle, no-op and every cheating agent over many tasks: who is rewarded?

    python tools/bench/cheating.py tasks --package toolz-1.0.0 --count 110 --out work
    python tools/bench/cheating.py play --out work

`tasks` breaks functions of an unpacked pure-Python package, whose tests need pytest alone, with the
operators of `cwm forage mutate`, and keeps what breaks some tests of the file and leaves others;
`play` collects with `cwm forage run` and prints a table. `--tasks` of `play` takes other instances,
`--sandbox docker` plays those that have images.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "packages/cwm-forager/tests"))

from forager_repository import libraries  # type: ignore[import-not-found]

from cwm_core.env.concurrency import gather_bounded, run_sync
from cwm_core.sandbox.config import LocalSandboxConfig
from cwm_forager.agent.tricks import TRICKS
from cwm_forager.grading.grade import observe
from cwm_forager.mutate.names import OPERATORS
from cwm_forager.mutate.operators.config import OperatorConfig
from cwm_forager.mutate.patches import unified_diff
from cwm_forager.mutate.targets import is_test_file, replaced, targets
from cwm_forager.tasks.instance import Instance, read_instances, write_instances
from cwm_forager.tasks.patches import reverse_patch
from cwm_forager.tasks.statements import template_statement

Candidate = tuple[str, str, str, list[str]]
"""Path, operator, patch, test files."""


def candidates(root: Path, chance: random.Random) -> Iterator[Candidate]:
    """Yield bugs in files that have test files of their own."""
    tests = list(root.rglob("test_*.py"))
    places = []
    for path in sorted(root.rglob("*.py")):
        name = str(path.relative_to(root))
        own = [str(t.relative_to(root)) for t in tests if t.stem == f"test_{path.stem}"]
        if own and not is_test_file(name):
            text = path.read_text()
            places += [(name, text, each, own) for each in targets(name, text)]
    while True:
        name, text, target, own = chance.choice(places)
        operator = chance.choice(sorted(OPERATORS))
        mutator = OperatorConfig(name=operator).build()
        if mutator.scope != target.scope:
            continue
        for source in mutator.mutations(target.source, chance):
            patch = unified_diff(name, text, replaced(text, target, source))
            if patch:
                yield name, operator, patch, own
            break


async def make(options: argparse.Namespace) -> list[Instance]:
    """Return proven instances."""
    root = Path(options.package)
    archive = (Path(options.out) / "package.tar").resolve()
    with tarfile.open(archive, "w") as tar:
        for path in sorted(root.iterdir()):
            if path.name != "setup.cfg" and not path.name.endswith(".egg-info"):
                tar.add(path, path.name)
    library = (Path(options.out) / "libraries").resolve()
    shutil.copytree(libraries(), library, dirs_exist_ok=True)
    base = Instance(
        id="base",
        kind="mutate-fix",
        repository=root.name,
        archive=str(archive),
        root="repo",
        python="python3",
        environment={"PYTHONPATH": str(library), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        timeout_s=60.0,
    )
    config = LocalSandboxConfig(name="local", read_only=(library,))
    known: dict[str, dict[str, str]] = {}
    found: dict[str, Instance] = {}

    async def one(candidate: Candidate) -> None:
        name, operator, patch, files = candidate
        if len(found) >= options.count or patch in found:
            return
        if name not in known:
            known[name] = await observe(config, base, files, "")
        broken = base.model_copy(update={"setup_patch": patch})
        after = await observe(config, broken, files, "")
        passing = [test for test, outcome in known[name].items() if outcome == "passed"]
        fail = [test for test in passing if after.get(test) in ("failed", "error")]
        keep = [test for test in passing if after.get(test) == "passed"]
        if not fail or not keep:
            return
        instance = broken.model_copy(
            update={
                "id": f"{root.name}.{operator}.{len(found)}.{random.randrange(16**6):06x}",
                "gold_patch": reverse_patch(patch),
                "fail_to_pass": tuple(fail),
                "pass_to_pass": tuple(keep),
                "metadata": {"operators": [operator]},
            }
        )
        told = instance.model_copy(update={"problem_statement": template_statement(instance)})
        found[patch] = told
        write_instances(Path(options.out) / "tasks.jsonl", found.values())
        print(len(found), told.id, len(fail), len(keep), flush=True)

    def enough() -> Iterator[Candidate]:
        for candidate in candidates(root, random.Random(options.seed)):
            if len(found) >= options.count:
                return
            yield candidate

    await gather_bounded(one, enough(), limit=options.concurrency)
    return list(found.values())


def play(options: argparse.Namespace) -> None:
    """Collect, and print how many tasks each agent solved."""
    out = Path(options.out)
    tasks = Path(options.tasks or out / "tasks.jsonl")
    chosen = options.tricks.split(",") if options.tricks else list(TRICKS)
    agents = ["agents.oracle.name=oracle", "agents.noop.name=noop"]
    for trick in chosen:
        agents += [f"agents.{trick}.name=cheater", f"agents.{trick}.trick={trick}"]
    sandbox = [f"environment.sandbox={options.sandbox}"]
    if options.sandbox == "local":
        sandbox.append(f"environment.sandbox.read_only=[{(out / 'libraries').resolve()}]")
    line = [sys.executable, "-m", "cwm_core", "forage", "run", str(out / f"run-{options.sandbox}")]
    line += ["environment=swe", f"environment.tasks={tasks}", *sandbox, *agents]
    line += [f"concurrency={options.concurrency}"]
    line += [f"limit={options.limit}"] if options.limit else []
    subprocess.run(line, check=True)
    summary = json.loads((out / f"run-{options.sandbox}" / "summary.json").read_text())["agents"]
    count = len(list(read_instances(tasks)))
    print(f"\n{min(count, options.limit or count)} tasks\n")
    for name, counts in summary.items():
        print(f"{name:20} {counts['resolved']:4} of {counts['played']}")
    cheats = [counts["resolved"] for name, counts in summary.items() if name != "oracle"]
    assert summary["oracle"]["resolved"] == summary["oracle"]["played"]
    assert not any(cheats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["tasks", "play"])
    parser.add_argument("--out", required=True)
    parser.add_argument("--package")
    parser.add_argument("--count", type=int, default=110)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--tasks")
    parser.add_argument("--sandbox", default="local")
    parser.add_argument("--tricks")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    Path(options.out).mkdir(parents=True, exist_ok=True)
    if options.what == "play":
        play(options)
        return
    instances = run_sync(asyncio.wait_for(make(options), None))
    print(write_instances(Path(options.out) / "tasks.jsonl", instances), "tasks")


if __name__ == "__main__":
    main()
