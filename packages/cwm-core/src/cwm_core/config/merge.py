"""Merge slot defaults, experiments and overrides with hydra's composer.

Hydra's pieces are used without ``GlobalHydra``, plugin discovery or hydra's own config tree:
a composition is a pure function of its arguments and costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from cwm_core.config.base import Slot, slots
from cwm_core.config.calc import register_calc
from cwm_core.config.overrides import parse_overrides
from cwm_core.config.repository import ROOT, ComponentRepository, settle_fields
from cwm_core.config.yaml_files import FILE, find_experiments
from cwm_core.errors import ConfigError
from cwm_core.plugins import registry
from cwm_core.suggestions import unknown_component


def merge(
    command: str, model: type[BaseModel], texts: list[str], config: Path | None
) -> dict[str, Any]:
    """Return the merged, resolved and not yet validated data for `model`."""
    where = f"'cwm {command}'"
    single = {name: slot for name, (slot, many) in slots(model).items() if many is None}
    overrides = parse_overrides(texts, single, where)
    _check_choices(single, overrides.choices, where)
    experiments, chosen = find_experiments(command, config)
    groups = {name: sorted(registry().components(slot.kind)) for name, slot in single.items()}
    defaults = {name: _default(slot) for name, slot in single.items()}
    repository = ComponentRepository(groups, defaults, experiments, chosen)
    try:
        merged = _compose(repository, overrides.parsed)
        settle_fields(merged, list(groups))
        data: Any = OmegaConf.to_container(merged, resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _merge_error(error, where, config) from error
    return _without_missing(data)


def _default(slot: Slot) -> Mapping[str, Any] | None:
    if not slot.has_default or slot.default is None:
        return None
    return {"name": slot.default} if isinstance(slot.default, str) else dict(slot.default)


def _check_choices(
    single: Mapping[str, Slot], choices: Mapping[str, str | None], where: str
) -> None:
    for key, name in choices.items():
        kind = single[key].kind
        if name is not None and name not in registry().components(kind):
            error = unknown_component(registry(), kind, name)
            raise ConfigError(
                f"wrong value for '{key}' in {where}: {error.message}", error.hint
            ) from error


def _compose(repository: ComponentRepository, overrides: list[Any]) -> DictConfig:
    version.setbase("1.3")
    register_calc()
    loader = ConfigLoaderImpl(ConfigSearchPathImpl())
    defaults = create_defaults_list(
        repo=repository,
        config_name=ROOT,
        overrides_list=overrides,
        prepend_hydra=False,
        skip_missing=False,
    )
    merged = loader._compose_config_from_defaults_list(defaults.defaults, repository)
    loader._apply_overrides_to_config(defaults.config_overrides, merged)
    return merged


def _without_missing(data: Any) -> Any:
    """Drop keys whose value is OmegaConf's ``???``: validation reports them as missing."""
    if isinstance(data, dict):
        return {key: _without_missing(item) for key, item in data.items() if item != "???"}
    return [_without_missing(item) for item in data] if isinstance(data, list) else data


def _merge_error(error: Exception, where: str, config: Path | None) -> ConfigError:
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause.__cause__, ConfigError):
        return cause.__cause__
    key = getattr(cause, "full_key", None)
    text = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    text = text.replace(f"In '{FILE}'", f"In '{config}'")
    named = f" for '{key}'" if key else ""
    hint = None
    if "nterpolation" in text:
        hint = "${...} reaches only keys set in the file or on the command line, and ${oc.env:NAME}"
    return ConfigError(f"cannot compose the configuration{named} in {where}: {text}", hint)
