"""Configuration of the data sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_train.data.document import DocumentSource

LossOn = Literal["predicted", "observations", "all"]
"""Which tokens of a trace carry loss: those after the first call frame; of these only events,
states, values and the end; or all."""

BadRows = Literal["stop", "skip"]
"""What happens at a row that cannot be read: an error that names it, or it is left out, counted
and logged."""


TooLong = Literal["drop", "split", "truncate", "error"]
"""What happens to a document that is longer than a row. ``split``: it becomes several documents
without overlap, each of which begins at position 0 and sees nothing of those before; ``truncate``:
its end is lost; ``drop``: it is left out; ``error``: nothing is trained. All but the last are
counted and logged."""


class LossShares(BaseModel):
    """Which share of the spans of each kind carries loss: 0 none, 1 all, 0.5 every other one.

    Between 0 and 1 a span is drawn as a whole, by the seed and its place: always the same ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt: float = Field(0.0, ge=0, le=1)
    """What is given: source context, system and user messages, headers."""
    action: float = Field(1.0, ge=0, le=1)
    """What an agent does: source lines of a trace, messages of an assistant."""
    observation: float = Field(1.0, ge=0, le=1)
    """What it sees: events and states of a trace, answers of tools."""
    seed: int = Field(0, ge=0)
    """Draws the spans where a share is between 0 and 1."""


LOSS_ON: dict[LossOn, LossShares] = {
    "predicted": LossShares(),
    "observations": LossShares(action=0),
    "all": LossShares(prompt=1),
}
"""The shares that `loss_on` stands for, where a source sets none."""


class _Stored(ComponentConfig):
    limit: int | None = Field(None, gt=0)
    """Read at most this many documents."""
    cache: Path | None = None
    """Where token ids are kept, so that no file is tokenised twice; a training run sets it."""


class Traces(_Stored):
    """Execution traces from the shards that `cwm trace` writes."""

    path: Path
    """Directory of trace shards, or a run directory that holds one in ``traces/``."""
    split: str = "train"
    """Which programs: ``train``, ``validation`` or ``test``."""
    diff: bool = True
    """Write unchanged locals as ``".."``."""
    loss: LossShares | None = None
    """Which spans carry loss; by default those that `loss_on` says."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.traces import build_traces

        return build_traces(self, tokenizer, self.loss or LOSS_ON[loss_on])


class Text(_Stored):
    """Plain text: every file a document, with loss on every token."""

    path: Path
    """A file, or a directory that is searched for files."""
    pattern: str = "*"
    """Which files of a directory, such as ``*.txt``; hidden ones are left out."""
    separator: str | None = Field(None, min_length=1)
    """Text that ends a document inside a file; a file is one document by default."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.text import build_text

        return build_text(self, tokenizer)


class Code(_Stored):
    """Source code: every file of a directory tree a document, with loss on every token."""

    path: Path
    """Root of the tree."""
    extensions: tuple[str, ...] = (".py",)
    """Which files, by the end of their names."""
    exclude: tuple[str, ...] = (".*", "__pycache__", "node_modules", "site-packages", "vendor")
    """Patterns of names of files and directories that are left out."""
    max_file_bytes: int = Field(1_000_000, gt=0)
    """Larger files are left out."""
    max_line_characters: int = Field(1000, gt=0)
    """Files with a longer line, which are data or minified code, are left out."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.text import build_code

        return build_code(self, tokenizer)


class JsonLines(_Stored):
    """JSON lines with a text field, compressed or not; loss on every token."""

    path: Path
    """A file (.jsonl, or with .gz, .bz2 or .zst), or a directory that is searched for them."""
    field: str = "text"
    """Key of the text."""
    pattern: str = "*.jsonl*"
    """Which files of a directory."""
    bad_rows: BadRows = "stop"
    """A line without such a text: ``stop`` with an error, or ``skip`` it and log the count."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.text import build_rows

        return build_rows(self, tokenizer, "line")


