"""YAML in and out: experiments of packages and users, resolved configs."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from pydantic import BaseModel

from cwm_core.errors import ConfigError
from cwm_core.plugins import registry
from cwm_core.suggestions import did_you_mean

FILE = "file"
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def to_yaml(config: BaseModel) -> str:
    """Return the resolved config as YAML that `compose` reads back to an equal config."""
    data = escape_interpolations(config.model_dump(mode="json"))
    return OmegaConf.to_yaml(OmegaConf.create(data))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """Parse YAML as OmegaConf does (1e3 is a number); ConfigError names line and column."""
    try:
        data = yaml.load(text, Loader=get_yaml_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"'{name}' is no valid YAML{at}: {problem}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"'{name}' holds {type(data).__name__}, expected keys and values")
    return data


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file; ConfigError when it is missing, unreadable or no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is no UTF-8 text: {error.reason}") from error
    return parse_yaml(text, str(path))


def packaged_yaml(folder: str = "") -> dict[str, str]:
    """Return the texts of ``<config package>/<folder>/*.yaml`` by stem, first package first."""
    found: dict[str, str] = {}
    for package in registry().config_packages():
        root = _package_root(package)
        directory = root.joinpath(folder) if root and folder else root
        if directory is None or not directory.is_dir():
            continue
        for item in sorted(directory.iterdir(), key=lambda entry: entry.name):
            if item.name.endswith(".yaml"):
                text = item.read_text(encoding="utf-8")
                found.setdefault(item.name.removesuffix(".yaml"), text)
    return found


def find_experiments(
    command: str, config: Path | None
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Return the experiments for `command` by hydra path, and the path that `config` means."""
    if config is None:
        return {}, None
    texts = packaged_yaml(command)
    found = {f"{command}/{name}": parse_yaml(text, name) for name, text in texts.items()}
    if config.is_file() or config.suffix in (".yaml", ".yml") or len(config.parts) > 1:
        found[FILE] = read_yaml(config)
        return found, FILE
    path = f"{command}/{config}"
    if path not in found:
        guess = did_you_mean(str(config), texts)
        known = ", ".join(sorted(texts)) or "none"
        raise ConfigError(
            f"no file and no packaged experiment '{config}' for 'cwm {command}'{guess}",
            f"packaged experiments: {known}; a file name ends in .yaml",
        )
    return found, path


def _package_root(package: str) -> Any:
    try:
        return resources.files(package)
    except (ImportError, TypeError):
        return None


def escape_interpolations(data: Any) -> Any:
    """Escape ``${`` in texts, with OmegaConf's rule for the backslashes before it."""
    if isinstance(data, str):
        return _INTERPOLATION.sub(r"\1\1\\${", data)
    if isinstance(data, dict):
        return {key: escape_interpolations(item) for key, item in data.items()}
    return [escape_interpolations(item) for item in data] if isinstance(data, list) else data
