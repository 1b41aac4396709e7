"""`cwm image build`: many sources, some at once, each on its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cwm_core.atomic import atomic_write
from cwm_core.env.concurrency import gather_all, run_sync
from cwm_core.errors import CwmError, RunError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_forager.docker.engine import client as engine_client
from cwm_forager.images.build import Builder, check_space, prune_layers
from cwm_forager.images.config import BuildConfig
from cwm_forager.images.manifest import MANIFEST, ImageManifest
from cwm_forager.images.package_index import access_of_this_machine
from cwm_forager.images.source import name_of

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(slots=True)
class Built:
    """Manifests by source, and why other sources have none."""

    manifests: dict[str, ImageManifest] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def build_images(config: BuildConfig, run: RunDir) -> Built:
    """Build what is not built yet; a source that fails is written down, the others go on.

    Raises RunError at the end when sources failed. Writes ``NAME/manifest.json`` and
    ``NAME/log.txt`` per source, and ``failures.json``.
    """
    return run_sync(_build_images(config, run))


async def _build_images(config: BuildConfig, run: RunDir) -> Built:
    client = await asyncio.to_thread(engine_client)
    access = await asyncio.to_thread(access_of_this_machine)
    builder = Builder(config, client, access, config.strategy.build())
    built, slots = Built(), asyncio.Semaphore(config.parallel)
    with progress(len(config.sources), "images", "images") as bar:

        async def one(source: str) -> None:
            place = run.path / directory_of(source, config.sources)
            async with slots:
                try:
                    built.manifests[source] = await _one(builder, config, client, source, place)
                except CwmError as error:
                    built.failures[source] = str(error)
                    run.log(f"{source}: {error}")
            bar.advance(failed=len(built.failures))

        await gather_all(one(source) for source in config.sources)
    await asyncio.to_thread(prune_layers, client, config.layers_bytes)
    atomic_write(run.path / "failures.json", json.dumps(built.failures, indent=2) + "\n")
    if built.failures:
        raise RunError(
            f"{len(built.failures)} of {len(config.sources)} sources have no image: "
            + "; ".join(f"{source}: {reason}" for source, reason in built.failures.items()),
            "the same command tries them again",
        )
    return built


async def _one(
    builder: Builder, config: BuildConfig, client: DockerClient, source: str, place: Path
) -> ImageManifest:
    if (place / MANIFEST).exists():
        return ImageManifest.read(place)
    await asyncio.to_thread(check_space, client, config.free_bytes)
    return await builder.build(source, place)


def directory_of(source: str, sources: list[str]) -> str:
    """Return the directory of a source's manifest: its name, longer where names are shared."""
    name = name_of(re.sub(r"@[0-9a-f]{7,}$", "", source))
    same = [each for each in sources if name_of(re.sub(r"@[0-9a-f]{7,}$", "", each)) == name]
    return name if len(same) < 2 else f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
