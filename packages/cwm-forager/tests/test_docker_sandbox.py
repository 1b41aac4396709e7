"""The Docker sandbox on a real engine; skipped where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from cwm_core.sandbox.base import Sandbox, Snapshot
from cwm_core.testing.sandboxes import SandboxConformance
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import engine, why_not

IMAGE = DockerSandboxConfig().image


def no_engine() -> str | None:
    """Why nothing can be tested here."""
    reason = why_not()
    if reason is None and not engine().images(IMAGE):
        return f"the engine has no image {IMAGE}: run `cwm image base`"
    return reason


REASON = no_engine()
needs_engine = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@needs_engine
class TestDocker(SandboxConformance):
    def make(self, snapshot: Snapshot | None = None, **settings: Any) -> Sandbox:
        return DockerSandboxConfig(**settings).build(snapshot)
