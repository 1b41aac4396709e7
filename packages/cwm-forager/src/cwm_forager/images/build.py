"""From a source to an image and its manifest."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import shutil
import statistics
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cwm_core.errors import CwmError, RunError
from cwm_core.sandbox.base import ExecResult
from cwm_forager.docker.engine import engine_errors
from cwm_forager.docker.labels import labels_of
from cwm_forager.images.config import BuildConfig
from cwm_forager.images.container import BuildContainer
from cwm_forager.images.manifest import WORKDIR, ImageManifest
from cwm_forager.images.outcomes import RunReport
from cwm_forager.images.package_index import PLACE, IndexAccess
from cwm_forager.images.plan import BuildPlan, ImageStrategy, Step, Surroundings, Workbench
from cwm_forager.images.source import Checkout, check_out
from cwm_forager.images.suite import Suite, SuiteError, SuiteLimits, records

if TYPE_CHECKING:
    from docker import DockerClient

LAYER = "cwm-layer"
"""Repository of the images that cached layers are."""
USER = "1000:1000"
"""Who owns the repository in an image: the user that sandboxes run as."""


class BuildLog:
    """Text of a build, written as it comes."""

    def __init__(self, path: Path, access: IndexAccess) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._access = access

    def __call__(self, text: str) -> None:
        """Add a text."""
        self._file.write(self._access.redacted(text).rstrip("\n") + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Builder:
    """Builds images by one strategy in one engine."""

    def __init__(
        self,
        config: BuildConfig,
        client: DockerClient,
        access: IndexAccess,
        strategy: ImageStrategy,
    ) -> None:
        self._config = config
        self._client = client
        self._access = access
        self._strategy = strategy
        self._steps = asyncio.Lock()

    async def build(self, source: str, out: Path) -> ImageManifest:
        """Build one image, or take it from the cache, and run its tests.

        Raises:
            DataError: there is no such source, or its history cannot be scrubbed.
            PlanError: the strategy finds no way to build it.
            SuiteError: it has no tests, or pytest does not start.
            RunError: a step fails, takes too long, or the engine refuses.
        """
        log = BuildLog(out / "log.txt", self._access)
        with tempfile.TemporaryDirectory(prefix="cwm-image-") as place:
            try:
                return await self._build(source, Path(place) / "repository", out, log)
            except CwmError as error:
                log(f"cwm: {error}")
                raise
            finally:
                log.close()

    async def _build(self, source: str, place: Path, out: Path, log: BuildLog) -> ImageManifest:
        where, _, commit = _with_commit(source)
        checkout = await asyncio.to_thread(check_out, where, place, commit)
        base_id = await asyncio.to_thread(self._image_id, self._config.base)
        pythons = await self._pythons()
        archive = await asyncio.to_thread(archive_of, checkout.directory)
        surroundings = Surroundings(pythons, lambda: self._workbench(archive), log)
        plan = await self._strategy.plan(checkout.directory, surroundings)
        log(plan.script())
        started = time.monotonic()
        tag, image_id = await self._image(checkout, plan, base_id, archive, log)
        build_s = time.monotonic() - started
        size = await asyncio.to_thread(self._size, tag)
        reports = await self._run_tests(tag, plan, log)
        manifest = ImageManifest(
            name=checkout.name,
            source=checkout.source,
            commit=checkout.commit,
            image=tag,
            image_id=image_id,
            base=self._config.base,
            base_id=base_id,
            strategy=self._config.strategy.name,
            script=plan.script(),
            test_command=plan.test_command,
            environment=dict(plan.environment),
            tests=records(reports),
            collection_errors={k: v for report in reports for k, v in report.errors.items()},
            build_s=round(build_s, 1),
            test_s=round(statistics.median(report.duration_s for report in reports), 2),
            size_bytes=size,
            notes=plan.notes,
        )
        if not manifest.reliable:
            raise SuiteError(
                f"no test of {checkout.name} passes in every run: {manifest.counts()}",
                f"see {out / 'log.txt'}",
            )
        manifest.write(out)
        return manifest

    async def _image(
        self, checkout: Checkout, plan: BuildPlan, base_id: str, archive: bytes, log: BuildLog
    ) -> tuple[str, str]:
        """Run the plan's steps, each from the layer of the one before; return tag and id."""
        key, tag = base_id, self._config.base
        with_repository = False
        for step in [*_ordered(plan.steps), FINISH]:
            content = step.script + repr(sorted(plan.environment.items()))
            if step.needs_repository and not with_repository:
                content += checkout.commit
            key = hashlib.sha256(f"{key}\0{content}".encode()).hexdigest()
            copy = archive if step.needs_repository and not with_repository else None
            with_repository = with_repository or step.needs_repository
            layer = f"{LAYER}:{key[:20]}"
            async with self._steps if not step.needs_repository else contextlib.nullcontext():
                known = await asyncio.to_thread(self._known, layer)
                log(f"== {step.name}: {'cached' if known else 'running'}")
                if not known:
                    await self._run_step(step, tag, layer, plan.environment, copy, log)
            tag = layer
        final = f"{self._config.tag}/{checkout.name}:{key[:12]}"
        return final, await asyncio.to_thread(self._name_image, tag, final, checkout)

    async def _run_step(
        self,
        step: Step,
        image: str,
        layer: str,
        environment: Mapping[str, str],
        archive: bytes | None,
        log: BuildLog,
    ) -> None:
        box = await BuildContainer.start(
            self._client,
            image,
            network=self._config.network,
            mounts={} if step is FINISH else self._access.mounts,
            memory_bytes=self._config.memory_bytes,
        )
        async with box:
            if archive is not None:
                await box.exec(["mkdir", "-p", WORKDIR], 60)
                await box.put(WORKDIR, archive)
            result = await box.exec(
                ["bash", "-e", "-c", step.script],
                self._config.build_s,
                cwd=WORKDIR if step.needs_repository else "/",
                env={**self._access.environment, **environment},
            )
            log(_output(result))
            self._check(step, result)
            size = await asyncio.to_thread(box.written_bytes)
            if size > self._config.image_bytes:
                raise RunError(
                    f"step '{step.name}' writes {size} bytes", "raise image_bytes, or build less"
                )
            place = WORKDIR if step.needs_repository else "/"
            await box.commit(layer, environment, place, labels_of("image"))

    def _check(self, step: Step, result: ExecResult) -> None:
        if result.exit_code == 0:
            return
        tail = self._access.redacted(_output(result)).strip()[-800:]
        if result.exit_code is None:
            raise RunError(
                f"step '{step.name}' did not end within {self._config.build_s:g} s: {tail}",
                "raise build_s",
            )
        full = "No space left on device" in tail
        raise RunError(
            f"step '{step.name}' failed with status {result.exit_code}: {tail}",
            "free space where Docker keeps its data: `docker system df`" if full else None,
        )

    async def _run_tests(self, tag: str, plan: BuildPlan, log: BuildLog) -> list[RunReport]:
        """Run the suite as often as asked, each time in a fresh container without network."""
        limits = SuiteLimits(self._config.test_s, self._config.suite_s)
        reports = []
        for number in range(self._config.runs):
            box = await BuildContainer.start(
                self._client, tag, memory_bytes=self._config.memory_bytes, user=USER
            )
            async with box:
                suite = Suite(box, plan.test_command, WORKDIR, plan.environment, limits)
                await suite.install()
                report = await suite.run()
            log(f"== tests, run {number + 1}\n{report.output}")
            reports.append(report)
            if not report.tests:
                errors = "; ".join(report.errors) or report.output.strip()[-400:]
                raise SuiteError(f"no test was found or run: {errors}", "see the log")
        return reports

    @contextlib.asynccontextmanager
    async def _workbench(self, archive: bytes) -> AsyncIterator[Workbench]:
        box = await BuildContainer.start(
            self._client,
            self._config.base,
            network=self._config.network,
            mounts=self._access.mounts,
            memory_bytes=self._config.memory_bytes,
            environment=self._access.environment,
        )
        async with box:
            await box.exec(["mkdir", "-p", WORKDIR], 60)
            await box.put(WORKDIR, archive)
            yield box

    async def _pythons(self) -> tuple[str, ...]:
        """Return the versions of the base's interpreters."""
        box = await BuildContainer.start(self._client, self._config.base)
        async with box:
            result = await box.exec(_FIND_PYTHONS, 60)
        found = tuple(dict.fromkeys(result.text.split()))
        if not found:
            raise RunError(f"{self._config.base} has no Python", "use a base with python3 in it")
        return found

    def _image_id(self, tag: str) -> str:
        with engine_errors(f"find the image {tag}"):
            return str(self._client.images.get(tag).id)

    def _known(self, tag: str) -> bool:
        import docker

        with engine_errors(f"look for the image {tag}"):
            try:
                self._client.images.get(tag)
            except docker.errors.ImageNotFound:
                return False
        return True

    def _size(self, tag: str) -> int:
        with engine_errors(f"find the image {tag}"):
            return int(self._client.images.get(tag).attrs["Size"])

    def _name_image(self, layer: str, final: str, checkout: Checkout) -> str:
        with engine_errors(f"name the image {final}"):
            image = self._client.images.get(layer)
            repository, _, name = final.rpartition(":")
            image.tag(repository, name)
            return str(image.id)


