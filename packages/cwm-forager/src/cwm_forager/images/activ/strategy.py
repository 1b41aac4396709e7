"""The strategy `activ`: the job of the repository's workflows that runs its tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError
from cwm_forager.images.activ.expressions import Scope
from cwm_forager.images.activ.interpret import Interpreted, Interpreter
from cwm_forager.images.activ.workflow import (
    Job,
    best_combination,
    jobs_of,
    matrix_of,
    test_score,
)
from cwm_forager.images.config import ActivConfig
from cwm_forager.images.heuristic import version_of
from cwm_forager.images.plan import (
    VENV,
    BuildPlan,
    PlanError,
    Step,
    Surroundings,
    in_venv,
    virtual_environment,
)
from cwm_forager.images.reading import pytest_arguments, read_project

WORKFLOWS = ".github/workflows"


class Activ:
    """Plays what comes before the tests, and turns the test command into one of pytest."""

    def __init__(self, config: ActivConfig) -> None:
        self._config = config

    async def plan(self, repository: Path, surroundings: Surroundings) -> BuildPlan:
        """Plan by interpreting a workflow (see `ImageStrategy.plan`)."""
        notes: list[str] = []
        job = self._job(repository, notes)
        surroundings.log(f"activ: {job.file}, job {job.name}")
        if self._config.use_act and shutil.which("act"):
            notes += checked_by_act(repository, job)
        combination = self._combination(job, repository, surroundings)
        interpreter = Interpreter(
            job,
            combination,
            repository,
            surroundings.pythons,
            event=self._config.event,
            strict=self._config.unknown_actions == "fail",
        )
        found = interpreter.interpret()
        where = f"{job.file}, job {job.name}" + (f", matrix {combination}" if combination else "")
        notes = [f"played {where}", *notes, *found.notes]
        return self._plan(repository, found, notes)

    def _job(self, repository: Path, notes: list[str]) -> Job:
        jobs = self._jobs(repository, notes)
        if self._config.job:
            jobs = [job for job in jobs if job.name == self._config.job]
        ranked = sorted(jobs, key=test_score, reverse=True)
        if not ranked or (not test_score(ranked[0]) and not self._config.job):
            raise PlanError(
                f"no workflow of {repository.name} has a job that runs tests",
                "set strategy.workflow and strategy.job, or use strategy=heuristic",
            )
        return ranked[0]

    def _jobs(self, repository: Path, notes: list[str]) -> list[Job]:
        if self._config.workflow_file is not None:
            return jobs_of(self._config.workflow_file)
        place = repository / WORKFLOWS
        paths = sorted([*place.glob("*.yml"), *place.glob("*.yaml")])
        if self._config.workflow:
            paths = [path for path in paths if path.name == self._config.workflow]
        if not paths:
            named = self._config.workflow or "a workflow"
            raise PlanError(
                f"the repository has no {named} in {WORKFLOWS}",
                "give one with strategy.workflow_file=FILE, or use strategy=heuristic",
            )
        jobs = []
        for path in paths:
            try:
                jobs += jobs_of(path)
            except DataError as error:
                notes.append(error.message)
        return jobs

    def _combination(
        self, job: Job, repository: Path, surroundings: Surroundings
    ) -> dict[str, Any]:
        scope = Scope({"github": {"event_name": self._config.event}}, repository)
        combinations = matrix_of(job, scope)
        pythons = surroundings.pythons
        return best_combination(combinations, job.body.get("runs-on"), pythons, self._config.matrix)

    def _plan(self, repository: Path, found: Interpreted, notes: list[str]) -> BuildPlan:
        place = next(
            (
                number
                for number, (text, _) in enumerate(found.runs)
                if lines_with_tests(text, repository)
            ),
            None,
        )
        if place is None:
            raise PlanError("no step of the job runs tests", "set strategy.job, or use heuristic")
        text, _ = found.runs[place]
        lines = lines_with_tests(text, repository)
        start = text.find(lines[0])
        before = text[: max(start, 0)]
        steps = [virtual_environment()]
        steps += [Step(name, script) for name, script in found.parts[:place]]
        if before.strip():
            steps.append(Step(f"{found.parts[place][0]}, before the tests", before))
        steps.append(Step("the project, where no step installed it", _installed_if_needed()))
        arguments = test_arguments_of(lines, repository)
        project = read_project(repository)
        environment = {**found.environment, **in_venv()}
        if project.versioned_by_git:
            environment["SETUPTOOLS_SCM_PRETEND_VERSION"] = version_of(repository)
        if any(re.search(r"\b(tox|nox|hatch)\b|\bmake\b", line) for line in lines):
            steps += _of_test_tool(project.requirements, project.files)
        environment = {k: v for k, v in environment.items() if k.isidentifier()}
        command = (f"{VENV}/bin/python", "-m", "pytest", *arguments)
        return BuildPlan(tuple(steps), command, environment, tuple(notes))


def lines_with_tests(text: str, repository: Path) -> list[str]:
    """Return the lines of a script that run tests, ``make`` followed into the Makefile."""
    return [
        line
        for line in text.replace("\\\n", " ").splitlines()
        if any(_runs_tests(each) for each in _followed(line, repository))
    ]


def _followed(line: str, repository: Path) -> list[str]:
    words = line.split()
    if words[:1] != ["make"]:
        return [line]
    recipes = makefile(repository / "Makefile")
    found = [recipe for word in words[1:] for recipe in recipes.get(word, ())]
    return found or [line]


def _runs_tests(line: str) -> bool:
    if re.search(r"\bpip3?\b.*\binstall\b|\buv (pip|sync|add|tool)\b|\bapt(-get)?\b", line):
        return False
    runner = r"(^|\s|/)(pytest|py\.test|tox|nox|nosetests)(\s|$)|-m\s+(pytest|unittest|tox|nox)\b"
    return bool(re.search(runner + r"|\bhatch\s+(run\s+)?test", line))


def makefile(path: Path) -> dict[str, list[str]]:
    """Return the recipe lines of each target of a Makefile, prerequisites first."""
    recipes: dict[str, list[str]] = {}
    needs: dict[str, list[str]] = {}
    target = ""
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    for line in text.replace("\\\n", " ").splitlines():
        found = re.match(r"^([\w.-]+)\s*:(?!=)\s*([^=]*)$", line)
        if found:
            target = found[1]
            recipes.setdefault(target, [])
            needs[target] = found[2].split()
        elif line.startswith("\t") and target:
            recipes[target].append(line.strip().lstrip("@-"))
    return {
        name: [line for need in needs[name] for line in recipes.get(need, [])] + lines
        for name, lines in recipes.items()
    }


def test_arguments_of(lines: list[str], repository: Path) -> list[str]:
    """Return pytest's arguments from the lines that run tests, or from the project's files."""
    for line in lines:
        for each in _followed(line, repository):
            arguments = pytest_arguments(each, repository)
            if arguments is not None:
                return arguments
    return read_project(repository).arguments


def _installed_if_needed() -> str:
    return (
        "if [ -f pyproject.toml ] || [ -f setup.py ]; then\n"
        "  python -m pip install --quiet --no-deps -e . || true\n"
        "fi\n"
        "python -c 'import pytest' 2>/dev/null || python -m pip install --quiet pytest"
    )


def _of_test_tool(requirements: list[str], files: list[str]) -> list[Step]:
    """Return the step that installs what tox, nox or make would install for its tests."""
    from cwm_forager.images.heuristic import is_requirement
    from cwm_forager.images.plan import quoted

    pip = "python -m pip install --quiet"
    wanted = [each for each in requirements if is_requirement(each)]
    lines = [f"{pip} {' '.join(map(quoted, wanted))} || true"] if wanted else []
    lines += [f"[ ! -f {quoted(name)} ] || {pip} -r {quoted(name)} || true" for name in files]
    return [Step("what the test tool would install", "\n".join(lines))] if lines else []


def checked_by_act(repository: Path, job: Job) -> list[str]:
    """Let ``act`` read the workflow, without running it; return what it complains about."""
    line = ["act", "--dryrun", "--list", "--workflows", f"{WORKFLOWS}/{job.file}"]
    try:
        done = subprocess.run(
            line, cwd=repository, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"act: {error}"]
    return [] if done.returncode == 0 else [f"act: {done.stderr.strip()[-300:]}"]
