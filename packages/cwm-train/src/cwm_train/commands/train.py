"""`cwm train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cwm_train.loop.config import TrainConfig


def train(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value ..., such as optimizer.lr=0.01")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file")] = None,
) -> None:
    """Train a model: cwm train sources.traces.name=traces sources.traces.path=DIR tokenizer=DIR
    max_minutes=10 out=RUN."""
    from cwm_core.config import compose
    from cwm_train.loop.config import TrainConfig

    run_training(compose("train", TrainConfig, overrides or [], config))


def run_training(config: TrainConfig) -> Path:
    """Train as configured (or continue); return the directory of the final model."""
    from cwm_train.loop.processes import open_shared_run

    with open_shared_run(config) as run:
        if run.is_done:
            run.log(f"{config.out} is finished; the model is in {config.out / 'model'}")
            return config.out / "model"
        from cwm_train.loop.run import train_in

        return train_in(run, config)
