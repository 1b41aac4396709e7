"""A process of a run: ``python -m cwm_rl.processes ROLE RUN [INDEX]``; the supervisor calls it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cwm_core.atomic import atomic_write
from cwm_core.errors import CwmError
from cwm_rl.board.beacon import Beacon
from cwm_rl.board.files import RunFiles
from cwm_rl.train_config import RlConfig

REFUSED = 2
"""Exit code of an error that starting again would not mend."""


def main(words: list[str]) -> int:
    """Do the work of a role until it is done; return the exit code."""
    role, out, *index = words
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    name = f"{role}-{index[0]}" if index else role
    files = RunFiles(Path(out))
    try:
        with closing(Beacon(files.processes, _beacon_name(name))) as beacon:
            _ROLES[role](read_config(files), beacon, int(index[0]) if index else 0)
    except KeyboardInterrupt:
        return 130
    except CwmError as error:
        logging.getLogger(__name__).exception("%s ends", name)
        content = {"message": error.message, "hint": error.hint}
        atomic_write(files.processes / f"{name}.error.json", json.dumps(content))
        return REFUSED
    return 0


def read_config(files: RunFiles) -> RlConfig:
    """Return the configuration of a run, as its directory has it."""
    from cwm_core.config import compose

    return compose("rl train", RlConfig, [], files.root / "config.yaml")


def _beacon_name(name: str) -> str:
    import os

    rank = os.environ.get("RANK", "0")
    return name if rank == "0" else f"{name}-rank{rank}"


def _engine(config: RlConfig, beacon: Beacon, index: int) -> None:
    from cwm_rl.processes.engine import serve_engine

    serve_engine(config, beacon, index)


def _orchestrator(config: RlConfig, beacon: Beacon, index: int) -> None:
    from cwm_rl.processes.orchestrator import orchestrate

    orchestrate(config, beacon)


def _trainer(config: RlConfig, beacon: Beacon, index: int) -> None:
    from cwm_rl.processes.trainer import train

    train(config, beacon)


_ROLES: dict[str, Callable[[RlConfig, Beacon, int], None]] = {
    "engine": _engine,
    "orchestrator": _orchestrator,
    "trainer": _trainer,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
