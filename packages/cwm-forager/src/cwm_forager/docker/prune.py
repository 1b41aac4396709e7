"""Removing what dead processes left in the engine and on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwm_core.sandbox import leftovers
from cwm_core.sandbox.base import SandboxError
from cwm_core.sandbox.owner import Owner
from cwm_forager.docker.engine import engine, engine_errors, why_not
from cwm_forager.docker.guarded import remove
from cwm_forager.docker.labels import KIND, OWNER


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing to remove; `kind` is container, volume, image or directory."""

    kind: str
    name: str
    detail: str = ""


def find(*, everything: bool = False, images: bool = False) -> list[Leftover]:
    """Return what is of no use any more: that of processes which are certainly dead.

    `everything` adds that of processes which live, or run where they cannot be seen from here;
    `images` adds the images that were made to be kept. Without an engine only directories are
    found.
    """
    directories = leftovers.find(everything=everything)
    found = [Leftover("directory", str(path)) for path in directories]
    if why_not() is None:
        found += [*_containers(everything), *_volumes(everything)]
        found += [*_images("snapshot", everything), *(_images("image", True) if images else [])]
    return found


def remove_all(found: list[Leftover]) -> list[tuple[Leftover, SandboxError]]:
    """Remove things; return what could not be removed, and why."""
    failed = []
    for leftover in found:
        try:
            _remove(leftover)
        except SandboxError as error:
            failed.append((leftover, error))
    return failed


def _remove(leftover: Leftover) -> None:
    import docker

    if leftover.kind == "directory":
        leftovers.remove(Path(leftover.name))
        return
    if leftover.kind == "container":
        remove(leftover.name)
        return
    with engine_errors(f"delete the {leftover.kind} {leftover.name}"):
        try:
            if leftover.kind == "volume":
                engine().remove_volume(leftover.name, force=True)
            else:
                engine().remove_image(leftover.name, force=True)
        except docker.errors.NotFound:
            return


def _containers(everything: bool) -> Iterator[Leftover]:
    with engine_errors("list the containers"):
        listed = engine().containers(all=True, filters={"label": KIND})
    for one in listed:
        if _is_left(one.get("Labels"), "sandbox", everything):
            yield Leftover("container", one["Id"][:12], f"{one['Image']}, {one['Status']}")


def _volumes(everything: bool) -> Iterator[Leftover]:
    with engine_errors("list the volumes"):
        listed = engine().volumes(filters={"label": KIND})["Volumes"] or []
    for one in listed:
        if _is_left(one.get("Labels"), "sandbox", everything):
            yield Leftover("volume", one["Name"])


def _images(kind: str, everything: bool) -> Iterator[Leftover]:
    with engine_errors("list the images"):
        listed = engine().images(filters={"label": KIND})
    for one in listed:
        if _is_left(one.get("Labels"), kind, everything):
            tags = [tag for tag in one.get("RepoTags") or [] if tag != "<none>:<none>"]
            for name in tags or [one["Id"]]:
                yield Leftover("image", name, f"{one['Size'] / 1e6:.0f} MB")


def _is_left(labels: dict[str, Any] | None, kind: str, everything: bool) -> bool:
    labels = labels or {}
    if labels.get(KIND) != kind:
        return False
    try:
        return everything or Owner.from_json(labels.get(OWNER, "")).is_dead()
    except ValueError:
        return False
