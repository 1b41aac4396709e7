"""A base image without a registry: Debian by debootstrap, imported into the engine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cwm_core.errors import RunError
from cwm_forager.docker.engine import engine, engine_errors
from cwm_forager.docker.labels import labels_of

RECIPE = "cwm.recipe"
"""Label with the hash of what an image was made by; an image with the same one is up to date."""
USER = "user"
"""Name of the user 1000, which sandboxes run commands as."""
DOWNLOAD_TIMEOUT_S = 3600
_DISPENSABLE = (
    "usr/share/doc/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "usr/lib/python3*/config-*/*.a",
    "usr/lib/gcc/*/*/lto1",
    "usr/lib/gcc/*/*/lto-wrapper",
    "usr/lib/gcc/*/*/g++-mapper-server",
    "usr/lib/*/*.a/asan*",
    "usr/lib/gcc/*/*/lib[ailtu]?san*",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/lib/apt/lists/*",
    "var/log/*",
)


class BaseImage(BaseModel):
    """What a base image is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "cwm-base:bookworm"
    suite: str = "bookworm"
    packages: tuple[str, ...] = (
        "ca-certificates",
        "g++",
        "gcc",
        "git",
        "libc6-dev",
        "make",
        "patch",
        "pkg-config",
        "procps",
        "python3",
        "python3-dev",
        "python3-pip",
        "python3-venv",
    )

    def recipe(self) -> str:
        """Return a hash of everything that decides what is in the image, but its name."""
        parts = [self.suite, sorted(self.packages), _DISPENSABLE, USER]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def make_base(base: BaseImage, *, again: bool = False, say: Callable[[str], None] = print) -> str:
    """Make a base image unless the engine has it from the same recipe; return its id.

    Needs root and debootstrap; packages come from where this machine's apt gets them.

    Raises:
        CwmError: there is no engine, no debootstrap, or a package cannot be fetched.
    """
    found = None if again else _existing(base)
    if found is not None:
        say(f"{base.name} is there")
        return found
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise RunError(
            f"cannot make {base.name}: that needs root and debootstrap",
            "apt install debootstrap; or take an image from a registry: "
            f"docker pull debian, then docker tag debian {base.name}",
        )
    with tempfile.TemporaryDirectory(prefix="cwm-base-") as directory:
        root = Path(directory) / "root"
        say(f"fetching {len(base.packages)} packages and what they need")
        _bootstrap(base, root)
        _add_user(root)
        _remove(root, _DISPENSABLE)
        say("importing")
        return _import(base, root)


def _existing(base: BaseImage) -> str | None:
    with engine_errors("list the images"):
        images = engine().images(base.name)
    labels = (images[0].get("Labels") or {}) if images else {}
    return str(images[0]["Id"]) if labels.get(RECIPE) == base.recipe() else None


def _bootstrap(base: BaseImage, root: Path) -> None:
    """Run debootstrap; what it mounts in the new root is seen by nobody else, and goes with it."""
    line = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"]
    line += [f"--include={','.join(base.packages)}", base.suite, str(root), *mirror_of(base.suite)]
    done = subprocess.run(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        timeout=DOWNLOAD_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        log = root / "debootstrap" / "debootstrap.log"
        tail = (log.read_text(errors="replace") if log.exists() else done.stdout).splitlines()[-10:]
        raise RunError("debootstrap failed:\n  " + "\n  ".join(tail), "does apt-get update work?")


def mirror_of(suite: str) -> list[str]:
    """Return the mirror that this machine's apt uses for a suite; none where it knows none."""
    line = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    pairs = [entry.split() for entry in done.stdout.splitlines()]
    return next(([pair[0]] for pair in pairs if len(pair) == 2 and pair[1] == suite), [])


def _add_user(root: Path) -> None:
    with (root / "etc/passwd").open("a") as passwd, (root / "etc/group").open("a") as group:
        passwd.write(f"{USER}:x:1000:1000::/home/{USER}:/bin/bash\n")
        group.write(f"{USER}:x:1000:\n")
    for path in (root / "home" / USER, root / "workspace"):
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, 1000, 1000)


def _remove(root: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _import(base: BaseImage, root: Path) -> str:
    repository, _, tag = base.name.partition(":")
    labels = {**labels_of("image"), RECIPE: base.recipe()}
    changes = ["ENV LANG=C.UTF-8", 'CMD ["/bin/bash"]']
    changes += [f"LABEL {key}={json.dumps(value)}" for key, value in labels.items()]
    line = ["tar", "--numeric-owner", "-C", str(root), "-cf", "-", "."]
    with (
        engine_errors(f"import {base.name}"),
        subprocess.Popen(line, stdout=subprocess.PIPE) as tar,
    ):
        answer = engine().import_image_from_stream(tar.stdout, repository, tag or "latest", changes)
    if tar.returncode != 0 or "sha256:" not in answer:
        raise RunError(f"cannot import {base.name}: {answer[-500:]}")
    with engine_errors(f"find {base.name}"):
        return str(engine().inspect_image(base.name)["Id"])
