"""The orchestrator's process; it imports no torch unless an environment does."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

from cwm_core.errors import DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_rl.board.beacon import Beacon, load_newest
from cwm_rl.board.files import RunFiles
from cwm_rl.orchestrator.loop import Orchestrator
from cwm_rl.orchestrator.setup import addresses, build_fields, connect
from cwm_rl.train_config import RlConfig


def orchestrate(config: RlConfig, beacon: Beacon) -> None:
    """Play until the trainer has finished."""

    def load(source: Path) -> tuple[Tokenizer, int]:
        return Tokenizer.load(source), context_tokens(source)

    tokenizer, context = load_newest(RunFiles(config.out), beacon, load)
    orchestrator = Orchestrator(
        config,
        build_fields(config, tokenizer, context),
        config.advantage.build(),
        locate=partial(addresses, config, RunFiles(config.out).processes),
        connect=partial(connect, config),
        beacon=beacon,
    )
    asyncio.run(orchestrator.run())


def context_tokens(model: Path) -> int:
    """Return the tokens that a model directory's model can see; DataError if it does not say."""
    try:
        content = json.loads((model / "config.json").read_text())
        return int(content["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{model}/config.json does not say the context: {error!r}") from error
