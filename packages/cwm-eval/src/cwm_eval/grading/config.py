"""How untrusted code is run for grading; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_eval.grading.pool import Grader

MIB = 2**20


class Grading(ComponentConfig):
    """Warm sandboxes in which solutions run, one process each; and the limits of one solution."""

    workers: int = Field(0, ge=0)
    """Solutions that run at once; 0: three for two cores, since each waits for others at times."""
    cpu_s: int = Field(10, ge=1)
    """Seconds of CPU time of a solution: what decides, whatever else the machine does."""
    wall_s: float = Field(60.0, gt=0)
    """Seconds of a solution that waits instead of working."""
    memory_bytes: int = Field(1024 * MIB, ge=64 * MIB)
    """Address space of each process of a solution."""
    processes: int = Field(32, ge=1)
    """Processes and threads of a solution at once."""
    disk_bytes: int = Field(64 * MIB, ge=MIB)
    """Size of each of the three private scratch file systems, in memory; and of a file."""
    files: int = Field(4096, ge=16)
    """Files in each scratch file system."""
    open_files: int = Field(256, ge=16)
    """Open descriptors per process."""
    output_bytes: int = Field(16 * MIB, ge=0)
    """Standard output of a program; one that prints more is ended."""
    packages: tuple[Path, ...] = ()
    """Directories of Python packages that solutions may import, shown read-only."""

    def build(self) -> Grader:
        """Make the grader; sandboxes start with the first job."""
        from cwm_eval.grading.pool import Grader

        return Grader(self)
