"""Configuration of image builds; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig
from cwm_core.config.base import Slot

if TYPE_CHECKING:
    from cwm_forager.images.plan import ImageStrategy

GIB = 2**30


class HeuristicConfig(ComponentConfig):
    """Reads pyproject.toml, setup files, requirements, tox, nox and CI files."""

    def build(self) -> ImageStrategy:
        """Make the strategy."""
        from cwm_forager.images.heuristic import Heuristic

        return Heuristic()


class ActivConfig(ComponentConfig):
    """Interprets the repository's GitHub Actions workflows."""

    workflow: str = ""
    """File name of the workflow, such as ``ci.yml``; empty: the one that tests best."""
    workflow_file: Path | None = None
    """A workflow file of this machine, for repositories that have none."""
    job: str = ""
    """Name of the job; empty: the one that tests best."""
    matrix: dict[str, str] = Field(default_factory=dict)
    """Values of the matrix to prefer, such as ``{os: ubuntu-latest}``."""
    event: str = "push"
    """Name of the event that the workflow answers."""
    unknown_actions: Literal["skip", "fail"] = "skip"
    """What to do about actions that are not understood: leave them out and note it, or fail."""
    use_act: bool = True
    """Let ``act``, where it is installed, check that the workflow is sound."""

    def build(self) -> ImageStrategy:
        """Make the strategy."""
        from cwm_forager.images.activ.strategy import Activ

        return Activ(self)


class RepoAgentConfig(ComponentConfig):
    """A model works in a container until the tests run, and leaves a build script."""

    engine: Annotated[ComponentConfig, Slot("engines", default="openai")]
    """The model."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json, where the engine has none of its own."""
    turns: int = Field(40, ge=1)
    """Replies that the model may give."""
    max_tokens: int = Field(4096, ge=1)
    """Tokens per reply."""
    budget_tokens: int = Field(200_000, ge=1)
    """Tokens that the model may read and write in all."""
    temperature: float = Field(0.0, ge=0)
    """Of sampling."""
    command_s: float = Field(300.0, gt=0)
    """Seconds per command."""
    seconds: float = Field(3600.0, gt=0)
    """Seconds in all."""
    output_chars: int = Field(8000, ge=200)
    """Characters of a command's output that the model sees."""

    def build(self) -> ImageStrategy:
        """Make the strategy."""
        from cwm_forager.images.repoagent import RepoAgent

        return RepoAgent(self)


class BuildConfig(CommandConfig):
    """`cwm image build`: executable images of repositories."""

    sources: list[str] = Field(min_length=1)
    """Directories, git URLs or source distributions; ``SOURCE@COMMIT`` for a commit."""
    out: Path
    """Run directory; each image's manifest and log go to ``NAME/`` in it."""
    strategy: Annotated[ComponentConfig, Slot("image_strategies", default="heuristic")]
    """How to find out how a repository is built."""
    base: str = "cwm-base:bookworm"
    """Image to start from."""
    tag: str = Field("cwm-image", pattern=r"^[a-z0-9][a-z0-9._/-]*$")
    """First part of the images' tags: ``TAG/NAME:KEY``."""
    runs: int = Field(3, ge=1)
    """How often the suite is run; tests whose outcomes differ are flaky."""
    parallel: int = Field(2, ge=1)
    """Builds at once."""
    network: str = "bridge"
    """Docker network of builds; tests have none."""
    build_s: float = Field(1800.0, gt=0)
    """Seconds per step of a build."""
    test_s: float = Field(60.0, gt=0)
    """Seconds per test."""
    suite_s: float = Field(1800.0, gt=0)
    """Seconds per run of the suite."""
    memory_bytes: int = Field(4 * GIB, ge=64 * 2**20)
    """Memory of a container."""
    image_bytes: int = Field(8 * GIB, ge=2**20)
    """Size above which an image is deleted again."""
    layers_bytes: int = Field(20 * GIB, ge=0)
    """Size of cached layers above which the oldest are deleted."""
    free_bytes: int = Field(2 * GIB, ge=0)
    """Free space where Docker keeps its data, below which no build starts."""

    may_change = frozenset({"out", "parallel", "sources"})
