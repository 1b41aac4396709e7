"""What a container adds to its image, measured: few drivers can limit it."""

from __future__ import annotations

import os
from pathlib import Path

from cwm_core.sandbox.disk import DiskUse, used_below
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import engine, engine_errors


class ContainerDisk:
    """Measures one container: by its files where they are on this machine, else by the engine,
    which counts bytes alone."""

    def __init__(self, container_id: str, config: DockerSandboxConfig) -> None:
        self._id, self._config = container_id, config
        self._in_memory = config.read_only_root
        self._directory: Path | None = None
        if not self._in_memory:
            with engine_errors("inspect a container"):
                driver = engine().inspect_container(self._id).get("GraphDriver") or {}
            upper = (driver.get("Data") or {}).get("UpperDir")
            if upper and os.access(upper, os.R_OK | os.X_OK):
                self._directory = Path(upper)

    def measure(self) -> DiskUse:
        """Return what is used; nothing where temporary space alone can be written."""
        if self._in_memory:
            return DiskUse(0, 0)
        if self._directory is not None:
            return used_below([self._directory], self._config)
        api = engine()
        with engine_errors("measure a container"):
            url = api._url("/containers/{0}/json", self._id)
            answer = api._result(api._get(url, params={"size": True}), json=True)
        return DiskUse(int(answer.get("SizeRw") or 0), 0)
