"""Stored groups: one file each, whole or absent."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cwm_core.atomic import atomic_write, disk_errors
from cwm_core.errors import DataError
from cwm_rl.rollout.group import Group


class GroupStore:
    """Groups in a directory, by id; one process writes, others read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)

    def path(self, group: int) -> Path:
        """Return where a group is stored."""
        return self.directory / f"{group:010d}.json"

    def save(self, group: Group) -> None:
        """Write a group; RunError when the disk refuses."""
        atomic_write(self.path(group.id), group.to_json())

    def load(self, group: int) -> Group:
        """Read a group; DataError when it is missing or damaged."""
        path = self.path(group)
        try:
            return Group.from_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        except DataError as error:
            raise DataError(
                f"{path} is damaged: {error.message}", "restore or delete it"
            ) from error

    def ids(self) -> list[int]:
        """Return the ids of the stored groups, ascending."""
        return sorted(int(path.stem) for path in self.directory.glob("[0-9]*.json"))

    def __contains__(self, group: int) -> bool:
        return self.path(group).exists()

    def delete(self, group: int) -> None:
        """Remove a group; nothing happens when there is none."""
        with contextlib.suppress(FileNotFoundError):
            self.path(group).unlink()
