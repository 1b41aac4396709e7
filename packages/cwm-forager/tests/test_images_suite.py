"""Runs of a suite: outcomes of every kind, tests that hang or take the process with them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from small_library import LIBRARY, TESTS

from cwm_core.sandbox.base import ExecResult, SandboxError
from cwm_forager.images.suite import Suite, SuiteError, SuiteLimits


class Here:
    """Runs commands on this machine, without isolation: the tests' own code is trusted."""

    async def exec(
        self,
        command: str | Sequence[str],
        timeout_s: float,
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> ExecResult:
        started = time.monotonic()
        environment = {**os.environ, **(env or {})}
        done = await asyncio.to_thread(
            lambda: subprocess.run(
                command, cwd=cwd, env=environment, capture_output=True, timeout=timeout_s
            )
        )
        duration = time.monotonic() - started
        return ExecResult(done.returncode, done.stdout, done.stderr, duration)

    async def read_file(self, path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise SandboxError(str(error)) from error

    async def write_file(self, path: str, content: bytes) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)

    async def close(self) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "tests").mkdir(parents=True)
    (root / "lib.py").write_text(LIBRARY)
    (root / "tests" / "test_lib.py").write_text(TESTS)
    return root


def suite_of(repository: Path, **limits: float) -> Suite:
    command = [sys.executable, "-m", "pytest"]
    place = str(repository.parent)
    return Suite(Here(), command, str(repository), {}, SuiteLimits(**limits), place)


def run(suite: Suite, **settings: object):
    async def once():
        await suite.install()
        return await suite.run(**settings)

    return asyncio.run(once())


def test_outcomes_of_every_kind(repository: Path) -> None:
    (repository / "tests" / "test_kinds.py").write_text(
        "import pytest, sys\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert 0\n"
        "@pytest.fixture\ndef broken(): 1 / 0\n"
        "def test_errs(broken): pass\n"
        "@pytest.mark.skip\ndef test_skipped(): pass\n"
        "@pytest.mark.xfail\ndef test_xfails(): assert 0\n"
        "def test_bytes(): sys.stdout.buffer.write(b'\\xff\\xfe\\n')\n"
    )
    (repository / "tests" / "test_uncollected.py").write_text("import nosuch\n")
    report = run(suite_of(repository))
    kinds = {name.partition("::test_")[2]: outcome for name, outcome in report.tests.items()}
    assert kinds == {
        "passes": "passed",
        "fails": "failed",
        "errs": "error",
        "skipped": "skipped",
        "xfails": "xfailed",
        "bytes": "passed",
        "total": "passed",
        "biggest": "passed",
        "same": "passed",
    }
    assert list(report.errors) == ["tests/test_uncollected.py"]


def test_hanging_and_dying_tests_are_passed_over(repository: Path) -> None:
    (repository / "tests" / "test_bad.py").write_text(
        "import itertools, os, time\n"
        "def test_sleeps(): time.sleep(600)\n"
        "def test_spins_in_c(): sum(itertools.repeat(0))\n"
        "def test_dies(): os._exit(0)\n"
        "def test_after(): pass\n"
    )
    report = run(suite_of(repository, test_s=1.0))
    kinds = {name.partition("::test_")[2]: outcome for name, outcome in report.tests.items()}
    assert (kinds["sleeps"], kinds["spins_in_c"]) == ("timeout", "timeout")
    assert kinds["dies"] in ("crashed", "timeout")  # a loaded machine may take its time to start
    assert (kinds["after"], kinds["total"]) == ("passed", "passed")
    assert report.finished


def test_a_command_that_is_no_pytest_is_named(repository: Path) -> None:
    suite = Suite(Here(), ["false"], str(repository), place=str(repository.parent))
    with pytest.raises(SuiteError, match="pytest did not start"):
        run(suite)
