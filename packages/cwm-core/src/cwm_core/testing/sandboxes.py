"""Conformance suite of sandboxes: subclass it, make a sandbox, and pytest runs it.

::

    class TestMine(SandboxConformance):
        def make(self, snapshot: Snapshot | None = None, **settings: Any) -> Sandbox:
            return MyConfig(**settings).build(snapshot)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from cwm_core.env.concurrency import run_sync
from cwm_core.sandbox.base import ExecResult, Sandbox, SandboxError, Snapshot

FORK_BOMB = "for i in $(seq 200); do sleep 30 & done; echo all; wait"
DAEMON = (
    "setsid sh -c 'trap \"\" TERM HUP; (sleep 3; echo alive > escaped) & wait' "
    ">/dev/null 2>&1 </dev/null & echo started"
)


class SandboxConformance:
    """What every isolating sandbox promises, whatever runs in it. Commands need a POSIX shell."""

    def make(self, snapshot: Snapshot | None = None, **settings: Any) -> Sandbox:
        """Return a sandbox; settings are fields of `SandboxConfig`."""
        raise NotImplementedError("override `make`")

    def play(self, work: Callable[[Sandbox], Coroutine[Any, Any, Any]], **settings: Any) -> Any:
        """Run `work` on a new sandbox and close it."""

        async def once() -> Any:
            async with self.make(**settings) as sandbox:
                return await work(sandbox)

        return run_sync(once())

    def run(
        self, command: Any, timeout_s: float = 30, *, config: Any = None, **options: Any
    ) -> ExecResult:
        """Run one command in a new sandbox."""
        settings = config or {}
        return self.play(lambda sandbox: sandbox.exec(command, timeout_s, **options), **settings)

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

    @pytest.mark.parametrize("path", ["absent", "../../no/such", "fifo", "dir", "/proc/1/mem"])
    def test_files_that_cannot_be_read(self, path: str) -> None:
        """Each is a clear error."""

        async def work(sandbox: Sandbox) -> None:
            await sandbox.exec("mkdir dir; mkfifo fifo", 30)
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
        result = self.run("yes", 2, config={"output_bytes": 1000})
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
        config = {"memory_bytes": 100 * 2**20}
        result = self.run("head -c 500000000 /dev/zero | tail | wc -c", config=config)
        assert result.stdout.strip() != b"500000000"

    def test_processes_are_bounded(self) -> None:
        """A fork bomb runs out of processes."""
        result = self.run(FORK_BOMB, 5, config={"processes": 20})
        assert b"all" not in result.stdout

    def test_file_size_is_bounded(self) -> None:
        """A single file cannot fill the disk."""
        result = self.run("yes > big; wc -c < big", config={"file_bytes": 2**20})
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

    def test_trees_go_in_and_out(self, tmp_path: Path) -> None:
        """Modes, links inside the tree and odd names stay; what is not there is an error."""
        source, target = tmp_path / "in", tmp_path / "out"
        (source / "deep").mkdir(parents=True)
        (source / "deep" / "-odd name\n").write_bytes(bytes(range(256)))
        (source / "run").write_text("#!/bin/sh\necho ran\n")
        (source / "run").chmod(0o755)
        (source / "deep" / "link").symlink_to("../run")

        async def work(sandbox: Sandbox) -> None:
            await sandbox.upload(source, "a/b")
            assert (await sandbox.exec("a/b/deep/link", 30)).stdout == b"ran\n"
            await sandbox.exec("ln a/b/run a/b/hard; echo more > a/b/new", 30)
            await sandbox.download("a/b", target)
            with pytest.raises(SandboxError):
                await sandbox.download("absent", tmp_path / "nothing")

        self.play(work)
        assert (target / "deep" / "-odd name\n").read_bytes() == bytes(range(256))
        assert (target / "deep" / "link").readlink() == Path("../run")
        assert (target / "hard").read_bytes() == (target / "run").read_bytes()
        assert os.access(target / "run", os.X_OK)
        assert (target / "new").read_text() == "more\n"

    @pytest.mark.parametrize("link", ["/etc", "../..", "deep/../../.."])
    def test_trees_do_not_lead_out(self, link: str, tmp_path: Path) -> None:
        """A tree with a link that leads out of it is refused."""

        async def work(sandbox: Sandbox) -> None:
            await sandbox.exec(["mkdir", "-p", "tree/deep"], 30)
            await sandbox.exec(["ln", "-s", link, "tree/deep/link"], 30)
            with pytest.raises(SandboxError, match="leads out"):
                await sandbox.download("tree", tmp_path / "out")

        self.play(work)

    def test_a_shell_lasts(self) -> None:
        """Directory, variables, functions, background jobs and the last exit code stay."""

        async def work(sandbox: Sandbox) -> None:
            await sandbox.exec("mkdir sub", 30)
            async with sandbox.shell(env={"GIVEN": "yes"}) as shell:
                first = await shell.run(
                    "cd sub; f() { echo f$1; }; X=1; echo $GIVEN; echo e >&2", 30
                )
                assert (first.exit_code, first.stdout, first.restarted) == (0, b"yes\ne\n", False)
                await shell.run("(sleep 1; echo late > late) & false", 30)
                assert (await shell.run("echo $?", 30)).stdout == b"1\n"
                assert (
                    await shell.run("f $X; basename $PWD; exit_code() { return 7; }", 30)
                ).stdout == b"f1\nsub\n"
                assert (await shell.run("exit_code", 30)).exit_code == 7
                assert (await shell.run("cat", 30)).stdout == b""
                assert (await shell.run("wait; cat late", 30)).stdout == b"late\n"

        self.play(work)

    def test_what_a_shell_survives(self) -> None:
        """Syntax errors, null bytes, time-outs of programs, and in a new shell also its own end."""

        async def work(sandbox: Sandbox) -> None:
            async with sandbox.shell() as shell:
                await shell.run("mkdir sub; cd sub; export KEPT=kept; lost=1; sleep 600 &", 30)
                broken = await shell.run("echo 'unclosed", 30)
                assert broken.exit_code not in (0, None)
                hung = await shell.run("echo on; lost=2; sleep 600 | cat", 1)
                assert (hung.timed_out, hung.stdout, hung.restarted) == (True, b"on\n", False)
                alive = await shell.run("jobs | grep -c Running; echo $lost", 30)
                assert alive.stdout == b"1\n2\n"
                looping = await shell.run("while :; do :; done", 1)
                assert (looping.timed_out, looping.restarted) == (True, True)
                after = await shell.run('basename "$PWD"; echo $KEPT "[$lost]"; jobs', 30)
                assert after.stdout == b"sub\nkept []\n"
                ended = await shell.run("exit 9", 30)
                assert (ended.exit_code, ended.restarted) == (9, True)
                assert (await shell.run('basename "$PWD"', 30)).stdout == b"sub\n"

        self.play(work)

    def test_nothing_survives_a_shell(self) -> None:
        """Daemons and background jobs are gone with it; commands and shells share the files."""

        async def work(sandbox: Sandbox) -> None:
            async with sandbox.shell() as shell:
                await shell.run("(sleep 2; echo alive > escaped) & " + DAEMON, 30)
                await shell.run("echo shared > shared", 30)
                assert await sandbox.read_file("shared") == b"shared\n"
            with pytest.raises(SandboxError):
                await shell.run("true", 30)
            await sandbox.exec("sleep 4", 30)
            with pytest.raises(SandboxError):
                await sandbox.read_file("escaped")

        self.play(work)

    def test_snapshots(self) -> None:
        """A sandbox goes on from another one's files, any number of times, independently."""

        async def work(sandbox: Sandbox) -> None:
            await sandbox.exec("mkdir -m 500 d; echo one > f; ln -s f l; chmod 755 f", 30)
            snapshot = await sandbox.snapshot()
            await sandbox.exec("echo two > f", 30)
            for _ in range(2):
                async with self.make(snapshot=snapshot) as other:
                    result = await other.exec("cat l; ls -l f | cut -c1-10; echo three > f", 30)
                    assert result.stdout == b"one\n-rwxr-xr-x\n"
            assert await sandbox.read_file("f") == b"two\n"
            await snapshot.delete()
            with pytest.raises(SandboxError):
                self.make(snapshot=snapshot)

        self.play(work)

    def test_variables_of_the_configuration(self) -> None:
        """Every command sees them; those of the command go first."""
        result = self.run("echo $A $B", env={"B": "3"}, config={"env": {"A": "1", "B": "2"}})
        assert result.stdout == b"1 3\n"

    def test_a_closed_sandbox_refuses(self) -> None:
        """Closing twice is fine, using it afterwards is not."""

        async def work(sandbox: Sandbox) -> None:
            await sandbox.close()
            with pytest.raises(SandboxError):
                await sandbox.exec("true", 5)

        self.play(work)
