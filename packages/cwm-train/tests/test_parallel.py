"""Several gloo processes compute what one does: every form of parallelism, and their combinations.

Losses of 20 steps and the weights after them are compared. AdamW divides by the root of the second
moment: with its usual epsilon, gradients that are zero but for rounding would move weights at the
full rate, so these tests use a larger one.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from cwm_core.errors import ConfigError
from cwm_train.attention.base import Layout
from cwm_train.model.config import CwmModelConfig
from cwm_train.parallel.config import ParallelConfig, Sizes, check_length
from cwm_train.parallel.exchange import route
from cwm_train.parallel.tensor import check_divisible

_spec = importlib.util.spec_from_file_location(
    "parallel_worker", Path(__file__).with_name("parallel_worker.py")
)
worker: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)

FORMS = {
    processes: [
        name for name, case in worker.CASES.items() if worker.processes_of(case) == processes
    ]
    for processes in (2, 4)
}
"""Names of the cases by the processes that they need."""


def launch(folder: Path, processes: int, *arguments: str) -> Path:
    """Run the worker's cases for so many processes, once; return where the results are."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = Path(worker.__file__)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(folder), *arguments],
        env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@cache
def alone(optimizer: str, changes: tuple[tuple[str, object], ...], steps: int) -> dict[str, Any]:
    return worker.train_alone(worker.small_model(**dict(changes)), optimizer, steps)


def check_forms(folder: Path, names: list[str]) -> None:
    assert names
    for name in names:
        _, optimizer, changes = worker.CASES[name]
        found = torch.load(folder / f"{name}.pt")
        steps = worker.steps_of(worker.processes_of(worker.CASES[name]))
        expected = alone(optimizer, tuple(changes.items()), steps)
        assert len(found["losses"]) == steps
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5), name
        close(found["weights"], expected["weights"], name)
        close(found["scores"], expected["scores"], name)
        assert found["fetched"] == needed_bytes(worker.CASES[name]), name


def close(found: Any, expected: Any, name: str) -> None:
    torch.testing.assert_close(
        found, expected, atol=1e-5, rtol=0, msg=lambda problem: f"{name}: {problem}"
    )


def needed_bytes(case: Any) -> list[list[int]]:
    """Bytes that each process needs: keys and values from the first that any of its queries sees.

    Found the slow way, in the mask of the whole sequence. No bytes are in vain: processes that
    share the heads of a layer get their own heads only.
    """
    fields, _, changes = case
    context, tensor = fields.get("context", 1), fields.get("tensor", 1)
    if context == 1:
        return []
    config = worker.small_model(**changes).config
    batch = worker.batch_of(7)
    layout = Layout.of_sequence(batch.positions_bt, batch.document_bt)
    length = worker.TOKENS // context
    token_bytes = 2 * (config.num_key_value_heads // tensor) * config.head_dim * 4
    everyone = []
    for rank in range(worker.processes_of(case)):
        part, data = rank // tensor % context, rank // tensor // context
        rows = slice(data, None, worker.processes_of(case) // tensor // context)
        start, received = part * length, []
        for layer in range(config.num_hidden_layers):
            seen = layout.visible(config.window(layer))[rows, 0, start : start + length]
            padding = batch.document_bt[rows, start : start + length] < 0
            seen = seen & ~padding[:, :, None]
            first = min(int(seen.any(0).any(0).nonzero()[0]), start)
            received.append((start - first) * len(seen) * token_bytes)
        everyone.append(received)
    return everyone


def test_two_processes_equal_one(tmp_path):
    """Sharded, replicated, by heads and columns, along the sequence; keys travel sparingly."""
    check_forms(launch(tmp_path, 2), FORMS[2])


@pytest.mark.skipif("CWM_TEST_FOUR_PROCESSES" not in os.environ, reason="a minute of four cores")
def test_four_processes_equal_one(tmp_path):
    """Two forms at a time, and a sequence in four stretches."""
    check_forms(launch(tmp_path, 4), FORMS[4])


def test_routes_agree():
    """What one gives is what the other gets, whatever is needed; it is the last of its tokens."""
    tokens = 5
    for halos in ([0, 5, 10, 15], [0, 0, 0, 0], [0, 1, 7, 3], [0, 4, 0, 11]):
        ways = [route(halos, tokens, rank) for rank in range(4)]
        assert [sum(way.gets) for way in ways] == halos
        assert [[way.gives[r] for way in ways] for r in range(4)] == [list(w.gets) for w in ways]
        assert all(way.busy == any(halos) for way in ways)
    assert route([0, 0, 7, 0], tokens, 0).gives == (0, 0, 2, 0)
    assert route([0, 0, 7, 0], tokens, 1).gives == (0, 0, 5, 0)


def test_processes_fill_what_is_left():
    assert ParallelConfig(tensor=2, context=2).sizes(16) == Sizes(1, 4, 2, 2)
    assert ParallelConfig(replicate=2).sizes(8) == Sizes(2, 4, 1, 1)
    assert ParallelConfig().sizes(1) == Sizes()
    for config, processes in ((ParallelConfig(tensor=2), 1), (ParallelConfig(shard=3), 8)):
        with pytest.raises(ConfigError, match="torchrun"):
            config.sizes(processes)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="set sequence_length=1020"):
        check_length(1023, Sizes(context=2, tensor=2))
    shape = CwmModelConfig(num_attention_heads=12, num_key_value_heads=3, vocab_size=99)
    with pytest.raises(ConfigError, match=r"num_key_value_heads \(3\)"):
        check_divisible(shape, 2)
    with pytest.raises(ConfigError, match="vocab_size"):
        check_divisible(shape.model_copy(update={"num_key_value_heads": 6}), 2)
    check_divisible(CwmModelConfig(), 8)
