"""The trainer's process, one of several under a launcher."""

from __future__ import annotations

from cwm_rl.board.beacon import Beacon
from cwm_rl.train_config import RlConfig


def train(config: RlConfig, beacon: Beacon) -> None:
    """Train until the budget is used."""
    import torch

    from cwm_rl.trainer.loop import RlTrainer
    from cwm_rl.trainer.setup import join_processes, load_policy

    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    device = join_processes(config)
    model, tokenizer = load_policy(config)
    RlTrainer(config, model, tokenizer, device, beacon).fit()
