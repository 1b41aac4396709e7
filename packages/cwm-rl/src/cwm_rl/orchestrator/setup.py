"""From a configuration to what the orchestrator plays with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwm_core.engine.base import UpdatableEngine
from cwm_core.text import special_tokens as st
from cwm_core.text.tokenizer import Tokenizer
from cwm_rl.rollout.play import Playground
from cwm_rl.rollout.remote import RemoteEngine
from cwm_rl.tasks.stream import TaskOrder
from cwm_rl.train_config import RlConfig

STOPS = (st.END_OF_TEXT, st.EOM, st.EOT)


@dataclass(frozen=True, slots=True)
class Field:
    """One environment with its tasks."""

    ground: Playground
    order: TaskOrder


def build_fields(config: RlConfig, tokenizer: Tokenizer, context: int) -> dict[str, Field]:
    """Build environments and rewards; DataError for an environment without tasks."""
    rewards = {name: reward.build() for name, reward in config.rewards.items()}
    stops = tuple(tokenizer.special_ids[name] for name in STOPS if name in tokenizer.special_ids)
    fields = {}
    for name, component in config.environments.items():
        environment: Any = component.build(tokenizer)
        task = config.task(name)
        ground = Playground(
            environment,
            task,
            rewards,
            stops,
            tokenizer.vocab_size,
            context,
            _Coder(tokenizer),
            tokenizer.special_ids.get(st.BEGIN_OF_TEXT),
        )
        fields[name] = Field(ground, TaskOrder(name, environment, task, config.seed))
    return fields


class _Coder:
    """Text in and out as environments mean it: special tokens are no part of an answer's text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, /) -> list[int]:
        """Return the token ids of `text`."""
        return self._tokenizer.encode(text, allow_special=True)

    def decode(self, ids: Any, /) -> str:
        """Return the text of token ids."""
        return self._tokenizer.decode(list(ids), skip_special=True)


def addresses(config: RlConfig, processes: Path) -> dict[str, str]:
    """Return where engines are now, by name: our own as they say themselves, and `servers`."""
    from cwm_rl.board.beacon import read_sign

    found = {f"server-{i}": url for i, url in enumerate(config.engines.servers)}
    for index in range(config.engines.count):
        name = f"engine-{index}"
        sign = read_sign(processes, name)
        if sign is not None and "url" in sign.info:
            found[name] = sign.info["url"]
    return found


def connect(config: RlConfig, name: str, url: str) -> UpdatableEngine:
    """Return the client of an engine."""
    api = config.engines.api if name.startswith("server-") else "cwm"
    return RemoteEngine(url, api, config.engines.request_timeout_s)
