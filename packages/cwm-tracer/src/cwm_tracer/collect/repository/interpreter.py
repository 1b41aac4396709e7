"""The interpreter that runs the tests, and the directories that it needs to be shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from cwm_core.components import ComponentConfig
from cwm_core.errors import ConfigError

_PROBE = """
import json, os, sys
paths = [sys.prefix, sys.exec_prefix, sys.base_prefix, *filter(os.path.isdir, sys.path)]
print(json.dumps(paths))
"""


def placed(python: str | None, sandbox: ComponentConfig) -> tuple[str, ComponentConfig]:
    """Return the interpreter's path in the sandbox, and the sandbox that shows its installation.

    A sandbox that cannot show directories of this machine has interpreters of its own.

    Raises:
        ConfigError: there is no such interpreter.
    """
    if "read_only" not in type(sandbox).model_fields:
        return python or "python3", sandbox
    found = _absolute(python or sys.executable)
    shown = dict.fromkeys([*getattr(sandbox, "read_only", ()), *_installation(found)])
    return str(found), sandbox.model_copy(update={"read_only": tuple(shown)})


def _absolute(python: str) -> Path:
    found = shutil.which(Path(python).expanduser())
    if found is None:
        raise ConfigError(f"python={python} is no interpreter", "give the path of one")
    return Path(found).absolute()


def _installation(python: Path) -> list[Path]:
    try:
        answer = subprocess.run(
            [str(python), "-I", "-c", _PROBE], capture_output=True, timeout=60, check=True
        )
        paths = [Path(prefix) for prefix in json.loads(answer.stdout)]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{python} is no Python interpreter: {error}") from error
    paths += [python.parent.parent, python.resolve().parent.parent]
    shown: list[Path] = [Path("/usr")]
    for path in paths:  # prefixes first: `sys.path` adds what is installed editable
        if not any(path.is_relative_to(outer) for outer in shown):
            shown.append(path)
    return shown[1:]
