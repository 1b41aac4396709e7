"""What ``kill -9`` leaves is what is on the disk at that moment: a run goes on from copies of its
directory that were taken at random moments, twenty times, and its accounting stays exact."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from pathlib import Path

from rl_world import CoinEngine, CountingTrainer, orchestrator_of, rl_config

from cwm_core.data.shards import read_shards
from cwm_rl.board.files import RunFiles
from cwm_rl.orchestrator import archive
from cwm_rl.rollout.group import Status
from cwm_rl.rollout.ledger import Ledger
from cwm_rl.rollout.store import GroupStore

STEPS, KILLS = 60, 20


async def until_killed(directory: Path, copy: Path, groups: int) -> bool:
    """Run until so many groups have ended since the start, then copy; false if it is over."""
    config = rl_config(directory, max_steps=STEPS, max_staleness=2)
    orchestrator = orchestrator_of(config, CoinEngine(0.004))
    trainer = CountingTrainer(config, checkpoint_every=4)
    work = [asyncio.create_task(orchestrator.run()), asyncio.create_task(trainer.run())]
    begun = False
    async with asyncio.timeout(120):
        while not all(task.done() for task in work):
            ended = orchestrator.ledger.groups.total()
            if not begun and orchestrator.ledger.next_id:
                begun, groups = True, ended + groups
            if begun and ended >= groups:
                shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*.tmp", ".lock"))
                break
            await asyncio.sleep(0.001)
    over = all(task.done() for task in work)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    if over:
        for task in work:
            task.result()
    return not over


def test_twenty_kills_leave_the_accounting_exact(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archive, "TOGETHER", 5)
    draw = random.Random(3)
    directory, kills = tmp_path / "0", 0
    directory.mkdir()
    while True:
        copy = tmp_path / str(kills + 1)
        groups = draw.randint(2, 14) if kills < KILLS else 10**6
        if not asyncio.run(until_killed(directory, copy, groups)):
            break
        shutil.rmtree(directory)
        directory, kills = copy, kills + 1
    assert kills == KILLS
    files = RunFiles(directory)
    with Ledger(files.ledger) as ledger:
        pass
    assert ledger.problems() == []
    lines = [json.loads(line) for line in files.ledger.read_text().splitlines()]
    admitted = [line["id"] for line in lines if line["kind"] == "admit"]
    assert admitted == list(range(ledger.next_id))
    positions = [line["position"] for line in lines if line["kind"] == "admit"]
    assert positions == list(range(ledger.next_id))  # no prompt is left out or taken twice
    used = Counter(line["id"] for line in lines if line["kind"] == "used")
    assert set(used.values()) == {1}
    assert ledger.final[Status.TRAINED] == 3 * STEPS
    trained = Counter(step for step in ledger.trained_at.values() if step > 0)
    assert trained == dict.fromkeys(range(1, STEPS + 1), 3)
    stored = Counter(row["trajectory_id"] for row in read_shards(files.trajectories))
    assert set(stored.values()) == {1}
    groups_stored = Counter(int(key.partition("-")[0]) for key in stored)
    assert set(groups_stored.values()) == {4}
    assert len(groups_stored) == ledger.final.total()
    # a group that was just being stored at the end is open still: a successor would adopt it
    left = set(GroupStore(files.groups).ids())
    assert ledger.ready.keys() <= left <= ledger.ready.keys() | ledger.open.keys()
