"""Finding the files of value renderers, for the traced process to run; on the trusted side."""

from __future__ import annotations

import importlib.util
from typing import Any

from cwm_core.errors import ConfigError
from cwm_tracer.capture.renderers import ValueRenderer


def located(renderer: ValueRenderer) -> dict[str, Any]:
    """Return a renderer as a job's request has it, with the file of its module.

    Raises:
        ConfigError: the classes or the target are no such names, or the module has no file.
    """
    module, _, function = renderer.target.partition(":")
    for name in (renderer.target, *renderer.classes):
        if not all(name.partition(":")[::2]):
            raise ConfigError(
                f"value renderer {renderer.target!r}: {name!r} is not of the form 'module:name'"
            )
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"value renderer {renderer.target!r}: there is no file of a module {module!r}",
            "its target is 'module:function' of an installed Python file",
        )
    return {"classes": list(renderer.classes), "file": spec.origin, "function": function}
