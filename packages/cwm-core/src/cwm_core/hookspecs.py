"""Every hook of the stack, on one screen.

A collected hook returns the components of one kind, which is the hook's name without ``cwm_``.
Each component's `target` is a config class; the brackets give the signature of its `build`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from cwm_core.env.trajectory import Trajectory
    from cwm_core.plugins import Command, Component

hookspec = pluggy.HookspecMarker("cwm")
hookimpl = pluggy.HookimplMarker("cwm")

# mypy: disable-error-code="empty-body"


@hookspec
def cwm_programs() -> list[Component]:
    """Where programs to trace come from [build() -> Iterable[Program]]."""


@hookspec
def cwm_tracers() -> list[Component]:
    """What records executions [build(limits=None) -> Tracer]."""


@hookspec
def cwm_value_renderers() -> list[Component]:
    """How traces show values of some classes [build() -> ValueRenderer]."""


@hookspec
def cwm_input_generators() -> list[Component]:
    """What invents inputs for functions [build() -> InputGenerator]."""


@hookspec
def cwm_environments() -> list[Component]:
    """Sets of tasks with dynamics [build(tokenizer=None) -> Environment]."""


@hookspec
def cwm_agents() -> list[Component]:
    """What decides the next action [build(engine) -> Agent]."""


@hookspec
def cwm_mutators() -> list[Component]:
    """What breaks programs on purpose [build() -> Mutator]."""


@hookspec
def cwm_image_strategies() -> list[Component]:
    """Ways to find out how a repository is built and tested [build() -> ImageStrategy]."""


@hookspec
def cwm_sandboxes() -> list[Component]:
    """Where untrusted code runs [build(snapshot=None) -> Sandbox]."""


@hookspec
def cwm_executors() -> list[Component]:
    """What runs many independent items [build() -> Executor]."""


@hookspec
def cwm_engines() -> list[Component]:
    """What produces tokens [build() -> Engine]."""


@hookspec
def cwm_sources() -> list[Component]:
    """Training documents [build(tokenizer, loss_on) -> DocumentSource]."""


@hookspec
def cwm_mixers() -> list[Component]:
    """The order in which sources are read [build(lengths, seed) -> Mixer]."""


@hookspec
def cwm_models() -> list[Component]:
    """Model architectures and presets [build(vocab_size) -> torch.nn.Module]."""


@hookspec
def cwm_attentions() -> list[Component]:
    """Attention backends [build() -> Attention]."""


@hookspec
def cwm_optimizers() -> list[Component]:
    """Optimizers [build(named_parameters) -> torch.optim.Optimizer]."""


@hookspec
def cwm_schedules() -> list[Component]:
    """Learning-rate factors [build() -> Callable[[float], float] of progress in 0..1]."""


@hookspec
def cwm_advantages() -> list[Component]:
    """Advantage estimators [build() -> AdvantageEstimator]."""


@hookspec
def cwm_policy_losses() -> list[Component]:
    """What a policy is trained to minimise [build() -> PolicyObjective]."""


@hookspec
def cwm_rewards() -> list[Component]:
    """Scores of finished trajectories [build() -> Reward]."""


@hookspec
def cwm_benchmarks() -> list[Component]:
    """Evaluations [build(tokenizer=None, limit=None) -> Benchmark]."""


@hookspec
def cwm_loggers() -> list[Component]:
    """Where metrics go besides metrics.jsonl [build(run_dir) -> MetricLogger]."""


@hookspec
def cwm_commands() -> list[Command]:
    """Subcommands of `cwm`: Typer apps or functions, by import string."""


@hookspec
def cwm_probes() -> list[str]:
    """What `cwm doctor` looks for besides its own, as ``"module:function"`` [() -> Finding]."""


@hookspec
def cwm_config_packages() -> list[str]:
    """Packages with YAML recipes and experiments, as ``"pkg://module.path"``."""


@hookspec
def cwm_run_started(run_dir: Path, command: str, config: dict[str, Any]) -> None:
    """A command opened its run directory."""


@hookspec
def cwm_metrics(run_dir: Path, step: int, metrics: dict[str, float]) -> None:
    """A run logged metrics."""


@hookspec
def cwm_checkpoint_saved(run_dir: Path, path: Path, step: int) -> None:
    """A training run saved a checkpoint."""


@hookspec
def cwm_validation(model: Any, tokenizer: Any, step: int, metrics: dict[str, float]) -> None:
    """A training run measures its model, which is in evaluation precision; add to `metrics`."""


@hookspec
def cwm_trajectory_finished(run_dir: Path, trajectory: Trajectory) -> None:
    """An episode ended."""


@hookspec
def cwm_run_finished(run_dir: Path, status: str) -> None:
    """A run ended: ``"done"``, ``"stopped"`` or ``"failed"``."""
