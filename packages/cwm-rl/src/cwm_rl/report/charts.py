"""Charts of a run as inline SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cwm_rl.report.reading import RlRun, Stretch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS: dict[str, tuple[str, ...]] = {
    "return": ("return",),
    "share of solved episodes": ("solved",),
    "entropy (nats per token)": ("entropy",),
    "clipped tokens": ("clipped_low", "clipped_high"),
    "trainer against engine": ("engine_kl", "engine_difference"),
    "staleness (steps)": ("staleness", "staleness_max"),
    "tokens per episode": ("action_tokens",),
    "gradient norm": ("grad_norm",),
    "seconds per step": ("wait_s", "learn_s", "publish_s"),
}
_WORK, _WAIT, _START = "#4c78a8", "#e45756", "#bab0ac"
_MOST = 2000
"""Stretches of a timeline that are drawn; shorter ones are left out first."""


def curves(run: RlRun) -> str:
    """Return a panel per kind of value, over the steps."""
    panels = {**_PANELS, **_by_task(run.metrics)}
    figure = _figure(11, 2.6 * -(-len(panels) // 3))
    axes = figure.subplots(-(-len(panels) // 3), 3, squeeze=False).flatten()
    for axis, (title, names) in zip(axes, panels.items()):
        for name in names:
            points = [(line["step"], line[name]) for line in run.metrics if name in line]
            if points:
                axis.plot(*zip(*points), linewidth=1, label=name)
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
        if len(names) > 1 and axis.lines:
            axis.legend(fontsize=7)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return _svg(figure)


def staleness(run: RlRun) -> str:
    """Return a histogram of how old the oldest trained episode of each step was."""
    ages = run.ages()
    figure = _figure(5, 2.4)
    axis = figure.subplots()
    axis.bar(list(ages), list(ages.values()), color=_WORK)
    axis.set_xlabel("steps that the newest token of the oldest episode was behind")
    axis.set_ylabel("steps of the run")
    return _svg(figure)


def lengths(run: RlRun) -> str:
    """Return a histogram of the tokens of episodes."""
    counts = [tokens for group in run.groups for tokens in group["tokens"]]
    figure = _figure(5, 2.4)
    axis = figure.subplots()
    if counts:
        axis.hist(counts, bins=40, color=_WORK)
    axis.set_xlabel("generated tokens of an episode")
    return _svg(figure)


def timeline(run: RlRun) -> str:
    """Return who worked when, and who waited."""
    names = list(run.timelines)
    figure = _figure(11, 0.6 + 0.4 * max(1, len(names)))
    axis = figure.subplots()
    for row, name in enumerate(names):
        _draw_stretches(axis, row, run.timelines[name])
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("seconds (blue: works, red: waits, grey: starts)")
    axis.invert_yaxis()
    return _svg(figure)


def _draw_stretches(axis: Axes, row: int, stretches: Sequence[Stretch]) -> None:
    kept = sorted(stretches, key=lambda each: -each.seconds)[:_MOST]
    for color in (_WORK, _WAIT, _START):
        bars = [(e.start_s, e.seconds) for e in kept if _color(e) == color]
        axis.broken_barh(bars, (row - 0.35, 0.7), facecolors=color)


def _color(stretch: Stretch) -> str:
    if stretch.waits_for:
        return _WAIT
    return _START if stretch.what == "starts" else _WORK


def _by_task(metrics: Sequence[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    names = sorted({key for line in metrics for key in line if key.endswith("/solved")})
    return {"solved, by environment": tuple(names)} if len(names) > 1 else {}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
