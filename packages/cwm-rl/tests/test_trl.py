"""Losses and gradients of weights against TRL's `GRPOTrainer` on the same batch.

TRL holds Hugging Face's model and pads; our trainer holds ours, with the same weights, and packs.
Shapes: E episodes, T tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.plugins import registry
from cwm_rl.rollout.group import Group, Member, Status
from cwm_rl.trainer.batch import episodes_of, parts_of, totals_of
from cwm_rl.trainer.step import Learner
from cwm_train.model.config import CwmTiny
from cwm_train.model.transformer import CwmForCausalLM

transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl")

PROMPTS, ACTIONS = (3, 5, 3, 4), (9, 4, 1, 6)
SHAPE = CwmTiny(name="cwm_tiny", init="normal", initializer_range=0.2).model_copy(
    update={
        "vocab_size": 67,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "grpo": ({"name": "grpo"}, {"loss_type": "grpo"}),
    "grpo with kl": (
        {"name": "grpo", "kl": 0.04},
        {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False},
    ),
    "dr_grpo": ({"name": "dr_grpo", "max_tokens": 16}, {"loss_type": "dr_grpo"}),
    "dapo": ({"name": "dapo"}, {"loss_type": "dapo", "epsilon_high": 0.28}),
    "cispo": ({"name": "cispo", "max_ratio": 1.3}, {"loss_type": "cispo", "epsilon_high": 1.3}),
    "gspo": (
        {"name": "gspo", "clip_low": 0.3, "clip_high": 0.35},
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": 0.3,
            "epsilon_high": 0.35,
        },
    ),
}


def episodes() -> tuple[list[list[int]], list[list[int]], list[list[float]], list[float]]:
    """Return prompts, actions, old log-probabilities and advantages."""
    draw = torch.Generator().manual_seed(0)
    prompts = [torch.randint(2, 67, (n,), generator=draw).tolist() for n in PROMPTS]
    actions = [torch.randint(2, 67, (n,), generator=draw).tolist() for n in ACTIONS]
    old = [(-4 + torch.randn(n, generator=draw)).tolist() for n in ACTIONS]
    return prompts, actions, old, torch.randn(len(ACTIONS), generator=draw).tolist()


def models() -> tuple[CwmForCausalLM, CwmForCausalLM]:
    """Return a policy and the reference that it came from."""
    torch.manual_seed(0)
    policy, reference = SHAPE.build(), SHAPE.build()
    with torch.no_grad():
        for new, old in zip(policy.parameters(), reference.parameters(), strict=True):
            new.lerp_(old, 0.1)
    return policy, reference


def ours(loss: dict[str, Any]) -> tuple[float, dict[str, Tensor]]:
    """Return the loss and the gradients of the weights, as our trainer finds them."""
    policy, reference = models()
    options = dict(loss)
    objective = registry().make("policy_losses", options.pop("name"), **options).build()
    members = []
    for prompt, action, old, advantage in zip(*episodes(), strict=True):
        shown = Turn("prompt", "", tuple(prompt), None, (False,) * len(prompt), None)
        count = len(action)
        said = Turn("action", "", tuple(action), tuple(old), (True,) * count, (0,) * count)
        members.append(Member(Trajectory("t", (shown, said)), advantage, trained=True))
    found = episodes_of([Group(0, "t", "t", Status.READY, tuple(members))])
    learner = Learner(policy, objective, reference=reference if objective.needs_reference else None)
    sums = learner.add_gradient(parts_of(found, 24, 2), totals_of(found))
    return sums["loss"], gradients(policy)


def theirs(tmp_path: Path, changes: dict[str, Any]) -> tuple[float, dict[str, Tensor]]:
    """Return the same, as TRL finds them."""
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    policy, reference = models()
    beta = changes.pop("beta", 0.0)
    words = {f"w{n}": n for n in range(67)}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), pad_token="w0", eos_token="w1"
    )
    settings: dict[str, Any] = {
        "per_device_train_batch_size": len(ACTIONS),
        "num_generations": len(ACTIONS),
        "max_completion_length": 16,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
    }
    trainer = trl.GRPOTrainer(
        model=as_huggingface(policy),
        reward_funcs=lambda completions, **rest: [0.0] * len(completions),
        args=trl.GRPOConfig(output_dir=str(tmp_path), **{**settings, **changes}),
        train_dataset=Dataset.from_list([{"prompt": "w2"}] * len(ACTIONS)),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.beta = beta  # a positive one in the settings would load the reference from a hub
    inputs = padded(as_huggingface(reference))
    loss = trainer._compute_loss(trainer.model.train(), inputs)
    loss.backward()
    return loss.item(), gradients(trainer.model)


def as_huggingface(model: CwmForCausalLM) -> Any:
    """Return Hugging Face's model with the same weights."""
    fields = {**model.config.to_hf(), "attn_implementation": "eager"}
    other = transformers.CwmForCausalLM(transformers.CwmConfig(**fields))
    other.load_state_dict(model.state_dict())
    return other


@torch.no_grad()
def padded(reference: Any) -> dict[str, Tensor]:
    """Return the batch as TRL has it: prompts padded on the left, completions on the right."""
    prompts, actions, old, advantages = episodes()
    before, after = max(PROMPTS), max(ACTIONS)

    def left(rows: list[list[int]]) -> Tensor:
        return torch.tensor([[0] * (before - len(row)) + row for row in rows])

    def right(rows: list[list[Any]]) -> Tensor:
        return torch.tensor([row + [0] * (after - len(row)) for row in rows])

    masks = left([[1] * n for n in PROMPTS]), right([[1] * n for n in ACTIONS])
    ids_et = torch.cat((left(prompts), right(actions)), 1)
    mask_et = torch.cat(masks, 1)
    logits_etv = reference(ids_et, attention_mask=mask_et).logits[:, before - 1 : -1]
    picked_et1 = logits_etv.log_softmax(-1).gather(2, right(actions)[..., None])
    return {
        "prompt_ids": left(prompts),
        "prompt_mask": masks[0],
        "completion_ids": right(actions),
        "completion_mask": masks[1],
        "advantages": torch.tensor(advantages),
        "old_per_token_logps": right(old),
        "ref_per_token_logps": picked_et1[..., 0],
        "num_items_in_batch": masks[1].sum(),
    }


def gradients(model: Any) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_equal_trl_s(name: str, tmp_path: Path) -> None:
    loss, changes = CASES[name]
    found, gradient = ours(loss)
    wanted, wanted_gradient = theirs(tmp_path, dict(changes))
    assert found == pytest.approx(wanted, rel=1e-5)
    assert gradient.keys() == wanted_gradient.keys()
    for weight, value in gradient.items():
        torch.testing.assert_close(value, wanted_gradient[weight], rtol=1e-4, atol=1e-6)
    assert max(value.abs().max() for value in gradient.values()) > 0.01
