"""Configuration of the data sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_train.data.document import DocumentSource

LossOn = Literal["predicted", "observations", "all"]
"""Which tokens carry loss: those after the first call frame; of these only events, states, values
and the end; or all."""


class Traces(ComponentConfig):
    """Execution traces from the shards that `cwm trace` writes."""

    path: Path
    """Directory of trace shards, or a run directory that holds one in ``traces/``."""
    split: str = "train"
    """Which programs: ``train``, ``validation`` or ``test``."""
    diff: bool = True
    """Write unchanged locals as ``".."``."""
    limit: int | None = Field(None, gt=0)
    """Read at most this many traces."""
    cache: Path | None = None
    """Where token ids are kept, so that no shard is tokenised twice; a training run sets it."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.traces import build_traces

        return build_traces(self, tokenizer, loss_on)


class Text(ComponentConfig):
    """Plain text: JSON lines with a text field, or whole files; loss on every token."""

    path: Path
    """A .jsonl file, a text file, or a directory that is searched for them."""
    field: str = "text"
    """Key of the text in JSON lines."""
    pattern: str = "*"
    """Which files of a directory, such as ``*.py``."""
    limit: int | None = Field(None, gt=0)
    """Read at most this many documents."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise and return the documents."""
        from cwm_train.data.text import build_text

        return build_text(self, tokenizer)
