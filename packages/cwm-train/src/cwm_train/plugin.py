"""What cwm-train adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component


@hookimpl
def cwm_commands() -> list[Command]:
    """Train, inspect and serve models."""
    return [
        Command("train", "cwm_train.commands.train:app", "Train a model, compare runs"),
        Command("tokenizer", "cwm_train.commands.tokenizer:app", "Train and inspect tokenizers"),
        Command("model", "cwm_train.commands.model:app", "Inspect, create and export models"),
        Command("serve", "cwm_train.commands.serve:serve", "Serve a model over HTTP"),
    ]


@hookimpl
def cwm_models() -> list[Component]:
    """The CWM decoder, from laptop to cluster."""
    module = "cwm_train.model.config"
    return [
        Component("cwm_tiny", f"{module}:CwmTiny", "0.8 M parameters, for laptops"),
        Component("cwm_mini", f"{module}:CwmMini", "5 M parameters, an hour on a laptop"),
        Component("cwm_150m", f"{module}:Cwm150m", "160 M parameters, one consumer GPU"),
        Component("cwm_1b", f"{module}:Cwm1b", "1 B parameters, one large GPU"),
        Component("cwm_3b", f"{module}:Cwm3b", "3 B parameters, a node of GPUs"),
        Component("cwm_8b", f"{module}:Cwm8b", "8 B parameters, the size of the ablations"),
        Component("cwm_32b", f"{module}:Cwm32b", "the released model's 32.6 B parameters"),
    ]


@hookimpl
def cwm_config_packages() -> list[str]:
    """Recipes of the stages."""
    return ["pkg://cwm_train.recipes"]


@hookimpl
def cwm_attentions() -> list[Component]:
    """Ways to compute attention."""
    module = "cwm_train.attention.config"
    return [
        Component("chunked", f"{module}:Chunked", "blocks of queries; fast training on CPUs"),
        Component("sdpa", f"{module}:Sdpa", "torch's scaled_dot_product_attention"),
        Component("flex", f"{module}:Flex", "torch's FlexAttention, for GPUs"),
        Component("flash", f"{module}:Flash", "the library flash-attn, for NVIDIA GPUs"),
        Component("reference", f"{module}:Reference", "slow and plain; the truth for tests"),
    ]


@hookimpl
def cwm_optimizers() -> list[Component]:
    """What turns gradients into updates."""
    module = "cwm_train.optim.config"
    return [
        Component("adamw", f"{module}:AdamW", "AdamW for everything"),
        Component("muon", f"{module}:Muon", "Muon for hidden matrices, AdamW for the rest"),
        Component("soap", f"{module}:Soap", "AdamW in the eigenbasis of preconditioners"),
    ]


@hookimpl
def cwm_schedules() -> list[Component]:
    """Learning rate over the budget."""
    module = "cwm_train.optim.schedules"
    return [
        Component("cosine", f"{module}:Cosine", "warm-up, then half a cosine"),
        Component("wsd", f"{module}:Wsd", "warm-up, stable, linear decay"),
        Component("linear", f"{module}:Linear", "warm-up, then a straight line"),
    ]


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


@hookimpl
def cwm_engines() -> list[Component]:
    """What produces tokens."""
    return [Component("local", "cwm_train.generate.config:Local", "a model in this process")]


@hookimpl
def cwm_loggers() -> list[Component]:
    """Where metrics go besides metrics.jsonl."""
    module = "cwm_train.loggers.config"
    return [
        Component("csv", f"{module}:Csv", "metrics.csv in the run directory"),
        Component("tensorboard", f"{module}:TensorBoard", "TensorBoard event files"),
        Component("wandb", f"{module}:Wandb", "Weights & Biases"),
    ]


@hookimpl
def cwm_probes() -> list[str]:
    """What `cwm doctor` looks for."""
    return ["cwm_train.generate.probe:native_decoder"]
