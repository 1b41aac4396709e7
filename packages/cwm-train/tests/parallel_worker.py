"""What test_parallel runs in processes that a launcher starts: train, and say how it went."""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, distributed

from cwm_train.attention.sdpa import SdpaAttention
from cwm_train.data.batch import Batch
from cwm_train.model.config import FULL, SLIDING, CwmModelConfig
from cwm_train.model.loss import IGNORE, head_cross_entropy
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.optim.config import AdamW, Muon
from cwm_train.parallel.apply import spread, whole_sequences
from cwm_train.parallel.batch import share_of
from cwm_train.parallel.config import ParallelConfig
from cwm_train.parallel.gradients import SpreadGradients, clip
from cwm_train.parallel.mesh import Grid, build_grid

ROWS, TOKENS, CLIP, Z_LOSS = 4, 32, 1.0, 0.01
OPTIMIZERS = {"adamw": AdamW(lr=2e-3, eps=1e-5), "muon": Muon(lr=0.01, adamw=AdamW(eps=1e-5))}


def small_model(**changes: object) -> CwmForCausalLM:
    """A model with both kinds of layers, shared key heads and a window shorter than a stretch."""
    torch.manual_seed(0)
    fields = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8, "sliding_window": 6,
        "layer_types": (FULL, SLIDING), "initializer_range": 0.2,
    }  # fmt: skip
    model = CwmForCausalLM(CwmModelConfig(**{**fields, **changes}), SdpaAttention())
    model.head_loss = partial(head_cross_entropy, z_loss=Z_LOSS)
    return model


def batch_of(step: int) -> Batch:
    """Rows of packed documents of many lengths, some across every cut, and padding."""
    draw = torch.Generator().manual_seed(step)
    ids_bt = torch.randint(0, 8, (ROWS, TOKENS), generator=draw)
    ids_bt = (ids_bt * 7 + torch.arange(TOKENS)) % 64
    positions_bt, document_bt = torch.zeros_like(ids_bt), torch.full_like(ids_bt, -1)
    labels_bt = ids_bt.roll(-1, 1)
    for row in range(ROWS):
        start, number = 0, 0
        end_of_documents = TOKENS - row
        while start < end_of_documents:
            length = int(torch.randint(3, 30, (1,), generator=draw))
            end = min(start + length, end_of_documents)
            positions_bt[row, start:end] = torch.arange(end - start)
            document_bt[row, start:end] = number
            labels_bt[row, end - 1] = IGNORE
            start, number = end, number + 1
        labels_bt[row, end_of_documents:] = IGNORE
    return Batch(ids_bt, positions_bt, document_bt, labels_bt)


def steps_of(processes: int) -> int:
    """Steps that are compared; combinations of forms need more processes and get fewer."""
    return 20 if processes == 2 else 5


def train_alone(model: CwmForCausalLM, optimizer: str, steps: int) -> dict[str, Any]:
    """The numbers of one process."""
    engine = OPTIMIZERS[optimizer].build(model.named_parameters())
    losses = []
    for step in range(steps):
        batch = batch_of(step)
        loss = loss_of(model, batch) / batch.loss_tokens
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        engine.step()
        engine.zero_grad()
        losses.append(loss.item())
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    return {"losses": losses, "weights": weights, "scores": scores_of(model)}


def train_spread(model: CwmForCausalLM, optimizer: str, parallel: ParallelConfig) -> dict[str, Any]:
    """The numbers of all processes together, and the bytes of keys that each one got."""
    grid = build_grid(parallel, torch.device("cpu"))
    reshard = parallel.reshard_after_forward
    spread(model, grid, reshard_after_forward=reshard, z_loss=Z_LOSS)
    engine = OPTIMIZERS[optimizer].build(model.named_parameters())
    gradients = SpreadGradients(model, grid)
    losses = []
    for step in range(steps_of(grid.sizes.processes)):
        batch = batch_of(step)
        scale = 1 / batch.loss_tokens
        parts = share_of(batch, grid).split(2)
        losses.append(float(gradients.add(parts, scale)) * scale)
        clip(model.parameters(), CLIP)
        engine.step()
        engine.zero_grad()
    with whole_sequences(model):
        scores = scores_of(model)
    weights = {name: t.full_tensor() for name, t in model.state_dict().items()}
    return {
        "losses": losses, "weights": weights, "scores": scores,
        "fetched": fetched_bytes(model, grid) if grid.sizes.context > 1 else [],
    }  # fmt: skip


def loss_of(model: CwmForCausalLM, batch: Batch) -> Tensor:
    return model(batch.ids_bt, batch.positions_bt, batch.document_bt, labels_bt=batch.labels_bt)


def scores_of(model: CwmForCausalLM) -> tuple[Tensor, ...]:
    batch = batch_of(99)
    return model.scores(
        batch.ids_bt,
        batch.labels_bt,
        positions_bt=batch.positions_bt,
        document_bt=batch.document_bt,
    )


def fetched_bytes(model: CwmForCausalLM, grid: Grid) -> list[list[int]]:
    """Bytes that each process receives in the layers of one forward pass, in their order."""
    received: list[int] = []
    original = distributed.all_to_all_single

    def counting(output: Tensor, *args: Any, **kwargs: Any) -> Any:
        received.append(output.nbytes)
        return original(output, *args, **kwargs)

    with mock.patch.object(distributed, "all_to_all_single", counting), torch.no_grad():
        loss_of(model, share_of(batch_of(7), grid))
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, received)
    return everyone


Case = tuple[dict[str, Any], str, dict[str, Any]]
CASES: dict[str, Case] = {
    "shard": ({"shard": 2}, "muon", {}),
    "shard-gathered": ({"shard": 2, "reshard_after_forward": False}, "adamw", {}),
    "replicate": ({"replicate": 2, "shard": 1}, "adamw", {}),
    "tensor": ({"tensor": 2}, "adamw", {}),
    "tensor-tied": ({"tensor": 2}, "muon", {"tie_word_embeddings": True}),
    "context": ({"context": 2}, "adamw", {}),
    "shard-tensor": ({"shard": 2, "tensor": 2}, "muon", {}),
    "context-tensor": ({"context": 2, "tensor": 2}, "adamw", {}),
    "replicate-context": ({"replicate": 2, "context": 2}, "adamw", {}),
    "context-4": ({"context": 4}, "muon", {"sliding_window": 20}),
}


def processes_of(case: Case) -> int:
    fields = {"replicate": 1, "shard": 1, "context": 1, "tensor": 1, **case[0]}
    return fields["replicate"] * fields["shard"] * fields["context"] * fields["tensor"]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", timeout=timedelta(seconds=120))
    for name, case in CASES.items():
        if processes_of(case) != distributed.get_world_size():
            continue
        fields, optimizer, changes = case
        result = train_spread(small_model(**changes), optimizer, ParallelConfig(**fields))
        if distributed.get_rank() == 0:
            torch.save(result, folder / f"{name}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
