"""Configuration of the local sandbox; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.sandbox.local import LocalSandbox

MIB = 2**20


class LocalSandboxConfig(ComponentConfig):
    """Bubblewrap and resource limits on this machine.

    The limits on CPU time, memory, files and descriptors hold for each process, that on processes
    for the sandbox.
    """

    cpu_s: int = Field(120, ge=1)
    """Seconds of CPU time per process."""
    memory_bytes: int = Field(2048 * MIB, ge=16 * MIB)
    """Address space per process."""
    processes: int = Field(256, ge=8)
    """Processes and threads at once."""
    file_bytes: int = Field(1024 * MIB, ge=0)
    """Size of the largest file."""
    open_files: int = Field(1024, ge=16)
    """Open descriptors per process."""
    output_bytes: int = Field(10 * MIB, ge=0)
    """Bytes kept of standard output, and of standard error; the rest is thrown away."""
    tmp_bytes: int = Field(512 * MIB, ge=MIB)
    """Size of the private /tmp, which is new for every command."""
    python: bool = True
    """Show the installation that the running interpreter came with, as ``python3``; no virtual
    environment."""
    read_only: tuple[Path, ...] = ()
    """More directories of this machine to show, read-only."""
    allow_unisolated: bool = False
    """Run without isolation where bubblewrap cannot be used. Only for code that you trust: it can
    then read and change whatever you can."""

    def build(self) -> LocalSandbox:
        """Make a sandbox; SandboxError where this machine cannot isolate."""
        from cwm_core.sandbox.local import LocalSandbox

        return LocalSandbox(self)
