"""Executor on a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any, cast

from cwm_core.errors import RunError
from cwm_core.executor.body import Reply, WorkerBody
from cwm_core.executor.config import RayConfig
from cwm_core.executor.pool import PoolExecutor, Worker, WorkerDiedError

STARTS = 3
"""How often to try to start a cluster: a busy machine may be slower than Ray's patience."""


class RayExecutor(PoolExecutor):
    """One Ray actor per worker; an actor that dies, with its machine or alone, is replaced."""

    def __init__(self, config: RayConfig) -> None:
        # Read when Ray is imported: under `uv run` its workers would build environments of their
        # own and may never start, though they share this very environment.
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise RunError("the executor 'ray' needs Ray", "pip install 'cwm-core[ray]'") from error
        self._ray = ray
        self._owns_cluster = not ray.is_initialized()
        if self._owns_cluster:
            self._connect(config.address)
        self._actor = ray.remote(num_cpus=config.cpus_per_worker, max_restarts=0)(WorkerBody)
        cores = ray.cluster_resources().get("CPU", 1.0)
        size = config.workers or max(1, int(cores / config.cpus_per_worker))
        super().__init__(size, config.timeout_s, config.retries)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if self._owns_cluster:
            self._ray.shutdown()

    def spawn(self) -> Worker:
        """Begin to start an actor."""
        return _Actor(self._ray, self._actor.remote())

    def wait(self, workers: Sequence[Worker], timeout_s: float | None) -> list[Worker]:
        """Wait for the actors' answers."""
        by_answer = {cast(_Actor, worker).answer: worker for worker in workers}
        done, _ = self._ray.wait(list(by_answer), num_returns=1, timeout=timeout_s)
        return [by_answer[answer] for answer in done]

    def dumps(self, value: Any) -> bytes:
        """Pickle by value what the workers cannot import, such as functions of a script."""
        return self._ray.cloudpickle.dumps(value)

    def _connect(self, address: str) -> None:
        options: dict[str, Any] = {"address": address}
        if not address:
            options = {"include_dashboard": False, "log_to_driver": False}
        elif address != "auto":
            _check_reachable(address)
        for attempt in range(STARTS):
            try:
                self._ray.init(logging_level=logging.ERROR, **options)
                return
            except Exception as error:  # Ray raises bare exceptions when a node starts too slowly
                self._ray.shutdown()
                if attempt + 1 == STARTS or address:
                    raise _unreachable(address or "on this machine", error) from error


def _check_reachable(address: str) -> None:
    """Knock before Ray does, which is patient for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> RunError:
    return RunError(
        f"cannot connect to the Ray cluster {address}: {error}",
        "start one with `ray start --head` and give executor.address=auto or HOST:PORT",
    )


class _Actor(Worker):
    def __init__(self, ray: Any, handle: Any) -> None:
        super().__init__()
        self._ray, self._handle = ray, handle
        self.answer = handle.ready.remote()

    def send(self, request: str, content: bytes) -> None:
        self.answer = getattr(self._handle, request).remote(content)

    def receive(self) -> Reply:
        try:
            return self._ray.get(self.answer)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()
            raise WorkerDiedError(f"the Ray worker died: {' '.join(reason)[:500]}") from error

    def kill(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(self._handle)
