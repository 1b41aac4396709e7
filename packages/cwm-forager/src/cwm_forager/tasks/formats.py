"""Instances of SWE-bench, SWE-smith, SWE-Gym and R2E-Gym, as they are published.

Each reader takes one record of its data set and gives an `Instance`; lists of tests may be lists or
JSON strings of lists, as publishers have both.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.logs import PARSERS, parse_log
from cwm_forager.tasks.patches import is_test_file, reverse_patch, touched

Record = Mapping[str, Any]
CONDA_PYTHON = "/opt/miniconda3/envs/testbed/bin/python"
"""Interpreter of the published images of SWE-bench, SWE-smith and SWE-Gym."""
_TEST_COMMANDS = {
    "django/django": "./tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1",
    "sympy/sympy": "bin/test -C --verbose",
}
"""Repositories whose tests are no pytest tests."""
_USED = frozenset(
    [
        "repo",
        "instance_id",
        "base_commit",
        "patch",
        "test_patch",
        "problem_statement",
        "hints_text",
        "FAIL_TO_PASS",
        "PASS_TO_PASS",
        "image",
        "image_name",
        "eval_script",
        "log_parser",
        "docker_image",
        "commit_hash",
        "repo_name",
        "parsed_commit_content",
        "execution_result_content",
        "expected_output_json",
    ]
)


def test_ids(value: Any, where: str) -> tuple[str, ...]:
    """Read a list of test ids, given as a list or as a JSON string of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"{where} is no JSON list of test ids: {error}") from error
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise DataError(f"{where} is no list of test ids", "give a list, or a JSON string of one")
    return tuple(dict.fromkeys(value))


def swe_bench(record: Record) -> Instance:
    """Read a SWE-bench record (all versions; Verified, Lite and SWE-bench Live have its fields)."""
    name = str(record["instance_id"])
    image = record.get("image") or _official("swebench/sweb.eval.x86_64.", name, "_1776_")
    return _swe(record, image=image)


def swe_gym(record: Record) -> Instance:
    """Read a SWE-Gym record: SWE-bench's fields, images of its own."""
    name = str(record["instance_id"])
    return _swe(record, image=_official("xingyaoww/sweb.eval.x86_64.", name, "_s_"))


def swe_smith(record: Record) -> Instance:
    """Read a SWE-smith record, whose `patch` introduces the bug."""
    name = str(record["instance_id"])
    return Instance(
        id=name,
        kind="mutate-fix",
        repository=str(record["repo"]),
        image=str(record["image_name"]),
        base_commit=str(record.get("base_commit") or ""),
        problem_statement=str(record.get("problem_statement") or ""),
        setup_patch=str(record["patch"]),
        gold_patch=reverse_patch(str(record["patch"])),
        fail_to_pass=test_ids(record["FAIL_TO_PASS"], f"FAIL_TO_PASS of {name}"),
        pass_to_pass=test_ids(record["PASS_TO_PASS"], f"PASS_TO_PASS of {name}"),
        python=CONDA_PYTHON,
        metadata=_rest(record),
    )


def r2e_gym(record: Record) -> Instance:
    """Read an R2E-Gym record: tests lie in the image, expected outcomes in the record.

    A test fails to pass when it is expected to pass and did not at the old commit.
    """
    name = f"{record['repo_name']}@{record['commit_hash']}"
    expected = _statuses(record["expected_output_json"], f"expected_output_json of {name}")
    wanted = [test for test, status in expected.items() if status == "PASSED"]
    before = _old_outcomes(record)
    return Instance(
        id=name,
        repository=str(record["repo_name"]),
        image=str(record["docker_image"]),
        base_commit=f"{record['commit_hash']}^",
        problem_statement=str(record.get("problem_statement") or ""),
        gold_patch=_commit_patch(record),
        fail_to_pass=tuple(test for test in wanted if before.get(test) != "PASSED"),
        pass_to_pass=tuple(test for test in wanted if before.get(test) == "PASSED"),
        runner="log",
        log_parser="r2e",
        eval_script="bash run_tests.sh",
        python="/testbed/.venv/bin/python",
        metadata={**_rest(record), "expected": expected},
    )


FORMATS: dict[str, Callable[[Record], Instance]] = {
    "swe-bench": swe_bench,
    "swe-smith": swe_smith,
    "swe-gym": swe_gym,
    "r2e-gym": r2e_gym,
}


