"""The local sandbox: the conformance suite with bubblewrap, and honesty without."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from cwm_core.env.concurrency import run_sync
from cwm_core.sandbox import bubblewrap, leftovers
from cwm_core.sandbox.base import ExecResult, Sandbox, SandboxError, Snapshot
from cwm_core.sandbox.config import LocalSandboxConfig
from cwm_core.sandbox.local import LocalSandbox
from cwm_core.testing.hostile_sandboxes import HostileSuite
from cwm_core.testing.sandboxes import SandboxConformance

REASON = bubblewrap.why_not()
needs_bubblewrap = pytest.mark.skipif(REASON is not None, reason=f"no isolation here: {REASON}")


@needs_bubblewrap
class TestLocal(SandboxConformance):
    def make(self, snapshot: Snapshot | None = None, **settings: Any) -> Sandbox:
        return LocalSandboxConfig(**settings).build(snapshot)

    def test_no_privileges_inside(self) -> None:
        text = self.run("id -u; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status").text
        uid, *fields = text.split("\n")
        assert uid != "0"
        assert int(dict(f.split(":\t") for f in fields if f)["CapEff"], 16) == 0

    def test_our_python_is_there_without_our_environment(self) -> None:
        code = "import sys, os; print(sys.version); print(os.path.exists(sys.argv[1]))"
        result = self.run(["python3", "-c", code, str(Path(__file__).parent)])
        assert result.text == f"{sys.version}\nFalse\n"

    def test_more_directories_can_be_shown(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("shown")
        tmp_path.chmod(0o755)
        result = self.run(f"cat {tmp_path}/data; touch {tmp_path}/new")
        assert result.stdout == b""

        async def work(sandbox: Sandbox) -> ExecResult:
            return await sandbox.exec(f"cat {tmp_path}/data; touch {tmp_path}/new", 30)

        result = self.play(work, read_only=(tmp_path,))
        assert result.stdout == b"shown"
        assert not (tmp_path / "new").exists()

    def test_the_workspace_is_deleted_whatever_its_modes(self) -> None:
        sandbox = LocalSandboxConfig().build()
        workspace = sandbox._workspace

        async def work() -> None:
            await sandbox.exec("mkdir -p a/b; touch a/b/c; chmod 000 a/b a", 30)
            await sandbox.close()

        run_sync(work())
        assert not workspace.exists()


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "why_not", lambda: "bwrap is not installed")


@pytest.mark.usefixtures("no_bubblewrap")
class TestUnisolated:
    def test_untrusted_work_is_refused(self) -> None:
        with pytest.raises(SandboxError, match=r"cannot isolate.*bwrap is not installed") as caught:
            LocalSandboxConfig().build()
        assert "allow_unisolated=true" in str(caught.value)

    def run(self, command: str, timeout_s: float = 30, **limits: Any) -> ExecResult:
        async def once() -> ExecResult:
            sandbox = LocalSandboxConfig(allow_unisolated=True, **limits).build()
            assert not sandbox.isolated
            try:
                return await sandbox.exec(command, timeout_s)
            finally:
                await sandbox.close()

        return run_sync(once())

    def test_trusted_work_runs_with_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CWM_SECRET", "visible")
        result = self.run("env; ulimit -n; pwd", open_files=77)
        assert "77\n" in result.text
        assert "CWM_SECRET" not in result.text

    def test_the_process_group_dies_at_a_time_out(self, tmp_path: Path) -> None:
        result = self.run(f"(sleep 2; touch {tmp_path}/alive) & sleep 600", 0.5)
        assert result.timed_out
        assert self.run("sleep 3").exit_code == 0
        assert not (tmp_path / "alive").exists()


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bubblewrap.why_not.__wrapped__() == "bwrap is not installed"


def test_cancelling_ends_the_command(tmp_path: Path) -> None:
    if REASON is not None:
        pytest.skip(f"no isolation here: {REASON}")

    async def work() -> bool:
        sandbox: LocalSandbox = LocalSandboxConfig().build()
        task = asyncio.create_task(sandbox.exec("sleep 2; touch alive", 60))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sandbox.exec("sleep 3", 30)
        names = [path.name for path in sandbox._workspace.iterdir()]
        await sandbox.close()
        return "alive" in names

    assert not run_sync(work())


@needs_bubblewrap
class TestLocalUnderAttack(HostileSuite):
    def make(self, **settings: Any) -> Sandbox:
        return LocalSandboxConfig(**settings).build()

    def left(self) -> list[str]:
        return sorted(str(path) for path in leftovers.mine())
