"""Curves of one or more training runs as inline SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cwm_train.report.runs import Points, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 400
"""Points of a curve; more are averaged, so that the page stays small."""

_PANELS = (
    ("loss", "training loss (nats per token)"),
    ("lr", "learning rate"),
    ("grad_norm", "gradient norm"),
    ("tokens_per_s", "tokens per second"),
    ("mfu", "model FLOPs utilization"),
)


def draw_curves(runs: Sequence[Run]) -> str:
    """Return one SVG: a panel per kind of value, over tokens, the runs one on the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(runs)
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(11, 3.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 2, squeeze=False).flatten()
    for axis, (title, lines) in zip(axes, panels.items()):
        _draw(axis, title, lines)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def _panels(runs: Sequence[Run]) -> dict[str, dict[str, Points]]:
    wanted = dict(_PANELS)
    for key in sorted({key for run in runs for key in run.keys("validation/")}):
        wanted[key] = key.replace("/", " ").replace("_", " ")
    panels = {
        title: {run.name: points for run in runs if (points := run.points(key))}
        for key, title in wanted.items()
    }
    shares = {
        _label(run, key, len(runs)): run.points(key) for run in runs for key in run.keys("share/")
    }
    return {
        title: lines for title, lines in {**panels, "share of each source": shares}.items() if lines
    }


def _label(run: Run, key: str, runs: int) -> str:
    source = key.removeprefix("share/")
    return source if runs == 1 else f"{run.name}: {source}"


def _draw(axis: Axes, title: str, lines: dict[str, Points]) -> None:
    for name, points in lines.items():
        thin = _thin(points)
        marker = "o" if len(thin) < 30 else None
        axis.plot(*zip(*thin), linewidth=1, marker=marker, markersize=3, label=name)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("tokens")
    axis.grid(alpha=0.3)
    if "loss" in title:
        axis.set_yscale("log")
    if len(lines) > 1:
        axis.legend(fontsize=8)


def _thin(points: Points) -> Points:
    size = math.ceil(len(points) / _MOST)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
