"""The orchestrator: admits prompts, plays groups on all engines at once, stores them.

It is one event loop. What it decides is in the ledger before it acts on it, so a successor goes on
from there, whenever it is killed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cwm_core.engine.base import EngineError, UpdatableEngine
from cwm_core.errors import RunError
from cwm_rl.algorithm.advantage import AdvantageEstimator
from cwm_rl.board.beacon import Beacon
from cwm_rl.board.files import Offer, Progress, Published, RunFiles
from cwm_rl.orchestrator.admission import Admission as Gate
from cwm_rl.orchestrator.archive import Archive, done_of
from cwm_rl.orchestrator.drought import Drought
from cwm_rl.orchestrator.setup import Field
from cwm_rl.rollout.group import Group, Status
from cwm_rl.rollout.ledger import Admission, Ledger
from cwm_rl.rollout.play import play_group
from cwm_rl.rollout.pool import EnginePool, PooledEngine
from cwm_rl.rollout.sealing import seal
from cwm_rl.rollout.seeds import derived
from cwm_rl.rollout.store import GroupStore
from cwm_rl.tasks.curriculum import action_tokens, shows_hint, worth_playing
from cwm_rl.tasks.stream import next_environment
from cwm_rl.train_config import RlConfig

log = logging.getLogger(__name__)

POLL_S = 0.05
"""Between looks at what trainer and engines say."""
Locate = Callable[[], Mapping[str, str]]
Connect = Callable[[str, str], UpdatableEngine]


class Orchestrator:
    """Plays groups until the trainer has finished; continues what the ledger says."""

    def __init__(
        self,
        config: RlConfig,
        fields: Mapping[str, Field],
        estimate: AdvantageEstimator,
        *,
        locate: Locate,
        connect: Connect,
        beacon: Beacon | None = None,
    ) -> None:
        self.config, self.fields = config, fields
        self.files = RunFiles(config.out)
        self.ledger = Ledger(self.files.ledger)
        self.store = GroupStore(self.files.groups)
        self.rest = GroupStore(self.files.rest)
        self.archive = Archive(self.files, (self.store, self.rest))
        engines = config.engines
        self.pool = EnginePool(engines.requests_each, engines.retries)
        self.gate = Gate(
            config.max_staleness, config.batch.groups, config.batch.tokens, config.concurrency
        )
        self.progress = Progress()
        self.playing: dict[int, asyncio.Task[None]] = {}
        self.drought = Drought(config.fruitless_groups)
        self._offered = Offer()
        self._estimate, self._locate, self._connect = estimate, locate, connect
        self._beacon = beacon
        self._addresses: dict[str, str] = {}
        self._updates: dict[str, asyncio.Task[None]] = {}
        self._trouble: asyncio.Future[None] | None = None
        self._used: set[int] = set()
        self._wake = asyncio.Event()
        self._expected: dict[str, float] = dict.fromkeys(fields, 1.0)

    async def run(self) -> None:
        """Work until the trainer says that it has finished.

        Raises RunError when nothing can be learnt from what is played, and what a component of
        the configuration raises that is no matter of a single episode.
        """
        self._trouble = asyncio.get_running_loop().create_future()
        if self._beacon is not None:
            self._beacon.refresh = self._describe
        with self.ledger, self.archive:
            self.archive.adopt(self.ledger)
            for done in self.ledger.ready.values():
                self.gate.learn(done)
            self._replay()
            try:
                await self._work()
                await self._settle_last()
            finally:
                if self._beacon is not None:
                    self._beacon.refresh = None
                await self._stop()

    async def _work(self) -> None:
        assert self._trouble is not None
        while not self.progress.finished:
            await self._look()
            self._bound()
            if not self.drought.is_over:
                self._admit()
            if self._trouble.done():
                self._trouble.result()
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    # What the others say

    async def _look(self) -> None:
        published = Published.read(self.files.current)
        await self._find_engines()
        if published is not None:
            await self._hand_out(published)
        progress = Progress.read(self.files.progress)
        if published is None or progress.serial != published.serial:
            return
        if self.config.max_staleness or self._all_have(published.serial):
            self._take(progress)

    def _all_have(self, serial: str) -> bool:
        """Whether every engine that answers has the newest weights.

        Only then does synchronous training go on: nothing may be played with older ones.
        """
        engines = [each for each in self.pool.engines.values() if not each.failures]
        return bool(engines) and all(each.serial == serial for each in engines)

    async def _find_engines(self) -> None:
        found = dict(self._locate())
        for name in [n for n, url in self._addresses.items() if found.get(n) != url]:
            await self.pool.take(name)
        for name, url in found.items():
            if self._addresses.get(name) != url:
                await self.pool.put(name, self._connect(name, url))
                log.info("%s answers at %s", name, url)
        self._addresses = found

    async def _hand_out(self, published: Published) -> None:
        """Give engines the newest weights; their requests go on meanwhile."""
        for name, pooled in list(self.pool.engines.items()):
            running = self._updates.get(name)
            if pooled.serial != published.serial and (running is None or running.done()):
                self._updates[name] = asyncio.create_task(self._update(pooled, published))
        if self.config.max_staleness == 0 and self._updates:
            await asyncio.wait(self._updates.values(), timeout=1.0)

    async def _update(self, pooled: PooledEngine, published: Published) -> None:
        try:
            async with asyncio.timeout(self.config.engines.request_timeout_s):
                await self.pool.update(
                    pooled, Path(published.path), published.version, published.serial
                )
        except (EngineError, OSError, TimeoutError) as error:
            log.warning("%s did not take weights %d: %r", pooled.name, published.version, error)
            await asyncio.sleep(1.0)
        self._wake.set()

    def _take(self, progress: Progress) -> None:
        """See what the trainer has used, and put away what it will not need again."""
        self.progress = progress
        self._used = set(progress.used)
        durable = [g for g in progress.durable if g in self.ledger.ready]
        self.archive.settle(durable)
        for group in durable:
            step = progress.used[group]
            self.ledger.used(group, Status.TRAINED if step >= 0 else Status.STALE, step)
        if durable:
            self.ledger.flush()

    async def _settle_last(self) -> None:
        """Put away what the trainer has used at the end, groups that are just being stored too."""
        late = [self.playing[g] for g in self.progress.used if g in self.playing]
        await asyncio.gather(*late)
        self._take(self.progress)

    # Admission

    def _admit(self) -> None:
        waiting = [done for group, done in self.ledger.ready.items() if group not in self._used]
        begun: list[Admission] = []
        while self.pool.engines and self.gate.allows(len(self.playing), waiting):
            admission = self._next()
            self.ledger.admit(admission)
            begun.append(admission)
            self._begin(admission)
        if begun:
            self.ledger.sync()

    def _bound(self) -> None:
        """End a step for which too many groups without a signal were played, or the run.

        The trainer is told to learn from what there is. Raises RunError where there is nothing, for
        another reason than that all tasks are solved.
        """
        self.drought.begin(self.progress.step)
        if not self.drought.is_over or self.playing:
            return
        waiting = any(group not in self._used for group in self.ledger.ready)
        offer = Offer(self.drought.step, "" if waiting else self.drought.end())
        if offer != self._offered:
            offer.write(self.files.offer)
            self._offered = offer

    def _next(self) -> Admission:
        shares = {name: self.config.task(name).share for name in self.fields}
        tokens: dict[str, float] = {**self.ledger.tokens}
        for admission in self.ledger.open.values():
            name = admission.task
            tokens[name] = tokens.get(name, 0.0) + self._expected[name]
        name = next_environment(shares, tokens, sorted(self.fields))
        order, task = self.fields[name].order, self.config.task(name)
        position, step = self.ledger.positions.get(name, -1), self.progress.step
        for _ in range(10 * len(order.tasks)):
            position += 1
            seed = derived(self.config.seed, name, position)
            task_id = order.at(position).id
            rate = self.ledger.solve_rates.get((name, task_id))
            if worth_playing(task, rate, seed % 10_000 / 10_000):
                break
        return Admission(
            id=self.ledger.next_id,
            task=name,
            position=position,
            task_id=task_id,
            seed=seed,
            version=step,
            max_tokens=action_tokens(task, step),
            hint=shows_hint(task, step, seed),
        )

    def _replay(self) -> None:
        """Play again what was in play when a process before was killed."""
        for admission in list(self.ledger.open.values()):
            field = self.fields.get(admission.task)
            if field is None or field.order.at(admission.position).id != admission.task_id:
                raise RunError(
                    f"the tasks of environment '{admission.task}' have changed: group "
                    f"{admission.id} was about '{admission.task_id}'",
                    "restore its data, or begin a new run",
                )
            self._begin(admission)

    # Play

    def _begin(self, admission: Admission) -> None:
        work = asyncio.create_task(self._play(admission))
        self.playing[admission.id] = work
        work.add_done_callback(lambda done: self._ended(admission.id, done))

    async def _play(self, admission: Admission) -> None:
        field = self.fields[admission.task]
        task = field.order.at(admission.position)
        graded = await play_group(
            admission,
            task,
            field.ground,
            self.pool,
            self.config.group_size,
            lambda: self.progress.step,
        )
        group = seal(admission, graded, self._estimate)
        store = self.store if group.status is Status.READY else self.rest
        await asyncio.to_thread(store.save, group)
        self._finish(group)

    def _finish(self, group: Group) -> None:
        done = done_of(group)
        self.ledger.done(done)
        self.ledger.flush()
        self.gate.learn(done)
        self.archive.note(group)
        name = group.task
        self._expected[name] = self.ledger.tokens[name] / self.ledger.groups[name]
        if group.status is not Status.READY:
            self.archive.settle([group.id])
            self.drought.note(group)

    def _ended(self, group: int, work: asyncio.Task[None]) -> None:
        self.playing.pop(group, None)
        self._wake.set()
        if work.cancelled() or self._trouble is None or self._trouble.done():
            return
        error = work.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None:
            self._trouble.set_exception(error)

    async def _stop(self) -> None:
        work = [*self.playing.values(), *self._updates.values()]
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await self.pool.close()

    # Signs of life

    def _describe(self) -> None:
        """Say what the process does: called from the beacon's thread."""
        assert self._beacon is not None
        engines = list(self.pool.engines.values())
        self._beacon.info = {
            "playing": len(self.playing),
            "ready": sum(1 for group in list(self.ledger.ready) if group not in self._used),
            "groups": self.ledger.next_id,
            "step": self.progress.step,
            "engines": {e.name: [e.running, round(e.silent_s(), 1), e.tokens] for e in engines},
            "tokens": self.ledger.tokens.total(),
            "time": time.time(),
        }
        usable = [e for e in engines if e.serial]
        if not engines:
            self._beacon.does("waits for engines to start", "engine")
        elif not usable:
            self._beacon.does(
                "waits for weights", "trainer" if not self.progress.serial else engines[0].name
            )
        elif not self.playing:
            self._beacon.does("waits until groups are used", "trainer")
        elif (slowest := max(usable, key=PooledEngine.silent_s)).silent_s() > 5:
            self._beacon.does("waits for answers", slowest.name)
        else:
            self._beacon.does("plays")
