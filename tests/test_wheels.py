"""Each built wheel works alone, outside the workspace, with nothing but its dependencies.

Works without network: everything comes from uv's cache, which the sync of the workspace filled.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["cwm-core", "cwm-tracer", "cwm-forager", "cwm-train", "cwm-rl", "cwm-eval"]
FORBIDDEN = {
    "cwm-core": {"torch", "docker", "datasets", "ray", "openai"},
    "cwm-tracer": {"torch", "docker", "datasets", "ray", "openai"},
    "cwm-forager": {"torch", "datasets", "ray"},
    "cwm-eval": {"torch", "docker", "ray"},
}
"""What `pip install PACKAGE` must not bring along."""


def uv(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    command = ["uv", *map(str, arguments), "--offline", "--quiet"]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if result.returncode and "network" in result.stderr.lower() and "CI" not in os.environ:
        pytest.skip(f"uv's cache lacks a package: {result.stderr.strip()[-300:]}")
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All six wheels, built once per test run."""
    shared = tmp_path_factory.getbasetemp().parent
    target = shared / "wheels"
    with FileLock(shared / "wheels.lock"):
        if not (target / "done").exists():
            uv("build", "--all-packages", "--wheel", "--no-sources", "-o", target, cwd=ROOT)
            (target / "done").touch()
    return target


@pytest.fixture(scope="session")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace's pins: the versions that the cache holds."""
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    path = tmp_path_factory.mktemp("pins") / "constraints.txt"
    path.write_text("\n".join(pins["constraint-dependencies"]) + "\n")
    return path


@pytest.fixture
def install(tmp_path: Path, dist: Path, constraints: Path) -> Callable[[str], Path]:
    """Install one package from its wheel into a new environment; returns its `bin`."""

    def run(package: str) -> Path:
        venv = tmp_path / "venv"
        uv("venv", "--python", sys.executable, venv, cwd=tmp_path)
        python = venv / "bin" / "python"
        # the option hides the variable: a local directory of wheels must be named again
        local = os.environ.get("UV_FIND_LINKS", "").replace(",", " ").split()
        links = [word for place in (dist, *local) for word in ("--find-links", place)]
        uv("pip", "install", "--python", python, *links,
           "--constraint", constraints, package, cwd=tmp_path)  # fmt: skip
        uv("pip", "check", "--python", python, cwd=tmp_path)
        return venv / "bin"

    return run


def cwm(bin_dir: Path, cwd: Path, *arguments: str) -> str:
    environment = {"PATH": f"{bin_dir}:{os.environ['PATH']}", "HOME": str(cwd), "NO_COLOR": "1"}
    result = subprocess.run(
        [str(bin_dir / "cwm"), *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, f"cwm {' '.join(arguments)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def use_core(bin_dir: Path, cwd: Path) -> None:
    assert json.loads(cwm(bin_dir, cwd, "doctor", "--json"))


def use_tracer(bin_dir: Path, cwd: Path) -> None:
    (cwd / "double.py").write_text("def double(x):\n    y = x * 2\n    return y\n")
    shown = cwm(bin_dir, cwd, "trace", "double.py:double", "--input", "21", "--wire")
    assert '<|return_sep|><|action_sep|>    return y\n<|arg_sep|>"42"<|frame_sep|>' in shown
    cwm(bin_dir, cwd, "trace", "programs=generated", "programs.count=20", "out=traces")
    assert list((cwd / "traces").rglob("*.parquet"))


def use_forager(bin_dir: Path, cwd: Path) -> None:
    assert "dedup" in cwm(bin_dir, cwd, "forage", "--help")


def use_train(bin_dir: Path, cwd: Path) -> None:
    assert "32,581,097,472" in cwm(bin_dir, cwd, "model", "info", "cwm_32b")


def use_rl(bin_dir: Path, cwd: Path) -> None:
    assert "score" in cwm(bin_dir, cwd, "rl", "--help")
    assert "cwm" in cwm(bin_dir, cwd, "plugins", "advantages")


def use_eval(bin_dir: Path, cwd: Path) -> None:
    assert "report" in cwm(bin_dir, cwd, "eval", "--help")
    assert "trace_prediction" in cwm(bin_dir, cwd, "plugins", "benchmarks")


USES = {
    "cwm-core": use_core,
    "cwm-tracer": use_tracer,
    "cwm-forager": use_forager,
    "cwm-train": use_train,
    "cwm-rl": use_rl,
    "cwm-eval": use_eval,
}


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_alone(package: str, install: Callable[[str], Path], tmp_path: Path) -> None:
    bin_dir = install(package)
    plugins = json.loads(cwm(bin_dir, tmp_path, "plugins", "--json"))
    text = json.dumps(plugins)
    assert package in text
    listing = uv("pip", "list", "--python", bin_dir / "python", "--format", "json", cwd=tmp_path)
    installed = {row["name"] for row in json.loads(listing.stdout)}
    assert not installed & FORBIDDEN.get(package, set())
    USES[package](bin_dir, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "tag"), [(None, "-cp3"), ("/bin/false", "-py3-none-any.whl")])
@pytest.mark.parametrize(
    ("package", "extension", "twin"),
    [
        ("cwm-tracer", "cwm_tracer/capture/_native.c", "cwm_tracer/capture/recorder.py"),
        ("cwm-train", "cwm_train/generate/_native.c", "cwm_train/generate/decode.py"),
    ],
)
def test_wheels_are_pure_where_nothing_compiles(
    package: str,
    extension: str,
    twin: str,
    compiler: str | None,
    tag: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if compiler is not None:
        monkeypatch.setenv("CC", compiler)
    elif not shutil.which("cc"):
        pytest.skip("no C compiler")
    uv("build", "--package", package, "--wheel", "--no-sources", "-o", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    assert tag in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith(extension) for name in names) == (not compiler)
    assert twin in names
