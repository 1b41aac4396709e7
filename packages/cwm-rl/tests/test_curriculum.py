"""Order of tasks, shares of environments, curricula, grading and sealing."""

from __future__ import annotations

from typing import Any

import pytest
from rl_world import Coin, CoinConfig

from cwm_core.env.concurrency import run_sync
from cwm_core.env.environment import Task
from cwm_core.env.trajectory import Trajectory, Turn, task_metadata
from cwm_core.errors import DataError
from cwm_rl.algorithm.advantage import length_weighted
from cwm_rl.rollout.grading import Graded, grade
from cwm_rl.rollout.group import RETURN, Status
from cwm_rl.rollout.ledger import Admission
from cwm_rl.rollout.sealing import seal
from cwm_rl.rollout.seeds import derived
from cwm_rl.tasks.config import FailureHandling, Schedule, TaskConfig
from cwm_rl.tasks.curriculum import action_tokens, overlength_penalty, shows_hint, worth_playing
from cwm_rl.tasks.stream import TaskOrder, next_environment


def order(tasks: int = 7, seed: int = 0) -> TaskOrder:
    return TaskOrder("coin", Coin(CoinConfig(tasks=tasks)), TaskConfig(), seed)


def test_every_round_has_every_task_once_in_another_order() -> None:
    found = order()
    rounds = [[found.at(7 * n + i).id for i in range(7)] for n in range(3)]
    assert all(len(set(each)) == 7 for each in rounds)
    assert rounds[0] != rounds[1]
    again = order()
    assert again.at(15).id == rounds[2][1]  # without reading what came before
    assert [order(seed=1).at(i).id for i in range(7)] != rounds[0]


def test_an_environment_without_tasks_is_an_error() -> None:
    class Empty(Coin):
        def tasks(self, split: str) -> Any:
            return iter(())

    with pytest.raises(DataError, match="has no tasks of split 'train'"):
        TaskOrder("coin", Empty(CoinConfig()), TaskConfig(), 0)


def test_the_environment_furthest_behind_its_share_is_next() -> None:
    shares = {"a": 3.0, "b": 1.0}
    assert next_environment(shares, {}, ["a", "b"]) == "a"
    assert next_environment(shares, {"a": 10.0}, ["a", "b"]) == "b"
    assert next_environment(shares, {"a": 29.0, "b": 10.0}, ["a", "b"]) == "a"


def test_solve_rates() -> None:
    config = TaskConfig(solve_rates=(0.1, 0.7), revisit=0.2)
    assert worth_playing(config, None, 0.9)
    assert worth_playing(config, 0.5, 0.9)
    assert not worth_playing(config, 1.0, 0.9)
    assert not worth_playing(config, 0.0, 0.9)
    assert worth_playing(config, 1.0, 0.1)
    assert worth_playing(TaskConfig(), 1.0, 0.9)


def test_lengths_hints_and_penalties_follow_their_schedules() -> None:
    config = TaskConfig(
        max_tokens=100,
        length=Schedule(start=20, end=200, steps=10),
        hints=Schedule(start=1, end=0, steps=10),
        overlength=Schedule(start=0, end=2, steps=4),
    )
    assert [action_tokens(config, step) for step in (0, 2, 10)] == [20, 56, 100]
    assert [shows_hint(config, step, seed=1) for step in (0, 10)] == [True, False]
    assert overlength_penalty(config, 2, 50, 100) == 0
    assert overlength_penalty(config, 2, 75, 100) == pytest.approx(-0.5)
    assert overlength_penalty(config, 4, 200, 100) == pytest.approx(-2.0)
    assert overlength_penalty(TaskConfig(), 4, 200, 100) == 0


def played(
    reward: float, exit_reason: str = "done", tokens: int = 3, **metadata: Any
) -> Trajectory:
    task = Task("t", {})
    ids = tuple(range(tokens))
    turns = (
        Turn("prompt", "", (1, 2)),
        Turn("action", "", ids, (-1.0,) * tokens, (True,) * tokens, (0,) * tokens),
    )
    return Trajectory(
        "t",
        turns,
        {"environment": reward},
        exit_reason=exit_reason,
        metadata={**task_metadata(task), **metadata},
    )


def graded(trajectory: Trajectory, **config: Any) -> Graded:
    settings = TaskConfig(**config)
    return run_sync(grade(trajectory, settings, {}, step=0, max_tokens=10, vocab_size=128256))


def test_returns_are_weighted_sums() -> None:
    found = graded(played(0.5), rewards={"environment": 2.0})
    assert found.trajectory.rewards[RETURN] == 1.0
    assert found.solved
    assert not graded(played(0.5)).solved


@pytest.mark.parametrize(
    ("exit_reason", "metadata", "field"),
    [
        ("environment_error", {}, "environment_error"),
        ("time_limit", {}, "time_limit"),
        ("turn_limit", {}, "turn_limit"),
        ("token_limit", {}, "token_limit"),
        ("done", {"cut_off_actions": [0]}, "truncated"),
    ],
)
def test_failures_are_handled_as_configured(
    exit_reason: str, metadata: dict[str, Any], field: str
) -> None:
    trajectory = played(1.0, exit_reason, **metadata)
    masked = graded(trajectory, failures=FailureHandling(**{field: "mask"}))
    assert masked.masked == field
    assert RETURN not in masked.trajectory.rewards
    punished = graded(trajectory, failures=FailureHandling(**{field: "penalise"}, penalty=-3.0))
    assert punished.trajectory.rewards[RETURN] == -3.0
    kept = graded(trajectory, failures=FailureHandling(**{field: "keep"}))
    assert kept.trajectory.rewards[RETURN] == 1.0


def test_a_reward_out_of_range_is_a_failure() -> None:
    found = graded(played(500.0))
    assert found.masked == "reward_error"
    assert "outside of -100 to 100" in found.trajectory.outcome["reward_error"]
    assert found.failed


def test_gibberish_is_masked() -> None:
    trajectory = played(1.0)
    turn = Turn("action", "", (120_000,), (-14.0,), (True,))
    odd = Trajectory("t", (trajectory.turns[0], turn), trajectory.rewards)
    assert graded(odd).masked == "gibberish"


ADMISSION = Admission(7, "coin", 0, "t", 1, 0, 10)


def test_sealing_gives_advantages_and_leaves_the_masked_out() -> None:
    members = [graded(played(1.0, tokens=1)), graded(played(0.0, tokens=3))]
    spoilt = Graded(played(9.0, "environment_error"), "environment_error")
    group = seal(ADMISSION, [*members, spoilt], length_weighted)
    assert group.status is Status.READY
    assert [m.advantage for m in group.members] == [0.75, -0.25, 0.0]
    assert [m.trained for m in group.members] == [True, True, False]
    assert group.members[2].reason == "environment_error"
    assert (group.trained_tokens, group.generated_tokens) == (4, 7)
    assert group.solved == pytest.approx(1 / 3)


def test_groups_without_signal_and_failed_groups() -> None:
    equal = [graded(played(1.0)), graded(played(1.0))]
    assert seal(ADMISSION, equal, length_weighted).status is Status.NO_SIGNAL
    assert seal(ADMISSION, equal[:1], length_weighted).status is Status.NO_SIGNAL
    spoilt = [Graded(played(9.0), "environment_error")] * 2
    assert seal(ADMISSION, spoilt, length_weighted).status is Status.FAILED


def test_seeds_depend_on_all_parts() -> None:
    assert derived(1, 2) == derived(1, 2)
    assert len({derived(1, 2), derived(2, 1), derived(12), derived(1, "2", 0)}) == 4
