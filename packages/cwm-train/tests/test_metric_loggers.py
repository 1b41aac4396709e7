"""Loggers besides metrics.jsonl."""

from __future__ import annotations

import sys

import pytest

from cwm_core.errors import PluginError
from cwm_train.loggers.config import Csv, TensorBoard, Wandb


def test_csv_appends_on_a_second_start(tmp_path):
    for step in (1, 2):
        logger = Csv().build(tmp_path)
        logger.log(step, {"loss": 0.5})
        logger.close()
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,key,value", "1,loss,0.5", "2,loss,0.5"]  # fmt: skip # noqa: E501


def test_tensorboard_writes_events(tmp_path):
    pytest.importorskip("tensorboard")
    logger = TensorBoard().build(tmp_path)
    logger.log(3, {"loss": 0.25})
    logger.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 0.25)]


@pytest.mark.parametrize("config", [TensorBoard(), Wandb()], ids=lambda c: type(c).__name__)
def test_a_missing_library_is_a_clear_error(config, tmp_path, monkeypatch):
    for name in ("tensorboard", "torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PluginError, match="not installed"):
        config.build(tmp_path)
