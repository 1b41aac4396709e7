"""Episodes: exact tokens, honest exit reasons, branches, concurrency."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from cwm_core.engine.base import Completion, SamplingParams, Scores
from cwm_core.env.concurrency import (
    Failure,
    gather_all,
    gather_bounded,
    run_sync,
    uninterrupted,
)
from cwm_core.env.environment import Action, Environment, Observation, Task, Transition
from cwm_core.env.episode import advance, begin
from cwm_core.env.rollout import Limits, rollout, rollout_sync
from cwm_core.env.trajectory import task_of
from cwm_core.errors import CwmError, DataError

TASK = Task("count", {"answer": "3"}, {"level": 1}, "train")


class Countdown:
    """Ends when the number of actions reaches `goal`; its observations have ids `[50 + turn]`."""

    def __init__(self, goal: int = 3, *, text_only: bool = False) -> None:
        self.goal, self.text_only = goal, text_only

    def tasks(self, split: str) -> Iterable[Task]:
        return [TASK]

    def observe(self, turn: int) -> Observation:
        return Observation(f"o{turn}", None if self.text_only else (50 + turn,))

    async def start(self, task: Task) -> Transition:
        return Transition((), self.observe(0), done=False)

    async def step(self, state: tuple[str, ...], action: Action) -> Transition:
        if action.text == "break":
            raise RuntimeError("broken")
        if action.text == "sleep":
            await asyncio.sleep(60)
        after = (*state, action.text)
        done = len(after) == self.goal
        return Transition(after, self.observe(len(after)), done, float(done), {"seen": list(after)})


class Echo:
    """An engine that answers with the sum of its prompt, and remembers the prompts."""

    def __init__(self) -> None:
        self.prompts: list[list[int]] = []

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        self.prompts.append(list(prompt_ids))
        ids = (sum(prompt_ids), 7)[: params.max_tokens]
        reason = "stop" if len(ids) == 2 else "length"
        text, versions = f"a{len(self.prompts)}", (4, 5)[: len(ids)]
        return Completion(ids, (-0.5,) * len(ids), reason, text, versions)

    async def score(self, token_ids: Sequence[int]) -> Scores:
        raise NotImplementedError

    async def close(self) -> None:
        return None


class Script:
    """An agent that says what it was given, in order; an exception is raised."""

    def __init__(self, *lines: str | Exception) -> None:
        self.lines = lines

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        line = self.lines[len(actions)]
        if isinstance(line, Exception):
            raise line
        return Action(line)


class Letters:
    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(number) for number in ids)


def test_prompts_are_the_exact_concatenation_of_what_was_said() -> None:
    engine = Echo()
    trajectory = rollout_sync(Countdown(), TASK, engine)
    assert engine.prompts == [[50], [50, 50, 7, 51], [50, 50, 7, 51, 158, 7, 52]]
    assert [turn.role for turn in trajectory.turns] == ["prompt", *["action", "observation"] * 3]
    assert [turn.token_ids for turn in trajectory.actions] == [(50, 7), (158, 7), (375, 7)]
    assert all(turn.logprobs == (-0.5, -0.5) for turn in trajectory.actions)
    assert [turn.model_versions for turn in trajectory.actions] == [(4, 5)] * 3
    for turn in trajectory.turns:
        trained = turn.role == "action"
        assert turn.loss_mask == (trained,) * len(turn.token_ids or ())
    assert trajectory.exit_reason == "done"
    assert trajectory.rewards == {"environment": 1.0}
    assert trajectory.outcome == {"seen": ["a1", "a2", "a3"]}
    assert trajectory.metadata["turn_rewards"] == [None, 0.0, 0.0, 1.0]
    assert task_of(trajectory) == TASK


def test_turn_limit() -> None:
    trajectory = rollout_sync(Countdown(), TASK, Echo(), max_turns=2)
    assert (trajectory.exit_reason, len(trajectory.actions)) == ("turn_limit", 2)


@pytest.mark.parametrize(
    ("tokens", "lengths"), [(1, []), (2, [1]), (3, [2]), (6, [2, 2]), (5, [2, 1])]
)
def test_token_limit_shortens_the_last_action(tokens: int, lengths: list[int]) -> None:
    trajectory = rollout_sync(Countdown(9), TASK, Echo(), limits=Limits(tokens=tokens))
    assert trajectory.exit_reason == "token_limit"
    assert [len(turn.token_ids or ()) for turn in trajectory.actions] == lengths
    cut = [index for index, length in enumerate(lengths) if length == 1]
    assert trajectory.metadata["cut_off_actions"] == cut


def test_time_limit_keeps_what_was_played() -> None:
    agent = Script("one", "sleep")
    trajectory = rollout_sync(Countdown(), TASK, agent, limits=Limits(timeout_s=0.05))
    assert trajectory.exit_reason == "time_limit"
    assert [turn.text for turn in trajectory.actions] == ["one"]


@pytest.mark.parametrize("lines", [("a", "b", "c"), ("a", "break"), ("a", OSError()), ("sleep",)])
def test_an_environment_frees_what_it_holds_at_every_end(lines: tuple[str | Exception]) -> None:
    class Holding(Countdown):
        released: ClassVar[list[object]] = []

        async def release(self, state: object) -> None:
            self.released.append(state)

    limits = Limits(turns=3, timeout_s=0.2)
    Holding.released.clear()
    rollout_sync(Holding(), TASK, Script(*lines), limits=limits)
    assert len(Holding.released) == 1


def test_an_environment_that_raises_is_recorded() -> None:
    trajectory = rollout_sync(Countdown(), TASK, Script("one", "break"))
    assert trajectory.exit_reason == "environment_error"
    assert trajectory.outcome["error"] == "RuntimeError('broken')"
    assert [turn.text for turn in trajectory.turns] == ["o0", "one", "o1"]


@pytest.mark.parametrize("error", [ValueError("confused"), TimeoutError("slow tool")])
def test_an_agent_that_raises_is_recorded(error: Exception) -> None:
    trajectory = rollout_sync(Countdown(), TASK, Script("one", error), limits=Limits(timeout_s=30))
    assert (trajectory.exit_reason, trajectory.outcome["error"]) == ("agent_error", repr(error))


def test_a_server_at_fault_is_no_episode() -> None:
    with pytest.raises(CwmError, match="no server"):
        rollout_sync(Countdown(), TASK, Script(CwmError("no server")))


def test_text_environments_need_a_tokenizer_for_engines() -> None:
    with pytest.raises(DataError, match="no token ids"):
        rollout_sync(Countdown(text_only=True), TASK, Echo())
    engine = Echo()
    rollout_sync(Countdown(text_only=True), TASK, engine, tokenizer=Letters())
    assert engine.prompts[0] == [ord("o"), ord("0")]


def test_episodes_branch_without_touching_each_other() -> None:
    async def play() -> tuple[list[str], ...]:
        environment: Environment = Countdown()
        trunk = await advance(environment, await begin(environment, TASK), Action("trunk"))
        left, right = [
            await rollout(environment, TASK, Script("", f"{name}1", f"{name}2"), episode=trunk)
            for name in ("l", "r")
        ]
        assert len(trunk.actions) == 1
        return tuple(trajectory.outcome["seen"] for trajectory in (left, right))

    assert run_sync(play()) == (["trunk", "l1", "l2"], ["trunk", "r1", "r2"])


def test_run_sync_works_inside_a_running_loop() -> None:
    async def notebook() -> str:
        return rollout_sync(Countdown(1), TASK, Script("x")).exit_reason

    assert asyncio.run(notebook()) == "done"


def test_run_sync_hands_errors_over_inside_a_running_loop() -> None:
    async def notebook() -> None:
        rollout_sync(Countdown(), TASK, Script(CwmError("no server")))

    with pytest.raises(CwmError, match="no server"):
        asyncio.run(notebook())


def test_gather_bounded_separates_failures_and_bounds_concurrency() -> None:
    running = most = drawn = 0

    def items() -> Iterable[int]:
        nonlocal drawn
        for number in range(20):
            assert drawn - len(finished) < 3
            drawn += 1
            yield number

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (number % 3))
        running -= 1
        if number % 5 == 0:
            raise ValueError(number)
        return number * number

    finished: dict[int, int | Failure[int]] = {}
    gathered = run_sync(gather_bounded(work, items(), limit=3, on_done=finished.__setitem__))
    assert most == 3
    assert gathered.values == {n: n * n for n in range(20) if n % 5}
    assert gathered.in_order() == [n * n for n in range(20) if n % 5]
    assert sorted(failure.item for failure in gathered.failures) == [0, 5, 10, 15]
    assert sorted(finished) == list(range(20))


def test_gather_bounded_stops_when_the_callback_raises() -> None:
    cancelled: list[int] = []

    async def work(number: int) -> int:
        try:
            await asyncio.sleep(0 if number == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    def store(index: int, result: object) -> None:
        raise DataError("disk full")

    with pytest.raises(DataError, match="disk full"):
        run_sync(gather_bounded(work, range(4), limit=4, on_done=store))
    assert sorted(cancelled) == [1, 2, 3]


def test_nothing_outlives_gather_all() -> None:
    """Whether one part raises or the call is cancelled: parts that tidy up slowly are awaited."""
    tidied: list[str] = []

    async def part(name: str, fails: bool) -> str:
        try:
            await asyncio.sleep(0 if name == "a" else 60)
            if fails:
                raise DataError("disk full")
            await asyncio.sleep(0 if name == "a" else 60)
        finally:
            await asyncio.sleep(0.01 if name == "b" else 0)
            tidied.append(name)
        return name

    async def main() -> None:
        assert await gather_all(part("a", False) for _ in range(2)) == ["a", "a"]
        tidied.clear()
        with pytest.raises(DataError, match="disk full"):
            await gather_all([part("a", True), part("b", False), part("c", False)])
        assert sorted(tidied) == ["a", "b", "c"]
        tidied.clear()
        task = asyncio.ensure_future(gather_all([part("b", False), part("c", False)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(tidied) == ["b", "c"]

    run_sync(main())


def test_uninterrupted_work_ends_before_the_cancellation_shows() -> None:
    seen: list[object] = []

    async def tidy(fails: bool) -> str:
        await asyncio.sleep(0.02)
        seen.append("tidied")
        if fails:
            raise DataError("disk full")
        return "done"

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        assert await uninterrupted(tidy(False)) == "done"
        with pytest.raises(DataError):
            await uninterrupted(tidy(True))
        for fails in (False, True):
            seen.clear()
            task = asyncio.ensure_future(uninterrupted(tidy(fails)))
            for _ in range(3):
                await asyncio.sleep(0)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
            gc.collect()
            assert seen == ["tidied"]

    run_sync(main())


def test_tasks_that_carry_no_data_cannot_be_rebuilt() -> None:
    trajectory = rollout_sync(Countdown(1), TASK, Script("x"))
    with pytest.raises(DataError, match="does not carry its task"):
        task_of(replace(trajectory, metadata={}))