class Parquet(_Stored):
    """Parquet files with a text column; loss on every token."""

    path: Path
    """A .parquet file, or a directory that is searched for them."""
    field: str = "text"
    """Column of the text."""
    pattern: str = "*.parquet"
    """Which files of a directory."""
    bad_rows: BadRows = "stop"
    """A row without text: ``stop`` with an error, or ``skip`` it and log the count."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.text import build_rows

        return build_rows(self, tokenizer, "row")


class HuggingFace(_Stored):
    """A data set that Hugging Face's `datasets` loads: from its hub or from local files."""

    dataset: str
    """What `datasets.load_dataset` is given: a name on the hub, a directory, or a kind of file
    such as ``json``, ``parquet``, ``csv`` with `data_files`."""
    config_name: str | None = None
    """The data set's configuration."""
    data_files: tuple[str, ...] = ()
    """Files of the data set, or paths and patterns of local files."""
    split_expression: str = "train"
    """Which rows, such as ``train`` or, without streaming, ``train[:10%]``."""
    revision: str | None = None
    """Commit or tag; give one for a run that can be repeated."""
    streaming: bool = False
    """Read the rows as a stream, without a copy of the data set on the disk; only token ids are
    kept. With `limit` no more is read than it takes."""
    field: str = "text"
    """Column of the text."""
    bad_rows: BadRows = "stop"
    """A row without text: ``stop`` with an error, or ``skip`` it and log the count."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.huggingface import build_huggingface

        return build_huggingface(self, tokenizer)


class Chat(_Stored):
    """Conversations in OpenAI's message format, rendered in CWM's chat format."""

    path: Path
    """JSON lines or Parquet: a file, or a directory that is searched for them."""
    field: str = "messages"
    """Key of the messages; an assistant's message with ``"weight": 0`` carries no loss."""
    tools_field: str = "tools"
    """Key of the tools that the system prompt announces, where a row has any."""
    pattern: str = "*"
    """Which .jsonl and .parquet files of a directory."""
    style: Literal["tag", "token"] = "tag"
    """How reasoning is marked: by ``<think>`` tags, or by the reasoning tokens."""
    reasoning: float = Field(1.0, ge=0, le=1)
    """Share of the conversations that keep their reasoning; the others are shown without."""
    reasoning_prompt: bool = True
    """Begin the system prompt of conversations with reasoning by the words that switch it on."""
    preserve_previous_think: bool = True
    """Show the reasoning of all messages; without it only the last message shows its own."""
    turns: Literal["all", "last"] = "all"
    """Which messages of the assistant carry loss."""
    loss: LossShares = LossShares(observation=0)
    """Which spans carry loss; by default the assistant's."""
    bad_rows: BadRows = "stop"
    """A row that is no conversation: ``stop`` with an error, or ``skip`` it and log the count."""

    @model_validator(mode="after")
    def _coherent(self) -> Chat:
        if not self.preserve_previous_think and self.turns == "all" and self.reasoning > 0:
            raise ValueError(
                "preserve_previous_think=false needs turns=last: earlier messages would teach to "
                "answer without reasoning"
            )
        return self

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.chat import build_chat

        return build_chat(self, tokenizer)


class Trajectories(_Stored):
    """Episodes of agents from trajectory shards; half of the observations carry loss."""

    path: Path
    """Directory of trajectory shards."""
    tokens: Literal["stored", "chat"] = "stored"
    """``stored``: the very token ids of the episode, where it has them; ``chat``: its text,
    rendered in CWM's chat format."""
    style: Literal["tag", "token"] = "tag"
    """How reasoning is marked where text is rendered: by ``<think>`` tags, or reasoning tokens."""
    min_reward: float | None = None
    """Leave out episodes whose environment gave less; all by default."""
    loss: LossShares = LossShares(observation=0.5)
    """Which spans carry loss; by default actions and half of the observations."""
    bad_rows: BadRows = "stop"
    """A row that is no episode: ``stop`` with an error, or ``skip`` it and log the count."""

    def build(self, tokenizer: Tokenizer, loss_on: LossOn = "predicted") -> DocumentSource:
        """Tokenise (or find in the cache) and return the documents."""
        from cwm_train.data.trajectories import build_trajectories

        return build_trajectories(self, tokenizer)
