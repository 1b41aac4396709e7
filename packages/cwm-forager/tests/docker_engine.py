"""Whether tests have a Docker engine with an image to start from."""

from __future__ import annotations

import pytest

from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import engine, why_not

pytest.importorskip("docker")
BASE = DockerSandboxConfig().image


def no_engine() -> str | None:
    """Why nothing can be tested here."""
    reason = why_not()
    if reason is None and not engine().images(BASE):
        return f"the engine has no image {BASE}: run `cwm image base`"
    return reason


REASON = no_engine()
needs_engine = pytest.mark.skipif(REASON is not None, reason=str(REASON))
