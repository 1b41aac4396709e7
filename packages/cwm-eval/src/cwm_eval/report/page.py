"""Turns evaluation runs into the HTML, Markdown and JSON reports."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from cwm_core.atomic import atomic_write
from cwm_core.errors import DataError
from cwm_core.trace.frames import START_OF_TRACE
from cwm_eval.report.alignment import align
from cwm_eval.report.answers import answer_view, chosen, clusters, has_answers
from cwm_eval.report.charts import Bar, Series, bar_chart, column_chart, line_chart
from cwm_eval.report.compared import compared_values
from cwm_eval.report.published import published
from cwm_eval.report.selection import NEAR, choose, verdict
from cwm_eval.report.training import Training, read_training
from cwm_eval.results import EvalRun
from cwm_eval.samples import Sample

_log = logging.getLogger(__name__)

_SHOWN_FRAMES = 80
_HEADLINES = (
    "next_frame",
    "state",
    "action",
    "return_value",
    "trace_exact",
    "output",
    "valid",
    "token",
    "accuracy",
    "majority",
    "all",
    "answered",
    "finished",
)
_DIMENSIONS = {
    "construct": "By what the program uses",
    "difficulty": "By the program's difficulty",
    "length": "By the length of the trace (frames)",
    "event": "By the kind of frame",
    "origin": "By origin of the program",
    "subject": "By subject",
    "level": "By level",
    "platform": "By platform",
    "month": "By month of the contest",
    "kind": "By kind",
}
_CHOSEN = ("best", "majority", "verified", "pass")
_PAIRS = 6


def write_report(
    runs: Sequence[EvalRun], out: Path, *, train: Path | None = None, title: str | None = None
) -> None:
    """Write the report of one or more runs; the suffix of `out` chooses HTML, Markdown or JSON.

    Raises `DataError` for another suffix and for a training run without losses.
    """
    writers = {".html": html_report, ".md": markdown_report, ".json": json_report}
    writer = writers.get(out.suffix)
    if writer is None:
        raise DataError(
            f"{out} has no suffix that names a format", f"use one of {', '.join(writers)}"
        )
    atomic_write(out, writer(runs, train=train, title=title))


def html_report(
    runs: Sequence[EvalRun], *, train: Path | None = None, title: str | None = None
) -> str:
    """Return one self-contained page: styles, scripts and pictures inline, nothing fetched."""
    view = _view(runs, train, title)
    view["charts"] = _charts(runs[0].results)
    view["choices"] = _choices_chart(runs[0].results)
    view["training_charts"] = _training_charts(view["training"])
    found = [run.samples for run in runs]
    view["samples"] = [
        _sample_view(sample, number)
        for number, samples in enumerate(found)
        for sample in choose(samples, max(8, 24 // len(runs)))
    ]
    view["answers"] = [
        answer_view(sample, number)
        for number, samples in enumerate(found)
        for sample in chosen(samples, max(40, 200 // len(runs)))
    ]
    view["answered"] = sum(has_answers(sample) for samples in found for sample in samples)
    view["clusters"] = clusters(found[0])
    view["opened"] = _first_to_show([each["verdict"] for each in view["samples"]])
    view["constructs"] = sorted({name for each in view["samples"] for name in each["constructs"]})
    return _templates().get_template("report.html.j2").render(view)


def markdown_report(
    runs: Sequence[EvalRun], *, train: Path | None = None, title: str | None = None
) -> str:
    """Return the figures as Markdown tables."""
    return _templates().get_template("report.md.j2").render(_view(runs, train, title))


def json_report(
    runs: Sequence[EvalRun], *, train: Path | None = None, title: str | None = None
) -> str:
    """Return all results and the training facts as JSON."""
    view = _view(runs, train, title)
    published_here = [figure._asdict() for figure in view["published"]]
    training = None if view["training"] is None else view["training"].facts
    content = {
        "title": view["title"],
        "runs": [{"path": str(run.path), **run.results} for run in runs],
        "training": training,
        "comparisons": view["comparisons"],
        "published": published_here,
    }
    return json.dumps(content, indent=2) + "\n"


def _view(runs: Sequence[EvalRun], train: Path | None, title: str | None) -> dict[str, Any]:
    if not runs:
        raise DataError("there is no run to report on", "name one or more run directories")
    infos: dict[str, Any] = {}
    for run in runs:
        for name, metric in run.results["metrics"].items():
            infos.setdefault(name, metric)
    main = runs[0].results
    benchmarks = {run.results["benchmark"] for run in runs}
    return {
        "title": title or _title(benchmarks),
        "published": [each for name in sorted(benchmarks) for each in published(name)],
        "comparisons": _comparisons(runs),
        "runs": [run.results for run in runs],
        "main": main,
        "infos": infos,
        "headlines": [*_choices(main), *(name for name in _HEADLINES if name in main["metrics"])],
        "training": _own_training(runs) if train is None else read_training(train),
        "dimensions": {k: v for k, v in _DIMENSIONS.items() if k in main["breakdowns"]},
    }


def _choices(results: dict[str, Any]) -> list[str]:
    """Return the metrics of choices among the most answers."""
    found = {name.partition("@")[0]: name for name in results["metrics"] if "@" in name}
    return [found[kind] for kind in _CHOSEN if kind in found]


def _title(benchmarks: set[str]) -> str:
    if benchmarks == {"trace_prediction"}:
        return "How well the model predicts executions"
    return f"Evaluation on {', '.join(sorted(benchmarks))}"


def _comparisons(runs: Sequence[EvalRun]) -> list[dict[str, Any]]:
    """Compare every other run with the first, where they measured the same."""
    found = []
    for run in runs[1 : _PAIRS + 1]:
        try:
            found.append(compared_values(runs[0], run))
        except DataError as error:
            _log.info("not compared: %s", error.message)
    return found


def _own_training(runs: Sequence[EvalRun]) -> Training | None:
    """Read the training that the runs name, if it can be read: the figures stand without it."""
    for run in runs:
        if (path := run.results.get("train_run")) is not None:
            try:
                return read_training(Path(path))
            except DataError as error:
                _log.warning("the report goes without the training: %s", error.message)
    return None


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cwm_eval.report"),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(share=_share, interval=_interval, cell=_markdown_cell)
    return environment


# Figures


def _share(metric: dict[str, Any]) -> str:
    value = metric["value"]
    if value is None:
        return "–"
    return f"{value:.1%}" if metric.get("unit", "share") == "share" else f"{value:.4f}"


def _interval(metric: dict[str, Any]) -> str:
    low, high = metric["low"], metric["high"]
    if low is None or high is None:
        return "interval unknown"
    if metric.get("unit", "share") == "share":
        return f"{100 * low:.1f}–{high:.1%}"
    return f"{low:.4f}–{high:.4f}"


def _markdown_cell(text: str) -> str:
    """Escape what would end a table cell or start HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


