"""Run the tests of cwm-core and cwm-tracer on every other supported Python of this machine.

uv run tools/test_pythons.py [3.12 3.13 ...] [-- pytest arguments]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ["3.11", "3.12", "3.13"]
PACKAGES = ["cwm-core", "cwm-tracer"]
TEST_TOOLS = ["pytest", "pytest-xdist", "pytest-timeout", "hypothesis", "openai"]


def find(version: str) -> Path | None:
    """An interpreter of that version: on PATH, managed by uv, or under pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in candidates:
        probe = [candidate, "-c", "import sys; print(sys.executable)"]
        try:
            result = subprocess.run(probe, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return Path(result.stdout.strip())
    return None


def run_tests(interpreter: Path, pytest_arguments: list[str]) -> int:
    """Install the two packages into a new environment and run their tests; pytest's exit code."""
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    with tempfile.TemporaryDirectory() as scratch:
        python = Path(scratch) / "venv" / "bin" / "python"
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text("\n".join(pins["constraint-dependencies"]) + "\n")
        uv = ["uv", "--quiet"]
        editable = [word for name in PACKAGES for word in ("-e", str(ROOT / "packages" / name))]
        for command in (
            [*uv, "venv", "--python", str(interpreter), str(python.parent.parent)],
            [*uv, "pip", "install", "--python", str(python), "--constraint", str(constraints),
             "--compile-bytecode", *editable, *TEST_TOOLS],
            # Where nothing compiles, half of the tests would test nothing.
            [str(python), "-c", "import cwm_tracer.capture._native"],
        ):  # fmt: skip
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
        tests = [f"packages/{name}/tests" for name in PACKAGES]
        command = [str(python), "-m", "pytest", "-n", "auto", "-q", *tests, *pytest_arguments]
        environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
        return subprocess.run(command, cwd=ROOT, env=environment).returncode


def main(argv: list[str]) -> int:
    """Run the tool; returns 1 when any version failed."""
    cut = argv.index("--") if "--" in argv else len(argv)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = argv[:cut] or [version for version in VERSIONS if version != here]
    failed = []
    for version in wanted:
        interpreter = find(version)
        if interpreter is None:
            print(f"Python {version}: not on this machine, skipped", flush=True)
            continue
        print(f"Python {version}: {interpreter.name}", flush=True)
        if run_tests(interpreter, argv[cut + 1 :]):
            failed.append(version)
    if failed:
        print(f"failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
