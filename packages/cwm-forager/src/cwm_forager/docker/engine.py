"""The Docker engine: one client per process, errors that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from cwm_core.sandbox.base import SandboxError

if TYPE_CHECKING:
    from docker import APIClient, DockerClient

TIMEOUT_S = 600
"""Seconds for one answer of the engine; a loaded one takes long to remove a container."""
THREADS = 64
Value = TypeVar("Value")


def engine() -> APIClient:
    """Return this process's client; SandboxError says why there is none."""
    return client().api


def client() -> DockerClient:
    """Return this process's client with objects for images and containers, as `engine` does."""
    return _client(os.getpid())


def why_not() -> str | None:
    """Return why no engine can be used, None when one answers."""
    try:
        engine()
    except SandboxError as error:
        return error.message
    return None


@contextlib.contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn errors of the engine while it does `what` into SandboxErrors with a way out."""
    client()  # says what is missing; the imports below would not
    import docker
    import requests

    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise SandboxError(
            f"cannot {what}: {error.explanation or error}",
            "nothing is pulled: load it, or make it (`cwm image base` makes the default one); "
            "`docker images` lists what is there",
        ) from error
    except docker.errors.APIError as error:
        text = str(error.explanation or error)
        full = "no space left" in text
        hint = "free space where Docker keeps its data: `docker system df`" if full else None
        raise SandboxError(f"cannot {what}: {text}", hint) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise SandboxError(
            f"cannot {what}: the Docker engine does not answer: {error}", "is dockerd running?"
        ) from error


async def in_thread(function: Callable[[], Value]) -> Value:
    """Run something that blocks; these threads are not those of the event loop, which are few."""
    return await asyncio.get_running_loop().run_in_executor(_threads(os.getpid()), function)


@functools.lru_cache(maxsize=1)
def _client(pid: int) -> DockerClient:
    try:
        import docker
    except ImportError as error:
        raise SandboxError(
            "containers and images need Docker's SDK", "pip install 'cwm-forager[docker]'"
        ) from error
    try:
        made = docker.from_env(timeout=TIMEOUT_S, max_pool_size=THREADS)
        made.ping()
    except (docker.errors.DockerException, OSError) as error:
        raise SandboxError(
            f"no Docker engine answers: {error}", "start dockerd, or set DOCKER_HOST"
        ) from error
    return made


@functools.lru_cache(maxsize=1)
def _threads(pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
