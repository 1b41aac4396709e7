"""Configuration: hydra compose merges, pydantic validates.

`CommandConfig` and `Slot` are light (pydantic only); `compose` and `to_yaml` import hydra and
OmegaConf when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cwm_core.config.base import CommandConfig, Slot

if TYPE_CHECKING:
    from cwm_core.config.composing import compose
    from cwm_core.config.yaml_files import to_yaml

__all__ = ["CommandConfig", "Slot", "compose", "to_yaml"]


def __getattr__(name: str) -> Any:
    if name == "compose":
        from cwm_core.config.composing import compose

        return compose
    if name == "to_yaml":
        from cwm_core.config.yaml_files import to_yaml

        return to_yaml
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
