"""Which tokenizer speaks to an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cwm_core.errors import ConfigError

if TYPE_CHECKING:
    from cwm_core.engine.base import Engine
    from cwm_core.text.tokenizer import Tokenizer


def tokenizer_of(engine: Engine, name: str, directory: Path | None, option: str) -> Tokenizer:
    """Return the tokenizer in `directory`, or the engine's own where none is given.

    Raises:
        ConfigError: there is neither; the message names the engine, and the `option` that sets one.
        DataError: the directory holds no usable tokenizer.
    """
    from cwm_core.text.tokenizer import Tokenizer

    if directory is not None:
        return Tokenizer.load(directory)
    own: Tokenizer | None = getattr(engine, "tokenizer", None)
    if own is None:
        raise ConfigError(
            f"engine '{name}' has no tokenizer of its own",
            f"give {option}=DIR, a directory with a tokenizer.json",
        )
    return own
