"""A container to build in: network where it is allowed, and files of this machine to read."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from cwm_core.env.concurrency import uninterrupted
from cwm_core.sandbox.base import ExecResult, SandboxError
from cwm_forager.docker.engine import engine_errors
from cwm_forager.docker.frames import STDERR, STDOUT, frames
from cwm_forager.docker.labels import labels_of

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

OUTPUT_BYTES = 10 * 2**20
_KILLED = 137
Value = TypeVar("Value")


class BuildContainer:
    """One running container; its commands run as root. Made by `start`.

    It has the methods of a `Sandbox` that builds need, but does not isolate: it may have network.
    """

    def __init__(
        self,
        client: DockerClient,
        container: Container,
        user: str = "0:0",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._container = container
        self._user = user
        self._environment = dict(environment or {})

    @classmethod
    async def start(
        cls,
        client: DockerClient,
        image: str,
        *,
        network: str = "none",
        mounts: Mapping[Path, str] | None = None,
        memory_bytes: int | None = None,
        user: str = "0:0",
        environment: Mapping[str, str] | None = None,
    ) -> BuildContainer:
        """Start a container that does nothing yet; `mounts` are read-only.

        Its commands run as `user`, with `environment`, which is not stored with it.
        """
        from docker.types import Mount

        binds = [
            Mount(target, str(path), type="bind", read_only=True)
            for path, target in (mounts or {}).items()
        ]

        def run() -> Container:
            with engine_errors(f"start a container of {image}"):
                return client.containers.run(
                    image,
                    ["sleep", "86400"],
                    entrypoint=[],
                    detach=True,
                    init=True,
                    network_mode=network,
                    mounts=binds,
                    labels=labels_of("sandbox"),
                    mem_limit=memory_bytes,
                    pids_limit=4096,
                )

        return cls(client, await asyncio.to_thread(run), user, environment)

    async def exec(
        self,
        command: str | Sequence[str],
        timeout_s: float,
        *,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> ExecResult:
        """Run a command; at the time limit it is killed, and `exit_code` is None."""
        line = ["bash", "-c", command] if isinstance(command, str) else list(command)
        line = ["timeout", "-s", "KILL", f"{timeout_s:.3f}", *line]
        started = time.monotonic()
        code, out, err = await self._thread(
            lambda: self._exec(line, cwd, {**self._environment, **(env or {})})
        )
        duration = time.monotonic() - started
        timed_out = code == _KILLED and duration >= timeout_s
        return ExecResult(
            None if timed_out else code,
            out[:OUTPUT_BYTES],
            err[:OUTPUT_BYTES],
            duration,
            truncated=max(len(out), len(err)) > OUTPUT_BYTES,
        )

    def _exec(self, line: list[str], cwd: str, env: dict[str, str]) -> tuple[int, bytes, bytes]:
        with engine_errors("run a command in a container"):
            api = self._client.api
            made = api.exec_create(
                self._container.id, line, workdir=cwd, environment=env, user=self._user
            )
            parts: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}
            size = 0
            with contextlib.closing(api.exec_start(made["Id"], socket=True)) as stream:
                for kind, chunk in frames(stream):
                    size += len(chunk)
                    if size <= 2 * OUTPUT_BYTES:
                        parts[kind].append(chunk)
            code = api.exec_inspect(made["Id"])["ExitCode"]
        return code, b"".join(parts[STDOUT]), b"".join(parts[STDERR])

    async def read_file(self, path: str) -> bytes:
        """Return a file's content."""
        result = await self.exec(["cat", "--", path], 60)
        if result.exit_code != 0:
            raise SandboxError(f"cannot read {path!r} in the container: {result.stderr!r:.200}")
        return result.stdout

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file, making its directories."""
        pure = PurePosixPath(path)
        await self.exec(["mkdir", "-p", "--", str(pure.parent)], 60)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(pure.name)
            entry.size, entry.mode, entry.mtime = len(content), 0o755, int(time.time())
            tar.addfile(entry, io.BytesIO(content))
        await self.put(str(pure.parent), archive.getvalue())

    async def put(self, directory: str, archive: bytes) -> None:
        """Unpack a tar archive in a directory."""

        def put() -> None:
            with engine_errors(f"write to {directory} in a container"):
                self._container.put_archive(directory, archive)

        await self._thread(put)

    async def commit(
        self, tag: str, environment: Mapping[str, str], workdir: str, labels: Mapping[str, str]
    ) -> str:
        """Store the container's files as an image; returns its id.

        What was mounted or only in a command's environment is not in it.
        """
        repository, _, name = tag.rpartition(":")
        settings = {
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "WorkingDir": workdir,
            "Labels": dict(labels),
            "Cmd": ["/bin/bash"],
        }

        def commit() -> str:
            with engine_errors(f"store the image {tag}"):
                self._container.commit(repository=repository, tag=name, conf=settings)
                return str(self._client.images.get(tag).id)

        return await self._thread(commit)

    def written_bytes(self) -> int:
        """Return the bytes that this container wrote on top of its image."""
        with engine_errors("measure a container"):
            found = self._client.api.containers(
                all=True, size=True, filters={"id": self._container.id}
            )
            return int(found[0].get("SizeRw", 0)) if found else 0

    async def close(self) -> None:
        """Delete the container."""

        def remove() -> None:
            with contextlib.suppress(SandboxError), engine_errors("delete a container"):
                self._container.remove(force=True, v=True)

        await self._thread(remove)

    async def _thread(self, function: Callable[[], Value]) -> Value:
        return await asyncio.to_thread(function)

    async def __aenter__(self) -> BuildContainer:
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await uninterrupted(self.close())
