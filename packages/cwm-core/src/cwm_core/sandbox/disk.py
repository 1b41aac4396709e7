"""How much disk a directory takes, whoever writes in it meanwhile."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes in blocks, so that holes count nothing, and files and directories."""

    bytes: int
    files: int


def used_below(directories: Sequence[Path]) -> DiskUse:
    """Measure directories with ``du``, which follows no link and takes any depth.

    What cannot be measured counts as nothing: what vanishes meanwhile, what ``du`` takes more than
    a minute for, and what an unprivileged user is not allowed to read.
    """
    return DiskUse(_du(["--block-size=1"], directories), _du(["--inodes"], directories))


def _du(options: list[str], directories: Sequence[Path]) -> int:
    line = ["du", "--summarize", "--one-file-system", "--total", *options, "--"]
    try:
        done = subprocess.run(
            [*line, *map(str, directories)], capture_output=True, timeout=TIMEOUT_S, check=False
        )
        return int(done.stdout.rsplit(b"\n", 2)[-2].split(b"\t")[0])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return 0
