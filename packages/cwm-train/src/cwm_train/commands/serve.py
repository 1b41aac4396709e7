"""`cwm serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import Field

from cwm_core.config import CommandConfig


class ServeConfig(CommandConfig):
    """An OpenAI-compatible server for one model."""

    checkpoint: Path
    """Model directory: ``model`` of a training run, or one of its checkpoints."""
    host: str = "127.0.0.1"
    """Address to listen on; set `key_env` before others can reach it."""
    port: int = Field(8000, ge=1, le=65535)
    """Port to listen on."""
    model_name: str = "cwm"
    """Name under which clients ask for the model."""
    reasoning: Literal["tag", "token"] = "tag"
    """How the model marks reasoning in chat: by ``<think>``, or by special tokens as the SFT
    checkpoint does."""
    key_env: str = ""
    """Environment variable with the key that clients must send; empty: none."""
    admin_key_env: str = ""
    """Environment variable with the key for changing weights; empty: only clients on this machine
    may."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and cache."""
    max_batch: int = Field(32, gt=0)
    """Most sequences that are generated at once."""
    cache_tokens: int | None = Field(None, gt=0)
    """Most tokens in the cache; by default what half the free memory holds."""
    prefix_mib: int | None = Field(None, ge=0)
    """MiB for prefixes that later requests reuse; by default an eighth of the free memory."""
    prefill_chunk: int = Field(512, gt=0)
    """Most prompt tokens that are computed between two steps of the running sequences."""
    after_update: Literal["keep", "recompute"] = "keep"
    """What new weights mean for the keys and values of sequences under way."""
    batch_invariant: bool = False
    """Whether an answer has the same numbers whatever else is served; several times slower."""
    native: bool = True
    """Whether small models in fp32 on a CPU are computed by the step in C where it was compiled."""
    threads: int | None = Field(None, gt=0)
    """CPU threads; torch's choice by default."""


def serve(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value ..., such as port=8000")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file")] = None,
) -> None:
    """Serve a model over HTTP: cwm serve checkpoint=RUN/model port=8000."""
    from cwm_core.config import compose
    from cwm_core.errors import PluginError

    settings = compose("serve", ServeConfig, overrides or [], config)
    try:
        import uvicorn

        from cwm_train.serve.access import Access
        from cwm_train.serve.app import create_app
    except ImportError as error:
        raise PluginError(
            f"`cwm serve` needs the library {error.name}", "pip install 'cwm-train[serve]'"
        ) from error
    from cwm_core.dialog.template import ReasoningStyle
    from cwm_train.generate.config import Local
    from cwm_train.generate.engine import build_engine

    access = Access(_key(settings.key_env), _key(settings.admin_key_env))
    fields = settings.model_dump(include=set(Local.model_fields) - {"name"})
    engine = build_engine(Local(**fields))
    uvicorn.run(
        create_app(engine, settings.model_name, access, ReasoningStyle(settings.reasoning)),
        host=settings.host,
        port=settings.port,
        log_level="info",
    )


def _key(variable: str) -> str:
    from cwm_core.errors import ConfigError

    if variable and not os.environ.get(variable):
        raise ConfigError(
            f"the environment variable {variable} is not set", f"export {variable}=KEY"
        )
    return os.environ.get(variable, "") if variable else ""
