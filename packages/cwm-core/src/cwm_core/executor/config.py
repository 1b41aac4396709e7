"""Configuration of the executors; light, so that help and validation stay fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.executor.local import LocalExecutor
    from cwm_core.executor.ray import RayExecutor


class LocalConfig(ComponentConfig):
    """Processes of this machine."""

    processes: int | None = Field(None, ge=1)
    """How many; null: one per usable core."""
    timeout_s: float | None = Field(None, gt=0)
    """Seconds that an item may take; null: any."""
    retries: int = Field(0, ge=0)
    """Further tries of an item whose process died."""

    def build(self) -> LocalExecutor:
        """Build the executor; processes start with the first items."""
        from cwm_core.executor.local import LocalExecutor

        return LocalExecutor(self.processes, self.timeout_s, self.retries)


class RayConfig(ComponentConfig):
    """Workers of a Ray cluster."""

    address: str = ""
    """Address of the cluster, ``auto`` for the one that this machine is part of; empty: start a
    cluster on this machine."""
    workers: int | None = Field(None, ge=1)
    """How many; null: as many as fit the cluster's cores."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """Cores that each worker reserves."""
    timeout_s: float | None = Field(None, gt=0)
    """Seconds that an item may take; null: any."""
    retries: int = Field(2, ge=0)
    """Further tries of an item whose worker or machine died."""

    def build(self) -> RayExecutor:
        """Connect to the cluster; RunError when Ray is missing or the cluster does not answer."""
        from cwm_core.executor.ray import RayExecutor

        return RayExecutor(self)
