"""A page about a run that needs no other file and no network."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from cwm_core.atomic import atomic_write
from cwm_rl.report import charts
from cwm_rl.report.reading import read_run, utilisation
from cwm_rl.rollout.group import RETURN

_LONGEST = 6000
"""Characters of a turn that are shown."""


def write_page(path: Path, out: Path | None = None) -> Path:
    """Write the page about a run directory, ``report.html`` in it by default; return where it is.

    Raises DataError when the directory is no run of `cwm rl train`.
    """
    run = read_run(path)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cwm_rl.report"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("page.html.j2").render(
        run=run,
        drawings={
            "Curves": Markup(charts.curves(run)),
            "Who worked, and who waited": Markup(charts.timeline(run)),
            "Staleness": Markup(charts.staleness(run)),
            "Length of episodes": Markup(charts.lengths(run)),
        },
        shares={name: utilisation(stretches) for name, stretches in run.timelines.items()},
        last=run.metrics[-1] if run.metrics else {},
        return_key=RETURN,
        longest=_LONGEST,
    )
    target = out or path / "report.html"
    atomic_write(target, page)
    return target
