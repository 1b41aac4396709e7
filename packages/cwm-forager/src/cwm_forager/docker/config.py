"""Configuration of the Docker sandbox; light, so that help and validation stay fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cwm_core.sandbox.config import SandboxConfig

if TYPE_CHECKING:
    from cwm_core.sandbox.base import Snapshot
    from cwm_forager.docker.sandbox import DockerSandbox


class DockerSandboxConfig(SandboxConfig):
    """A container of a Docker engine, which DOCKER_HOST names; nothing is ever pulled."""

    image: str = "cwm-base:bookworm"
    """Name or id of an image that the engine has, with ``sh`` and ``cat``, for trees ``tar``."""
    user: str = Field("1000:1000", pattern=r"^\d+(:\d+)?$")
    """User and group that commands run as, by number; none has a capability that reaches out of
    the container, root neither."""
    workdir: str = Field("/workspace", pattern=r"^/")
    """Working directory; made for the user where the image has none."""
    network: Literal["none", "bridge", "host"] = "none"
    """Network of the container; anything but none opens a way out."""
    read_only_root: bool = False
    """Keep the image's files as they are: only temporary space and the working directory, then
    empty and in memory, can be written, and their limits are exact."""
    labels: dict[str, str] = Field(default_factory=dict)
    """More labels of the container."""
    runtime: str | None = None
    """OCI runtime, for example runsc; null: the engine's default."""

    def build(self, snapshot: Snapshot | None = None) -> DockerSandbox:
        """Start a container, with a snapshot's files; SandboxError without an engine or the image.

        Blocks for about a second; asynchronous callers may prefer ``await asyncio.to_thread(...)``.
        """
        from cwm_forager.docker.sandbox import DockerSandbox

        return DockerSandbox(self, snapshot)
