"""Compose a command's configuration: hydra merges, pydantic validates."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from cwm_core.config.base import CommandConfig
from cwm_core.config.merge import merge
from cwm_core.config.messages import validation_error

T = TypeVar("T", bound=CommandConfig)


def compose(
    command: str, model: type[T], overrides: list[str] | None = None, config: Path | None = None
) -> T:
    """Merge slot defaults, a YAML file or packaged experiment, and overrides; validate.

    `config` is a file, or the name of an experiment that some package ships for `command`.
    Raises ConfigError, one message with every wrong key, for anything that does not fit.
    """
    where = f"'cwm {command}'"
    data = merge(command, model, list(overrides or []), config)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise validation_error(error, model, where, data) from None
