"""Hydra's view of the component registry: config groups without one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

ROOT = "root"
FIELDS_OF = "@"
NOTHING = "__none__"  # hydra's group choices cannot be null


class ComponentRepository(ConfigRepository):
    """Serves the root config, one group per single slot, and YAML experiments from memory.

    `groups` maps a slot to the names of its components, `defaults` to the name and fields chosen
    at first.
    `experiments` holds parsed YAML by path; `chosen` is the one that the root config includes.
    """

    def __init__(
        self,
        groups: Mapping[str, list[str]],
        defaults: Mapping[str, Mapping[str, Any] | None],
        experiments: Mapping[str, Mapping[str, Any]],
        chosen: str | None,
    ) -> None:
        self.sources: list[ConfigSource] = []
        self._groups = groups
        self._defaults = defaults
        self._experiments = experiments
        self._chosen = chosen

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the config at a path with its defaults list, or None."""
        config = self._config(config_path)
        if config is None:
            return None
        package = None if self._is_component(config_path) else "_global_"
        result = ConfigResult("cwm", config_path, config, {"package": package})
        raw = self._extract_defaults_list(config_path, config)
        result.defaults_list = self._create_defaults_list(config_path, raw)
        result.is_schema_source = True
        return result

    def group_exists(self, config_path: str) -> bool:
        """Whether a path is a slot or a folder of experiments."""
        folders = {name.rpartition("/")[0] for name in self._experiments}
        return config_path in self._groups or config_path in folders

    def config_exists(self, config_path: str) -> bool:
        """Whether a path names a config."""
        return self._config(config_path) is not None

    def get_group_options(
        self, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG
    ) -> list[str]:
        """Names inside a group."""
        return sorted(self._groups.get(group_name, []))

    def get_sources(self) -> list[ConfigSource]:
        """No search path: everything is in memory."""
        return []

    def _is_component(self, path: str) -> bool:
        group, _, name = path.rpartition("/")
        return group in self._groups and name in (*self._groups[group], NOTHING)

    def _config(self, path: str) -> DictConfig | None:
        if path == ROOT:
            return self._root()
        if self._is_component(path):
            return OmegaConf.create({"name": path.rpartition("/")[2]})
        found = self._experiments.get(path)
        return None if found is None else _attach_fields(found, self._groups)

    def _root(self) -> DictConfig:
        choices: list[Any] = []
        root: dict[str, Any] = {}
        for slot, value in self._defaults.items():
            fields = dict(value or {})
            name = fields.pop("name", None)
            choices.append({slot: name or NOTHING})
            if fields:
                root[slot] = {FIELDS_OF + name: fields}
        chosen = [self._chosen] if self._chosen else []
        return OmegaConf.create({"defaults": [*choices, "_self_", *chosen], **root})


def _attach_fields(experiment: Mapping[str, Any], groups: Mapping[str, list[str]]) -> DictConfig:
    """Turn ``optimizer: {name: muon, lr: 1}`` into the group choice muon and fields of muon.

    The fields wait under ``optimizer.@muon``, so that a later choice of another component (a
    derived experiment, the command line) leaves them behind.
    """
    config = dict(experiment)
    choices = []
    for slot in groups.keys() & config.keys():
        value = config[slot]
        fields = dict(value) if isinstance(value, Mapping) else {"name": value}
        name = fields.pop("name", "")
        if name is None or name in groups[slot]:
            choices.append({f"override /{slot}": name or NOTHING})
            config[slot] = {FIELDS_OF + str(name): fields} if fields else {}
    config["defaults"] = _with_choices(config.get("defaults") or [], choices)
    return OmegaConf.create(config)


def _with_choices(defaults: Any, choices: list[dict[str, Any]]) -> Any:
    if not isinstance(defaults, list):
        return defaults
    overriding = [item for item in defaults if "override " in str(item)]
    plain = [item for item in defaults if item not in overriding]
    itself = [] if "_self_" in plain else ["_self_"]
    return [*plain, *itself, *overriding, *choices]


def settle_fields(config: DictConfig, slots: list[str]) -> None:
    """Merge the waiting fields of each chosen component below what was set directly.

    A slot without a choice and without fields becomes None.
    """
    for slot in slots:
        value = config.get(slot)
        if not isinstance(value, DictConfig):
            continue
        if value.get("name") == NOTHING:
            del value["name"]
        waiting = [key for key in value if str(key).startswith(FIELDS_OF)]
        fields = {str(key).removeprefix(FIELDS_OF): value.pop(key) for key in waiting}
        mine = fields.get(value.get("name"))
        if mine is not None:
            config[slot] = OmegaConf.merge(mine, value)
        elif not value:
            config[slot] = None