FINISH = Step(
    "ownership",
    f"rm -rf {PLACE}\nchown -R {USER} {WORKDIR}\n"
    f"git config --system --add safe.directory {WORKDIR}\n"
    "find / -xdev -name .cache -maxdepth 3 -exec rm -rf {} + 2>/dev/null || true\n"
    "rm -rf /tmp/* /var/tmp/* || true",
)
_FIND_PYTHONS = """
python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'
for v in 8 9 10 11 12 13 14 15; do command -v python3.$v >/dev/null && echo 3.$v; done; true
"""


def _ordered(steps: tuple[Step, ...]) -> list[Step]:
    return sorted(steps, key=lambda step: step.needs_repository)


def _with_commit(source: str) -> tuple[str, str, str]:
    """Split ``SOURCE@COMMIT``; an address such as ``git@host:x`` has no commit."""
    where, at, commit = source.rpartition("@")
    if at and where and all(char in "0123456789abcdef" for char in commit) and len(commit) >= 7:
        return where, at, commit
    return source, "", ""


def _output(result: ExecResult) -> str:
    return (result.stdout + result.stderr).decode("utf-8", "backslashreplace")


def archive_of(directory: Path) -> bytes:
    """Return a tar archive of a directory: sorted, without times and owners."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = 946684800
        return entry

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, path.name, filter=plain)
    return buffer.getvalue()


def check_space(client: DockerClient, least: int) -> None:
    """Raise RunError when there is too little space where the engine keeps its data."""
    with engine_errors("ask for the engine's directory"):
        root = Path(str(client.info().get("DockerRootDir", "/")))
    if root.exists() and shutil.disk_usage(root).free < least:
        raise RunError(
            f"less than {least} bytes are free in {root}",
            "`docker system df` shows what takes space; or lower free_bytes",
        )


def prune_layers(client: DockerClient, most: int) -> int:
    """Delete cached layers, oldest first, until they take `most` bytes at most; return how many.

    Layers that an image shares cost nothing more, and stay in it.
    """
    import docker

    with engine_errors("list cached layers"):
        layers = client.images.list(LAYER)
    layers.sort(key=lambda image: image.attrs["Created"])
    total = sum(image.attrs["Size"] for image in layers)
    deleted = 0
    for image in layers:
        if total <= most:
            break
        tags = [tag for tag in image.tags if tag.startswith(f"{LAYER}:")]
        with contextlib.suppress(docker.errors.APIError):
            for tag in tags:
                client.images.remove(tag)
            total -= image.attrs["Size"]
            deleted += 1
    return deleted
