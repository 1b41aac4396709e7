"""Hangs become errors that name who waits for whom; dead processes are started again."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rl_world import CoinConfig, rl_config

from cwm_core.errors import DataError, RunError
from cwm_core.rundir import open_run
from cwm_rl.board.beacon import Beacon, Sign, load_newest, read_sign
from cwm_rl.board.files import Progress, Published, RunFiles
from cwm_rl.processes import child as child_module
from cwm_rl.processes.child import Child
from cwm_rl.processes.supervisor import Supervisor
from cwm_rl.processes.watchdog import culprit, describe, hang_error
from cwm_rl.train_config import RlConfig, WatchdogConfig
from cwm_rl.trainer.metrics import MetricsFile, end_of_step, read_new_lines


def sign(doing: str, waits_for: str = "", since: float = 10.0) -> Sign:
    return Sign(1, 95.0, doing, 100.0 - since, waits_for)


HUNG = {
    "trainer": sign("waits for groups", "orchestrator", 60),
    "orchestrator": sign("waits for answers", "engine-1", 50),
    "engine-0": sign("serves"),
    "engine-1": sign("serves", since=90),
}


def test_the_end_of_the_chain_is_to_blame() -> None:
    assert culprit(HUNG) == "engine-1"
    circle = {"a": sign("waits", "b"), "b": sign("waits", "a")}
    assert culprit(circle) is None
    assert (
        culprit({"trainer": sign("waits", "orchestrator"), "orchestrator": None}) == "orchestrator"
    )
    starting = {"orchestrator": sign("waits", "engine"), "engine-0": sign("starts")}
    assert culprit(starting) == "engine-0"


def test_the_error_says_who_waits_for_whom_and_how_long() -> None:
    text = describe(HUNG, now=100.0)
    assert "trainer waits for groups (for orchestrator) since 60 s" in text
    assert "orchestrator waits for answers (for engine-1) since 50 s" in text
    assert "all wait for engine-1" in str(hang_error(HUNG, 61.0))
    silent = {"trainer": Sign(1, 40.0, "learns", 30.0)}
    assert "silent for 60 s" in describe(silent, now=100.0)


def test_signs_and_timelines_are_written(tmp_path: Path) -> None:
    beacon = Beacon(tmp_path, "trainer")
    with beacon.doing("waits for groups", "orchestrator"):
        time.sleep(0.05)
    beacon.does("learns")
    time.sleep(0.05)
    beacon.close()
    found = read_sign(tmp_path, "trainer")
    assert found is not None
    lines = [json.loads(x) for x in (tmp_path / "trainer.timeline.jsonl").read_text().splitlines()]
    waits = [line for line in lines if line.get("waits_for") == "orchestrator"]
    assert waits
    assert waits[0]["s"] >= 0.04
    assert read_sign(tmp_path, "nobody") is None


def test_documents_survive_their_file(tmp_path: Path) -> None:
    progress = Progress(3, "s", {4: 2, 5: -1}, (4,), 100, False)
    progress.write(tmp_path / "progress.json")
    assert Progress.read(tmp_path / "progress.json") == progress
    assert Progress.read(tmp_path / "none.json") == Progress()
    published = Published(3, "/w", "s")
    published.write(tmp_path / "current.json")
    assert Published.read(tmp_path / "current.json") == published


def test_metrics_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "trainer.metrics.jsonl"
    with MetricsFile(path) as metrics:
        metrics.write(1, {"loss": 2.0})
    lines, offset = read_new_lines(path, 0)
    assert [line["step"] for line in lines] == [1]
    with path.open("a") as file:
        file.write('{"step": 2}\n{"step"')
    lines, offset = read_new_lines(path, offset)
    assert [line["step"] for line in lines] == [2]
    assert read_new_lines(path, offset) == ([], offset)


def test_metrics_that_were_not_passed_on_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "trainer.metrics.jsonl"
    assert end_of_step(path, 2) == 0
    with MetricsFile(path) as metrics:
        for step in (1, 2, 3, 2, 3, 4):  # it went back to a checkpoint once
            metrics.write(step, {"loss": float(step)})
    lines, _ = read_new_lines(path, end_of_step(path, 2))
    assert [line["step"] for line in lines] == [3, 4]
    assert end_of_step(path, 9) == 0


def test_weights_that_are_replaced_while_they_are_read_are_read_anew(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.weights.mkdir()
    Published(1, "old", "a").write(files.current)
    read = []

    def load(path: Path) -> str:
        read.append(str(path))
        if path.name == "old":  # the trainer publishes and sweeps meanwhile
            Published(5, "new", "b").write(files.current)
            raise DataError("no such file")
        return path.name

    def damaged(path: Path) -> str:
        raise DataError("it is damaged")

    with closing(Beacon(files.processes, "engine-0")) as beacon:
        assert load_newest(files, beacon, load) == "new"
        with pytest.raises(DataError, match="damaged"):
            load_newest(files, beacon, damaged)
    assert read == ["old", "new"]


def script(text: str) -> str:
    """A launcher that runs Python text in place of the process of a role."""
    return f"{sys.executable} -c {json.dumps(text)}"


def supervisor(tmp_path: Path, run: Any, **watchdog: Any) -> Supervisor:
    config = rl_config(tmp_path, watchdog=WatchdogConfig(**watchdog))
    return Supervisor(config, run)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(child_module, "BACKOFF_S", 0.01)
    with open_run(tmp_path, "rl train", rl_config(tmp_path)) as opened:
        yield opened


SLEEP = "import time; time.sleep(60)"


def test_a_process_that_dies_is_started_again_until_it_is_too_often(
    tmp_path: Path, run: Any
) -> None:
    watched = supervisor(tmp_path, run, restarts=2)
    for each in watched.children:
        each.launcher = script(SLEEP)
    watched.engines[0].launcher = script("import os; print('no memory'); os.kill(os.getpid(), 9)")
    with pytest.raises(RunError, match=r"engine-0 died 3 times .* by signal 9: no memory"):
        watched.work()
    assert all(each.process is None for each in watched.children)
    assert watched.engines[0].deaths == 2


def test_a_hang_ends_the_run(tmp_path: Path, run: Any) -> None:
    watched = supervisor(tmp_path, run, hang_s=0.5)
    for each in watched.children:
        each.launcher = script(SLEEP)
    with pytest.raises(RunError, match="no group and no step has ended"):
        watched.work()


def test_what_a_process_complains_about_is_passed_on(tmp_path: Path, run: Any) -> None:
    watched = supervisor(tmp_path, run)
    for each in watched.children:
        each.launcher = script(SLEEP)
    path = RunFiles(tmp_path).processes / "trainer.error.json"
    content = json.dumps({"message": "no model there", "hint": "look elsewhere"})
    watched.trainer.launcher = script(
        f"import sys; open({str(path)!r}, 'w').write({content!r}); sys.exit(2)"
    )
    with pytest.raises(RunError, match="trainer: no model there") as caught:
        watched.work()
    assert caught.value.hint == "look elsewhere"


def test_a_child_that_does_not_obey_is_ended_by_force(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.processes.mkdir()
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    stuck = Child("engine-0", "engine", 0, files, script(stubborn))
    stuck.start()
    time.sleep(0.5)
    assert stuck.process is not None
    process = stuck.process
    stuck.stop(0.2)
    assert process.returncode == -signal.SIGKILL


def test_the_configuration_is_checked_as_a_whole(tmp_path: Path) -> None:
    def config(**changes: Any) -> RlConfig:
        fields: dict[str, Any] = {"environments": {"coin": CoinConfig(name="coin")}, "max_steps": 1}
        return RlConfig(out=tmp_path, init_from=tmp_path, **{**fields, **changes})

    with pytest.raises(ValueError, match="no budget"):
        config(max_steps=None)
    with pytest.raises(ValueError, match="there is no environment of that name"):
        config(tasks={"other": {}})
    with pytest.raises(ValueError, match="which is no reward"):
        config(tasks={"coin": {"rewards": {"tests": 1.0}}})
    with pytest.raises(ValueError, match=r"one of batch\.tokens and batch\.groups"):
        config(batch={"tokens": 1, "groups": 1})
    with pytest.raises(ValueError, match="no engine"):
        config(engines={"count": 0})
