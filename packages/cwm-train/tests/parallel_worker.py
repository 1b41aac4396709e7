"""What test_parallel runs in processes that a launcher starts: train, and say how it went."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed

from cwm_train.attention.sdpa import SdpaAttention
from cwm_train.data.batch import Batch
from cwm_train.model.config import FULL, SLIDING, CwmModelConfig
from cwm_train.model.loss import IGNORE
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.optim.config import AdamW, Muon
from cwm_train.parallel.apply import spread
from cwm_train.parallel.batch import share_of
from cwm_train.parallel.config import ParallelConfig
from cwm_train.parallel.gradients import SpreadGradients, clip
from cwm_train.parallel.mesh import build_grid

STEPS, ROWS, TOKENS, CLIP = 20, 4, 32, 1.0
OPTIMIZERS = {"adamw": AdamW(lr=2e-3, eps=1e-5), "muon": Muon(lr=0.01)}


def small_model(**changes: object) -> CwmForCausalLM:
    """A model with both kinds of layers, shared key heads and a window shorter than a stretch."""
    torch.manual_seed(0)
    fields = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8, "sliding_window": 6,
        "layer_types": (FULL, SLIDING, SLIDING), "initializer_range": 0.2,
    }  # fmt: skip
    return CwmForCausalLM(CwmModelConfig(**{**fields, **changes}), SdpaAttention())


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


def train_alone(model: CwmForCausalLM, optimizer: str) -> tuple[list[float], dict]:
    """The numbers of one process."""
    engine = OPTIMIZERS[optimizer].build(model.named_parameters())
    losses = []
    for step in range(STEPS):
        batch = batch_of(step)
        loss = (
            model(batch.ids_bt, batch.positions_bt, batch.document_bt, labels_bt=batch.labels_bt)
            / batch.loss_tokens
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        engine.step()
        engine.zero_grad()
        losses.append(loss.item())
    return losses, {name: tensor.detach() for name, tensor in model.state_dict().items()}


def train_spread(
    model: CwmForCausalLM, optimizer: str, parallel: ParallelConfig
) -> tuple[list[float], dict]:
    """The numbers of all processes together."""
    grid = build_grid(parallel, torch.device("cpu"))
    spread(model, grid, reshard_after_forward=parallel.reshard_after_forward)
    engine = OPTIMIZERS[optimizer].build(model.named_parameters())
    gradients = SpreadGradients(model, grid)
    losses = []
    for step in range(STEPS):
        batch = batch_of(step)
        scale = 1 / batch.loss_tokens
        own = share_of(batch, grid)
        parts = own.split(1)  # accumulated
        losses.append(float(gradients.add(parts, scale)) * scale)
        clip(model.parameters(), CLIP)
        engine.step()
        engine.zero_grad()
    return losses, {name: t.full_tensor() for name, t in model.state_dict().items()}


CASES: dict[str, tuple[dict, str, dict]] = {
    "shard": ({"shard": 2}, "adamw", {}),
    "shard-muon": ({"shard": 2, "reshard_after_forward": False}, "muon", {}),
    "replicate": ({"replicate": 2, "shard": 1}, "adamw", {}),
    "tensor": ({"tensor": 2}, "adamw", {}),
    "tensor-muon-tied": ({"tensor": 2}, "muon", {"tie_word_embeddings": True}),
    "context": ({"context": 2}, "adamw", {}),
    "context-muon": ({"context": 2}, "muon", {"sliding_window": 20}),
    "shard-tensor": ({"shard": 2, "tensor": 2}, "muon", {}),
    "context-tensor": ({"context": 2, "tensor": 2}, "adamw", {}),
    "replicate-context": ({"replicate": 2, "context": 2}, "adamw", {}),
    "context-4": ({"context": 4}, "adamw", {"sliding_window": 20}),
}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    for name, (fields, optimizer, changes) in CASES.items():
        parallel = ParallelConfig(**fields)
        taken = parallel.replicate * parallel.context * parallel.tensor * (parallel.shard or 1)
        if taken != distributed.get_world_size():
            continue
        result = train_spread(small_model(**changes), optimizer, parallel)
        if distributed.get_rank() == 0:
            torch.save(result, folder / f"{name}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
