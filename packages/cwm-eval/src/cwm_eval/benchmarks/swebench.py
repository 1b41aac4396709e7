"""SWE-bench Verified and its like: an agent repairs a repository, tests decide.

The environment and the agent are components of other distributions, found by name. Gold and empty
runs are the agents ``oracle`` and ``noop``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.env.environment import Environment, Task
from cwm_core.env.rollout import rollout
from cwm_core.env.trajectory import ExitReason, Trajectory
from cwm_core.errors import DataError, RunError
from cwm_core.text.special_tokens import STOP_TOKENS
from cwm_eval.benchmarks import text_metrics
from cwm_eval.benchmarks.base import MetricInfo, Summary
from cwm_eval.benchmarks.predictions import read_predictions
from cwm_eval.benchmarks.questions import drawn
from cwm_eval.samples import Sample

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_eval.benchmarks.config import SweBench

_SHOWN = 20_000


class SweBenchBenchmark:
    """Plays each instance with an agent and keeps its patch, the verdict and what it cost."""

    def __init__(
        self, config: SweBench, tokenizer: Tokenizer | None = None, limit: int | None = None
    ) -> None:
        self.config = config
        self.metric_infos: Mapping[str, MetricInfo] = text_metrics.infos(config.ks)
        self.tokenizer = tokenizer
        self.environment: Environment = config.environment.build(tokenizer)
        self._limit = limit
        self._patches = None
        if config.predictions is not None:
            self._patches = read_predictions(config.predictions)

    def count(self) -> int | None:
        """Return the number of episodes."""
        return len(self._instances()) * self.config.samples

    def tasks(self) -> Iterator[Task]:
        """Yield each instance `samples` times."""
        for number in range(self.config.samples):
            for task in self._instances():
                name = task.id if self.config.samples == 1 else f"{task.id}#{number}"
                repository = {"kind": task.metadata["repo"]} if "repo" in task.metadata else {}
                names = {"problem": task.id, "sample": number}
                yield replace(task, id=name, metadata={**task.metadata, **repository, **names})

    def _instances(self) -> list[Task]:
        tasks = [self._predicted(task) for task in self.environment.tasks(self.config.split)]
        kept = [task for task in tasks if task is not None]
        if not kept:
            raise DataError(
                f"there is nothing to play in split {self.config.split!r}",
                "check benchmark.split and the split of the environment; predictions name "
                "instances by instance_id",
            )
        return drawn(kept, self._limit, self.config.seed)

    def _predicted(self, task: Task) -> Task | None:
        """Put a prediction where the oracle finds the patch that it submits."""
        if self._patches is None:
            return task
        patch = self._patches.get(task.id)
        if patch is None:
            return None
        name = "gold_patch" if "gold_patch" in task.data else "patch"
        return replace(task, data={**task.data, name: patch})

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Play one episode.

        Raises what the engine raises, and `RunError` when the environment failed: then nothing is
        known about the agent.
        """
        began = time.monotonic()
        agent = self.config.agent.build(engine)
        if hasattr(agent, "for_task"):
            agent = agent.for_task(task)
        params = self._params(task)
        played = await rollout(self.environment, task, agent, params, tokenizer=self.tokenizer)
        if played.exit_reason == ExitReason.ENVIRONMENT_ERROR:
            raise RunError(f"the environment failed: {played.outcome.get('error')}")
        return _result(played, time.monotonic() - began)

    def _params(self, task: Task) -> SamplingParams:
        names = {} if self.tokenizer is None else self.tokenizer.special_ids
        return SamplingParams(
            max_tokens=self.config.max_new_tokens,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            stop_token_ids=tuple(names[name] for name in STOP_TOKENS if name in names),
        )

    def summarise(self, samples: Iterable[Sample]) -> Summary:
        """Score the samples that have a result."""
        return text_metrics.summarise(samples, self.config.ks)


def _result(played: Trajectory, seconds: float) -> dict[str, Any]:
    outcome = played.outcome
    patch = outcome.get("patch") or outcome.get("submission") or ""
    resolved = bool(outcome.get("resolved"))
    reason = str(outcome.get("exit") or played.exit_reason)
    shown = [turn for turn in played.turns if turn.role == "prompt"]
    return {
        "question": shown[0].text[:_SHOWN] if shown else "",
        "text": "\n".join(turn.text for turn in played.turns if turn.role != "prompt")[-_SHOWN:],
        "prompt_tokens": sum(len(t.token_ids or ()) for t in played.turns if t.role != "action"),
        "new_tokens": played.action_tokens,
        "finish": "length" if played.exit_reason.endswith("limit") else "stop",
        "generate_s": round(seconds, 3),
        "grade_s": 0.0,
        "right": resolved,
        "outcome": "right"
        if resolved
        else "no_answer"
        if not patch
        else reason_of(outcome, reason),
        "answer": patch,
        "truth": "",
        "detail": str(outcome.get("reason") or outcome.get("error") or ""),
        "scores": {"patch": float(bool(patch))},
        "turns": len(played.actions),
        "verdict": outcome.get("verdict"),
    }


def reason_of(outcome: Mapping[str, Any], reason: str) -> str:
    """Return why a submitted patch resolves nothing."""
    verdict = outcome.get("verdict")
    if isinstance(verdict, Mapping) and isinstance(verdict.get("reason"), str):
        return str(verdict["reason"])[:60] or "unresolved"
    return "unresolved" if reason in ("answered", "done") else reason
