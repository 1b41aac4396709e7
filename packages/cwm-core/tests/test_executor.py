"""Executors: the conformance suite on processes and on Ray, and what only processes promise."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cwm_core.errors import RunError
from cwm_core.executor.base import Executor
from cwm_core.executor.config import LocalConfig, RayConfig
from cwm_core.testing.executors import ExecutorConformance
from cwm_core.testing.items import (
    maybe_hang,
    misbehave,
    square,
    start_child,
)


class TestLocal(ExecutorConformance):
    def make(self, **limits: Any) -> Executor:
        return LocalConfig(processes=2, **limits).build()


@pytest.mark.slow
class TestRay(ExecutorConformance):
    @pytest.fixture(autouse=True, scope="class")
    def cluster(self) -> Iterator[None]:
        if importlib.util.find_spec("ray") is None:
            pytest.skip("needs Ray")
        with RayConfig(workers=1).build():  # starts a cluster, which the tests join
            yield

    def make(self, **limits: Any) -> Executor:
        return RayConfig(workers=2, cpus_per_worker=0.5, **{"retries": 0, **limits}).build()


def test_a_function_that_cannot_be_sent_is_a_clear_error() -> None:
    with LocalConfig(processes=1).build() as executor, pytest.raises(RunError, match="top of a"):
        executor.map(lambda item: item, [1])


def test_one_map_at_a_time() -> None:
    with LocalConfig(processes=1).build() as executor:
        first = executor.map(square, [1, 2])
        next(first)
        with pytest.raises(RunError, match="another map"):
            next(executor.map(square, [3]))
        assert next(first).get() in (1, 4)


def test_crashes_name_the_signal() -> None:
    with LocalConfig(processes=1).build() as executor:
        killed, exited = executor.map(misbehave, ["SIGKILL", "os._exit"])
    assert killed.error is not None
    assert "killed by SIGKILL, perhaps because memory ran out" in killed.error.message
    assert exited.error is not None
    assert "exited with status 3" in exited.error.message


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pid: int) -> bool:
    for _ in range(100):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_what_an_item_started_dies_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with LocalConfig(processes=1, timeout_s=2).build() as executor:
        (result,) = executor.map(start_child, [str(pid_file)])
    assert result.error is not None
    assert result.error.kind == "timeout"
    assert wait_until_gone(int(pid_file.read_text()))


def test_leaving_early_ends_the_workers() -> None:
    before = set(psutil.Process().children())
    with LocalConfig(processes=2).build() as executor:
        results = executor.map(maybe_hang, [0, 600, 600])
        assert next(results).get() == 0
        results.close()  # type: ignore[attr-defined]
    assert not [
        p for p in set(psutil.Process().children()) - before if "spawn_main" in str(p.cmdline())
    ]


SCRIPT = """
    from pathlib import Path
    import sys
    from cwm_core.executor.config import LocalConfig
    from cwm_core.testing.items import start_child

    if __name__ == "__main__":
        with LocalConfig(processes=2).build() as executor:
            for result in executor.map(start_child, [sys.argv[1]]):
                print(result)
"""


def start_script(tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    script, pid_file = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script), str(pid_file)], stderr=subprocess.PIPE, text=True
    )
    for _ in range(600):
        if pid_file.exists() and pid_file.read_text():
            break
        time.sleep(0.05)
    return process, int(pid_file.read_text())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_survives_the_end_of_the_main_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, grandchild = start_script(tmp_path)
    workers = psutil.Process(process.pid).children()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert wait_until_gone(grandchild)
    for worker in workers:
        assert wait_until_gone(worker.pid)
    assert errors.count("Traceback") == (1 if number == signal.SIGINT else 0)


def test_a_script_without_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from cwm_core.executor.config import LocalConfig
            from cwm_core.testing.items import square
            with LocalConfig(processes=1).build() as executor:
                print([result.get() for result in executor.map(square, [2])])
        """)
    )
    answer = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert answer.returncode != 0
    assert "if __name__ == '__main__':" in answer.stderr


def test_a_missing_cluster_is_a_clear_error() -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray")
    for address in ("127.0.0.1:1", "nonsense"):
        with pytest.raises(RunError, match=f"cannot connect to the Ray cluster {address}"):
            RayConfig(address=address).build()
