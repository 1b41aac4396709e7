"""How this machine reaches package indexes, for the time of a build only.

pip's configuration of this machine is turned into environment variables of the build's commands;
directories and files that it names are mounted read-only. Nothing of it is stored: neither
environment nor mounts of a command become part of an image.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PLACE = "/run/cwm-build"
_PASSED = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
_SETTINGS = (
    "index-url extra-index-url find-links constraint trusted-host cert client-cert timeout "  # noqa: SIM905
    "proxy no-index prefer-binary default-timeout retries".split()
)
_MANY = frozenset(("extra-index-url", "find-links", "constraint", "trusted-host"))
_PATH = re.compile(r"(?:file://)?(/[^\s]+)")


@dataclass(frozen=True, slots=True)
class IndexAccess:
    """Environment and mounts (path here: path inside) of a build's commands."""

    environment: dict[str, str] = field(default_factory=dict)
    mounts: dict[Path, str] = field(default_factory=dict)

    def redacted(self, text: str) -> str:
        """Return text without the credentials of index URLs."""
        return re.sub(r"(?<=://)[^/@\s:]*:?[^/@\s]*@", "***@", text)


def access_of_this_machine(environment: Mapping[str, str] = os.environ) -> IndexAccess:
    """Return what builds here need to reach the indexes that pip reaches here."""
    access = IndexAccess()
    for key, value in _pip_settings(environment).items():
        name = f"PIP_{key.upper().replace('-', '_')}"
        access.environment[name] = _mounted(access, value, parent=key.endswith("index-url"))
    for name in (*_PASSED, *_CERTIFICATES):
        if given := environment.get(name):
            access.environment[name] = _mounted(access, given)
    access.environment.update(
        PIP_NO_CACHE_DIR="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_ROOT_USER_ACTION="ignore",
        PIP_NO_INPUT="1",
        UV_NO_CACHE="1",
    )
    _for_uv(access)
    return access


def _pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's own settings by name, from its files and its variables."""
    found: dict[str, list[str]] = {}
    listed = _pip_config_list(environment)
    for key in _SETTINGS:
        for line in listed:
            name, _, value = line.partition("=")
            where, _, option = name.rpartition(".")
            if option == key and where in ("global", "install", ":env:"):
                text = value.strip().strip("'\"").replace("\\n", " ")
                if key not in _MANY:
                    found[key] = []
                found.setdefault(key, []).extend(text.split() if key in _MANY else [text])
    return {key: " ".join(dict.fromkeys(values)) for key, values in found.items()}


def _pip_config_list(environment: Mapping[str, str]) -> list[str]:
    for program in ([sys.executable, "-m", "pip"], ["pip"], ["python3", "-m", "pip"]):
        try:
            done = subprocess.run(
                [*program, "config", "list"],
                env=dict(environment),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return done.stdout.splitlines()
    return []


def _mounted(access: IndexAccess, value: str, *, parent: bool = False) -> str:
    """Replace paths that exist here by the places where they will be mounted.

    With `parent`, the directory above is mounted: pages of an index link to files beside it.
    """

    def place(match: re.Match[str]) -> str:
        path = Path(match[1])
        if not path.exists():
            return match[0]
        outer = path.resolve().parent if parent else path.resolve()
        inside = access.mounts.setdefault(outer, _place_of(outer))
        return match[0].replace(match[1], f"{inside}/{path.resolve().name}" if parent else inside)

    return " ".join(_PATH.sub(place, word) if _is_path(word) else word for word in value.split())


def _place_of(path: Path) -> str:
    """Return a place that tells nothing of the path, and is the same in every build."""
    return f"{PLACE}/{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def _is_path(word: str) -> bool:
    return word.startswith(("/", "file:///"))


def _for_uv(access: IndexAccess) -> None:
    pairs = {
        "PIP_INDEX_URL": "UV_INDEX_URL",
        "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS": "UV_FIND_LINKS",
        "PIP_CONSTRAINT": "UV_CONSTRAINT",
    }
    for pip, uv in pairs.items():
        if pip in access.environment:
            access.environment[uv] = access.environment[pip]
