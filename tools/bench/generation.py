"""Greedy generation of our engine against `transformers.generate`, same weights, same tokens.

    uv run python tools/bench/generation.py [--shape tiny mini] [--new 128] [--json FILE]

Both sides hold Hugging Face's `CwmForCausalLM` weights in fp32, keep keys and values, and work in
turns in one process, so that a change of the machine's speed meets both. Two loads: `batch`, one
batch of equal prompts' lengths that all grow by the same number of tokens; and `requests`, four
times as many requests of which each wants its own number of tokens (uniform, from an eighth of
`--new` to all of it): there `transformers` pads a batch and runs it to its longest, as its
documentation shows, and our engine lets requests join and leave. Both sides give every token that
was asked for; tokens beyond are not counted. The ratio is the median over repeats of the ratio of
times; `cpu_ratio` is that of processor seconds, which other processes of a shared machine disturb
less. `same` is the share of sequences with identical tokens; at the first token that differs, the
gap between the two likeliest log-probabilities is shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from training_pair import SHAPES

from cwm_core.engine.base import SamplingParams
from cwm_train.generate.batch import generate
from cwm_train.model.config import CwmModelConfig, CwmTiny

ALL_SHAPES = {"tiny": CwmTiny(init="normal"), **SHAPES}
Load = tuple[list[list[int]], list[int]]


def main() -> None:
    given = _arguments()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = [measure(shape, load, given) for shape in given.shape for load in given.load]
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", nargs="+", default=["tiny", "mini"], choices=ALL_SHAPES)
    parser.add_argument("--load", nargs="+", default=["batch", "requests"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=32, help="tokens of a prompt")
    parser.add_argument("--new", type=int, default=128, help="tokens to generate")
    parser.add_argument("--repeats", type=int, default=5, help="after one uncounted")
    parser.add_argument("--threads", type=int, help="torch's threads (default: its own choice)")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measure(shape: str, load: str, given: argparse.Namespace) -> dict[str, Any]:
    """Let both sides work on a load in turns; print and return what was found."""
    config = ALL_SHAPES[shape]
    torch.manual_seed(0)
    ours = config.build().eval()
    sides: dict[str, Callable[[Load], list[list[int]]]] = {
        "ours": lambda asked: _ours(ours, asked, given.batch),
        "huggingface": _huggingface(config, ours.state_dict(), given.batch),
    }
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    differing, total = [], 0
    for repeat in range(given.repeats + 1):
        asked = _load(load, config.vocab_size, given, repeat)
        made = {}
        for name, side in sides.items():
            started, worked = time.perf_counter(), time.process_time()
            made[name] = side(asked)
            wall[name].append(time.perf_counter() - started)
            cpu[name].append(time.process_time() - worked)
        total += len(asked[0])
        for prompt, a, b in zip(asked[0], made["ours"], made["huggingface"], strict=True):
            if a != b:
                differing.append(_gap(ours, prompt, a, b))
    tokens = sum(asked[1])
    result = {
        "shape": shape,
        "load": load,
        "batch": given.batch,
        "threads": torch.get_num_threads(),
        "ratio": _ratio(wall),
        "cpu_ratio": _ratio(cpu),
        "tokens_per_s": {n: tokens / statistics.median(t[1:]) for n, t in wall.items()},
        "same": 1 - len(differing) / total,
        "gaps": differing,
    }
    print(
        f"{shape}, {load}: {result['ratio']:.2f}x ({result['cpu_ratio']:.2f}x by processor time; "
        + " against ".join(f"{value:,.0f}" for value in result["tokens_per_s"].values())
        + f" tokens/s; {result['same']:.1%} of {total} sequences identical"
        + (f", gaps where not {max(differing):.1e}" if differing else "")
        + ")",
        flush=True,
    )
    return result


def _ratio(times: dict[str, list[float]]) -> float:
    return statistics.median(b / a for a, b in list(zip(times["ours"], times["huggingface"]))[1:])


def _load(load: str, vocabulary: int, given: argparse.Namespace, seed: int) -> Load:
    """Return prompts and how many tokens each wants."""
    draw = torch.Generator().manual_seed(seed)
    count = given.batch if load == "batch" else 4 * given.batch
    prompts = torch.randint(0, vocabulary, (count, given.prompt), generator=draw).tolist()
    if load == "batch":
        return prompts, [given.new] * count
    least = max(1, given.new // 8)
    return prompts, torch.randint(least, given.new + 1, (count,), generator=draw).tolist()


def _ours(model: torch.nn.Module, asked: Load, batch: int) -> list[list[int]]:
    params = [SamplingParams(max_tokens=tokens) for tokens in asked[1]]
    made = generate(model, asked[0], params, max_batch=batch)  # type: ignore[arg-type]
    return [list(each.token_ids) for each in made]


def _huggingface(
    config: CwmModelConfig, weights: dict[str, torch.Tensor], batch: int
) -> Callable[[Load], list[list[int]]]:
    import transformers

    transformers.logging.set_verbosity_error()
    fields = {**config.to_hf(), "attn_implementation": "sdpa"}
    model = transformers.CwmForCausalLM(transformers.CwmConfig(**fields)).eval()
    model.load_state_dict(weights)

    @torch.inference_mode()
    def work(asked: Load) -> list[list[int]]:
        made = []
        for start in range(0, len(asked[0]), batch):
            ids_bt = torch.tensor(asked[0][start : start + batch])
            wanted = asked[1][start : start + batch]
            settings = transformers.GenerationConfig(
                do_sample=False, max_new_tokens=max(wanted), eos_token_id=None, pad_token_id=0
            )
            out_bt = model.generate(
                ids_bt, attention_mask=torch.ones_like(ids_bt), generation_config=settings
            )
            new = out_bt[:, ids_bt.shape[1] :].tolist()
            made += [ids[:count] for ids, count in zip(new, wanted)]
        return made

    return work


@torch.no_grad()
def _gap(model: torch.nn.Module, prompt: list[int], a: list[int], b: list[int]) -> float:
    """Return how far the two likeliest tokens are apart where two sequences part."""
    place = next(i for i, (x, y) in enumerate(zip(a, b)) if x != y)
    logits_v = model(torch.tensor([prompt + a[:place]]))[0, -1]
    first, second = logits_v.log_softmax(-1).topk(2).values.tolist()
    return first - second


if __name__ == "__main__":
    main()
