"""Configuration of sandboxes; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.sandbox.base import Snapshot
    from cwm_core.sandbox.local import LocalSandbox

MIB = 2**20


class SandboxLimits(ComponentConfig):
    """What a sandbox may use; a command's time is given with the command.

    Where the sandbox has a control group, memory, processes and cores are counted for all of its
    processes together.
    """

    memory_bytes: int = Field(2048 * MIB, ge=16 * MIB)
    """Memory, with what is in /tmp and /dev/shm; there is no swap."""
    cpus: float | None = Field(None, gt=0)
    """Cores' worth of CPU time; null: all."""
    cpu_s: int = Field(3600, ge=1)
    """Seconds of CPU time per process."""
    processes: int = Field(256, ge=8)
    """Processes and threads at once."""
    disk_bytes: int = Field(4096 * MIB, ge=MIB)
    """Bytes written to disk. Measured while a command runs, which is killed above it, so that a
    fast writer gets some further."""
    disk_files: int = Field(500_000, ge=100)
    """Files and directories written, measured likewise."""
    file_bytes: int = Field(1024 * MIB, ge=0)
    """Size of the largest file."""
    open_files: int = Field(1024, ge=16)
    """Open descriptors per process."""
    output_bytes: int = Field(10 * MIB, ge=0)
    """Bytes kept of standard output, and of standard error; the rest is thrown away."""
    transfer_bytes: int = Field(512 * MIB, ge=0)
    """Size of the largest file or tree that is read out of the sandbox."""
    tmp_bytes: int = Field(512 * MIB, ge=MIB)
    """Size of temporary space."""


class SandboxConfig(SandboxLimits):
    """What the configurations of all sandboxes share."""

    env: dict[str, str] = Field(default_factory=dict)
    """Variables that every command sees; nothing of this process's environment is visible."""


class LocalSandboxConfig(SandboxConfig):
    """Bubblewrap, resource limits and, where they can be made, control groups on this machine."""

    python: bool = True
    """Show the installation that the running interpreter came with, as ``python3``; no virtual
    environment."""
    read_only: tuple[Path, ...] = ()
    """More directories of this machine to show, read-only."""
    allow_unisolated: bool = False
    """Run without isolation where bubblewrap cannot be used. Only for code that you trust: it can
    then read and change whatever you can."""

    def build(self, snapshot: Snapshot | None = None) -> LocalSandbox:
        """Make a sandbox, with a snapshot's files; SandboxError where this machine cannot isolate.

        Blocks for moments; asynchronous callers may prefer ``await asyncio.to_thread(...)``.
        """
        from cwm_core.sandbox.local import LocalSandbox

        return LocalSandbox(self, snapshot)
