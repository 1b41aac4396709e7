"""The trainer's parts: exact log-probabilities, gradients, choice of groups, accounting."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cwm_core.engine.base import SamplingParams
from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.errors import DataError
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_rl.algorithm.loss import cwm_loss
from cwm_rl.algorithm.losses import Objective
from cwm_rl.algorithm.tokens import Totals
from cwm_rl.rollout.group import Group, Member, Status
from cwm_rl.rollout.store import GroupStore
from cwm_rl.train_config import BatchConfig
from cwm_rl.trainer.batch import episodes_of, parts_of, totals_of
from cwm_rl.trainer.choose import Queue, fresh
from cwm_rl.trainer.head import token_logprobs
from cwm_rl.trainer.step import Learner, logprobs_of
from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.worker import Options
from cwm_train.model.config import CwmTiny
from cwm_train.model.invariant import batch_invariant
from cwm_train.model.transformer import CwmForCausalLM

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(["a few words to begin with"], 320)


def build(tokenizer: Tokenizer, **changes: Any) -> CwmForCausalLM:
    torch.manual_seed(0)
    shape = CwmTiny(name="cwm_tiny", **SMALL, **changes).model_copy(
        update={"vocab_size": tokenizer.vocab_size}
    )
    return shape.build()


def turns(*parts: tuple[str, tuple[int, ...], tuple[float, ...]], version: int = 0) -> Any:
    return tuple(
        Turn(
            role,
            "",
            ids,
            logprobs if role == "action" else None,
            (role == "action",) * len(ids),
            (version,) * len(ids) if role == "action" else None,
        )
        for role, ids, logprobs in parts
    )


def member(advantage: float, *parts: Any, version: int = 0) -> Member:
    return Member(Trajectory("t", turns(*parts, version=version)), advantage, advantage != 0)


def group(number: int, *members: Member) -> Group:
    return Group(number, "task", "t", Status.READY, members)


TWO = group(
    0,
    member(
        1.5,
        ("prompt", (5, 6, 7), ()),
        ("action", (8, 9), (-1.0, -2.0)),
        ("observation", (10,), ()),
        ("action", (11,), (-0.5,)),
    ),
    member(-0.5, ("prompt", (5, 6, 7), ()), ("action", (12, 13, 14), (-3.0, -1.0, -2.0))),
)


def differences(
    model: CwmForCausalLM, tokenizer: Tokenizer, bf16: bool, invariant: bool = False
) -> torch.Tensor:
    """Return how far trainer and engine are apart, in nats, on tokens that the engine sampled."""
    served = copy.deepcopy(model).to(torch.bfloat16 if bf16 else torch.float32)
    engine = LocalEngine(served, tokenizer, Options(batch_invariant=invariant))

    async def sample() -> list[Any]:
        try:
            return await asyncio.gather(
                *(
                    engine.generate(range(5, 8 + n), SamplingParams(24, 1.0, seed=n))
                    for n in range(12)
                )
            )
        finally:
            await engine.close()

    made = asyncio.run(sample())
    members = [
        member(1.0, ("prompt", tuple(range(5, 8 + n)), ()), ("action", m.token_ids, m.logprobs))
        for n, m in enumerate(made)
    ]
    model.head_loss = token_logprobs
    found = []
    for part in parts_of(episodes_of([group(0, *members)]), 64, 2):
        with torch.no_grad(), batch_invariant(invariant):
            found.append(logprobs_of(model, part, bf16)[0] - part.engine_logprobs_n)
    return torch.cat(found).abs()


def test_engine_and_trainer_agree_on_log_probabilities(tokenizer: Tokenizer) -> None:
    # the initialisation "induction" has attention so sharp that rounding alone, in fp32, moves
    # log-probabilities by 1e-4 on random tokens
    assert differences(build(tokenizer, init="normal"), tokenizer, bf16=False).max() <= 1e-5


def test_engine_and_trainer_agree_in_bf16(tokenizer: Tokenizer) -> None:
    found = differences(build(tokenizer, init="normal"), tokenizer, bf16=True)
    assert found.mean() <= 1e-3
    assert found.max() <= 1e-2


@pytest.mark.parametrize("init", ["normal", "induction"])
@pytest.mark.parametrize("bf16", [False, True])
def test_invariant_numbers_agree_in_every_precision(
    tokenizer: Tokenizer, init: str, bf16: bool
) -> None:
    found = differences(build(tokenizer, init=init), tokenizer, bf16, invariant=True)
    assert found.max() <= 1e-5


def test_invariant_log_probabilities_do_not_depend_on_packing(tokenizer: Tokenizer) -> None:
    model = build(tokenizer, init="induction")
    found = []
    for row_tokens in (16, 64):
        learner = Learner(model, Objective(cwm_loss), bf16=True, invariant=True)
        parts = parts_of(episodes_of([TWO]), row_tokens, 1)
        sums = learner.add_gradient(parts, totals_of(episodes_of([TWO])))
        found.append(sums["loss"])
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_gradients_in_bf16_reach_the_fp32_weights(tokenizer: Tokenizer) -> None:
    gradients = []
    for bf16 in (False, True):
        model = build(tokenizer, init="normal")
        learner = Learner(model, Objective(cwm_loss), bf16=bf16)
        learner.add_gradient(parts_of(episodes_of([TWO]), 64, 1), totals_of(episodes_of([TWO])))
        assert all(weight.grad.dtype == torch.float32 for weight in model.parameters())
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_only_generated_tokens_carry_loss_and_keep_their_order() -> None:
    (part,) = parts_of(episodes_of([TWO]), 64, 1)
    labels = part.batch.labels_bt[part.batch.labels_bt >= 0]
    # the longer episode, of seven tokens, comes first
    assert labels.tolist() == [8, 9, 11, 12, 13, 14]
    assert part.engine_logprobs_n.tolist() == [-1.0, -2.0, -0.5, -3.0, -1.0, -2.0]
    assert part.advantages_n.tolist() == [1.5] * 3 + [-0.5] * 3
    assert part.episode_n.tolist() == [0, 0, 0, 1, 1, 1]
    assert totals_of(episodes_of([TWO])) == Totals(6, 2)


def plain_loss(model: CwmForCausalLM, given: Group, divisor: float) -> torch.Tensor:
    """The loss from whole logits, one episode at a time."""
    total = torch.zeros(())
    for each in given.members:
        ids = [t for turn in each.trajectory.turns for t in turn.token_ids]
        old = [
            v
            for turn in each.trajectory.turns
            for v in turn.logprobs or [0.0] * len(turn.token_ids)
        ]
        trained = [m for turn in each.trajectory.turns for m in turn.loss_mask]
        logprobs_tv = model(torch.tensor([ids]))[0].log_softmax(-1)
        for t in range(1, len(ids)):
            if trained[t]:
                ratio = (logprobs_tv[t - 1, ids[t]] - old[t]).exp()
                bounded = ratio.clamp(0.8, 1.25)
                total = total - torch.minimum(ratio * each.advantage, bounded * each.advantage)
    return total / divisor


@pytest.mark.parametrize(("row_tokens", "rows"), [(64, 1), (4, 1), (7, 2)])
def test_the_gradient_is_that_of_the_formula_however_rows_are_packed(
    tokenizer: Tokenizer, row_tokens: int, rows: int
) -> None:
    model = build(tokenizer)
    # ratios near 1, so that the clip decides on some tokens only
    with torch.no_grad():
        given = replace(TWO, members=tuple(near(model, each) for each in TWO.members))
    plain_loss(model, given, 8.0).backward()
    wanted = [p.grad.clone() for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    objective = Objective(lambda batch, totals: cwm_loss(batch, totals, divisor=8.0))
    learner = Learner(model, objective)
    episodes = episodes_of([given])
    sums = learner.add_gradient(parts_of(episodes, row_tokens, rows), totals_of(episodes))
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)
    assert sums["entropy"] > 0
    assert any(g.abs().max() > 0 for g in wanted)


def near(model: CwmForCausalLM, each: Member) -> Member:
    ids = [t for turn in each.trajectory.turns for t in turn.token_ids]
    logprobs_tv = model(torch.tensor([ids]))[0].log_softmax(-1)
    place, found = 0, []
    for turn in each.trajectory.turns:
        where = range(place, place + len(turn.token_ids))
        place += len(turn.token_ids)
        if turn.role == "action":
            shifts = [math.log(1.5) if t % 2 else 0.05 for t in where]
            values = [float(logprobs_tv[t - 1, ids[t]]) - s for t, s in zip(where, shifts)]
            turn = replace(turn, logprobs=tuple(values))
        found.append(turn)
    return replace(each, trajectory=replace(each.trajectory, turns=tuple(found)))


def test_truncated_weights_leave_the_first_gradient_of_equal_engines(tokenizer: Tokenizer) -> None:
    model = build(tokenizer)
    gradients = []
    with torch.no_grad():
        exact = replace(TWO, members=tuple(same(model, each) for each in TWO.members))
    for mismatch in ("none", "truncated"):
        model.zero_grad(set_to_none=True)
        learner = Learner(model, Objective(cwm_loss), mismatch=mismatch)  # type: ignore[arg-type]
        episodes = episodes_of([exact])
        learner.add_gradient(parts_of(episodes, 64, 1), totals_of(episodes))
        gradients.append([p.grad.clone() for p in model.parameters()])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, atol=1e-9, rtol=1e-3)


def same(model: CwmForCausalLM, each: Member) -> Member:
    ids = [t for turn in each.trajectory.turns for t in turn.token_ids]
    logprobs_tv = model(torch.tensor([ids]))[0].log_softmax(-1)
    place, found = 0, []
    for turn in each.trajectory.turns:
        where = range(place, place + len(turn.token_ids))
        place += len(turn.token_ids)
        if turn.role == "action":
            turn = replace(turn, logprobs=tuple(float(logprobs_tv[t - 1, ids[t]]) for t in where))
        found.append(turn)
    return replace(each, trajectory=replace(each.trajectory, turns=tuple(found)))


def test_steps_make_rewarded_tokens_likelier(tokenizer: Tokenizer) -> None:
    model = build(tokenizer)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    learner = Learner(model, Objective(lambda b, t: cwm_loss(b, t, divisor=8.0)))
    with torch.no_grad():
        given = replace(TWO, members=tuple(same(model, each) for each in TWO.members))
    episodes = episodes_of([given])
    parts = parts_of(episodes, 64, 1)
    learner.add_gradient(parts, totals_of(episodes))
    optimizer.step()
    with torch.no_grad():
        after_n, _ = logprobs_of(model, parts[0])
    change_n = after_n - parts[0].engine_logprobs_n
    assert change_n[:3].sum() > 0 > change_n[3:].sum()


def test_a_trajectory_without_token_ids_is_refused() -> None:
    bare = Member(Trajectory("t", (Turn("prompt", "text"),)), 1.0, True)
    with pytest.raises(DataError, match="no token ids"):
        episodes_of([group(0, bare)])


def stored(path: Path, *groups: Group) -> GroupStore:
    store = GroupStore(path)
    for each in groups:
        store.save(each)
    return store


ACTION = ("action", (8, 9), (-1.0, -2.0))
PROMPT = ("prompt", (5,), ())


def test_the_queue_takes_the_oldest_and_gives_up_the_stale(tmp_path: Path) -> None:
    groups = [
        group(n, member(1.0, PROMPT, ACTION, version=n), member(-1.0, PROMPT, ACTION, version=n))
        for n in range(5)
    ]
    queue = Queue(stored(tmp_path, *groups), BatchConfig(groups=2), max_staleness=2)
    assert [g.id for g in queue.take(1, ()) or ()] == [0, 1]
    assert queue.newly_stale == []
    assert [g.id for g in queue.take(4, (2,)) or ()] == [3, 4]
    assert queue.newly_stale == [0, 1]
    assert queue.take(5, (0, 1, 2, 3)) is None


def test_a_step_without_hope_for_more_takes_what_there_is(tmp_path: Path) -> None:
    store = GroupStore(tmp_path)
    queue = Queue(store, BatchConfig(groups=2), 1)
    assert queue.take(0, [], no_more=True) is None
    store.save(TWO)
    assert queue.take(0, []) is None
    found = queue.take(0, [], no_more=True)
    assert found is not None
    assert [each.id for each in found] == [0]


def test_the_queue_counts_tokens(tmp_path: Path) -> None:
    groups = [group(n, member(1.0, PROMPT, ACTION)) for n in range(5)]
    queue = Queue(stored(tmp_path, *groups), BatchConfig(tokens=5), max_staleness=2)
    assert [g.id for g in queue.take(0, ()) or ()] == [0, 1, 2]


def test_only_members_with_old_tokens_are_dropped() -> None:
    mixed = group(
        0, member(1.0, PROMPT, ACTION, version=1), member(-1.0, PROMPT, ACTION, version=5)
    )
    left = fresh(mixed, step=6, bound=2)
    assert [m.trained for m in left.members] == [False, True]
    assert left.members[0].reason == "stale"


def test_groups_survive_their_file(tmp_path: Path) -> None:
    store = stored(tmp_path, TWO)
    assert store.load(0) == TWO
    store.path(0).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        store.load(0)
