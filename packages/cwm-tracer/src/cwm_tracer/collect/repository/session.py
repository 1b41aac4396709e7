"""A sandbox with a repository, its tests and the injected runtime."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cwm_core.errors import RunError
from cwm_core.sandbox.base import ExecResult
from cwm_tracer.collect.repository.config import TestsConfig
from cwm_tracer.collect.repository.inject import PACKAGE, runtime_files
from cwm_tracer.collect.repository.interpreter import placed
from cwm_tracer.collect.repository.outcomes import Outcomes, read_outcomes

_PIECE = 4 << 20
_MOST_FETCHED = 1 << 30
_SETUP_TIMEOUT_S = 300.0
_UNPACK = """
set -e
tar -xf cwm/runtime.tar -C cwm
mkdir unpacked
tar -xf cwm/repository.tar --no-same-owner -C unpacked
set -- unpacked/*
if [ $# -eq 1 ] && [ -d "$1" ]; then mv "$1" repository; rmdir unpacked
else mv unpacked repository; fi
"""
_PROBE = """
import importlib.util, pytest
print(importlib.util.find_spec("pytest_cov") is not None)
"""
_SNAPSHOT = "rm -rf cwm/pristine && cp -a repository cwm/pristine"
_RESET = """
chmod -R u+rwX repository cwm/out 2>/dev/null
rm -rf repository cwm/out home && cp -a cwm/pristine repository && mkdir -p cwm/out home
"""


@dataclass(frozen=True, slots=True)
class PytestRun:
    """One run of pytest, and what it left."""

    outcomes: Outcomes
    streams: dict[str, bytes]
    """Content of each file that a process recorded into."""
    exit_code: int | None
    """None: the time limit ended it."""
    seconds: float
    tail: str
    """The end of what it printed."""


class Session:
    """Runs the tests of one repository, each time from the same state of its files.

    Raises:
        CwmError: the sandbox cannot be made, the archive not unpacked, the installation fails, or
            the interpreter has no pytest.
    """

    def __init__(self, config: TestsConfig, archive: bytes) -> None:
        self._config = config
        self._python, sandbox = placed(config.python, config.sandbox)
        self._runner = asyncio.Runner()
        self._sandbox: Any = sandbox.build()
        try:
            self._prepare(archive)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Delete the sandbox."""
        self._runner.run(self._sandbox.close())
        self._runner.close()

    def collect(self) -> Outcomes:
        """Return the ids of all tests.

        Raises:
            RunError: pytest finds none, or does not come to its end.
        """
        run = self._pytest([*self._config.files, "--collect-only"], trace=False)
        if not run.outcomes.finished:
            raise RunError(
                f"pytest cannot collect the tests of {self._config.repository}:\n{run.tail}",
                "check arguments=, python= and install=",
            )
        if not run.outcomes.tests:
            raise RunError(
                f"pytest finds no tests in {self._config.repository}:\n{run.tail}",
                "an sdist may come without its tests; check files= and arguments=",
            )
        return run.outcomes

    def run(self, file: str, *, trace: bool) -> PytestRun:
        """Run one test file."""
        return self._pytest([file], trace=trace)

    def index(self) -> dict[str, Any]:
        """Return the index of the repository's files by name, see `runtime.index`."""
        files = self._fetch("cwm/index")
        return {name.removesuffix(".json"): json.loads(data) for name, data in files.items()}

    def execute(self, module: str, arguments: Sequence[str], stdin: bytes = b"") -> ExecResult:
        """Run a module of the runtime in the repository."""
        line = [self._python, "-m", f"{PACKAGE}.{module}", *arguments]
        return self._exec(line, self._config.timeout_s, stdin=stdin)

    def _prepare(self, archive: bytes) -> None:
        self._root = self._checked("pwd", "find the workspace").decode().strip()
        self._write("cwm/repository.tar", archive)
        self._write("cwm/runtime.tar", self._runtime())
        self._checked(_UNPACK, "unpack the repository")
        self._paths = self._python_path()
        self._check_pytest()
        if self._config.install:
            result = self._exec(self._config.install, self._config.timeout_s)
            if result.exit_code != 0:
                raise RunError(
                    f"install={self._config.install!r} fails:\n{_tail(result)}",
                    "the sandbox may have no network; or give python= with what is needed",
                )
        include, exclude = json.dumps(self._config.include), json.dumps(self._config.exclude)
        arguments = [f"{self._root}/repository", f"{self._root}/cwm/index", include, exclude]
        result = self.execute("index", arguments)
        if result.exit_code != 0:
            raise RunError(f"the repository's files cannot be read:\n{_tail(result)}")
        self._checked(_SNAPSHOT, "copy the repository")

    def _runtime(self) -> bytes:
        """Return an archive of the runtime and its settings, for untraced and traced runs."""
        files = {f"runtime/{name}": text for name, text in runtime_files().items()}
        for trace in (False, True):
            settings = self._config.runtime_settings(f"{self._root}/cwm", trace=trace)
            files[_settings(trace)] = json.dumps(settings)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, text in files.items():
                data = text.encode("utf-8")
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    def _python_path(self) -> list[str]:
        names = " ".join(shlex.quote(name) for name in self._config.pythonpath)
        script = f'cd repository; for name in {names}; do test ! -d "$name" || echo "$name"; done'
        found = self._checked(script, "read the repository").decode().split("\n")[:-1]
        paths = [f"{self._root}/repository/{name}".removesuffix("/.") for name in found]
        return [f"{self._root}/cwm/runtime", *paths]

    def _check_pytest(self) -> None:
        result = self._exec([self._python, "-c", _PROBE], _SETUP_TIMEOUT_S)
        if result.exit_code != 0:
            raise RunError(
                f"{self._python} cannot import pytest in the sandbox:\n{_tail(result)}",
                "give python=, an interpreter (of a virtual environment) that has it",
            )
        self._has_cov = result.stdout.strip() == b"True"

    def _pytest(self, arguments: list[str], *, trace: bool) -> PytestRun:
        self._call(_RESET)
        # Coverage takes the trace function, and outcomes do not depend on it.
        cov = ["--no-cov"] if self._has_cov else []
        line = [self._python, "-m", "pytest", "-p", f"{PACKAGE}.plugin", "-p", "no:cacheprovider"]
        line += [*cov, "--continue-on-collection-errors", f"--rootdir={self._root}/repository"]
        line += [*self._config.arguments, *arguments]
        settings = {"CWM_RUNTIME": f"{self._root}/cwm/{_settings(trace)}"}
        result = self._exec(line, self._config.timeout_s, more=settings)
        files = self._fetch("cwm/out")
        return PytestRun(
            read_outcomes(files.pop("outcomes.jsonl", b"")),
            files,
            result.exit_code,
            result.duration_s,
            _tail(result),
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": ":".join(self._paths),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": f"{self._root}/home",
        }

    def _fetch(self, directory: str) -> dict[str, bytes]:
        """Return name and content of the files in a directory of the sandbox."""
        script = f"tar -czf cwm/fetch.tar.gz -C {directory} . && head -c {_PIECE} cwm/fetch.tar.gz"
        packed = bytearray()
        while True:
            piece = self._checked(script, "read what was recorded")
            packed += piece
            if len(piece) < _PIECE:
                return _unpacked(bytes(packed))
            script = f"tail -c +{len(packed) + 1} cwm/fetch.tar.gz | head -c {_PIECE}"

    def _exec(
        self,
        command: str | Sequence[str],
        timeout_s: float,
        *,
        stdin: bytes = b"",
        more: Mapping[str, str] | None = None,
    ) -> ExecResult:
        environment = {**self._environment(), **(more or {})}
        return self._runner.run(
            self._sandbox.exec(command, timeout_s, cwd="repository", env=environment, stdin=stdin)
        )

    def _call(self, command: str | Sequence[str]) -> ExecResult:
        return self._runner.run(self._sandbox.exec(command, _SETUP_TIMEOUT_S))

    def _checked(self, command: str, what: str) -> bytes:
        result = self._call(command)
        if result.exit_code != 0 or result.truncated:
            raise RunError(f"cannot {what} in the sandbox: {_tail(result)}")
        return result.stdout

    def _write(self, path: str, content: bytes) -> None:
        self._runner.run(self._sandbox.write_file(path, content))


def _settings(trace: bool) -> str:
    return "traced.json" if trace else "untraced.json"


def _unpacked(data: bytes) -> dict[str, bytes]:
    """Read an archive that untrusted code may have written."""
    files: dict[str, bytes] = {}
    left = _MOST_FETCHED
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                left -= member.size
                content = archive.extractfile(member) if member.isreg() and left > 0 else None
                if content is not None:
                    files[member.name.removeprefix("./")] = content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise RunError(f"what was recorded cannot be unpacked: {error}") from error
    return files


def _tail(result: ExecResult) -> str:
    if result.timed_out:
        return "it takes too long"
    text = result.stdout[-1500:] + result.stderr[-1500:]
    return text.decode("utf-8", "backslashreplace").strip()
