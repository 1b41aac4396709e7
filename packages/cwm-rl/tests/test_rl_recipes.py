"""The recipes: every stage is a valid command."""

from __future__ import annotations

import pytest

from cwm_core.cli.recipe import load_recipe
from cwm_core.config import compose
from cwm_core.plugins import resolve

CONFIGS = {
    ("train",): "cwm_train.loop.config:TrainConfig",
    ("rl", "train"): "cwm_rl.train_config:RlConfig",
    ("rl", "demonstrate"): "cwm_rl.config:DemonstrateConfig",
}


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("rl_tools", []),
        ("rl_output", []),
        ("self_improve", []),
        ("cwm_rl", ["servers=[http://node1:8000/v1,http://node2:8000/v1]"]),
    ],
)
def test_every_stage_is_a_valid_command(name: str, overrides: list[str]) -> None:
    recipe = load_recipe(name, overrides)
    assert recipe.stages
    for stage in recipe.stages:
        words = tuple(stage.words)
        command = next(c for c in CONFIGS if words[: len(c)] == c)
        config = compose(
            " ".join(command), resolve(CONFIGS[command]), list(words[len(command) :]), None
        )
        assert config is not None


def test_the_cluster_recipe_is_the_papers() -> None:
    (stage,) = load_recipe("cwm_rl", ["servers=[http://node1:8000/v1]"]).stages
    config = compose("rl train", resolve(CONFIGS["rl", "train"]), list(stage.words[2:]), None)
    assert (config.advantage.name, config.loss.name, config.max_staleness) == ("cwm", "cwm", 100)
    assert (config.loss.divisor, config.loss.clip_low, config.loss.clip_high) == (131072, 0.2, 0.25)
    assert config.engines.servers == ("http://node1:8000/v1",)
    assert config.tasks["code"].solve_rates == (0.1, 0.7)
