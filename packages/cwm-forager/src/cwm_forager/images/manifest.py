"""The manifest of an image: how it was built, and how its tests end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cwm_core.atomic import atomic_write
from cwm_core.errors import DataError

MANIFEST = "manifest.json"
WORKDIR = "/testbed"
"""Where the repository lies in every image."""


class TestRecord(BaseModel):
    """One test over the repeated runs of an image's suite."""

    __test__ = False
    model_config = ConfigDict(frozen=True, extra="forbid")

    outcomes: tuple[str, ...]
    """Outcome in each run: passed, failed, error, skipped, xfailed, xpassed, timeout, or missing
    where a run did not report the test."""
    duration_s: float = 0.0
    """Median of the runs."""

    @property
    def flaky(self) -> bool:
        """Whether the runs differ."""
        return len(set(self.outcomes)) > 1

    @property
    def reliable(self) -> bool:
        """Whether the test passed in every run."""
        return set(self.outcomes) == {"passed"}


class ImageManifest(BaseModel):
    """What is known about an image; lies beside its log as ``manifest.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    """Version of this format."""
    name: str
    """Name of the repository, such as ``more-itertools`` or ``owner/name``."""
    source: str
    """What was built: a path, URL or sdist, without credentials."""
    commit: str
    """The commit that the image holds, 40 hex digits; nothing later is in it."""
    image: str
    """Tag of the image."""
    image_id: str
    """Content id of the image in the engine that built it."""
    base: str
    """Tag of the image that the build started from."""
    base_id: str
    """Content id of the base."""
    strategy: str
    """Name of the component that planned the build."""
    script: str
    """Shell script that turned the base, with the repository in `workdir`, into the image."""
    test_command: tuple[str, ...]
    """Arguments that run the suite by pytest; test ids can be appended."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables that tests need, besides the image's own."""
    workdir: str = WORKDIR
    """The repository's place in the image, and the directory that tests run in."""
    tests: dict[str, TestRecord] = Field(default_factory=dict)
    """By pytest's test id."""
    collection_errors: dict[str, str] = Field(default_factory=dict)
    """Text of what could not be collected, by file."""
    build_s: float = 0.0
    """Seconds of the build, without its tests."""
    test_s: float = 0.0
    """Median seconds of one run of the suite."""
    size_bytes: int = 0
    """Size of the image with its base."""
    log: str = "log.txt"
    """File with the output of the build, relative to the manifest."""
    notes: tuple[str, ...] = ()
    """What the strategy left out or assumed, such as unknown actions."""

    @property
    def reliable(self) -> tuple[str, ...]:
        """Ids of the tests that passed in every run, sorted."""
        return tuple(sorted(name for name, test in self.tests.items() if test.reliable))

    @property
    def flaky(self) -> tuple[str, ...]:
        """Ids of the tests whose runs differ, sorted."""
        return tuple(sorted(name for name, test in self.tests.items() if test.flaky))

    @property
    def runs(self) -> int:
        """How often the suite was run."""
        return max((len(test.outcomes) for test in self.tests.values()), default=0)

    def counts(self) -> dict[str, int]:
        """Count tests by outcome; those whose runs differ count as ``flaky``."""
        kinds = ("flaky" if test.flaky else test.outcomes[0] for test in self.tests.values())
        return dict(sorted(Counter(kinds).items()))

    def digest(self) -> str:
        """Return a hash of everything that two builds of the same thing should share.

        Times, sizes, the engine's ids, and the outcomes of flaky tests are left out.
        """
        varying = {
            "image",
            "image_id",
            "base_id",
            "build_s",
            "test_s",
            "size_bytes",
            "log",
            "tests",
        }
        content: dict[str, Any] = self.model_dump(mode="json", exclude=varying)
        content["tests"] = {
            name: "flaky" if test.flaky else test.outcomes[0]
            for name, test in sorted(self.tests.items())
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, directory: Path) -> Path:
        """Write ``manifest.json`` into a directory."""
        path = directory / MANIFEST
        atomic_write(path, self.model_dump_json(indent=2) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest, given its file or its directory; DataError when there is none."""
        path = path / MANIFEST if path.is_dir() else path
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            hint = "build one with `cwm image build`"
            raise DataError(f"cannot read the manifest {path}: {error.strerror}", hint) from error
        except ValidationError as error:
            raise DataError(f"{path} is no manifest of an image: {error}") from error
