"""From a tiny repository to mutants: recorded, drawn, run in forks, kept; stopped, killed, resumed.

The sandbox is a third party's: the local one with the repository in it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forager_repository import archive, libraries
from model_server import ModelServer, running
from small_library import LIBRARY, TESTS

from cwm_core.config import compose
from cwm_core.engine.base import EngineError
from cwm_core.errors import ConfigError, DataError, RunError
from cwm_core.rundir import open_run
from cwm_core.sandbox import bubblewrap, leftovers
from cwm_core.text.tokenizer import train_bpe
from cwm_forager.images.manifest import ImageManifest, TestRecord
from cwm_forager.mutate.config import MutateConfig
from cwm_forager.mutate.pipeline import mutate
from cwm_forager.mutate.records import MutantRecord, read_mutants

pytestmark = pytest.mark.skipif(
    bubblewrap.why_not() is not None, reason=f"no isolation here: {bubblewrap.why_not()}"
)
NAMES = [f"tests/test_lib.py::test_{name}" for name in ("biggest", "same", "total")]
WORKDIR = "/workspace/repository"
PLUGIN = '''
from pathlib import Path
from cwm_core.env.concurrency import run_sync
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Component
from cwm_core.sandbox.config import LocalSandboxConfig

class SeededConfig(LocalSandboxConfig):
    """The local sandbox with files in it."""

    seed: Path
    """A tar file."""

    def build(self, snapshot=None):
        box = super().build(snapshot)
        line = ["tar", "-xf", "-"]
        done = run_sync(box.exec(line, 60, stdin=self.seed.read_bytes()))
        assert done.exit_code == 0, done.stderr
        return box

@hookimpl
def cwm_sandboxes():
    return [Component("seeded", "seeded_sandbox.plugin:SeededConfig", "Local, with files.")]
'''


@pytest.fixture
def line(tmp_path: Path, make_plugin: Any) -> list[str]:
    """What follows ``cwm forage mutate``, but for the run directory: manifest and settings."""
    make_plugin("seeded-sandbox", {"seeded_sandbox.plugin": PLUGIN}, "seeded_sandbox.plugin")
    files = {"repository/lib.py": LIBRARY, "repository/tests/test_lib.py": TESTS}
    archive(tmp_path / "seed.tar", files)
    with tarfile.open(tmp_path / "seed.tar", "a") as tar:
        tar.add(libraries(), "libraries", filter=lambda it: None if "pygments" in it.name else it)
    ImageManifest(
        name="tiny",
        source="tiny",
        commit="0" * 40,
        image="tiny:1",
        image_id="x",
        base="b",
        base_id="y",
        strategy="heuristic",
        script="",
        test_command=("python3", "-m", "pytest"),
        workdir=WORKDIR,
        environment={"PYTHONPATH": "/workspace/libraries", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        tests={name: TestRecord(outcomes=("passed", "passed"), duration_s=0.01) for name in NAMES},
    ).write(tmp_path / "image")
    return [
        f"manifest={tmp_path / 'image'}",
        "sandbox=seeded",
        f"sandbox.seed={tmp_path / 'seed.tar'}",
        "combined=0",
        "batch=2",
    ]


def make(
    line: list[str], out: Path, *more: str, config: Path | None = None
) -> tuple[dict[str, Any], list[MutantRecord]]:
    settings = compose("forage mutate", MutateConfig, [*line, f"out={out}", *more], config)
    with open_run(out, "forage mutate", settings) as opened:
        report = mutate(settings, opened)
    return report, list(read_mutants(out))


def failing(directory: Path, record: MutantRecord) -> set[str]:
    """Run the whole suite on a mutant, by git and pytest alone; return the tests that fail."""
    (directory / "tests").mkdir(parents=True)
    (directory / "lib.py").write_text(LIBRARY)
    (directory / "tests/test_lib.py").write_text(TESTS)
    apply = ["git", "apply", "-"]
    subprocess.run(apply, input=record.patch, text=True, cwd=directory, check=True)
    run = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "tests"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [*run, f"--rootdir={directory}"],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    words = [each.split() for each in done.stdout.splitlines()]
    outcomes = {each[1]: each[0] for each in words if each and each[0] in ("PASSED", "FAILED")}
    assert sorted(outcomes) == NAMES, done.stdout
    return {name for name, outcome in outcomes.items() if outcome == "FAILED"}


def test_lists_hold_in_a_second_full_run(line: list[str], tmp_path: Path) -> None:
    """Selection runs less than everything, and what it says is what a full run says."""
    report, found = make(line, tmp_path / "out", "count=5")
    assert report["kept"] == len(found) == 5
    assert report["reliable_tests"] == 3
    assert report == json.loads((tmp_path / "out/report.json").read_text())
    for number, record in enumerate(found):
        (function,) = record.functions
        assert function != "unreached"
        assert record.fail_to_pass == (f"tests/test_lib.py::test_{function}",)
        assert sorted({*record.fail_to_pass, *record.pass_to_pass}) == NAMES
        assert failing(tmp_path / f"again-{number}", record) == {*record.fail_to_pass}
    full_report, full = make(line, tmp_path / "full", "count=5", "selection=false", "workers=1")
    assert [(r.patch, r.fail_to_pass) for r in full] == [(r.patch, r.fail_to_pass) for r in found]
    assert report["tests_run_on_average"] < full_report["tests_run_on_average"] == 3.0


def start(line: list[str], directory: Path, *more: str) -> subprocess.Popen[str]:
    manifest = line[0].removeprefix("manifest=")
    words = ["forage", "mutate", manifest, "out", *line[1:], *more]
    (directory / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cwm_core", *words],
        cwd=directory,
        env={**os.environ, "TMPDIR": str(directory / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def own_leftovers(tmp_path: Path) -> Iterator[Callable[[], list[Path]]]:
    """Where killed commands leave their sandboxes, which are deleted in the end."""

    def find() -> list[Path]:
        return list((tmp_path / "tmp").glob(f"{leftovers.SANDBOX}*"))

    yield find
    for path in find():
        leftovers.remove(path)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def once_tried(process: subprocess.Popen[str], path: Path, count: int) -> None:
    while lines(path) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def test_stopped_and_killed_runs_go_on(
    line: list[str], tmp_path: Path, own_leftovers: Callable[[], list[Path]]
) -> None:
    tried, more = tmp_path / "out/tried.jsonl", ("count=6", "batch=1", "seed=3")
    with start(line, tmp_path, *more) as process:
        once_tried(process, tried, 1)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=200)[0]
    assert (
        process.returncode,
        json.loads((tmp_path / "out/status.json").read_text())["state"],
    ) == (
        130,
        "stopped",
    ), output
    assert "never retrieved" not in output
    assert "Traceback" not in output
    assert own_leftovers() == []
    seen = lines(tried)
    with start(line, tmp_path, *more) as process:
        once_tried(process, tried, seen + 1)
        process.kill()
    assert own_leftovers()
    with start(line, tmp_path, *more) as process:
        output = process.communicate(timeout=200)[0]
    assert process.returncode == 0, output
    entries = [json.loads(each) for each in tried.read_text().splitlines()]
    assert [each["index"] for each in entries] == list(range(len(entries)))
    _, whole = make(line, tmp_path / "whole", *more)
    found = list(read_mutants(tmp_path / "out"))
    assert [each.mutant_id for each in found] == [each.mutant_id for each in whole]
    assert len(found) == 6


def test_what_a_repository_cannot_give(line: list[str], tmp_path: Path, cwm_cli: Any) -> None:
    """Fewer mutants than asked for are no error; none at all is one."""
    manifest = line[0].removeprefix("manifest=")
    few = cwm_cli("forage", "mutate", manifest, "few", *line[1:], "mutators=[remove_loop]")
    assert few.returncode == 0, few.stderr
    assert "not 100" in few.stdout
    assert {each.functions for each in read_mutants(tmp_path / "few")} == {("total",), ("biggest",)}
    with pytest.raises(RunError, match="none of remove_base finds"):
        make(line, tmp_path / "none", "mutators=[remove_base]")


def test_bad_input(line: list[str], tmp_path: Path) -> None:
    absent = f"manifest={tmp_path / 'no-such-place'}"
    with pytest.raises(DataError, match="no-such-place"):
        make([*line, absent], tmp_path / "none", "count=1")
    for wrong in ("mutators=[no_such]", "mutators=[]", "count=0"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            make(line, tmp_path / "none", wrong)


def rewritten(prompt: str) -> str:
    """Break `total`; refuse everything else."""
    if "def total" not in prompt:
        return "I would rather not."
    source = LIBRARY.partition("\n\n\n")[0].replace("result = 0", "result = 1")
    return f"EXPLANATION: the sum starts too high\n```python\n{source}\n```"


def test_a_model_behind_a_server_writes_bugs(line: list[str], tmp_path: Path) -> None:
    few = ("count=1", "batch=1", "workers=1")
    tokenizer = train_bpe([LIBRARY] * 20, 700)
    tokenizer.save(tmp_path / "tokenizer")
    with running(ModelServer(tokenizer, rewritten, {0: "fail", 1: "cut"})) as server:
        model = {
            "name": "llm_rewrite",
            "tokenizer": str(tmp_path / "tokenizer"),
            "engine": {"name": "openai", "base_url": server.url},
        }
        config = tmp_path / "model.yaml"
        config.write_text(json.dumps({"mutators": [model]}))
        _, (record,) = make(line, tmp_path / "out", *few, config=config)
    assert server.had == ["fail", "cut"]
    assert record.operators == ("llm_rewrite",)
    assert record.fail_to_pass == ("tests/test_lib.py::test_total",)
    assert record.explanation == "the sum starts too high"
    model["engine"] |= {"base_url": "http://127.0.0.1:9/v1", "retries": 0}
    config.write_text(json.dumps({"mutators": [model]}))
    with pytest.raises(EngineError, match="cannot reach"):
        make(line, tmp_path / "down", *few, config=config)
