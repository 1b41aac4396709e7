"""Plans of training runs, against what is counted and measured otherwise."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from cwm_core.errors import ConfigError
from cwm_train.attention.base import Layout
from cwm_train.attention.sdpa import SdpaAttention
from cwm_train.commands.model import app
from cwm_train.model.config import Cwm32b, CwmModelConfig
from cwm_train.model.recompute import apply_activation_checkpointing
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.optim.config import AdamW, Muon
from cwm_train.parallel.config import ParallelConfig
from cwm_train.plan.config import PlanConfig
from cwm_train.plan.memory import CONTEXT_BYTES, memory_parts, peak
from cwm_train.plan.report import plan
from cwm_train.plan.shape import count_parameters, state_bytes
from cwm_train.plan.speed import Speed, flops_per_token, visible_keys

SMALL = CwmModelConfig(
    name="small", vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=4,
    num_attention_heads=8, num_key_value_heads=4, head_dim=32, sliding_window=10_000,
)  # fmt: skip


def value(found: dict, section: str, name: str) -> float:
    return found[section][name]["value"]


@pytest.mark.parametrize("window", [None, 1, 7, 40, 41])
def test_visible_keys_are_those_of_the_mask(window):
    layout = Layout.of_sequence(torch.arange(40)[None], None)
    assert visible_keys(40, window) == pytest.approx(layout.visible(window).sum().item() / 40)


def test_flops_are_those_that_torch_counts():
    tokens = 48
    with torch.device("meta"):
        model = CwmForCausalLM(SMALL, SdpaAttention())
        ids_bt = torch.zeros(1, tokens, dtype=torch.long)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(ids_bt)
    attention = 4 * 8 * 32 * tokens * SMALL.num_hidden_layers  # torch counts what is masked, too
    products = counter.get_total_flops() / tokens - attention
    assert products == 2 * count_parameters(SMALL).products
    causal = 4 * 8 * 32 * (tokens + 1) / 2 * SMALL.num_hidden_layers
    assert flops_per_token(SMALL, tokens) == pytest.approx(3 * (products + causal))


def test_the_released_model_has_its_known_numbers():
    config = PlanConfig(
        model=Cwm32b(name="cwm_32b"), gpus=512, parallel=ParallelConfig(tensor=8), max_tokens=8e12
    )
    found = plan(config)
    total = 32_581_097_472
    assert value(found, "model", "parameters") == total
    layer = 2 * 6144 * 48 * 128 + 2 * 6144 * 8 * 128 + 3 * 6144 * 21504 + 2 * 6144
    assert value(found, "model", "parameters of a layer") == layer
    embedding, norms = 128256 * 6144, 64 * 2 * 6144 + 6144
    assert value(found, "model", "FLOPs per token, products") == 6 * (total - embedding - norms)
    # all layers see 8,192 tokens at most, half of them on average
    attention = 3 * 64 * 4 * 48 * 128 * 8193 / 2
    assert value(found, "model", "FLOPs per token, attention") == pytest.approx(attention)
    fixed = ("weights", "gradients", "optimizer state")
    held = sum(value(found, "memory_bytes", name) for name in fixed)
    assert held == pytest.approx(16 * total / 512)
    rate = value(found, "time", "tokens/s")
    assert value(found, "time", "days") == pytest.approx(8e12 / rate / 86_400)
    assert value(found, "time", "MFU") < config.mfu
    assert found["fits"]


@pytest.mark.parametrize(
    ("mode", "optimizer"), [("none", Muon()), ("selective", AdamW()), ("full", AdamW())]
)
def test_memory_is_what_a_training_step_takes(mode, optimizer):
    """Tensors are tracked through two steps; the plan may be up to a quarter too careful."""
    rows, tokens = 2, 1024
    config = PlanConfig(
        model=SMALL, optimizer=optimizer, sequence_length=tokens, batch_tokens=rows * tokens,
        precision="fp32", recompute=mode, gpus=1,
    )  # fmt: skip
    planned = peak(config, memory_parts(config)).value - CONTEXT_BYTES
    torch.manual_seed(0)
    model = SMALL.build(attention=SdpaAttention())
    apply_activation_checkpointing(model, mode)
    engine = optimizer.build(model.named_parameters())
    ids_bt = torch.randint(0, 4096, (rows, tokens))
    tracker = MemTracker()
    tracker.track_external(model, engine)
    with tracker:
        for _ in range(2):
            tracker.reset_mod_stats()
            model(ids_bt, labels_bt=ids_bt.roll(-1, 1)).backward()
            engine.step()
            engine.zero_grad()
    measured = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    assert 0.95 < planned / measured < 1.25


def test_optimizer_state_is_measured():
    assert state_bytes(AdamW(), SMALL) == (8, 8)
    assert state_bytes(Muon(), SMALL) == (4, 8)


def test_more_processes_hold_less_and_wait_more():
    def found(accumulate: int = 1, **parallel: int) -> tuple[float, float, float]:
        config = PlanConfig(
            model=Cwm32b(name="cwm_32b"), gpus=64, sequence_length=131_072,
            batch_tokens=2**23, accumulate=accumulate, parallel=ParallelConfig(**parallel),
        )  # fmt: skip
        step = Speed(config).step()
        return peak(config, memory_parts(config)).value, step.tensor_s, step.context_s

    alone, context, both = found(), found(8, context=8), found(32, context=4, tensor=8)
    assert alone[0] > context[0] > both[0]
    assert alone[1:] == (0, 0)
    assert context[1] == 0 < context[2]
    assert both[1] > 0


def test_sliding_layers_fetch_no_more_than_their_window():
    def seconds(pattern: str) -> float:
        config = PlanConfig(
            model=Cwm32b(name="cwm_32b", pattern=pattern), gpus=8, sequence_length=131_072,
            batch_tokens=131_072, parallel=ParallelConfig(context=8),
        )  # fmt: skip
        return Speed(config).step().context_s

    assert seconds("s") / seconds("f") == pytest.approx(8191 / (131_072 * 7 / 8))


def test_the_command_prints_a_table_and_json():
    arguments = ["plan", "model=cwm_8b", "gpus=8", "gpu=a100"]
    table = CliRunner().invoke(app, arguments)
    assert table.exit_code == 0, table.output
    assert "8 GPUs: replicate 1 x shard 8 x context 1 x tensor 1" in table.output
    for words in ("tokens/s per GPU", "6 x parameters in matrices", "GiB", "days"):
        assert words in table.output
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert value(found, "time", "GPU hours") == pytest.approx(24 * 8 * value(found, "time", "days"))
    assert "does not fit" in CliRunner().invoke(app, ["plan", "gpus=1", "gpu=rtx4090"]).output


def test_impossible_clusters_are_refused():
    with pytest.raises(ConfigError, match="parallel"):
        plan(PlanConfig(gpus=12, parallel=ParallelConfig(tensor=8)))
    with pytest.raises(ValidationError, match="no float8"):
        PlanConfig(gpu="a100", float8="rowwise")
    with pytest.raises(ValidationError, match="too few"):
        PlanConfig(sequence_length=8192, batch_tokens=8192, accumulate=2)
