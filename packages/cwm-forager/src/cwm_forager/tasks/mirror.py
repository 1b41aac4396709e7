"""Issue-fix from the history of a local repository: commits that change source and tests.

Every commit whose diff to its first parent touches source and tests is split into the repair and
the tests that judge it. Which tests fail and pass is measured, not guessed: the tests run on the
parent with the new tests, and again with the repair.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cwm_core.components import ComponentConfig
from cwm_core.errors import DataError
from cwm_forager.grading.grade import observe
from cwm_forager.images.manifest import ImageManifest
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.patches import is_test_file, split_tests, touched
from cwm_forager.tasks.statements import template_statement

MAX_FILES = 30


def history(
    repository: Path,
    *,
    limit: int | None = None,
    image: str = "",
    archives: Path | None = None,
    manifest: ImageManifest | None = None,
    python: str = "python",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Instance]:
    """Yield candidates, newest first; their tests are unknown yet (see `measured`).

    `archives` is a directory for tar files of the parents, for sandboxes without images. With a
    `manifest`, a patch leads from the image's commit to each parent.

    Raises:
        DataError: `repository` is no git repository.
    """
    count = 0
    for line in _git(repository, "rev-list", "--first-parent", "--parents", "HEAD").splitlines():
        commit, *parents = line.split()
        if not parents:
            continue
        candidate = _candidate(repository, commit, parents[0])
        if candidate is None:
            continue
        values = _place(repository, candidate, image, archives, manifest, python)
        values["environment"] = {**_environment(manifest), **(environment or {})}
        yield candidate.model_copy(update=values)
        count += 1
        if limit is not None and count >= limit:
            return


def _candidate(repository: Path, commit: str, parent: str) -> Instance | None:
    diff = _git(repository, "diff", "--no-color", "--no-ext-diff", "--no-renames", parent, commit)
    if "\nBinary files " in diff or not diff:
        return None
    code, tests = split_tests(diff)
    files = touched(diff)
    has_source = any(path.endswith(".py") for path in touched(code))
    if not has_source or not _test_files(tests) or len(files) > MAX_FILES:
        return None
    name = repository.resolve().name
    return Instance(
        id=f"{name}-{commit[:12]}",
        repository=name,
        base_commit=parent,
        gold_patch=code,
        test_patch=tests,
        problem_statement=_git(repository, "log", "-1", "--format=%B", commit).strip(),
        metadata={
            "created_at": _git(repository, "log", "-1", "--format=%cI", commit).strip(),
            "commit": commit,
        },
    )


def _test_files(patch: str) -> list[str]:
    return [p for p in touched(patch) if is_test_file(p) and Path(p).name.endswith(".py")]


def _place(
    repository: Path,
    candidate: Instance,
    image: str,
    archives: Path | None,
    manifest: ImageManifest | None,
    python: str,
) -> dict[str, object]:
    values: dict[str, object] = {"image": image, "python": python}
    if manifest is not None:
        values |= {"image": manifest.image, "root": manifest.workdir}
        values["setup_patch"] = _way_back(repository, manifest.commit, candidate.base_commit)
    if archives is not None:
        archives.mkdir(parents=True, exist_ok=True)
        path = archives / f"{candidate.base_commit}.tar"
        _git(repository, "archive", "-o", str(path.resolve()), candidate.base_commit)
        values |= {"archive": str(path.resolve()), "root": "repo"}
    return values


def _environment(manifest: ImageManifest | None) -> Mapping[str, str]:
    return {} if manifest is None else manifest.environment


def _way_back(repository: Path, commit: str, parent: str) -> str:
    options = ("--no-color", "--no-ext-diff", "--no-renames", "--binary")
    return _git(repository, "diff", *options, commit, parent)


async def measured(config: ComponentConfig, candidate: Instance) -> Instance | None:
    """Run the tests that a candidate touches, before and after its repair.

    Returns None when no test is repaired by it.

    Raises:
        SandboxError: the sandbox failed.
        DataError: a patch does not apply.
    """
    files = _test_files(candidate.test_patch)
    before = await observe(config, candidate, files, "")
    after = await observe(config, candidate, files, candidate.gold_patch)
    passing = {test for test, outcome in after.items() if outcome == "passed"}
    fixed = sorted(test for test in passing if before.get(test) != "passed")
    if not fixed:
        return None
    kept = sorted(passing - set(fixed))
    found = candidate.model_copy(update={"fail_to_pass": tuple(fixed), "pass_to_pass": tuple(kept)})
    if found.problem_statement:
        return found
    return found.model_copy(update={"problem_statement": template_statement(found)})


def _git(repository: Path, *arguments: str) -> str:
    with tempfile.TemporaryFile() as errors:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
        )
        if done.returncode != 0:
            errors.seek(0)
            text = errors.read().decode("utf-8", "replace").strip()
            raise DataError(f"cannot read the history of {repository}: {text}")
    return done.stdout.decode("utf-8", "surrogateescape")
