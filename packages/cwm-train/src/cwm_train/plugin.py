"""What cwm-train adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component
from cwm_train.data.plugin import cwm_mixers as cwm_mixers
from cwm_train.data.plugin import cwm_sources as cwm_sources


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
