"""Run directories: continued, guarded, never half written."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from cwm_core.atomic import atomic_path, atomic_write
from cwm_core.config import CommandConfig
from cwm_core.errors import ConfigError, DataError, RunError
from cwm_core.rundir import open_run, read_metrics, read_status


class Config(CommandConfig):
    may_change: ClassVar[frozenset[str]] = frozenset({"out", "steps"})
    out: Path
    lr: float = 0.1
    steps: int = 3


def run_in(out, **fields):
    return open_run(out, "probe", Config(out=out, **fields))


def test_a_run_writes_its_files_and_is_done(tmp_path):
    out = tmp_path / "a" / "b"
    with run_in(out) as run:
        assert not run.is_done and not run.resumed
        assert read_status(out)["state"] == "running"
        run.log("half way")
        logging.getLogger("cwm_train.x").info("from a package")
        logging.getLogger("someone.else").info("chatter")
        run.log_metrics(1, {"loss": 2})
    status = read_status(out)
    assert status["state"] == "done" and status["pid"] == os.getpid() and status["finished"]
    log = (out / "log.txt").read_text()
    assert "half way" in log and "from a package" in log and "chatter" not in log
    assert [(e["step"], e["loss"]) for e in read_metrics(out / "metrics.jsonl")] == [(1, 2.0)]
    assert "lr: 0.1" in (out / "config.yaml").read_text()


def test_a_finished_run_says_so_and_stays_finished(tmp_path):
    with run_in(tmp_path):
        pass
    finished = read_status(tmp_path)
    with run_in(tmp_path) as run:
        assert run.is_done
    assert read_status(tmp_path) == finished


@pytest.mark.parametrize(
    ("error", "state"), [(ValueError("boom"), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_interrupted_and_failed_runs_continue(tmp_path, error, state):
    with pytest.raises(type(error)), run_in(tmp_path):
        raise error
    status = read_status(tmp_path)
    assert status["state"] == state
    assert status["error"] == ("ValueError: boom" if state == "failed" else None)
    assert ("Traceback" in (tmp_path / "log.txt").read_text()) == (state == "failed")
    with run_in(tmp_path) as run:
        assert run.resumed and not run.is_done
    assert read_status(tmp_path)["started"] == status["started"]
    assert read_status(tmp_path)["starts"] == 2


def test_another_configuration_is_refused_by_key(tmp_path):
    with run_in(tmp_path):
        pass
    with pytest.raises(ConfigError, match=r"lr: 0\.1 -> 0\.2") as caught, run_in(tmp_path, lr=0.2):
        pass
    assert "another out=" in caught.value.hint


def test_a_run_that_failed_before_it_made_anything_may_be_configured_anew(tmp_path):
    with pytest.raises(DataError), run_in(tmp_path):
        raise DataError("no such file")
    with pytest.raises(DataError), run_in(tmp_path, lr=0.2) as run:
        run.log_metrics(1, {"loss": 2})
        raise DataError("later")
    with pytest.raises(ConfigError, match=r"lr: 0\.2 -> 0\.3"), run_in(tmp_path, lr=0.3):
        pass
    with run_in(tmp_path, lr=0.2):
        pass


def test_keys_that_may_change_reopen_a_finished_run(tmp_path):
    with run_in(tmp_path):
        pass
    with run_in(tmp_path, steps=5) as run:
        assert not run.is_done
    assert "steps: 5" in (tmp_path / "config.yaml").read_text()


def test_a_moved_directory_is_still_the_same_run(tmp_path):
    with run_in(tmp_path / "a"):
        pass
    (tmp_path / "a").rename(tmp_path / "b")
    with run_in(tmp_path / "b") as run:
        assert run.is_done


def test_metrics_survive_a_half_written_line_and_rewind(tmp_path):
    with pytest.raises(KeyboardInterrupt), run_in(tmp_path) as run:
        for step in (1, 2, 3):
            run.log_metrics(step, {"loss": step})
        raise KeyboardInterrupt
    metrics = tmp_path / "metrics.jsonl"
    with metrics.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [entry["step"] for entry in read_metrics(metrics)] == [1, 2, 3]
    with run_in(tmp_path) as run:
        run.rewind(2)
        run.log_metrics(3, {"loss": 33})
    assert [(e["step"], e["loss"]) for e in read_metrics(metrics)] == [(1, 1), (2, 2), (3, 33)]


def test_damage_inside_metrics_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(DataError, match="line 2 is damaged"):
        read_metrics(path)


def test_a_second_opening_is_refused_here_and_from_another_process(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from cwm_core.runlock import RunLock\n"
        "from pathlib import Path\nwith RunLock(Path(sys.argv[2])): print('got it')"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    with run_in(tmp_path):
        with pytest.raises(RunError, match=f"pid {os.getpid()}"), run_in(tmp_path):
            pass
        other = subprocess.run(command, capture_output=True, text=True)
        assert other.returncode == 1 and f"another process (pid {os.getpid()})" in other.stderr
    assert subprocess.run(command, capture_output=True, text=True).stdout == "got it\n"


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from cwm_core.config import CommandConfig
from cwm_core.rundir import open_run
class Config(CommandConfig):
    out: Path
    lr: float = 0.1
    steps: int = 3
with open_run(Path(sys.argv[1]), "probe", Config(out=Path(sys.argv[1]))) as run:
    run.log_metrics(1, {"loss": 1})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
    assert done.returncode == -9 and read_status(tmp_path)["state"] == "running"
    with run_in(tmp_path) as run:
        assert run.resumed
    assert read_status(tmp_path)["state"] == "done"


def test_a_file_in_the_way_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="a file is in the way"), run_in(out):
            pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_clear_error(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match="the disk is full"), run_in(tmp_path) as run:
        run.log_metrics(1, {"loss": 1.0})
    assert read_status(tmp_path)["state"] == "failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="permission denied"), run_in(tmp_path / "x"):
        pass


def test_lifecycle_hooks_and_loggers(make_plugin, tmp_path):
    source = """
from cwm_core.hookspecs import hookimpl
events = []

@hookimpl
def cwm_run_started(command, config):
    events.append(("started", command, config["lr"]))

@hookimpl
def cwm_metrics(step, metrics):
    events.append(("metrics", step, metrics["loss"]))

@hookimpl
def cwm_run_finished(status):
    events.append(("finished", status))
"""
    make_plugin("watch-dist", {"watch_run": source}, "watch_run")

    class Recorder:
        def __init__(self):
            self.seen = []

        def log(self, step, metrics):
            self.seen.append((step, dict(metrics)))

        def close(self):
            self.seen.append("closed")

    recorder = Recorder()
    with run_in(tmp_path) as run:
        run.add_logger(recorder)
        run.log_metrics(1, {"loss": 0.5})
    assert sys.modules["watch_run"].events == [
        ("started", "probe", 0.1),
        ("metrics", 1, 0.5),
        ("finished", "done"),
    ]
    assert recorder.seen == [(1, {"loss": 0.5}), "closed"]


def test_atomic_files_are_old_or_new(tmp_path):
    path = tmp_path / "deep" / "x.json"
    atomic_write(path, "old")
    with pytest.raises(ValueError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["x.json"]
    atomic_write(path, b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o444 == 0o444 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_status_of_nothing_is_empty(tmp_path):
    assert read_status(tmp_path) == {}
    (tmp_path / "status.json").write_text("{half")
    assert read_status(tmp_path) == {}
    assert json.dumps(read_metrics(tmp_path / "none.jsonl")) == "[]"
