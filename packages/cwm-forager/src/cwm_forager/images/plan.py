"""Build plans, and what makes them: image strategies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from cwm_core.errors import RunError
from cwm_core.sandbox.base import ExecResult
from cwm_forager.images.manifest import WORKDIR

VENV = "/opt/venv"
"""Virtual environment of every image that needs one; its ``bin`` comes first in PATH."""


class PlanError(RunError):
    """A strategy cannot tell how a repository is built."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the build, stored as a layer of its own: shell text for bash, and its name."""

    name: str
    script: str
    needs_repository: bool = True
    """Whether it reads the repository; steps that do not come first and are shared by all."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """How the base becomes an image.

    `test_command` is argv that ends in pytest and its options. `environment` holds for the build
    and for tests.
    """

    steps: tuple[Step, ...]
    test_command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def script(self) -> str:
        """Return the whole build as one shell script; the repository lies in its place."""
        parts = ["#!/bin/bash", "set -e", f"cd {WORKDIR}"]
        parts += [f"export {key}={quoted(value)}" for key, value in self.environment.items()]
        for step in self.steps:
            parts += [f"\n# {step.name}", f"(\n{step.script.strip()}\n)"]
        return "\n".join(parts) + "\n"


@runtime_checkable
class Workbench(Protocol):
    """A container with the base and the repository in it, to try things in."""

    async def exec(
        self, command: str, timeout_s: float, *, cwd: str = WORKDIR, env: Mapping[str, str] = {}
    ) -> ExecResult:
        """Run a command."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a strategy may use besides the repository's files."""

    pythons: tuple[str, ...]
    """Versions of the base's interpreters, such as ``3.11``; the first is ``python3``."""
    workbench: Callable[[], AbstractAsyncContextManager[Workbench]]
    """Opens a container, with network, that is thrown away afterwards."""
    log: Callable[[str], None]
    """Adds to the build's log."""


@runtime_checkable
class ImageStrategy(Protocol):
    """Finds out how a repository is built and tested."""

    async def plan(self, repository: Path, surroundings: Surroundings) -> BuildPlan:
        """Return a plan for the repository in a directory; nothing of it is run there.

        Raises:
            PlanError: there is nothing to go by.
        """
        ...


def quoted(value: str) -> str:
    """Return a value as one word of a shell command."""
    import shlex

    return shlex.quote(value)


def virtual_environment(python: str = "python3") -> Step:
    """Return the step that makes the virtual environment with pytest in it."""
    script = (
        f"{python} -m venv {VENV}\n"
        f"{VENV}/bin/python -m pip install --quiet --upgrade pip setuptools wheel pytest"
    )
    return Step(f"virtual environment of {python}", script, needs_repository=False)


def in_venv() -> dict[str, str]:
    """Return the variables by which the virtual environment is used."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"VIRTUAL_ENV": VENV, "PATH": f"{VENV}/bin:{path}"}
