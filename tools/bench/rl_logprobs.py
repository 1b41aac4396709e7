"""How far log-probabilities of engine and trainer are apart on the same tokens.

The engine samples with its cache, many sequences at once; the trainer packs the same sequences into
rows. Both compute in fp32, then in bf16, then in both with `batch_invariant`. Printed are mean,
99th percentile and largest absolute difference in nats, and the difference of the means, which is
what biases ratios.

    python tools/bench/rl_logprobs.py                       # a small model with random weights
    python tools/bench/rl_logprobs.py --model runs/train/model --device cuda
"""

from __future__ import annotations

import argparse
import asyncio
import copy
from itertools import product
from pathlib import Path

import torch

from cwm_core.engine.base import Completion, SamplingParams
from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_rl.rollout.group import Group, Member, Status
from cwm_rl.trainer.batch import episodes_of, parts_of
from cwm_rl.trainer.head import token_logprobs
from cwm_rl.trainer.setup import initial_directory
from cwm_rl.trainer.step import logprobs_of
from cwm_train.checkpoint.hf import load_pretrained
from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.worker import Options
from cwm_train.model.config import CwmTiny
from cwm_train.model.invariant import batch_invariant
from cwm_train.model.transformer import CwmForCausalLM


def small() -> tuple[CwmForCausalLM, Tokenizer]:
    """Return a model with random weights, and its tokenizer."""
    tokenizer = train_bpe(["a few words to begin with"], 320)
    torch.manual_seed(0)
    config = CwmTiny(name="cwm_tiny", init="normal", initializer_range=0.05)
    return config.model_copy(update={"vocab_size": tokenizer.vocab_size}).build(), tokenizer


async def sample(engine: LocalEngine, prompts: list[list[int]], tokens: int) -> list[Completion]:
    """Continue all prompts at once, at temperature 1."""
    try:
        params = [SamplingParams(tokens, 1.0, seed=n) for n in range(len(prompts))]
        return await asyncio.gather(*map(engine.generate, prompts, params))
    finally:
        await engine.close()


def stored(prompt: list[int], made: Completion) -> Member:
    """Return a played episode of one action."""
    shown = Turn("prompt", "", tuple(prompt), None, (False,) * len(prompt), None)
    count = len(made.token_ids)
    action = Turn("action", "", made.token_ids, made.logprobs, (True,) * count, (0,) * count)
    return Member(Trajectory("task", (shown, action)), 1.0, trained=True)


@torch.no_grad()
def differences(
    model: CwmForCausalLM,
    tokenizer: Tokenizer,
    episodes: int,
    tokens: int,
    *,
    bf16: bool,
    invariant: bool,
) -> torch.Tensor:
    """Return the trainer's minus the engine's log-probabilities of sampled tokens."""
    generator = torch.Generator().manual_seed(1)
    lengths = [8 + 7 * (n % 9) for n in range(episodes)]
    first = range(len(tokenizer.special_ids), tokenizer.vocab_size)
    low, high = (0, tokenizer.vocab_size - len(tokenizer.special_ids)) if first else (0, 1)
    prompts = [torch.randint(low, high, (n,), generator=generator).tolist() for n in lengths]
    served = copy.deepcopy(model).to(torch.bfloat16) if bf16 else copy.deepcopy(model)
    engine = LocalEngine(served, tokenizer, Options(batch_invariant=invariant))
    made = asyncio.run(sample(engine, prompts, tokens))
    group = Group(0, "task", "task", Status.READY, tuple(map(stored, prompts, made)))
    device = model.lm_head.weight.device
    model.head_loss = token_logprobs
    found = []
    for part in parts_of(episodes_of([group]), 1024, 2):
        part = part.to(device)
        with batch_invariant(invariant):
            found.append(logprobs_of(model, part, bf16)[0] - part.engine_logprobs_n)
    return torch.cat(found).cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="model directory or training run")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=48)
    given = parser.parse_args()
    if given.model:
        loaded = load_pretrained(
            initial_directory(given.model), device=torch.device(given.device), dtype=torch.float32
        )
    else:
        loaded = small()
    model, tokenizer = loaded
    model.to(given.device)
    print("| precision | tokens | mean | 99 % | largest | bias |\n|---|---|---|---|---|---|")
    for invariant, bf16 in product((False, True), (False, True)):
        apart = differences(
            model, tokenizer, given.episodes, given.tokens, bf16=bf16, invariant=invariant
        )
        size = apart.abs()
        name = ("bf16" if bf16 else "fp32") + (", invariant" if invariant else "")
        print(
            f"| {name} | {len(apart)} | {size.mean():.1e} | {size.quantile(0.99):.1e} | "
            f"{size.max():.1e} | {apart.mean():+.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