# Pictures


def _charts(results: dict[str, Any]) -> dict[str, Any]:
    groups = results["breakdowns"]
    metric, about = _charted(results)
    charts = {}
    steps = _bars(groups.get("step", {}), metric)
    if steps:
        title = "Share of exact next frames by step"
        charts["step"] = column_chart(title, steps, "step of the execution")
    for dimension, title in _DIMENSIONS.items():
        found = _bars(groups.get(dimension, {}), metric)
        if len(found) > 1:
            charts[dimension] = bar_chart(f"{about}. {title}", found[:24])
    return charts


def _charted(results: dict[str, Any]) -> tuple[str, str]:
    """Return the metric that the charts show, and what they say of it."""
    if "accuracy" in results["metrics"]:
        return "accuracy", "Right answers"
    return "next_frame", "Exact next frames"


def _bars(groups: dict[str, Any], metric: str) -> list[Bar]:
    return [
        Bar(name, found["value"], found["low"], found["high"], f"n = {found['count']:,}")
        for name, group in groups.items()
        if (found := group.get(metric)) is not None and found["value"] is not None
    ]


def _choices_chart(results: dict[str, Any]) -> Markup | None:
    """Draw how often each way of choosing among k answers is right; None for a run without."""
    metrics = results["metrics"]
    first = metrics.get("accuracy", {}).get("value")
    series = []
    for kind in _CHOSEN:
        found = {int(n.partition("@")[2]): m["value"] for n, m in metrics.items() if _is(n, kind)}
        points = [(float(k), value) for k, value in found.items() if value is not None]
        series.append(Series(kind, [(1.0, first), *points] if points else []))
    if not series[0].points or first is None:
        return None
    shown = [each for each in series if each.points]
    return line_chart("Share right of choices among k answers", shown, "answers", "share right")


def _is(name: str, kind: str) -> bool:
    head, _, tail = name.partition("@")
    return head == kind and tail.isdigit()


def _training_charts(training: Training | None) -> dict[str, Any]:
    if training is None:
        return {}
    x_title = training.x_title
    charts = {"Loss": line_chart("Loss during training", training.losses, x_title, "loss (nats)")}
    if training.accuracies:
        title = "Teacher-forced accuracy on validation programs"
        charts[title] = line_chart(title, training.accuracies, x_title, "share right")
    return charts


# Samples


def _first_to_show(verdicts: Sequence[str]) -> int:
    """Open the sample that tells most: one with few mistakes."""
    return verdicts.index(NEAR) if NEAR in verdicts else 0


def _sample_view(sample: Sample, run: int) -> dict[str, Any]:
    result = sample.result
    assert result is not None
    pairs = align(result["truth"], [result["truth"][0], *result["free"]["frames"]])
    context = result["context"].replace(START_OF_TRACE, "").rstrip()
    call = f"{sample.metadata.get('entry', 'f')}({sample.metadata.get('input', '')})"
    return {
        "id": sample.task_id,
        "run": run,
        "call": call,
        "context": context,
        "constructs": list(sample.metadata.get("constructs") or ()),
        "difficulty": sample.metadata.get("difficulty"),
        "verdict": verdict(sample),
        "pairs": pairs[:_SHOWN_FRAMES],
        "hidden": max(0, len(pairs) - _SHOWN_FRAMES),
        "right": sum(pair.verdict == "right" for pair in pairs[1:]),
        "frames": len(result["truth"]) - 1,
        "problem": result["free"]["problem"],
        "finish": result["free"]["finish"],
        "search": f"{sample.task_id} {call} {context}".lower(),
    }
