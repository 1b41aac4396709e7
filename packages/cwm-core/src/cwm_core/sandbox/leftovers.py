"""What a dead process left behind on this machine: directories and control groups."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cwm_core.sandbox.cgroups import ControlGroup
from cwm_core.sandbox.owner import Owner, this_process

SANDBOX = "cwm-sandbox-"
SNAPSHOT = "cwm-snapshot-"
"""How the directories in this machine's temporary space are called."""
_CLAIM = "owner.json"


def claim(root: Path, groups: Sequence[Path]) -> None:
    """Write down that a directory, and the control groups, are this process's."""
    content = {"owner": this_process().to_json(), "groups": [str(path) for path in groups]}
    (root / _CLAIM).write_text(json.dumps(content))


def remove(root: Path) -> None:
    """Delete a directory, what runs in its control groups, and those."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        groups = [Path(path) for path in json.loads((root / _CLAIM).read_text())["groups"]]
        if groups:
            ControlGroup(groups).remove()
    _make_deletable(root)
    shutil.rmtree(root, ignore_errors=True)


def mine() -> list[Path]:
    """Return the directories and control groups of this process's sandboxes and snapshots."""
    found = []
    for path in find(everything=True):
        with contextlib.suppress(OSError, ValueError, KeyError):
            content = json.loads((path / _CLAIM).read_text())
            if content["owner"] == this_process().to_json():
                found += [path, *filter(Path.exists, map(Path, content["groups"]))]
    return found


def find(*, everything: bool = False) -> list[Path]:
    """Return the directories whose process is dead; `everything`: those of the living too."""
    places = Path(tempfile.gettempdir())
    found = [path for prefix in (SANDBOX, SNAPSHOT) for path in sorted(places.glob(f"{prefix}*"))]
    return [path for path in found if _is_ours(path) and (everything or _is_dead(path))]


def _is_ours(path: Path) -> bool:
    """Nobody else can make us delete what theirs is, or ours elsewhere."""
    with contextlib.suppress(OSError):
        return not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.geteuid()
    return False


def _is_dead(path: Path) -> bool:
    try:
        return Owner.from_json(json.loads((path / _CLAIM).read_text())["owner"]).is_dead()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make_deletable(root: Path) -> None:
    """Only root may delete what is in directories of any mode."""
    if os.geteuid() != 0:
        for directory, _, _ in os.walk(root):
            with contextlib.suppress(OSError):
                for name in os.scandir(directory):
                    if name.is_dir(follow_symlinks=False):
                        os.chmod(name.path, 0o700)  # noqa: PTH101
