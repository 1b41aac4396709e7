"""`cwm image build` on the real engine, from repositories made here, without any network."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from docker_engine import BASE, needs_engine
from model_server import ModelServer, running

from cwm_core.env.concurrency import run_sync
from cwm_core.text.tokenizer import train_bpe
from cwm_forager.docker import prune
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import engine
from cwm_forager.docker.labels import labels_of
from cwm_forager.images.build import LAYER
from cwm_forager.images.manifest import ImageManifest, TestRecord

STABLE = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/test_calc.py": """\
import os

import calc
import pytest


def test_add():
    assert calc.add(2, 3) == 5


def test_wrong():
    assert calc.add(2, 3) == 6


@pytest.mark.skip
def test_later():
    pass


def test_mode():
    assert os.environ.get("CALC_MODE") == "ci"
""",
    ".github/workflows/ci.yml": """\
on: [push]
jobs:
  lint:
    runs-on: ubuntu-latest
    steps:
      - run: ruff check
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        python-version: ["3.11"]
    env:
      CALC_MODE: ci
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: ${{ matrix.python-version }}
      - uses: acme/unheard-of@v1
      - run: python -m pip install pytest
      - run: python -m pytest tests
""",
}
FLAKY = {
    "test_luck.py": """\
import os

import pytest


def test_sure():
    assert True


@pytest.mark.parametrize("number", range(12))
def test_luck(number):
    assert os.urandom(1)[0] < 128
"""
}
SECRET = "def add(a, b):\n    return sum((a, b))  # from the future\n"


def git(directory: Path, *arguments: str) -> str:
    line = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(
        line, cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir()
    git(directory, "init", "-q", "-b", "main")
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "one")
    return directory


def with_future(directory: Path) -> str:
    """Add commits, branches, tags, a stash and a remote; return the commit before all that."""
    before = git(directory, "rev-parse", "HEAD")
    git(directory, "tag", "v1")
    (directory / "calc.py").write_text(SECRET)
    git(directory, "commit", "-q", "-a", "-m", "two")
    git(directory, "tag", "-a", "v2", "-m", "v2")
    git(directory, "branch", "topic")
    (directory / "calc.py").write_text(SECRET + "\n# stashed\n")
    git(directory, "stash")
    git(directory, "remote", "add", "origin", "https://user:word@example.org/calc.git")
    return before


class Engine:
    """What one test has in the engine: a base of its own, so that no cached layer is shared."""

    def __init__(self) -> None:
        self.tag = f"cwm-test-{secrets.token_hex(6)}"
        self.base = f"{self.tag}:base"
        api = engine()
        made = api.create_container(BASE, ["true"], labels=labels_of("sandbox"))["Id"]
        try:
            api.put_archive(made, "/", _marker(self.tag))
            api.commit(made, repository=self.tag, tag="base")
        finally:
            api.remove_container(made, force=True)
        self._top = api.inspect_image(self.base)["RootFS"]["Layers"][-1]

    def images(self) -> list[prune.Leftover]:
        """What `cwm forage prune --images` would remove and was made here."""
        found = [each for each in prune.find(images=True) if each.kind == "image"]
        return [each for each in found if self._is_own(each.name)]

    def _is_own(self, name: str) -> bool:
        with contextlib.suppress(Exception):
            return self._top in engine().inspect_image(name)["RootFS"]["Layers"]
        return False

    def forget_layers(self) -> None:
        for one in engine().images(LAYER):
            for tag in one["RepoTags"] or []:
                if tag.startswith(f"{LAYER}:") and self._is_own(tag):
                    engine().remove_image(tag, force=True)

    def close(self) -> None:
        prune.remove_all(self.images())
        for one in engine().images():
            for tag in one["RepoTags"] or []:
                if tag.startswith(self.tag):
                    engine().remove_image(tag, force=True)


def _marker(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("etc/cwm-test")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def own() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of pytest and what it needs, and none else."""
    place = tmp_path / "wheels"
    place.mkdir()
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        found = distribution(name)
        with zipfile.ZipFile(place / f"{name}-{found.version}-py3-none-any.whl", "w") as wheel:
            for file in found.files or ():
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    wheel.write(str(file.locate()), str(file))
    with zipfile.ZipFile(place / "wheel-0.1-py3-none-any.whl", "w") as wheel:
        info = "wheel-0.1.dist-info"  # asked for by every build, needed by none here
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: wheel\nVersion: 0.1\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    return place


def outcomes(manifest: ImageManifest) -> dict[str, tuple[str, ...]]:
    return {name.partition("::")[2]: test.outcomes for name, test in manifest.tests.items()}