def read_format(path: Path, name: str) -> Iterator[Instance]:
    """Read a file of records (JSON lines, a JSON list or object, or Parquet).

    Raises:
        DataError: the file cannot be read, or a record lacks a field; the message says which.
    """
    for number, record in enumerate(_records(path), start=1):
        where = f"{path}, record {number}"
        try:
            yield FORMATS[name](record)
        except KeyError as error:
            raise DataError(f"{where} has no field {error}", f"is it {name}?") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{where} is no {name} instance: {error}") from error


def _records(path: Path) -> Iterator[Record]:
    if path.suffix == ".parquet":
        from cwm_core.data.shards import read_shards

        yield from read_shards(path)
        return
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    try:
        if path.suffix == ".jsonl":
            yield from (json.loads(line) for line in text.splitlines() if line.strip())
            return
        whole = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} holds no JSON: {error}", "name JSON lines .jsonl") from error
    yield from whole if isinstance(whole, list) else [whole]


def _swe(record: Record, image: str) -> Instance:
    name = str(record["instance_id"])
    test_patch = str(record.get("test_patch") or "")
    instance = Instance(
        id=name,
        repository=str(record["repo"]),
        image=image,
        base_commit=str(record["base_commit"]),
        problem_statement=str(record.get("problem_statement") or ""),
        hints=str(record.get("hints_text") or ""),
        gold_patch=str(record["patch"]),
        test_patch=test_patch,
        fail_to_pass=test_ids(record["FAIL_TO_PASS"], f"FAIL_TO_PASS of {name}"),
        pass_to_pass=test_ids(record["PASS_TO_PASS"], f"PASS_TO_PASS of {name}"),
        python=CONDA_PYTHON,
        metadata=_rest(record),
    )
    if all("::" in test for test in instance.tests) and instance.tests:
        return instance
    script = record.get("eval_script") or _eval_script(instance.repository, test_patch)
    parser = str(record.get("log_parser") or _parser_of(instance.repository))
    return instance.model_copy(
        update={"runner": "log", "eval_script": script, "log_parser": parser}
    )


def _eval_script(repository: str, test_patch: str) -> str:
    """Return the command that runs the tests which `test_patch` touches."""
    command = _TEST_COMMANDS.get(repository, "pytest -rA")
    files = [path for path in touched(test_patch) if path.endswith(".py")]
    if repository == "django/django":
        files = [f.removeprefix("tests/").removesuffix(".py").replace("/", ".") for f in files]
    activate = "source /opt/miniconda3/bin/activate testbed"
    return f"{activate} && {command} {' '.join(files)}"


def _parser_of(repository: str) -> str:
    name = repository.rpartition("/")[2]
    return name if name in PARSERS else "pytest"


def _official(prefix: str, name: str, separator: str) -> str:
    return f"{prefix}{name.replace('__', separator).lower()}:latest"


def _rest(record: Record) -> dict[str, Any]:
    """Keep what an `Instance` has no field for, where JSON can hold it."""
    kept = {key: value for key, value in record.items() if key not in _USED and value is not None}
    return json.loads(json.dumps(kept, default=str))


def _statuses(text: Any, where: str) -> dict[str, str]:
    values = json.loads(text) if isinstance(text, str) else text
    if not isinstance(values, dict):
        raise DataError(f"{where} is no JSON object")
    return {str(test).split(" - ")[0]: str(status) for test, status in values.items()}


def _old_outcomes(record: Record) -> dict[str, str]:
    content = record.get("execution_result_content") or {}
    content = json.loads(content) if isinstance(content, str) else content
    return parse_log(str(content.get("old_commit_res_stdout") or ""), "r2e")


def _commit_patch(record: Record) -> str:
    """Return the commit's changes to files that are no tests, as a git diff."""
    content = record.get("parsed_commit_content") or {}
    content = json.loads(content) if isinstance(content, str) else content
    parts = []
    for file in content.get("file_diffs") or ():
        path = (file.get("header") or {}).get("file", {}).get("path") or ""
        if not path or is_test_file(path) or file.get("is_binary_file"):
            continue
        parts.append(
            file_diff(path, file.get("old_file_content") or "", file.get("new_file_content") or "")
        )
    return "".join(parts)


def file_diff(path: str, old: str, new: str) -> str:
    """Return a git diff from one text of a file to another; an empty text is an absent file."""
    if old == new:
        return ""
    head = [f"diff --git a/{path} b/{path}\n"]
    if not old:
        head.append("new file mode 100644\n")
    elif not new:
        head.append("deleted file mode 100644\n")
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{path}" if old else "/dev/null",
        f"b/{path}" if new else "/dev/null",
    )
    ended = (
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
    return "".join([*head, *ended])
