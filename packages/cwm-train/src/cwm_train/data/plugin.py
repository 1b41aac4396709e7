"""What training reads: hooks of `cwm_train.plugin`, which keep it short."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Component


@hookimpl
def cwm_sources() -> list[Component]:
    """Training documents."""
    module = "cwm_train.data.config"
    return [
        Component("traces", f"{module}:Traces", "execution traces from shards"),
        Component("text", f"{module}:Text", "plain text, a document per file"),
        Component("code", f"{module}:Code", "source files of a directory tree"),
        Component("jsonl", f"{module}:JsonLines", "JSON lines with a text field"),
        Component("parquet", f"{module}:Parquet", "Parquet files with a text column"),
        Component("huggingface", f"{module}:HuggingFace", "data sets that `datasets` loads"),
        Component("chat", f"{module}:Chat", "conversations in the chat format"),
        Component("trajectories", f"{module}:Trajectories", "episodes of agents from shards"),
    ]


@hookimpl
def cwm_mixers() -> list[Component]:
    """The order in which sources are read."""
    module = "cwm_train.data.mixers"
    return [
        Component("weighted", f"{module}:Weighted", "constant shares of the tokens"),
        Component("staged", f"{module}:Staged", "stages of constant shares"),
        Component("sequential", f"{module}:Sequential", "one source after the other"),
        Component("curriculum", f"{module}:Curriculum", "shares that move from start to end"),
    ]
