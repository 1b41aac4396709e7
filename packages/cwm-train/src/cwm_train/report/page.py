"""A page about training runs that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from cwm_core.atomic import atomic_write
from cwm_train.report.curves import draw_curves
from cwm_train.report.runs import Run, differences, figures


def write_page(runs: Sequence[Run], out: Path) -> None:
    """Write an HTML page on one run, or on several side by side."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cwm_train.report"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("page.html.j2").render(
        title=" and ".join(run.name for run in runs),
        runs=runs,
        figures=figures(runs),
        differences=differences(runs),
        curves=Markup(draw_curves(runs)),
        config=runs[0].config if len(runs) == 1 else {},
    )
    atomic_write(out, page)
