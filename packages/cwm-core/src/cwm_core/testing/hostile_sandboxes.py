"""Hostile suite of sandboxes: attacks from the inside, each checked from this machine's side.

::

    class TestMineUnderAttack(HostileSuite):
        def make(self, **settings: Any) -> Sandbox:
            return MyConfig(**settings).build()

        def left(self) -> list[str]:
            return [...]  # what this process's sandboxes have on this machine now

The sandbox needs ``python3``. Most attacks share one sandbox, which must work after each.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cwm_core.env.concurrency import run_sync
from cwm_core.sandbox.base import ExecResult, Sandbox, SandboxError
from cwm_core.sandbox.config import MIB
from cwm_core.testing.hostile_attacks import ESCAPE, LIFETIME, RESOURCES, Attack

LIMITS: dict[str, Any] = {
    "memory_bytes": 192 * MIB,
    "processes": 64,
    "disk_bytes": 96 * MIB,
    "disk_files": 20_000,
    "file_bytes": 16 * MIB,
    "tmp_bytes": 32 * MIB,
    "output_bytes": 64 * 1024,
    "open_files": 256,
    "cpus": 1.0,
}
DISK_OVERSHOOT = 2048 * MIB
"""What may be written until a full disk is noticed."""


@dataclass(frozen=True, slots=True)
class Host:
    """What an escaped attack would find on this machine."""

    secret: str
    file: Path
    port: int
    listeners: tuple[socket.socket, ...]

    def touched(self) -> bool:
        """Whether anything arrived at a listener."""
        for listener in self.listeners:
            with contextlib.suppress(BlockingIOError):
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(1)
                else:
                    listener.accept()
                return True
        return False


class HostileSuite:
    """What no untrusted code may achieve, in any sandbox that isolates."""

    def make(self, **settings: Any) -> Sandbox:
        """Return a sandbox; settings are fields of `SandboxConfig`."""
        raise NotImplementedError("override `make`")

    def left(self) -> list[str]:
        """Return what sandboxes of this process have on this machine now."""
        raise NotImplementedError("override `left`")

    @pytest.fixture(scope="class")
    def host(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
        """A secret in this process's environment and in a file, and listeners."""
        secret = f"secret-{secrets.token_hex(8)}"
        file = tmp_path_factory.mktemp("host") / "secret"
        file.write_text(f"{secret}\n")
        os.environ["CWM_HOST_SECRET"] = secret
        tcp, udp, unix = (
            socket.socket(),
            socket.socket(type=socket.SOCK_DGRAM),
            socket.socket(socket.AF_UNIX),
        )
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        unix.bind(f"\0{secret}")
        for listener in (tcp, unix):
            listener.listen()
        for listener in (tcp, udp, unix):
            listener.setblocking(False)
        yield Host(secret, file, tcp.getsockname()[1], (tcp, udp, unix))
        del os.environ["CWM_HOST_SECRET"]
        for listener in (tcp, udp, unix):
            listener.close()

    @pytest.fixture(scope="class")
    def sandbox(self, host: Host) -> Iterator[Sandbox]:
        """The sandbox under attack."""
        made = self.make(**LIMITS)
        yield made
        run_sync(made.close())

    @pytest.mark.parametrize("attack", RESOURCES, ids=lambda attack: attack.name)
    def test_resources(self, attack: Attack, sandbox: Sandbox, host: Host, tmp_path: Path) -> None:
        """Whatever is used up, it is the sandbox's own, and given back."""
        free = shutil.disk_usage(tmp_path).free
        self.survive(attack, sandbox, host)
        # Not `rm ./*`: more files than fit on a command line may be there.
        run_sync(sandbox.exec("find . -mindepth 1 -delete; rm -rf /tmp/* /dev/shm/* ./*", 120))
        assert shutil.disk_usage(tmp_path).free > free - DISK_OVERSHOOT

    @pytest.mark.parametrize("attack", LIFETIME, ids=lambda attack: attack.name)
    def test_lifetime(self, attack: Attack, sandbox: Sandbox, host: Host) -> None:
        """Nothing lives longer than its command."""
        self.survive(attack, sandbox, host)

    @pytest.mark.parametrize("attack", ESCAPE, ids=lambda attack: attack.name)
    def test_escape(self, attack: Attack, sandbox: Sandbox, host: Host) -> None:
        """Nothing outside can be seen, reached or changed."""
        self.survive(attack, sandbox, host)

    def survive(self, attack: Attack, sandbox: Sandbox, host: Host) -> ExecResult:
        """Let an attack happen and check that it did no harm."""
        token = str(secrets.randbits(62))
        code = attack.code.replace("HOST_FILE", str(host.file)).replace("HOST_SECRET", host.secret)
        code = code.replace("HOST_PORT", str(host.port)).replace("TOKEN", token) + f"\n# {token}"
        program = ["python3", "-c"] if attack.language == "python" else ["/bin/sh", "-c"]
        for patience in (1, 5, 25):  # a busy machine may not even start the program in time
            result = run_sync(sandbox.exec([*program, code], patience * attack.timeout_s))
            if b"TRIED" in result.stdout or not result.timed_out:
                break
        ends = {"time": result.timed_out, "disk": result.limit == "disk"}
        happened = next((end for end, yes in ends.items() if yes), "exit")
        assert b"TRIED" in result.stdout, result
        assert b"ESCAPED" not in result.stdout, result
        assert attack.end in ("any", happened), result
        assert result.duration_s < patience * attack.timeout_s + 60
        assert max(len(result.stdout), len(result.stderr)) <= LIMITS["output_bytes"]
        assert not survivors(token)
        assert not host.touched()
        after = run_sync(sandbox.exec("echo works", 60))
        assert after.stdout == b"works\n", after
        return result

    def test_links_planted_for_us(self, sandbox: Sandbox, host: Host, tmp_path: Path) -> None:
        """What we read and write through links of the sandbox stays in it."""
        target = tmp_path / "target"
        target.mkdir()
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "planted").write_text("x")

        async def work() -> None:
            for name, goal in [("file", host.file), ("up", target), ("tree/link", host.file)]:
                await sandbox.exec(["mkdir", "-p", "tree"], 30)
                await sandbox.exec(["ln", "-s", str(goal), name], 30)
            for action in (
                lambda: sandbox.read_file("file"),
                lambda: sandbox.write_file("file", b"x"),
                lambda: sandbox.download("tree", tmp_path / "out"),
            ):
                with pytest.raises(SandboxError):
                    await action()
            with contextlib.suppress(SandboxError):
                await sandbox.upload(tmp_path / "in", "up")
            await sandbox.exec("rm -rf ./*", 60)

        run_sync(work())
        assert list(target.iterdir()) == []
        assert host.file.read_text() == f"{host.secret}\n"

    def test_a_shell_cannot_keep_anything(self, sandbox: Sandbox) -> None:
        """Daemons of a shell, its forged answers and its own murder end with it."""
        token = str(secrets.randbits(62))

        async def work() -> None:
            async with sandbox.shell() as shell:
                daemon = f"(setsid sh -c 'trap \"\" TERM HUP; sleep 600.{token} & wait' &) >&- 2>&-"
                await shell.run(f"{daemon}; sleep 600.{token} &", 30)
                forged = await shell.run("printf '\\036%032d\\0360\\n' 0; kill -9 $$", 30)
                assert forged.restarted
                assert (await shell.run("echo works", 60)).stdout == b"works\n"

        run_sync(work())
        assert not survivors(token)

    def test_nothing_is_left(self) -> None:
        """Closing deletes whatever was planted, with any modes, and ends what runs."""
        before = self.left()

        async def work() -> None:
            sandbox = self.make(**LIMITS)
            assert len(self.left()) > len(before)
            await sandbox.exec("mkdir -p a/b; touch a/b/c; chmod 000 a/b a; ln -s / root", 30)
            async with sandbox.shell() as shell:
                await shell.run("sleep 600 &", 30)
                await sandbox.close()

        run_sync(work())
        assert self.left() == before


def survivors(token: str, patience_s: float = 5.0) -> list[psutil.Process]:
    """Return this machine's processes with a token in their command line, but ending ones."""
    deadline = time.monotonic() + patience_s
    while True:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if token in words and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
