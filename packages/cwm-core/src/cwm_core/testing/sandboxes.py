"""Conformance suite of sandboxes: subclass it, make a sandbox, and pytest runs it.

::

    class TestMine(SandboxConformance):
        def make(self, **limits: Any) -> Sandbox:
            return MyConfig(**limits).build()
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cwm_core.env.concurrency import run_sync
from cwm_core.sandbox.base import ExecResult, Sandbox, SandboxError

FORK_BOMB = "for i in $(seq 200); do sleep 30 & done; echo all; wait"
DAEMON = (
    "setsid sh -c 'trap \"\" TERM HUP; (sleep 3; echo alive > escaped) & wait' "
    ">/dev/null 2>&1 </dev/null & echo started"
)


class SandboxConformance:
    """What every isolating sandbox promises, whatever runs in it. Commands need a POSIX shell."""

    def make(self, **limits: Any) -> Sandbox:
        """Return a sandbox; limits: `output_bytes`, `memory_bytes`, `processes`, `file_bytes`."""
        raise NotImplementedError("override `make`")

    def play(self, work: Callable[[Sandbox], Coroutine[Any, Any, Any]], **limits: Any) -> Any:
        """Run `work` on a new sandbox and close it."""

        async def once() -> Any:
            sandbox = self.make(**limits)
            try:
                return await work(sandbox)
            finally:
                await sandbox.close()

        return run_sync(once())

    def run(self, command: Any, timeout_s: float = 30, **options: Any) -> ExecResult:
        """Run one command in a new sandbox."""
        limits = {
            k: options.pop(k) for k in list(options) if k.endswith("bytes") or k == "processes"
        }
        return self.play(lambda sandbox: sandbox.exec(command, timeout_s, **options), **limits)

    def test_output_and_exit_code(self) -> None:
        """Streams are kept apart, bytes as they are."""
        result = self.run("printf 'a\\377'; echo b >&2; exit 7")
        assert (result.stdout, result.stderr, result.exit_code) == (b"a\xff", b"b\n", 7)
        assert result.text == "a\\xff"
        assert not result.timed_out
        assert not result.truncated

    def test_arguments_are_no_shell_text(self) -> None:
        """A list is run as it is."""
        assert self.run(["printf", "%s|", "a b", "$HOME", "*"]).stdout == b"a b|$HOME|*|"

    def test_death_by_signal(self) -> None:
        """Signal n shows as 128 + n."""
        assert self.run("kill -9 $$").exit_code == 137

    def test_unknown_program(self) -> None:
        """It is an ordinary failure of the command."""
        assert self.run(["no-such-program-here"]).exit_code in (126, 127)

    def test_stdin_is_given_or_empty(self) -> None:
        """Nothing waits for a terminal."""
        assert self.run("cat", stdin=b"hello\0").stdout == b"hello\0"
        assert self.run("cat").stdout == b""

    def test_files_go_in_and_out(self) -> None:
        """The workspace lasts from one command to the next."""

        async def work(sandbox: Sandbox) -> None:
            content = bytes(range(256)) * 1000
            await sandbox.write_file("deep/er/-file", content)
            assert await sandbox.read_file("deep/er/-file") == content
            result = await sandbox.exec("wc -c < ./-file; echo new > made", 30, cwd="deep/er")
            assert result.text.strip() == "256000"
            assert await sandbox.read_file("deep/er/made") == b"new\n"

        self.play(work)

    @pytest.mark.parametrize(
        "path", ["absent", "../../etc/hostname", "/etc/hostname", "fifo", "dir"]
    )
    def test_files_that_cannot_be_read(self, path: str) -> None:
        """Each is a clear error."""

        async def work(sandbox: Sandbox) -> None:
            await sandbox.exec("mkdir dir", 30)
            with pytest.raises(SandboxError):
                await sandbox.read_file(path)

        self.play(work)

    def test_links_do_not_lead_out(self, tmp_path: Any) -> None:
        """A planted link does not make the trusted side read or write this machine's files."""
        secret = tmp_path / "secret"
        secret.write_text("secret")

        async def work(sandbox: Sandbox) -> None:
            await sandbox.exec(["ln", "-s", str(secret), "link"], 30)
            with pytest.raises(SandboxError):
                await sandbox.read_file("link")
            with pytest.raises(SandboxError):
                await sandbox.write_file("link", b"overwritten")

        self.play(work)
        assert secret.read_text() == "secret"

    def test_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of ours is visible; what is given is."""
        monkeypatch.setenv("CWM_SECRET", "visible")
        text = self.run("env; cat /proc/*/environ", env={"GIVEN": "yes"}).text
        assert "GIVEN=yes" in text
        assert "CWM_SECRET" not in text

    def test_output_is_bounded(self) -> None:
        """An endless writer is cut off and stopped in time."""
        result = self.run("yes", 2, output_bytes=1000)
        assert (len(result.stdout), result.truncated, result.timed_out) == (1000, True, True)

    def test_time_out_ends_everything(self) -> None:
        """Also what ignores polite requests."""
        result = self.run("trap '' TERM INT HUP; echo on; while :; do sleep 1; done", 1)
        assert (result.timed_out, result.stdout) == (True, b"on\n")

    @pytest.mark.parametrize("hang", ["", "; sleep 600"])
    def test_daemons_do_not_survive(self, hang: str) -> None:
        """A double fork with a session of its own is gone after exit and after time-out."""

        async def work(sandbox: Sandbox) -> None:
            result = await sandbox.exec(DAEMON + hang, 1.5)
            assert result.stdout == b"started\n"
            await sandbox.exec("sleep 4", 30)
            with pytest.raises(SandboxError):
                await sandbox.read_file("escaped")

        self.play(work)

    def test_a_child_that_holds_the_pipe_does_not_block(self) -> None:
        """The command's own end counts."""
        result = self.run("sleep 600 & echo done", 60)
        assert (result.stdout, result.timed_out) == (b"done\n", False)

    def test_memory_is_bounded(self) -> None:
        """A greedy process fails, not the machine."""
        result = self.run("head -c 500000000 /dev/zero | tail | wc -c", memory_bytes=100 * 2**20)
        assert result.stdout.strip() != b"500000000"

    def test_processes_are_bounded(self) -> None:
        """A fork bomb runs out of processes."""
        result = self.run(FORK_BOMB, 5, processes=20)
        assert b"all" not in result.stdout

    def test_file_size_is_bounded(self) -> None:
        """A single file cannot fill the disk."""
        result = self.run("yes > big; wc -c < big", file_bytes=2**20)
        assert int(result.text) <= 2**20

    def test_no_network(self) -> None:
        """There is no interface but the loopback."""
        interfaces = self.run("cat /proc/net/dev").text.splitlines()[2:]
        assert {line.split(":")[0].strip() for line in interfaces} <= {"lo"}

    def test_the_system_is_read_only(self) -> None:
        """Only the workspace and private temporary space can be written."""
        result = self.run("touch /usr/x; touch /bin/x; touch /x; ls /usr/x /bin/x /x")
        assert result.stdout == b""

    def test_temporary_space_is_private(self) -> None:
        """It can be written, and no other sandbox sees it."""
        assert self.run("echo kept > /tmp/cwm-left; cat /tmp/cwm-left").stdout == b"kept\n"
        assert self.run("cat /tmp/cwm-left").exit_code != 0

    def test_other_processes_are_invisible(self) -> None:
        """The sandbox has its own processes only."""
        pids = [int(pid) for pid in self.run("ls /proc | grep '^[0-9]*$'").text.split()]
        assert len(pids) < 15

    def test_a_closed_sandbox_refuses(self) -> None:
        """Closing twice is fine, using it afterwards is not."""

        async def work(sandbox: Sandbox) -> None:
            await sandbox.close()
            with pytest.raises(SandboxError):
                await sandbox.exec("true", 5)

        self.play(work)
