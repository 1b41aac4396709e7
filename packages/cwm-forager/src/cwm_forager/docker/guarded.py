"""A running container whose first process is our guard (see guard.sh)."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import tarfile
import threading
import time
from importlib import resources
from typing import Any

from cwm_core.sandbox.base import SandboxError
from cwm_core.sandbox.config import MIB
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import engine, engine_errors
from cwm_forager.docker.frames import frames
from cwm_forager.docker.labels import labels_of

GUARD_TIMEOUT_S = 120.0
"""Seconds for one answer of the guard."""
RETRY_S = 0.05
REMOVAL_TIMEOUT_S = 120
SPARE_PROCESSES = 16
"""Processes beside those of the commands: the guard, and the engine's own while one starts."""


class GuardedContainer:
    """Blocking; one thread at a time talks to the guard. Made by `start`."""

    def __init__(self, container_id: str, stream: Any) -> None:
        self.id = container_id
        self._stream, self._socket = stream, getattr(stream, "_sock", stream)
        self._lines = _lines(stream)
        self._lock = threading.Lock()
        self._socket.settimeout(GUARD_TIMEOUT_S)

    @classmethod
    def start(cls, config: DockerSandboxConfig, image: str) -> GuardedContainer:
        """Create and start a container; SandboxError says why there is none."""
        api = engine()
        with engine_errors(f"make a container of {image}"):
            made = api.create_container(**_settings(config, image))["Id"]
        try:
            with engine_errors(f"start a container of {image}"):
                if not config.read_only_root:
                    _make_workdir(made, config)
                stream = api.attach_socket(made, {"stdin": 1, "stdout": 1, "stream": 1})
                container = cls(made, stream)
                api.start(made)
            container._expect("ready")
        except BaseException:
            with contextlib.suppress(SandboxError):
                remove(made)
            raise
        return container

    def ask(self, command: str) -> list[str]:
        """Have the guard obey a command; SandboxError when the container has ended."""
        with self._lock:
            try:
                self._socket.sendall(f"{command}\n".encode())
            except OSError as error:
                raise ended() from error
            return self._expect("ok")

    def kill(self, command: str, patience_s: float) -> bool:
        """Have the guard kill; return whether nothing was left after that many seconds.

        The kernel may need longer to free what a killed process held than the guard's rounds last.
        """
        deadline = time.monotonic() + patience_s
        while self.ask(command) == ["busy"]:
            if time.monotonic() > deadline:
                return False
            time.sleep(RETRY_S)
        return True

    def close(self) -> None:
        """End the container, which deletes it; a thread that asks the guard is told so."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who reads; to close it would not
        with self._lock, contextlib.suppress(OSError):
            self._stream.close()
            self._socket.close()
        remove(self.id)

    def _expect(self, word: str) -> list[str]:
        try:
            words = next(self._lines, b"").split()
        except OSError as error:
            raise ended() from error
        if not words or words[0] != word.encode():
            raise ended()
        return [part.decode("ascii", "replace") for part in words[1:]]


def remove(container_id: str) -> None:
    """Kill and delete a container and its volumes; it may be gone already."""
    import docker

    with engine_errors("delete a container"), contextlib.suppress(docker.errors.NotFound):
        try:
            engine().remove_container(container_id, v=True, force=True)
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
            # Its removal is under way, since it ended by itself.
            engine().wait(container_id, timeout=REMOVAL_TIMEOUT_S, condition="removed")


def ended() -> SandboxError:
    """Return the error of a container that is no more."""
    return SandboxError(
        "the container has ended",
        "what ran in it killed the guard or took all memory; make a new sandbox",
    )


def _lines(stream: Any) -> Any:
    """Yield the lines that the guard writes."""
    pending = b""
    for _, chunk in frames(stream):
        *lines, pending = (pending + chunk).split(b"\n")
        yield from lines


def _make_workdir(container_id: str, config: DockerSandboxConfig) -> None:
    import docker

    with contextlib.suppress(docker.errors.NotFound):
        engine().get_archive(container_id, config.workdir)[0].close()
        return
    uid, _, gid = config.user.partition(":")
    entry = tarfile.TarInfo(config.workdir.strip("/"))
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, int(uid), int(gid or 0)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(entry)
    engine().put_archive(container_id, "/", archive.getvalue())


def _settings(config: DockerSandboxConfig, image: str) -> dict[str, Any]:
    from docker.types import LogConfig

    guard = resources.files("cwm_forager.docker").joinpath("guard.sh").read_text()
    return {
        "image": image,
        "entrypoint": ["/bin/sh", "-c", guard],
        "command": [],
        "stdin_open": True,
        "user": "0:0",
        "working_dir": config.workdir,
        "environment": {"HOME": "/tmp", **config.env},
        "labels": {**config.labels, **labels_of("sandbox")},
        "hostname": "sandbox",
        "healthcheck": {"test": ["NONE"]},
        "stop_signal": "SIGKILL",
        "host_config": engine().create_host_config(
            auto_remove=True,
            log_config=LogConfig(type="none"),
            network_mode=config.network,
            ipc_mode="private",
            read_only=config.read_only_root,
            runtime=config.runtime,
            cap_drop=["ALL"],
            cap_add=["KILL"],
            security_opt=["no-new-privileges:true"],
            tmpfs=_temporary(config),
            **_limits(config),
        ),
    }


def _temporary(config: DockerSandboxConfig) -> dict[str, str]:
    """Temporary space counts as memory: it can never take all of it."""
    size = min(config.tmp_bytes, config.memory_bytes // 4)
    spaces = {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={size},nr_inodes=200000"}
    if config.read_only_root:
        uid, _, gid = config.user.partition(":")
        size = min(config.disk_bytes, config.memory_bytes // 2)
        spaces[config.workdir] = (
            f"rw,exec,nosuid,nodev,mode=0755,uid={uid},gid={gid or 0},size={size},"
            f"nr_inodes={config.disk_files}"
        )
    return spaces


def _limits(config: DockerSandboxConfig) -> dict[str, Any]:
    from docker.types import Ulimit

    ulimits = {
        "core": 0,
        "cpu": config.cpu_s,
        "fsize": config.file_bytes,
        "nofile": config.open_files,
    }
    return {
        "mem_limit": config.memory_bytes,
        "memswap_limit": config.memory_bytes,
        "pids_limit": config.processes + SPARE_PROCESSES,
        "nano_cpus": None
        if config.cpus is None
        else int(min(config.cpus, os.cpu_count() or 1) * 1e9),
        "shm_size": min(64 * MIB, config.tmp_bytes, config.memory_bytes // 4),
        "ulimits": [Ulimit(name=name, soft=most, hard=most) for name, most in ulimits.items()],
    }
