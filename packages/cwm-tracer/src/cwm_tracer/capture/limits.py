"""What a traced program may use."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Limits of one execution; reaching one ends it with an outcome that says which."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    steps: int = Field(default=10_000, ge=1)
    """Most recorded events."""
    timeout_s: float = Field(default=5.0, gt=0)
    """Most wall-clock time, loading included."""
    memory_bytes: int = Field(default=512 << 20, ge=16 << 20)
    """Most address space beyond what the interpreter itself uses."""
    output_bytes: int = Field(default=256 << 10, ge=0)
    """Most bytes printed; also the largest file that the program can write."""
    trace_bytes: int = Field(default=16 << 20, ge=64 << 10)
    """Most bytes of recorded events, changed values only."""
    depth: int = Field(default=500, ge=1, le=20_000)
    """Most nested calls of the program's own functions."""
    processes: int = Field(default=16, ge=0)
    """Most processes that the program may start."""
