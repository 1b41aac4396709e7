"""The orchestrator with engines and a trainer that only count: accounting, staleness, trouble."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rl_world import CoinConfig, CoinEngine, CountingTrainer, orchestrator_of, rl_config

from cwm_core.data.records import trajectory_from_row
from cwm_core.data.shards import read_shards
from cwm_core.errors import CwmError, RunError
from cwm_rl.board.files import Offer, RunFiles
from cwm_rl.rollout.group import Status
from cwm_rl.rollout.ledger import Ledger
from cwm_rl.rollout.store import GroupStore
from cwm_rl.train_config import BatchConfig, EnginesConfig, RlConfig, WatchdogConfig


async def together(orchestrator: Any, trainer: CountingTrainer, learn_s: float = 0.0) -> None:
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(orchestrator.run())
        tasks.create_task(trainer.run(learn_s))


def ledger_of(config: RlConfig) -> Ledger:
    with Ledger(RunFiles(config.out).ledger) as ledger:
        return ledger


def trajectories(config: RlConfig) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in read_shards(RunFiles(config.out).trajectories):
        group = int(row["trajectory_id"].partition("-")[0])
        found.setdefault(group, []).append(trajectory_from_row(row))
    return found


def test_every_admitted_group_is_accounted_for_once(tmp_path: Path) -> None:
    config = rl_config(tmp_path)
    trainer = CountingTrainer(config)
    asyncio.run(together(orchestrator_of(config, CoinEngine(0.01), CoinEngine(0.01)), trainer))
    ledger = ledger_of(config)
    assert ledger.problems() == []
    assert ledger.final[Status.TRAINED] == 15
    trained = [group for batch in trainer.batches for group in batch]
    assert len(trained) == len(set(trained)) == 15
    settled = trajectories(config)
    assert len(settled) == ledger.final.total()
    assert all(len(members) == 4 for members in settled.values())
    assert set(trained) <= settled.keys()
    # what is left waits in files, and nothing else is there
    left = set(GroupStore(RunFiles(config.out).groups).ids())
    assert ledger.ready.keys() <= left <= ledger.ready.keys() | ledger.open.keys()


def test_synchronous_mode_never_learns_from_older_weights(tmp_path: Path) -> None:
    config = rl_config(tmp_path, max_staleness=0, max_steps=6)
    trainer = CountingTrainer(config)
    engines = CoinEngine(0.01), CoinEngine(0.02)
    asyncio.run(together(orchestrator_of(config, *engines), trainer))
    assert set(trainer.ages) == {0}
    assert ledger_of(config).final[Status.STALE] == 0


def test_asynchronous_mode_keeps_its_bound_and_uses_it(tmp_path: Path) -> None:
    config = rl_config(tmp_path, max_staleness=2, max_steps=8)
    trainer = CountingTrainer(config)
    asyncio.run(together(orchestrator_of(config, CoinEngine(0.03)), trainer, learn_s=0.05))
    assert max(trainer.ages) <= 2
    assert max(trainer.ages) > 0


def test_batches_by_tokens(tmp_path: Path) -> None:

    config = rl_config(tmp_path, batch=BatchConfig(tokens=20), max_staleness=0)
    trainer = CountingTrainer(config)
    asyncio.run(together(orchestrator_of(config, CoinEngine(0.005)), trainer))
    done = trajectories(config)
    for batch in trainer.batches:
        tokens = [sum(t.action_tokens for t in done[group]) for group in batch]
        assert sum(tokens) >= 20


def test_episodes_keep_exact_tokens_versions_and_turns(tmp_path: Path) -> None:
    config = rl_config(tmp_path, environments={"coin": CoinConfig(name="coin", turns=2)})
    engine = CoinEngine(0.005)
    asyncio.run(together(orchestrator_of(config, engine), CountingTrainer(config)))
    asked = {prompt for prompt, _ in engine.asked}
    for members in trajectories(config).values():
        for trajectory in members:
            roles = [turn.role for turn in trajectory.turns]
            assert roles == ["prompt", "action", "observation", "action"]
            ids = [token for turn in trajectory.turns[:3] for token in turn.token_ids]
            assert tuple(ids) in asked  # the second prompt is what was said, token by token
            for action in trajectory.actions:
                assert len(action.model_versions) == len(action.token_ids)


def test_a_killed_orchestrator_plays_again_what_was_in_play_with_the_same_seeds(
    tmp_path: Path,
) -> None:
    config = rl_config(tmp_path)
    slow = CoinEngine(30.0)
    first = orchestrator_of(config, slow)

    async def killed() -> None:
        CountingTrainer(config).publish()
        work = asyncio.create_task(first.run())
        while len(slow.asked) < 8:
            await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(killed())
    before = ledger_of(config)
    assert before.open
    engine = CoinEngine()
    asyncio.run(together(orchestrator_of(config, engine), CountingTrainer(config)))
    assert set(slow.asked) <= set(engine.asked)
    after = ledger_of(config)
    assert after.problems() == []
    assert not before.open.keys() & after.open.keys()


def test_a_crashed_trainer_learns_from_lost_groups_again(tmp_path: Path) -> None:
    config = rl_config(tmp_path, max_steps=9)
    trainer = CountingTrainer(config, checkpoint_every=4)

    async def play() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(orchestrator_of(config, CoinEngine(0.005)).run())
            work = tasks.create_task(trainer.run())
            while trainer.step < 6:
                await asyncio.sleep(0.005)
            work.cancel()
            trainer.crash()
            assert trainer.step == 4
            tasks.create_task(trainer.run())

    asyncio.run(play())
    ledger = ledger_of(config)
    assert ledger.problems() == []
    assert ledger.final[Status.TRAINED] == 27
    # the groups of the lost steps were used by later ones
    lost = {group for batch in trainer.batches[4:6] for group in batch}
    later = {group for batch in trainer.batches[6:] for group in batch}
    assert lost <= later


def test_requests_of_a_failing_engine_go_elsewhere(tmp_path: Path) -> None:
    config = rl_config(tmp_path)
    bad, good = CoinEngine(), CoinEngine(0.005)
    bad.failing = True
    asyncio.run(together(orchestrator_of(config, bad, good), CountingTrainer(config)))
    assert bad.asked
    assert ledger_of(config).problems() == []


@pytest.mark.parametrize("broken", ["count", "nan"])
def test_an_engine_that_answers_wrongly_is_named(tmp_path: Path, broken: str) -> None:
    config = rl_config(tmp_path, engines=EnginesConfig(count=1, retries=0))
    engine = CoinEngine()
    engine.broken = broken
    wanted = "log-probabilities" if broken == "count" else "no number"
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(together(orchestrator_of(config, engine), CountingTrainer(config)))
    (error,) = [e for e in caught.value.exceptions if isinstance(e, CwmError)]
    assert "engine-0 failed" in str(error)
    assert wanted in str(error)


@pytest.mark.parametrize("trouble", ["raise", "hang", "range"])
def test_episodes_that_the_environment_spoils_are_masked_and_kept(
    tmp_path: Path, trouble: str
) -> None:
    environments = {"coin": CoinConfig(name="coin", trouble=trouble)}
    config = rl_config(tmp_path, environments=environments, max_steps=4)
    orchestrator = orchestrator_of(config, CoinEngine(), step_timeout_s=0.1, retries=1)
    asyncio.run(together(orchestrator, CountingTrainer(config)))
    ledger = ledger_of(config)
    assert ledger.problems() == []
    assert ledger.final[Status.FAILED] > 0
    spoilt = [m for g in trajectories(config).values() for m in g if "error" in m.outcome]
    if trouble == "range":
        spoilt = [
            m for g in trajectories(config).values() for m in g if "reward_error" in m.outcome
        ]
    assert spoilt
    assert all(member.metadata["attempt"] == 1 for member in spoilt)  # it was tried again
    assert "return" not in spoilt[0].rewards


def test_a_run_that_cannot_learn_anything_says_so(tmp_path: Path) -> None:
    environments = {"coin": CoinConfig(name="coin", trouble="raise", tasks=1)}
    config = rl_config(tmp_path, environments=environments)
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(together(orchestrator_of(config, CoinEngine()), CountingTrainer(config)))
    (error,) = [e for e in caught.value.exceptions if isinstance(e, RunError)]
    assert "nothing could be learnt from the" in str(error)
    assert "failed; most often with RuntimeError('the coin fell off the table')" in str(error)
    assert "repair what fails" in (error.hint or "")


def test_a_run_whose_tasks_are_never_solved_says_so(tmp_path: Path) -> None:
    config = rl_config(tmp_path, environments={"coin": CoinConfig(name="coin", fate="never")})
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(together(orchestrator_of(config, CoinEngine()), CountingTrainer(config)))
    (error,) = [e for e in caught.value.exceptions if isinstance(e, RunError)]
    assert "groups played for step 1: 20" in str(error)
    assert "were solved by none" in str(error)
    assert "too hard" in (error.hint or "")


@pytest.mark.parametrize("staleness", [0, 2])
def test_a_run_whose_tasks_are_all_solved_is_over(tmp_path: Path, staleness: int) -> None:
    environments = {"coin": CoinConfig(name="coin", fate="always")}
    config = rl_config(tmp_path, environments=environments, max_staleness=staleness)
    trainer = CountingTrainer(config)
    asyncio.run(together(orchestrator_of(config, CoinEngine()), trainer))
    assert trainer.step == 0
    assert "solved by every member" in Offer.read(RunFiles(tmp_path).offer).end
    ledger = ledger_of(config)
    assert ledger.problems() == []
    assert 200 <= ledger.final[Status.NO_SIGNAL] < 200 + 3 * (staleness + 1)


@pytest.mark.parametrize("staleness", [0, 2])
def test_a_step_learns_from_what_there_is_when_signals_are_rare(
    tmp_path: Path, staleness: int
) -> None:
    config = rl_config(
        tmp_path,
        environments={"coin": CoinConfig(name="coin", fate="rare")},
        watchdog=WatchdogConfig(fruitless_groups=60),
        batch=BatchConfig(groups=8),
        max_staleness=staleness,
        max_steps=12,
    )
    trainer = CountingTrainer(config)
    asyncio.run(together(orchestrator_of(config, CoinEngine()), trainer))
    assert len(trainer.batches) == 12
    sizes = [len(batch) for batch in trainer.batches]
    assert min(sizes) < 8
    assert max(sizes) <= 8
    assert max(trainer.ages) <= staleness
    ledger = ledger_of(config)
    assert ledger.problems() == []
    fruitless = ledger.final[Status.NO_SIGNAL]
    assert fruitless <= 13 * (60 + 8 * (staleness + 1))


def test_environments_get_their_shares_of_tokens(tmp_path: Path) -> None:
    from cwm_rl.tasks.config import TaskConfig

    environments = {"a": CoinConfig(name="coin"), "b": CoinConfig(name="coin", turns=3)}
    tasks = {"a": TaskConfig(share=3.0), "b": TaskConfig(share=1.0)}
    config = rl_config(tmp_path, environments=environments, tasks=tasks, max_steps=30)
    asyncio.run(together(orchestrator_of(config, CoinEngine()), CountingTrainer(config)))
    tokens = ledger_of(config).tokens
    assert 2.0 < tokens["a"] / tokens["b"] < 4.5


def test_changed_tasks_are_refused(tmp_path: Path) -> None:
    config = rl_config(tmp_path)
    slow = CoinEngine(30.0)

    async def killed() -> None:
        CountingTrainer(config).publish()
        work = asyncio.create_task(orchestrator_of(config, slow).run())
        while len(slow.asked) < 8:
            await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(killed())
    changed = rl_config(tmp_path, environments={"coin": CoinConfig(name="coin", tasks=3)})
    with pytest.raises(RunError, match="tasks of environment 'coin' have changed"):
        asyncio.run(orchestrator_of(changed, CoinEngine()).run())
