"""The Docker sandbox on a real engine; skipped where there is none."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import secrets
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest
from docker_engine import BASE, needs_engine

from cwm_core.sandbox import bubblewrap
from cwm_core.sandbox.base import Sandbox, SandboxError, Snapshot
from cwm_core.sandbox.config import MIB
from cwm_core.sandbox.owner import Owner, this_process
from cwm_core.testing.hostile_sandboxes import HostileSuite, survivors
from cwm_core.testing.sandboxes import SandboxConformance
from cwm_forager.docker import prune
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import client, engine
from cwm_forager.docker.labels import OWNER
from cwm_forager.images.container import BuildContainer

docker = pytest.importorskip("docker")


@needs_engine
class TestDocker(SandboxConformance):
    def make(self, snapshot: Snapshot | None = None, **settings: Any) -> Sandbox:
        return DockerSandboxConfig(**settings).build(snapshot)

    def test_an_image_that_is_not_there(self) -> None:
        with pytest.raises(SandboxError, match="no-such-image") as caught:
            DockerSandboxConfig(image="no-such-image:1").build()
        assert "nothing is pulled" in str(caught.value)
        assert left() == []

    def test_only_the_working_directory_can_be_written(self) -> None:
        config = {"read_only_root": True, "user": "0:0", "disk_bytes": 8 * MIB}
        script = "touch /usr/x /x; head -c 20000000 /dev/zero > big; wc -c < big; echo k > /tmp/k"
        result = self.run(script, config=config)
        assert result.text.split() == [str(8 * MIB)]
        assert b"Read-only" in result.stderr

    def test_root_has_no_power(self) -> None:
        code = "grep -E 'Cap(Eff|Bnd)|NoNew' /proc/self/status; touch /usr/mine && echo wrote"
        fields = self.run(code, config={"user": "0"}).text.split()
        assert fields == [
            *["CapEff:", "0000000000000020", "CapBnd:", "0000000000000020"],
            *["NoNewPrivs:", "1", "wrote"],
        ]

    def test_the_end_of_the_guard_ends_the_container(self) -> None:
        async def work(sandbox: Sandbox) -> None:
            for _ in range(2):
                with pytest.raises(SandboxError, match="the container has ended"):
                    await sandbox.exec("kill -9 -1; sleep 60", 30)

        self.play(work, user="0")
        assert left() == []

    @pytest.mark.parametrize("cancelled_first", [True, False])
    def test_close_while_a_command_is_cancelled(self, cancelled_first: bool) -> None:
        """Nothing hangs, and no error is left that nobody sees."""
        unseen: list[object] = []

        async def work(sandbox: Sandbox) -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, it: unseen.append(it))
            task = asyncio.ensure_future(sandbox.exec("sleep 600", 600))
            await asyncio.sleep(0.5)
            for _ in range(3 if cancelled_first else 0):
                task.cancel()
                await asyncio.sleep(0)
            await sandbox.close()
            task.cancel()
            with pytest.raises((asyncio.CancelledError, SandboxError)):
                await task
            del task
            gc.collect()

        self.play(work)
        assert unseen == []

    def test_output_that_comes_with_the_head_of_the_answer(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Docker's SDK loses it, which a process that had to wait for its turn would notice."""
        begin = http.client.HTTPResponse.begin

        def late(response: http.client.HTTPResponse) -> None:
            time.sleep(0.3)
            begin(response)

        async def work(sandbox: Sandbox) -> None:
            box = await BuildContainer.start(client(), BASE)
            async with box:
                monkeypatch.setattr(http.client.HTTPResponse, "begin", late)
                for place in (sandbox, box):
                    result = await place.exec("echo hello; echo there >&2", 60)
                    assert (result.stdout, result.stderr) == (b"hello\n", b"there\n")
                monkeypatch.undo()

        self.play(work)

    def test_network_where_it_is_allowed(self) -> None:
        text = self.run("cat /proc/net/dev", config={"network": "bridge"}).text
        assert "eth0" in text


@needs_engine
class TestDockerUnderAttack(HostileSuite):
    def make(self, **settings: Any) -> Sandbox:
        return DockerSandboxConfig(**settings).build()

    def left(self) -> list[str]:
        return left()


def left() -> list[str]:
    """Containers, volumes and snapshots of this process."""
    mine = {"label": f"{OWNER}={this_process().to_json()}"}
    containers = [one["Id"] for one in engine().containers(all=True, filters=mine)]
    volumes = [one["Name"] for one in engine().volumes(filters=mine)["Volumes"] or []]
    return sorted([*containers, *volumes, *engine().images(filters=mine, quiet=True)])


OWNER_PROCESS = """
import asyncio, sys, time
from cwm_core.sandbox.config import LocalSandboxConfig
from cwm_forager.docker.config import DockerSandboxConfig

async def main():
    sandbox = DockerSandboxConfig(labels={"test": sys.argv[1]}).build()
    await sandbox.snapshot()
    local = LocalSandboxConfig().build() if sys.argv[2] == "local" else None
    async with sandbox.shell() as shell:
        await shell.run(f"setsid sleep 600.{sys.argv[1]} &", 60)
        print(local._root if local else "", flush=True)
        time.sleep(600)

asyncio.run(main())
"""


@needs_engine
def test_a_killed_process_leaves_nothing_that_prune_does_not_find() -> None:
    token = str(secrets.randbits(62))
    local = "local" if bubblewrap.why_not() is None else ""
    line = [sys.executable, "-c", OWNER_PROCESS, token, local]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        directory = process.stdout.readline().strip()
        assert survivors(token, 0)
        owner = Owner(process.pid, psutil.Process(process.pid).create_time(), "", "", "")
        assert not any(_of(found, owner) for found in prune.find())
        process.kill()
    assert not survivors(token, 60)
    found = [one for one in prune.find() if _of(one, owner) or one.name == directory]
    expected = {"image", *(["directory"] if local else [])}
    assert {one.kind for one in found} - {"container"} == expected
    assert prune.remove_all(found) == []
    assert not [one for one in prune.find() if _of(one, owner) or one.name == directory]


def _of(found: prune.Leftover, owner: Owner) -> bool:
    if found.kind == "directory":
        return False
    api = engine()
    try:
        if found.kind == "image":
            labels = api.inspect_image(found.name)["Config"]["Labels"]
        else:
            labels = api.inspect_container(found.name)["Config"]["Labels"]
    except docker.errors.NotFound:
        return False
    return json.loads(labels[OWNER])["pid"] == owner.pid
