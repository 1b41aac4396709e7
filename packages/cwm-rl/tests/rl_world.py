"""A small world for tests: an environment, an engine without a model, and a trainer that only
counts. Everything else is the real thing."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.components import ComponentConfig
from cwm_core.engine.base import Completion, EngineError, SamplingParams, Scores
from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_rl.board.files import Offer, Progress, Published, RunFiles, read_json
from cwm_rl.orchestrator.loop import Orchestrator
from cwm_rl.orchestrator.setup import Field
from cwm_rl.rollout.group import Group
from cwm_rl.rollout.play import Playground
from cwm_rl.rollout.store import GroupStore
from cwm_rl.tasks.config import TaskConfig
from cwm_rl.tasks.stream import TaskOrder
from cwm_rl.train_config import BatchConfig, EnginesConfig, RlConfig, WatchdogConfig
from cwm_rl.trainer.choose import Queue

STOP = 1


class CoinConfig(ComponentConfig):
    """Say an even token; `turns` times."""

    turns: int = 1
    """Actions per episode."""
    tasks: int = 20
    """How many tasks there are."""
    trouble: str = ""
    """``raise``, ``hang`` or ``range``: what goes wrong on every third task."""
    fate: str = ""
    """``always`` or ``never`` right whatever is said; ``rare``: only on every tenth task does it
    matter, on the others it is never right."""

    def build(self, tokenizer: Any = None) -> Coin:
        """Build the environment."""
        return Coin(self)


class Coin:
    """One point if all first tokens of the actions were even."""

    def __init__(self, config: CoinConfig) -> None:
        self.config = config

    def tasks(self, split: str) -> Iterator[Task]:
        for number in range(self.config.tasks):
            yield Task(f"coin-{number}", {"number": number}, split=split)

    async def start(self, task: Task) -> Transition:
        prompt = Observation(token_ids=(2, 3, task.data["number"] + 4))
        return Transition((task.data["number"], 0, True), prompt, done=False)

    async def step(self, state: Any, action: Action) -> Transition:
        number, turn, so_far = state
        if self.config.trouble and number % 3 == 0:
            if self.config.trouble == "raise":
                raise RuntimeError("the coin fell off the table")
            if self.config.trouble == "hang":
                await asyncio.sleep(60)
            if self.config.trouble == "range":
                return Transition(state, Observation(), True, float("nan"))
        so_far = so_far and action.token_ids is not None and action.token_ids[0] % 2 == 0
        if self.config.fate == "always":
            so_far = True
        elif self.config.fate == "never" or (self.config.fate == "rare" and number % 10):
            so_far = False
        done = turn + 1 == self.config.turns
        return Transition(
            (number, turn + 1, so_far),
            Observation(token_ids=() if done else (5,)),
            done,
            float(so_far) if done else None,
            {"even": so_far},
        )


class CoinEngine:
    """Draws tokens with the seed of the request; takes `latency` seconds for each answer."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency, self.version = latency, -1
        self.asked: list[tuple[tuple[int, ...], int | None]] = []
        self.failing = False
        self.broken = ""
        self.updates: list[int] = []

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        self.asked.append((tuple(prompt_ids), params.seed))
        if self.failing:
            raise EngineError("the engine is gone")
        draw = random.Random(params.seed)
        count = draw.randint(1, 4)
        if self.latency:
            await asyncio.sleep(self.latency * count * draw.random())
        ids = (*(draw.randint(4, 30) for _ in range(count - 1)), STOP)
        made = Completion(ids, (-1.5,) * count, "stop", "", (self.version,) * count)
        if self.broken == "count":
            return replace(made, logprobs=made.logprobs[1:])
        if self.broken == "nan":
            return replace(made, logprobs=(float("nan"),) * count)
        return made

    async def score(self, token_ids: Sequence[int]) -> Scores:
        raise NotImplementedError

    async def close(self) -> None:
        pass

    async def update_weights(self, weights: Path, version: int) -> None:
        self.version = version
        self.updates.append(version)


