"""What of a patch crosses over into the sandbox where it is judged."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from cwm_core.sandbox.base import Sandbox, SandboxError
from cwm_forager.grading.suspicion import suspicions
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.patches import is_config_file, is_test_file, touched
from cwm_forager.tasks.place import command, reason

_CHANGES = "git diff --cached --raw -z --no-renames --abbrev=40 HEAD"
_MODULES = """
import json, os, sys, sysconfig
names = set(getattr(sys, "stdlib_module_names", ())) | set(sys.builtin_module_names)
paths = sysconfig.get_paths()
for top in {paths["purelib"], paths["platlib"], paths["stdlib"]}:
    for name in os.listdir(top) if os.path.isdir(top) else ():
        stem = name.partition(".")[0]
        if stem.isidentifier():
            names.add(stem)
print(json.dumps(sorted(names)))
"""
_TOPS = "for t in HEAD HEAD:src HEAD:lib; do git ls-tree -z --name-only $t 2>/dev/null; done; true"
_PLAIN_MODES = frozenset({"100644", "100755", "000000"})


@dataclass(frozen=True, slots=True)
class Crossed:
    """The files of a patch by what became of them."""

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    suspicions: tuple[str, ...] = ()
    """What the kept ones newly reach for (see `cwm_forager.grading.suspicion`)."""


@dataclass(frozen=True, slots=True)
class _Change:
    path: str
    mode: str
    status: str


async def cross(sandbox: Sandbox, instance: Instance) -> Crossed:
    """Take back what must not cross of a patch that lies in the index; tell what is left.

    SandboxError when git cannot say what it touches.
    """
    listed = await command(sandbox, instance, _CHANGES)
    if listed.exit_code != 0:
        raise SandboxError(f"cannot list what a patch of {instance.id} changes: {reason(listed)}")
    changes = _parse(listed.stdout)
    added = any(change.status == "A" for change in changes)
    known = await _installed(sandbox, instance) if added else set()
    tests = {*touched(instance.test_patch), *(test.split("::")[0] for test in instance.tests)}
    gold = set(touched(instance.gold_patch))
    dropped = [c for c in changes if not _may_cross(c, gold, tests, known)]
    if dropped:
        await _take_back(sandbox, instance, dropped)
    kept = [change for change in changes if change not in dropped]
    return Crossed(
        tuple(change.path for change in kept),
        tuple(change.path for change in dropped),
        tuple(await _suspicions(sandbox, instance, kept)),
    )


def _parse(raw: bytes) -> list[_Change]:
    """Read ``git diff --raw -z``: ``:MODE MODE SHA SHA STATUS\\0PATH\\0`` for each file."""
    fields = raw.split(b"\0")
    changes = []
    for head, path in zip(fields[::2], fields[1::2]):
        _, mode, _, _, status = head.decode().split(" ")
        changes.append(_Change(path.decode("utf-8", "surrogateescape"), mode, status[:1]))
    return changes


def _may_cross(change: _Change, gold: set[str], tests: set[str], known: set[str]) -> bool:
    if change.mode not in _PLAIN_MODES or change.path in tests or is_config_file(change.path):
        return False
    if is_test_file(change.path) and change.path not in gold:
        return False
    return not (change.status == "A" and change.path not in gold and _shadows(change.path, known))


def _shadows(path: str, known: set[str]) -> bool:
    """Whether a new file may be imported in the place of an installed module.

    Only directories that are on the module path can do so: the repository's own and ``src``.
    """
    parts = PurePosixPath(path).parts
    parts = parts[1:] if len(parts) > 1 and parts[0] in ("src", "lib") else parts
    return parts[0].partition(".")[0] in known


async def _installed(sandbox: Sandbox, instance: Instance) -> set[str]:
    """Return the names of installed modules that the repository has no top-level name for."""
    tops = (await command(sandbox, instance, _TOPS)).stdout.split(b"\0")
    own = {top.decode("utf-8", "surrogateescape").partition(".")[0] for top in tops if top}
    line = [*shlex.split(instance.python), "-I", "-c", _MODULES]
    result = await sandbox.exec(line, 60.0, env=instance.environment)
    return set(json.loads(result.stdout)) - own if result.exit_code == 0 else set()


async def _take_back(sandbox: Sandbox, instance: Instance, changes: list[_Change]) -> None:
    added = [change.path for change in changes if change.status == "A"]
    others = [change.path for change in changes if change.status != "A"]
    script = "set -e\n"
    for line, paths in (
        ("git rm -q -f --ignore-unmatch", added),
        ("git checkout -q HEAD", others),
    ):
        if paths:
            script += f"{line} -- {' '.join(shlex.quote(f':(literal){p}') for p in paths)}\n"
    result = await command(sandbox, instance, script)
    assert result.exit_code == 0, result.stderr


async def _suspicions(sandbox: Sandbox, instance: Instance, kept: list[_Change]) -> list[str]:
    found = []
    for change in kept:
        if not change.path.endswith(".py") or change.status == "D":
            continue
        path = shlex.quote(change.path)
        before = await command(sandbox, instance, f"git show HEAD:{path} 2>/dev/null || true")
        after = await command(sandbox, instance, f"git show :{path}")
        found += suspicions(before.text, after.text)
    return [what for what in found if what.rpartition(" ")[2].strip("'") not in instance.gold_patch]
