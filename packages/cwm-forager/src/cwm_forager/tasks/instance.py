"""Instance: one software-engineering task, whatever data set it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cwm_core.atomic import atomic_write
from cwm_core.env.environment import Task
from cwm_core.errors import DataError


class Instance(BaseModel):
    """A repository in a broken state, what is wrong with it, and how a repair is recognised.

    The agent starts from the repository in `image` (or `archive`) with `setup_patch` applied.
    `gold_patch` repairs that state; `test_patch` brings the tests that judge a repair.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Unique name."""
    kind: Literal["issue-fix", "mutate-fix"] = "issue-fix"
    """Where the fault came from: history, or an invented bug."""
    repository: str
    """Name of the repository, such as ``owner/name``; near-duplicates are sought within it."""
    image: str = ""
    """Image of the sandbox; empty: the sandbox's own."""
    archive: str = ""
    """A tar file with the repository, unpacked at `root`; for sandboxes without images."""
    root: str = "/testbed"
    """Where the repository is in the sandbox."""
    base_commit: str = ""
    """Commit that the image holds."""
    problem_statement: str = ""
    """What the agent is told."""
    hints: str = ""
    """Text that may help; not shown by default."""
    setup_patch: str = ""
    """Introduces the fault."""
    gold_patch: str = ""
    """Repairs the fault, without tests."""
    test_patch: str = ""
    """Changes to tests, applied when a repair is judged."""
    fail_to_pass: tuple[str, ...] = ()
    """Tests that fail before and must pass after."""
    pass_to_pass: tuple[str, ...] = ()
    """Tests that pass before and must pass after."""
    runner: Literal["pytest", "log"] = "pytest"
    """`pytest`: our own runner reports each outcome. `log`: `eval_script` runs and its output is
    parsed, which a tested process can forge."""
    pytest_args: tuple[str, ...] = ()
    """More arguments for pytest."""
    environment: dict[str, str] = {}
    """Environment variables of tests and of the agent's commands."""
    python: str = "python"
    """Interpreter that runs the tests."""
    eval_script: str = ""
    """For `log`: shell script that runs the tests."""
    log_parser: str = "pytest"
    """For `log`: name of the parser (see `cwm_forager.tasks.logs`)."""
    timeout_s: float = 600.0
    """Seconds that all tests together may take."""
    metadata: dict[str, Any] = {}
    """Whatever else the source said: creation date, version, difficulty, mutation operator."""

    @property
    def tests(self) -> tuple[str, ...]:
        """All tests that must pass."""
        return (*self.fail_to_pass, *self.pass_to_pass)

    def task(self, split: str = "train") -> Task:
        """Return the instance as a task of an environment."""
        data = self.model_dump(mode="json")
        metadata = {"repository": self.repository, "kind": self.kind, **self.metadata}
        return Task(self.id, data, metadata, split)


def instance_of(task: Task) -> Instance:
    """Return the instance that a task holds; DataError when it holds none."""
    return parse_instance(task.data, f"task {task.id!r}")


def parse_instance(data: Mapping[str, Any], where: str) -> Instance:
    """Validate an instance; DataError names `where` and each wrong field."""
    try:
        return Instance.model_validate(dict(data))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        hint = "convert it with `cwm forage tasks`"
        raise DataError(f"{where} is no instance: {problems}", hint) from None


def read_instances(path: Path) -> Iterator[Instance]:
    """Read the JSON lines that `write_instances` wrote.

    Raises:
        DataError: the file cannot be read, or a line is no instance; the message names the line.
    """
    import json

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        hint = "write it with `cwm forage tasks`"
        raise DataError(f"cannot read {path}: {error}", hint) from error
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where} is no JSON: {error}") from error
        if not isinstance(entry, dict):
            raise DataError(f"{where} is no JSON object")
        instance = parse_instance(entry, where)
        if instance.id in seen:
            raise DataError(f"{where} repeats the id {instance.id!r}", "ids must be unique")
        seen.add(instance.id)
        yield instance


def write_instances(path: Path, instances: Iterable[Instance]) -> int:
    """Write instances as JSON lines, atomically; returns how many."""
    lines = [instance.model_dump_json(exclude_defaults=True) + "\n" for instance in instances]
    atomic_write(path, "".join(lines))
    return len(lines)
