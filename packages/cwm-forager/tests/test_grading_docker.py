"""Patches judged in containers: the verdicts of the local sandbox, whoever owns the repository."""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_engine import BASE, needs_engine
from forager_repository import BROKEN, FAIL, FILES, FIX, libraries, local_sandbox, shapes_instance

from cwm_core.env.concurrency import run_sync
from cwm_core.env.rollout import rollout
from cwm_core.sandbox import bubblewrap
from cwm_forager.agent.fixed import NoOpAgent, OracleAgent
from cwm_forager.agent.tricks import CheatingAgent
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import engine
from cwm_forager.docker.labels import labels_of
from cwm_forager.grading.grade import grade
from cwm_forager.grading.verdict import Result
from cwm_forager.swe.config import SweConfig
from cwm_forager.tasks.formats import file_diff
from cwm_forager.tasks.instance import Instance, write_instances

pytestmark = needs_engine
LIBRARIES = "/opt/libraries"
OWNERS = {"/testbed": 0, "/srv/testbed": 1000}
"""Places of the repository in the image, and who owns them."""


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """An image with pytest and the repository, once as published ones are and once as ours."""
    api, tag = engine(), f"cwm-test-{secrets.token_hex(6)}"
    made = api.create_container(BASE, ["true"], labels=labels_of("sandbox"))["Id"]
    try:
        api.put_archive(made, "/", _content())
        api.commit(made, repository=tag, tag="1")
    finally:
        api.remove_container(made, force=True)
    yield f"{tag}:1"
    with contextlib.suppress(Exception):
        api.remove_image(f"{tag}:1", force=True)


def _content() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(name: str, content: bytes | None, owner: int) -> None:
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.uid = entry.gid = owner
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.mode, entry.size = 0o755, len(content or b"")
            tar.addfile(entry, io.BytesIO(content or b""))

        for place, owner in OWNERS.items():
            for folder in (place, f"{place}/.git", f"{place}/shapes", f"{place}/tests"):
                add(folder, None, owner)
            add(f"{place}/.git/HEAD", b"ref: refs/heads/main\n", owner)
            for name, text in FILES.items():
                add(f"{place}/{name}", text.encode(), owner)
        tar.add(libraries(), LIBRARIES.lstrip("/"), filter=_plain)
    return buffer.getvalue()


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.mode |= 0o755 if entry.isdir() else 0o644
    return entry


def in_image(directory: Path, image: str, root: str, **changes: Any) -> Instance:
    environment = {"PYTHONPATH": LIBRARIES, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return shapes_instance(
        directory, image=image, archive="", root=root, environment=environment, **changes
    )


def agent_named(name: str, task: Any) -> Any:
    if name == "noop":
        return NoOpAgent()
    return (OracleAgent() if name == "oracle" else CheatingAgent(name)).for_task(task)


def played(instance: Instance, place: Path, sandbox: Any, agent: str) -> dict[str, Any]:
    """Play a task; return its reward and verdict, without what differs from run to run."""
    write_instances(place / "tasks.jsonl", [instance])
    config = SweConfig(name="swe", tasks=place / "tasks.jsonl", sandbox=sandbox)
    environment = config.build()
    (task,) = environment.tasks("train")
    done = run_sync(rollout(environment, task, agent_named(agent, task)))
    verdict = done.outcome["verdict"] or {}
    kept = ("result", "reason", "outcomes", "control", "dropped")
    return {
        "exit": done.outcome["exit"],
        "rewards": done.rewards,
        **{key: verdict.get(key) for key in kept},
    }


@pytest.mark.skipif(bubblewrap.why_not() is not None, reason="no local sandbox to compare with")
@pytest.mark.parametrize("agent", ["oracle", "noop", "empty_tests", "register_plugin", "exit_late"])
def test_verdicts_are_those_of_the_local_sandbox(agent: str, image: str, tmp_path: Path) -> None:
    local = played(shapes_instance(tmp_path), tmp_path, local_sandbox(), agent)
    docker = DockerSandboxConfig(name="docker")
    found = played(in_image(tmp_path, image, "/testbed"), tmp_path, docker, agent)
    assert found == local
    assert found["rewards"] == {"environment": 1.0 if agent == "oracle" else -1.0}


def test_a_repository_of_the_sandbox_user(image: str, tmp_path: Path) -> None:
    docker = DockerSandboxConfig(name="docker")
    found = played(in_image(tmp_path, image, "/srv/testbed"), tmp_path, docker, "oracle")
    assert (found["exit"], found["rewards"]) == ("answered", {"environment": 1.0})


def test_a_chosen_user_stays(image: str, tmp_path: Path) -> None:
    instance = in_image(tmp_path, image, "/testbed")
    other = DockerSandboxConfig(name="docker", user="1001:1001")
    with pytest.raises(Exception, match="cannot prepare the repository"):
        run_sync(grade(other, instance, FIX))


REWRITES_PYTEST = """
def _ease():
    path = "%s/_py" + "test/python.py"
    try:
        open(path, "a").write("\\n")
    except OSError:
        pass


_ease()
"""


def test_libraries_of_a_root_image_are_watched(image: str, tmp_path: Path) -> None:
    """As root, the tested code may write to the libraries; a repair that does is none."""
    fixed = BROKEN.replace("width + height\n", "width * height\n", 1)
    patch = file_diff("shapes/__init__.py", BROKEN, fixed + REWRITES_PYTEST % LIBRARIES)
    docker = DockerSandboxConfig(name="docker")
    verdict = run_sync(grade(docker, in_image(tmp_path, image, "/testbed"), patch))
    assert verdict.result is Result.TAMPERED
    assert "changed while tests ran" in verdict.reason
    assert verdict.outcomes[FAIL[0]] == "passed"


def test_agents_work_at_the_same_time(image: str, tmp_path: Path) -> None:
    instance = in_image(tmp_path, image, "/testbed")
    docker = DockerSandboxConfig(name="docker")

    async def both() -> list[Any]:
        return list(await asyncio.gather(*[grade(docker, instance, FIX) for _ in range(2)]))

    assert [verdict.result for verdict in run_sync(both())] == [Result.RESOLVED] * 2
