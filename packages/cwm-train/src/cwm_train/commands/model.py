"""`cwm model info`, `init`, `export` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot
from cwm_train.commands.plan import plan_run

if TYPE_CHECKING:
    import torch

    from cwm_train.model.config import CwmModelConfig

app = typer.Typer(no_args_is_help=True, help="Inspect, create, convert and plan models.")
app.command("plan")(plan_run)


class InitConfig(CommandConfig):
    """A model with fresh weights."""

    out: Path
    """Directory of the model."""
    tokenizer: Path
    """Directory of the tokenizer; decides the vocabulary."""
    model: Annotated[ComponentConfig, Slot("models", default="cwm_tiny")]
    """Shape of the model."""
    seed: int = 0
    """Decides the weights."""


@app.command("info")
def info(
    model: Annotated[str, typer.Argument(help="preset (cwm_tiny ... cwm_32b) or model directory")],
) -> None:
    """Show the shape and size of a preset or a saved model; loads no weights."""
    config = _config(model)
    full = sum(kind == "full_attention" for kind in config.layer_pattern)
    embeddings = config.vocab_size * config.hidden_size
    rows = {
        "parameters": f"{config.parameter_count():,}",
        "  of which embeddings": f"{embeddings * (1 if config.tie_word_embeddings else 2):,}",
        "weights in bf16": f"{2 * config.parameter_count() / 2**30:.2f} GiB",
        "layers": f"{config.num_hidden_layers} ({full} full attention, window "
        f"{config.sliding_window} in the others)",
        "width": f"{config.hidden_size}, feed-forward {config.intermediate_size}",
        "heads": f"{config.num_attention_heads} of {config.head_dim}, "
        f"{config.num_key_value_heads} for keys and values",
        "vocabulary": f"{config.vocab_size}",
        "context": f"{config.max_position_embeddings} tokens",
        "KV cache": f"{_cache_bytes_per_token(config) / 2**10:.1f} KiB per token in bf16",
    }
    for name, value in rows.items():
        print(f"{name:<22} {value}")


def _cache_bytes_per_token(config: CwmModelConfig) -> int:
    return 2 * 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim


def _config(model: str) -> CwmModelConfig:
    from cwm_core.plugins import registry
    from cwm_train.model.config import CwmModelConfig

    if Path(model).is_dir():
        return CwmModelConfig.load(Path(model))
    return registry().make("models", model)  # type: ignore[return-value]


@app.command("init")
def init(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value ..., such as model=cwm_mini")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file")] = None,
) -> None:
    """Create a model with fresh weights: cwm model init tokenizer=DIR out=DIR."""
    from cwm_core.config import compose

    settings = compose("model init", InitConfig, overrides or [], config)
    import torch

    from cwm_core.text.tokenizer import Tokenizer
    from cwm_train.checkpoint.hf import save_pretrained, with_tokenizer

    tokenizer = Tokenizer.load(settings.tokenizer)
    torch.manual_seed(settings.seed)
    model = with_tokenizer(settings.model, tokenizer).build()  # type: ignore[arg-type]
    save_pretrained(model, tokenizer, settings.out)
    print(f"{model.config.parameter_count():,} parameters in {settings.out}")


Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16")]


@app.command("export")
def export(
    source: Annotated[Path, typer.Argument(help="model directory or training checkpoint")],
    out: Annotated[Path, typer.Argument(help="directory to write")],
    dtype: Dtype = "float32",
) -> None:
    """Write a model as `transformers` loads it, in another precision if wanted."""
    from cwm_train.checkpoint.hf import load_pretrained, save_pretrained

    model, tokenizer = load_pretrained(source, dtype=_dtype(dtype))
    save_pretrained(model, tokenizer, out)
    print(f"{out}: {dtype}, {model.config.parameter_count():,} parameters")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="directory with params.json and *.distcp")],
    out: Annotated[Path, typer.Argument(help="directory to write")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="directory of the tokenizer.json to go with it")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="as stored, unless given")] = None,
    shard_gb: Annotated[float, typer.Option(min=0.001, help="most gigabytes of a file")] = 5.0,
) -> None:
    """Convert the original release's layout to a model directory, file by file.

    An import that was interrupted goes on where it was. The index of the release is a pickle:
    import only what you trust.
    """
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_train.checkpoint.native import import_native

    text = None if tokenizer is None else Tokenizer.load(tokenizer)
    wanted = None if dtype is None else _dtype(dtype)
    config = import_native(source, out, wanted, int(shard_gb * 1e9), text)
    print(f"{out}: {config.parameter_count():,} parameters")
    if text is None:
        print("no tokenizer.json: add one with --tokenizer DIR to generate or train with text")


def _dtype(name: str) -> torch.dtype:
    import torch

    from cwm_core.errors import ConfigError

    if name not in ("float32", "bfloat16", "float16"):
        raise ConfigError(f"unknown dtype {name!r}", "use float32, bfloat16 or float16")
    return getattr(torch, name)
