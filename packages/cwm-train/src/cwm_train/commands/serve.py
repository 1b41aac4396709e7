"""`cwm serve`."""

from __future__ import annotations

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
    """Address to listen on; there is no authentication."""
    port: int = Field(8000, ge=1, le=65535)
    """Port to listen on."""
    model_name: str = "cwm"
    """Name under which clients ask for the model."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and cache."""
    max_batch: int = Field(32, gt=0)
    """Most sequences that are generated at once."""
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

        from cwm_train.serve.app import create_app
    except ImportError as error:
        raise PluginError(
            f"`cwm serve` needs the library {error.name}", "pip install 'cwm-train[serve]'"
        ) from error
    from cwm_train.generate.config import Local
    from cwm_train.generate.engine import build_engine

    engine = build_engine(
        Local(
            checkpoint=settings.checkpoint,
            device=settings.device,
            dtype=settings.dtype,
            max_batch=settings.max_batch,
            threads=settings.threads,
        )
    )
    uvicorn.run(
        create_app(engine, settings.model_name),
        host=settings.host,
        port=settings.port,
        log_level="info",
    )
