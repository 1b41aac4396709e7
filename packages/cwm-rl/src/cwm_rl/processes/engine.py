"""An engine of our own: a model behind HTTP on a free port of this machine."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwm_rl.board.beacon import Beacon, load_newest
from cwm_rl.board.files import RunFiles
from cwm_rl.train_config import RlConfig

if TYPE_CHECKING:
    from cwm_train.generate.engine import LocalEngine

MODEL = "policy"
"""Name under which the model is served."""


def serve_engine(config: RlConfig, beacon: Beacon, index: int) -> None:
    """Wait for weights, then answer requests until the process is ended."""
    import uvicorn

    from cwm_train.generate.config import Local
    from cwm_train.generate.engine import build_engine
    from cwm_train.serve.app import create_app

    engines = config.engines

    def load(model: Path) -> LocalEngine:
        return build_engine(
            Local(
                checkpoint=model,
                device=engines.device.format(index=index),
                dtype=engines.dtype,
                max_batch=engines.max_batch,
                threads=engines.threads,
                batch_invariant=config.batch_invariant,
            )
        )

    app = create_app(load_newest(RunFiles(config.out), beacon, load), MODEL)
    listening = socket.create_server(("127.0.0.1", 0))
    beacon.info = {"url": f"http://127.0.0.1:{listening.getsockname()[1]}/v1"}
    beacon.does("serves")
    settings: dict[str, Any] = {"log_level": "warning", "timeout_keep_alive": 600}
    uvicorn.Server(uvicorn.Config(app, **settings)).run(sockets=[listening])