@needs_engine
def test_images_of_small_repositories(
    own: Engine, wheels: Path, tmp_path: Path, cwm_cli: Callable[..., Any]
) -> None:
    stable, luck = repository(tmp_path / "calc", STABLE), repository(tmp_path / "luck", FLAKY)
    source = f"{stable}@{with_future(stable)}"

    def build(out: str, *more: str) -> dict[str, ImageManifest]:
        settings = [f"base={own.base}", f"tag={own.tag}", "network=none", "parallel=1"]
        line = ["image", "build", *more, *settings, "--out", out]
        done = cwm_cli(*line, timeout_s=550)
        assert done.returncode == 0, done.stderr
        return {path.parent.name: ImageManifest.read(path) for path in tmp_path.glob(f"{out}/*/m*")}

    first = build("first", source, str(luck), "runs=3")
    calc, flaky = first["calc"], first["luck"]
    assert outcomes(calc) == {
        "test_add": ("passed",) * 3,
        "test_wrong": ("failed",) * 3,
        "test_later": ("skipped",) * 3,
        "test_mode": ("failed",) * 3,
    }
    assert calc.reliable == ("tests/test_calc.py::test_add",)
    assert flaky.flaky
    assert all(name.startswith("test_luck.py::test_luck[") for name in flaky.flaky)
    assert "test_luck.py::test_sure" in flaky.reliable
    shown = cwm_cli("image", "show", "first/luck").stdout
    assert f"flaky: {flaky.flaky[0]}" in shown
    assert flaky.image in shown
    check_history(calc)
    own.forget_layers()
    again = build("again", source, "runs=1")["calc"]
    assert again.digest() == calc.digest()
    assert again.image == calc.image
    played = build("played", source, "runs=1", "strategy=activ")["calc"]
    assert outcomes(played)["test_mode"] == ("passed",)
    assert (played.strategy, played.commit) == ("activ", calc.commit)
    assert any("unheard-of" in note for note in played.notes)
    names = {each.name for each in own.images()}
    assert {calc.image, flaky.image, played.image} <= names
    assert prune.remove_all(own.images()) == []
    assert own.images() == []


def check_history(manifest: ImageManifest) -> None:
    """Nothing in an image's repository comes from after its commit."""
    script = """
        git rev-parse HEAD; git status --porcelain
        echo; git remote; git for-each-ref --format='%(refname)'; git stash list
        git reflog show --all; git config --get-regexp '^remote' ; ls .git/logs 2>/dev/null
        echo; git rev-list --all | wc -l
        git cat-file --batch-all-objects --batch | grep -ac 'from the future'
        grep -rac 'user:word' .git/config
    """

    async def look() -> str:
        async with DockerSandboxConfig(image=manifest.image).build() as box:
            return (await box.exec(script, 60, cwd=manifest.workdir)).text

    head, refs, rest = run_sync(look()).split("\n\n")
    assert head == manifest.commit
    assert {name.rpartition("/")[2] for name in refs.split()} <= {"main", "v1"}
    assert rest.split() == ["1", "0", "0"]


def work(prompt: str) -> str:
    """Look, say nothing of use, hand in a broken script, then a good one."""
    submit = "<tool: submit>\ntest: python -m pytest tests\nscript:\n{}\n</tool>"
    turns = [
        "<tool: bash>\nls; cat calc.py\n</tool>",
        "It looks like a calculator.",
        submit.format("no-such-command"),
        submit.format("python -c 'import pytest'"),
    ]
    count = prompt.count("<|start_header_id|>assistant<|end_header_id|>") - 1
    return turns[min(count, len(turns) - 1)]


@needs_engine
def test_a_model_builds_an_image(
    own: Engine, wheels: Path, tmp_path: Path, cwm_cli: Callable[..., Any]
) -> None:
    source = repository(tmp_path / "calc", STABLE)
    tokenizer = train_bpe(list(STABLE.values()) * 5, 700)
    tokenizer.save(tmp_path / "tokenizer")
    with running(ModelServer(tokenizer, work, {1: "fail"})) as server:
        done = cwm_cli(
            *["image", "build", str(source), "strategy=repoagent", "strategy.engine=openai"],
            *[f"strategy.engine.base_url={server.url}", "strategy.tokenizer=tokenizer"],
            *[f"base={own.base}", f"tag={own.tag}", "network=none", "runs=1", "--out", "made"],
            timeout_s=550,
        )
    assert done.returncode == 0, done.stderr
    made = ImageManifest.read(tmp_path / "made/calc")
    assert (made.strategy, outcomes(made)["test_add"]) == ("repoagent", ("passed",))
    assert "python -c 'import pytest'" in made.script
    log = (tmp_path / "made/calc/log.txt").read_text()
    assert "def add(a, b)" in log
    assert "The script failed." in log
    assert len(server.prompts) == 5


def test_digests_leave_out_what_differs_by_chance() -> None:
    def manifest(**tests: tuple[str, ...]) -> ImageManifest:
        return ImageManifest(
            name="a", source="a", commit="0" * 40, image=secrets.token_hex(4), image_id="x",
            base="b", base_id="y", strategy="heuristic", script="", test_command=("pytest",),
            tests={name: TestRecord(outcomes=found) for name, found in tests.items()},
        )  # fmt: skip

    one = manifest(a=("passed", "passed"), b=("passed", "failed"))
    other = manifest(a=("passed",), b=("failed", "passed", "passed"))
    assert json.loads(one.model_dump_json())["image"] != other.image
    assert one.digest() == other.digest()
    assert one.digest() != manifest(a=("failed",), b=("failed", "passed")).digest()
