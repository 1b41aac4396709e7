"""Mutate-fix: a validated mutant of an image as an instance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cwm_forager.images.manifest import ImageManifest
from cwm_forager.mutate.records import MutantRecord, read_mutants
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.patches import reverse_patch
from cwm_forager.tasks.statements import template_statement


def mutant_instances(
    path: Path, manifest: ImageManifest, archive: Path | None = None, python: str = ""
) -> Iterator[Instance]:
    """Yield an instance per mutant of an image.

    Raises:
        DataError: the mutants cannot be read.
    """
    for record in read_mutants(path):
        yield mutant_instance(record, manifest, archive, python)


def mutant_instance(
    record: MutantRecord, manifest: ImageManifest, archive: Path | None = None, python: str = ""
) -> Instance:
    """Return a mutant as an instance whose repair is the reverse of the bug."""
    command = list(manifest.test_command)
    start = command.index("pytest") + 1 if "pytest" in command else len(command)
    instance = Instance(
        id=record.mutant_id,
        kind="mutate-fix",
        repository=record.name,
        image=record.image,
        archive=str(archive or ""),
        root=manifest.workdir if archive is None else "repo",
        base_commit=record.commit,
        setup_patch=record.patch,
        gold_patch=reverse_patch(record.patch),
        fail_to_pass=record.fail_to_pass,
        pass_to_pass=record.pass_to_pass,
        pytest_args=tuple(command[start:]),
        environment=manifest.environment,
        python=python or (command[0] if command and "python" in command[0] else "python"),
        metadata={"operators": list(record.operators), "functions": list(record.functions)},
    )
    statement = template_statement(instance)
    return instance.model_copy(update={"problem_statement": statement})
