"""What every component must satisfy, ours and third-party ones alike.

::

    @pytest.mark.parametrize(("kind", "component"), declared("my-distribution"))
    def test_component(kind, component):
        check_component(kind, component)
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys

from pydantic import ValidationError

from cwm_core import hookspecs
from cwm_core.components import ComponentConfig
from cwm_core.config.base import slots
from cwm_core.plugins import Component, registry, resolve

HEAVY_MODULES = (
    "torch",
    "hydra",
    "omegaconf",
    "datasets",
    "openai",
    "docker",
    "pyarrow",
    "numpy",
    "ray",
    "transformers",
    "tokenizers",
)
_LOADED = (
    "import sys, json, {module}; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
)


def declared(distribution: str) -> list[tuple[str, Component]]:
    """Return (kind, component) of everything that a distribution declares."""
    return [
        (kind, component)
        for plugin in registry().plugins()
        if plugin.distribution == distribution
        for kind, components in plugin.components.items()
        for component in components
    ]


def check_component(kind: str, component: Component) -> None:
    """Assert that a component keeps the rules of its kind; an AssertionError names the rule."""
    check_declaration(component)
    config_class = resolve(component.target)
    check_config_class(config_class)
    check_build_signature(kind, config_class)
    check_light_import(component.target.partition(":")[0])
    check_yaml_round_trip(component, config_class)


def check_declaration(component: Component) -> None:
    """The name is a lower-case word, the summary one line."""
    assert re.fullmatch(r"[a-z][a-z0-9_-]*", component.name), f"bad name {component.name!r}"
    assert component.summary.strip(), f"{component.name} has no summary"
    assert "\n" not in component.summary, f"the summary of {component.name} has several lines"


def check_config_class(config_class: type[ComponentConfig]) -> None:
    """Frozen, no unknown keys, a docstring on the class and under each field."""
    name = config_class.__name__
    assert issubclass(config_class, ComponentConfig), f"{name} is no ComponentConfig"
    assert config_class.model_config.get("frozen"), f"{name} is not frozen"
    assert config_class.model_config.get("extra") == "forbid", f"{name} allows unknown keys"
    own_doc = config_class.__doc__ and config_class.__doc__ != ComponentConfig.__doc__
    assert own_doc, f"{name} has no docstring"
    for field_name, field in config_class.model_fields.items():
        assert field.description, f"{name}.{field_name} has no docstring below it"


def check_build_signature(kind: str, config_class: type[ComponentConfig]) -> None:
    """`build` is defined and takes the arguments that the kind's hookspec names."""
    name = config_class.__name__
    assert config_class.build is not ComponentConfig.build, f"{name} defines no build()"
    positional, optional = build_arguments(kind)
    signature = inspect.signature(config_class.build)
    try:
        signature.bind(None, *positional, **dict.fromkeys(optional))
    except TypeError as error:
        raise AssertionError(
            f"{name}.build{signature} does not take ({', '.join([*positional, *optional])})"
        ) from error


def build_arguments(kind: str) -> tuple[list[str], list[str]]:
    """Return the names of the required and of the optional arguments of a kind's `build`."""
    text = inspect.getdoc(getattr(hookspecs, f"cwm_{kind}")) or ""
    match = re.search(r"\[build\((.*?)\)", text)
    words = [word.strip() for word in match.group(1).split(",")] if match else []
    required = [word for word in words if word and "=" not in word]
    return required, [word.partition("=")[0] for word in words if "=" in word]


def check_light_import(module: str) -> None:
    """Importing the config's module, in a fresh process, loads nothing heavy."""
    code = _LOADED.format(module=module, heavy=HEAVY_MODULES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"importing {module} fails:\n{done.stderr}"
    loaded = json.loads(done.stdout)
    assert not loaded, f"importing {module} loads {', '.join(loaded)}; import it in build()"


def check_yaml_round_trip(component: Component, config_class: type[ComponentConfig]) -> None:
    """A default config survives YAML; classes with required fields are left to their own tests."""
    from cwm_core.config.yaml_files import parse_yaml, to_yaml

    if slots(config_class):
        return
    try:
        config = config_class(name=component.name)
    except ValidationError as error:
        assert all(each["type"] == "missing" for each in error.errors()), str(error)
        return
    again = config_class.model_validate(parse_yaml(to_yaml(config), component.name))
    assert again == config, f"{component.name} changes on its way through YAML"