def rl_config(out: Path, **changes: Any) -> RlConfig:
    fields: dict[str, Any] = {
        "out": out,
        "init_from": out,
        "environments": {"coin": CoinConfig(name="coin")},
        "max_steps": 5,
        "group_size": 4,
        "batch": BatchConfig(groups=3),
        "max_staleness": 1,
        "engines": EnginesConfig(count=1, requests=8),
        "watchdog": WatchdogConfig(fruitless_groups=200),
    }
    return RlConfig(**{**fields, **changes})


def orchestrator_of(config: RlConfig, *engines: CoinEngine, **task: Any) -> Orchestrator:
    fields = {}
    for name, component in config.environments.items():
        environment = component.build()
        settings = config.task(name) if not task else TaskConfig(**task)
        ground = Playground(environment, settings, {}, (STOP,), 64, 256)
        fields[name] = Field(ground, TaskOrder(name, environment, settings, config.seed))
    named = {f"engine-{index}": engine for index, engine in enumerate(engines)}
    return Orchestrator(
        config,
        fields,
        config.advantage.build(),
        locate=lambda: dict.fromkeys(named, "here"),
        connect=lambda name, url: named[name],
    )


class CountingTrainer:
    """Does all that a trainer does but learn: chooses, counts, publishes, says what is durable."""

    def __init__(self, config: RlConfig, *, checkpoint_every: int = 1) -> None:
        self.config, self.files = config, RunFiles(config.out)
        self.queue = Queue(GroupStore(self.files.groups), config.batch, config.max_staleness)
        self.serial = 0
        self.saved: tuple[int, dict[int, int]] = self._load()
        self.step, self.used = self.saved[0], dict(self.saved[1])
        self.every = checkpoint_every
        self.ages: list[int] = []
        self.batches: list[list[int]] = []

    def publish(self, finished: bool = False) -> None:
        self.serial += 1
        serial = f"{os.urandom(4).hex()}-{self.serial}"
        self.files.weights.mkdir(parents=True, exist_ok=True)
        Published(self.step, "nowhere", serial).write(self.files.current)
        durable = tuple(self.used if finished else self.saved[1])
        Progress(self.step, serial, dict(self.used), durable, 0, finished).write(
            self.files.progress
        )

    def _load(self) -> tuple[int, dict[int, int]]:
        content = read_json(self.config.out / "checkpoint.json") or {"step": 0, "used": {}}
        return content["step"], {int(group): step for group, step in content["used"].items()}

    def save(self) -> None:
        """Write a checkpoint: the step, and the groups learnt from until then."""
        self.saved = (self.step, dict(self.used))
        content = {"step": self.step, "used": self.used}
        atomic_write(self.config.out / "checkpoint.json", json.dumps(content))

    def crash(self) -> None:
        """Go back to the last checkpoint."""
        self.step, self.used = self.saved[0], dict(self.saved[1])
        self.publish()

    @property
    def done(self) -> bool:
        """Whether the budget is used."""
        return self.step >= (self.config.max_steps or 0)

    def learn(self, groups: list[Group]) -> None:
        """Note which groups a step has, and how old their members are."""
        for group in groups:
            for member in group.members:
                if member.trained:
                    self.ages.append(self.step - member.newest_version)
        self.batches.append([group.id for group in groups])

    async def run(self, learn_s: float = 0.0) -> None:
        """Learn until it is done, or the orchestrator says that nothing is left to learn."""
        self.publish()
        while not self.done:
            offer = Offer.read(self.files.offer)
            no_more = offer.step == self.step
            groups = self.queue.take(self.step, self.used, no_more=no_more)
            for group in self.queue.newly_stale:
                self.used[group] = -1
            if groups is None and no_more and offer.end:
                break
            if groups is None:
                await asyncio.sleep(0.01)
                continue
            await asyncio.sleep(learn_s)
            self.learn(groups)
            self.step += 1
            self.used |= {group.id: self.step for group in groups}
            if self.step % self.every == 0:
                self.save()
            self.publish()
        self.publish(finished=True)
