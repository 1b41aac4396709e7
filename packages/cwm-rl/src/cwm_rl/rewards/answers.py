"""Rewards that compare what was said with what the task knows; none runs anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cwm_core.env.environment import Task
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError
from cwm_rl.rewards.config import ExactMatchConfig, FormatConfig

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_core.trace.frames import Frame

_CODE_BLOCK = re.compile(r"```[^\n`]*\n.*?```", re.DOTALL)
_COUNTED = {
    "code_block": lambda text: len(_CODE_BLOCK.findall(text)),
    "boxed": lambda text: text.count("\\boxed{"),
    "think_end": lambda text: text.count("</think>"),
}


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """The reward of `ExactMatchConfig`; DataError for a task without the answer."""

    config: ExactMatchConfig

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Compare the last action with the answer."""
        if self.config.answer not in task.data:
            raise DataError(
                f"task {task.id!r} has no {self.config.answer!r} in its data",
                f"set reward.answer to one of: {', '.join(sorted(task.data)) or 'nothing there'}",
            )
        found, wanted = trajectory.final_text, str(task.data[self.config.answer])
        if self.config.strip:
            found, wanted = found.strip(), wanted.strip()
        return self.config.right if found == wanted else self.config.wrong


@dataclass(frozen=True, slots=True)
class TraceMatch:
    """The reward of `TraceMatchConfig`, for tasks of the environment `trace_prediction`."""

    mode: str
    tokenizer: Tokenizer | None

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Compare the frames of the last action with the true ones."""
        before, truth, whole = _truth(task)
        if not trajectory.actions:
            return 0.0
        from cwm_core.trace.codec import parse_lenient

        data = self._said(trajectory)
        tokenizer = None if isinstance(data, str) else self.tokenizer
        read = parse_lenient(data, tokenizer, before=before)
        frames = read.frames if read.context is None else ()
        same = _common_prefix(frames, truth)
        if self.mode == "fraction":
            return same / max(len(truth), len(frames))
        kept_format = not read.problems and (read.complete or not whole)
        return float(kept_format and same == len(truth) == len(frames))

    def _said(self, trajectory: Trajectory) -> str | tuple[int, ...]:
        action = trajectory.actions[-1]
        if action.token_ids is not None and self.tokenizer is not None:
            return action.token_ids
        if action.token_ids and not action.text:
            raise DataError(
                f"the trajectory of task {trajectory.task_id!r} has token ids but no text",
                "set reward.tokenizer to the tokenizer of the model that made it",
            )
        return action.text


@dataclass(frozen=True, slots=True)
class LengthPenalty:
    """The reward of `LengthPenaltyConfig`."""

    max_tokens: int
    margin_tokens: int

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Punish by the number of action tokens."""
        free = self.max_tokens - self.margin_tokens
        return -min(1.0, max(0.0, (trajectory.action_tokens - free) / self.margin_tokens))


def _truth(task: Task) -> tuple[tuple[Frame, ...], tuple[Frame, ...], bool]:
    """Return the frames that were shown, those to predict, and whether these are all the rest."""
    from cwm_core.data.records import frame_from_json

    stored: Any = task.data.get("frames")
    if not stored:
        raise DataError(
            f"task {task.id!r} has no frames in its data",
            "trace_match scores trajectories of the environment trace_prediction",
        )
    frames = tuple(frame_from_json(frame) for frame in stored)
    if "frame" in task.data:
        index = int(task.data["frame"])
        return frames[:index], frames[index : index + 1], False
    return frames[:1], frames[1:], True


def _common_prefix(found: tuple[Frame, ...], truth: tuple[Frame, ...]) -> int:
    for same, (left, right) in enumerate(zip(found, truth)):
        if left != right:
            return same
    return min(len(found), len(truth))


@dataclass(frozen=True, slots=True)
class Format:
    """The reward of `FormatConfig`."""

    config: FormatConfig

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Look at the last action."""
        text = trajectory.final_text
        kept = all(_COUNTED[what](text) == 1 for what in self.config.one)
        if self.config.pattern is not None:
            kept = kept and re.search(self.config.pattern, text, re.DOTALL) is not None
        return self.config.right if kept else self.config.wrong
