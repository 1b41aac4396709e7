"""The strategy `heuristic`: what a project's own files say, tried in the usual order."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from cwm_forager.images.plan import (
    VENV,
    BuildPlan,
    PlanError,
    Step,
    Surroundings,
    in_venv,
    quoted,
    virtual_environment,
)
from cwm_forager.images.reading import Project, read_project


class Heuristic:
    """Installs the project editable, with what its files say that tests need."""

    async def plan(self, repository: Path, surroundings: Surroundings) -> BuildPlan:
        """Plan by reading (see `ImageStrategy.plan`)."""
        project = read_project(repository)
        if not project.installable and not any(repository.rglob("*.py")):
            raise PlanError(f"{repository.name} holds no Python code", "give a Python project")
        python, notes = choose_python(project.requires_python, surroundings.pythons)
        environment = {**project.environment, **in_venv()}
        if project.versioned_by_git:
            environment["SETUPTOOLS_SCM_PRETEND_VERSION"] = version_of(repository)
        return BuildPlan(
            (virtual_environment(python), *_steps(project)),
            (f"{VENV}/bin/python", "-m", "pytest", *project.arguments),
            environment,
            tuple(notes),
        )


def choose_python(wanted: str, pythons: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the first interpreter that a version specifier allows, and a note where none does."""
    try:
        allowed = SpecifierSet(wanted)
    except InvalidSpecifier:
        return "python3", [f"requires-python is no specifier: {wanted!r}"]
    for version in pythons:
        if allowed.contains(f"{version}.99", prereleases=True):
            return f"python{version}", []
    return "python3", [f"no interpreter of the base satisfies {wanted!r}: {', '.join(pythons)}"]


def version_of(repository: Path) -> str:
    """Return the version in an sdist's PKG-INFO, 0.0.0 where there is none."""
    try:
        lines = (repository / "PKG-INFO").read_text("utf-8", "replace").splitlines()
    except OSError:
        return "0.0.0"
    return next((line[9:].strip() for line in lines if line.startswith("Version: ")), "0.0.0")


def _steps(project: Project) -> list[Step]:
    pip = "python -m pip install --quiet"
    steps = []
    if project.installable:
        extras = f"[{','.join(project.extras)}]" if project.extras else ""
        install = f"{pip} -e {quoted('.' + extras)}"
        if extras:
            install += f" || {pip} -e ."
        steps.append(Step("the project", install))
    wanted = [each for each in project.requirements if is_requirement(each)]
    lines = [f"{pip} {' '.join(map(quoted, wanted))}"] if wanted else []
    lines += [f"[ ! -f {quoted(name)} ] || {pip} -r {quoted(name)}" for name in project.files]
    lines += [
        f"python -c {quoted(_NEEDED.format(name=name))} || {pip} {quoted(name)}"
        for name in project.guesses
        if is_requirement(name)
    ]
    if lines:
        tolerant = [f"{{ {line}; }} || echo 'cwm: could not install this'" for line in lines]
        steps.append(Step("what tests need", "\n".join(tolerant)))
    return steps


_NEEDED = "import importlib.metadata as m; m.version('{name}')"


def is_requirement(text: str) -> bool:
    """Whether pip could take this as the name of something to install, for any environment."""
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True
