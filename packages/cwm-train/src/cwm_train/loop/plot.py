"""The loss curve as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from cwm_core.atomic import atomic_path
from cwm_core.rundir import read_metrics


def plot_losses(metrics: Path, directory: Path) -> None:
    """Draw training and validation loss, and accuracy if measured, over tokens.

    Writes ``loss.svg`` and ``loss.png``; nothing if there are no losses yet.
    """
    entries = read_metrics(metrics)
    losses = [(e["step"], e["loss"]) for e in entries if "loss" in e]
    if not losses:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    axis.plot(*zip(*losses), linewidth=1, label="training loss")
    _series(axis, entries, "validation/loss", "validation loss", "C1")
    axis.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
    axis.grid(alpha=0.3)
    lines, labels = axis.get_legend_handles_labels()
    if any("validation/frame_accuracy" in e for e in entries):
        right = axis.twinx()
        _series(right, entries, "validation/frame_accuracy", "frame accuracy", "C2")
        right.set(ylabel="accuracy", ylim=(0, 1))
        more = right.get_legend_handles_labels()
        lines, labels = lines + more[0], labels + more[1]
    axis.legend(lines, labels, loc="center right")
    for kind in ("svg", "png"):
        with atomic_path(directory / f"loss.{kind}") as temporary:
            figure.savefig(temporary, format=kind, dpi=150)


def _series(
    axis: object, entries: list[dict[str, float]], key: str, label: str, color: str
) -> None:
    points = [(e["step"], e[key]) for e in entries if key in e]
    if points:
        axis.plot(*zip(*points), marker="o", markersize=3, color=color, label=label)  # type: ignore[attr-defined]
