"""Recipes: YAML programmes of `cwm` commands, resolved to command lines.

::

    summary: one line
    params:                                   # every one can be given as key=value
      out: runs/demo                          # the directory of the recipe, required
      minutes: 10
      train_minutes: ${calc:"0.7 * ${minutes}"}
    stages:
      - name: trace
        command: trace                        # a cwm command, also "eval report"
        args: [--verbose]                     # words after the command
        overrides: {out: "${out}/traces"}     # become key=value
        when: ${cruxeval}                     # skipped when empty, null, false or 0
        unless: ${quick}                      # skipped otherwise
        outputs: ["${out}/traces"]            # must exist afterwards; removed when it changes
        launcher: torchrun --nproc-per-node 8 # starts `-m cwm_core COMMAND`; plain Python if empty
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cwm_core.config.calc import register_calc
from cwm_core.config.messages import validation_error
from cwm_core.config.overrides import override_text, parse_values
from cwm_core.config.yaml_files import packaged_yaml, parse_yaml, read_yaml
from cwm_core.errors import ConfigError
from cwm_core.plugins import registry
from cwm_core.suggestions import did_you_mean, unknown_command

_FALSE = (None, False, 0, "", "false", "null", "None", "False")
_NAME = r"^[a-z][a-z0-9_-]*$"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageSpec(_Strict):
    """One stage as written in YAML."""

    name: str = Field(pattern=_NAME)
    command: str
    args: list[Any] = []
    overrides: dict[str, Any] = {}
    when: Any = True
    unless: Any = False
    outputs: list[str] = []
    launcher: str = ""


class RecipeSpec(_Strict):
    """A recipe as written in YAML."""

    summary: str = ""
    params: dict[str, Any]
    stages: list[StageSpec]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage ready to run: the words after `cwm`, and what it makes."""

    name: str
    words: tuple[str, ...]
    outputs: tuple[Path, ...]
    launcher: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A resolved recipe; stages whose condition does not hold are left out."""

    name: str
    out: Path
    params: dict[str, Any]
    stages: tuple[Stage, ...]


def recipe_names() -> dict[str, str]:
    """Return the packaged recipes by name with their summaries."""
    return {
        name: str(data.get("summary", ""))
        for name, text in packaged_yaml().items()
        if "stages" in (data := parse_yaml(text, name))
    }


def load_recipe(recipe: str, texts: list[str]) -> Recipe:
    """Read a packaged recipe or a YAML file and resolve it with ``key=value`` params.

    Raises ConfigError for an unknown recipe, a malformed one, and unknown or ill-typed params;
    PluginError for a stage whose command is not installed.
    """
    where = f"recipe '{recipe}'"
    spec = _validated(_read(recipe), where)
    params = _params(spec, parse_values(texts, where), where)
    resolved = _resolve({**params, "stages": [stage.model_dump() for stage in spec.stages]}, where)
    stages = _validated({"params": {}, "stages": resolved.pop("stages")}, where).stages
    _check_stages(stages)
    if not isinstance(resolved.get("out"), str):
        raise ConfigError(f"{where} has no param 'out'", "a recipe needs a directory: params.out")
    kept = tuple(_stage(stage) for stage in stages if _wanted(stage))
    return Recipe(Path(recipe).stem, Path(resolved["out"]), resolved, kept)


def _read(recipe: str) -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return read_yaml(path)
    packaged = packaged_yaml()
    if recipe not in packaged:
        guess = did_you_mean(recipe, packaged)
        raise ConfigError(f"no recipe '{recipe}'{guess}", "`cwm run --list` shows the recipes")
    return parse_yaml(packaged[recipe], recipe)


def _validated(data: dict[str, Any], where: str) -> RecipeSpec:
    try:
        return RecipeSpec.model_validate(data)
    except ValidationError as error:
        raise validation_error(error, RecipeSpec, where, data) from None


def _params(spec: RecipeSpec, given: dict[str, Any], where: str) -> dict[str, Any]:
    for key in given:
        if key not in spec.params:
            guess = did_you_mean(key, spec.params)
            known = ", ".join(spec.params)
            raise ConfigError(f"unknown param '{key}' in {where}{guess}", f"params: {known}")
    defaults = _resolve(spec.params, where)
    for key, value in given.items():
        _check_type(key, value, defaults[key], where)
    return {**spec.params, **given}


def _check_type(key: str, value: Any, default: Any, where: str) -> None:
    """The default says the type; an int may stand for a float, and null fits a null default."""
    if default is None or (isinstance(value, type(default)) and not isinstance(value, bool)):
        return
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return
    if isinstance(default, bool) and isinstance(value, bool):
        return
    wanted = type(default).__name__
    raise ConfigError(
        f"wrong value for '{key}' in {where}: expected {wanted}, got {value!r}",
        f"the default is {default!r}",
    )


def _resolve(data: dict[str, Any], where: str) -> dict[str, Any]:
    register_calc()
    try:
        resolved: Any = OmegaConf.to_container(OmegaConf.create(data), resolve=True)
    except OmegaConfBaseException as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from error
        key = f" for '{error.full_key}'" if getattr(error, "full_key", None) else ""
        text = str(error).splitlines()[0]
        raise ConfigError(f"cannot resolve {where}{key}: {text}") from error
    return resolved


def _check_stages(stages: list[StageSpec]) -> None:
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two stages are named '{name}'")
    for stage in stages:
        command = (stage.command.split() or [""])[0]
        if _wanted(stage) and command not in registry().commands():
            raise unknown_command(registry(), command)


def _wanted(stage: StageSpec) -> bool:
    return stage.when not in _FALSE and stage.unless in _FALSE


def _stage(spec: StageSpec) -> Stage:
    overrides = [override_text(key, value) for key, value in spec.overrides.items()]
    words = (*spec.command.split(), *(str(word) for word in spec.args), *overrides)
    outputs = tuple(Path(output) for output in spec.outputs)
    return Stage(spec.name, words, outputs, tuple(shlex.split(spec.launcher)))
