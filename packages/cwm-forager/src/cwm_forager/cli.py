"""The command `cwm forage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def forage() -> None:
    """Collect and prepare agent trajectories."""


@app.command()
def dedup(
    data: Annotated[str, typer.Argument(metavar="IN", help="Directory of trajectory shards.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Run directory to write.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with the same keys.")
    ] = None,
) -> None:
    """Drop near-duplicate trajectories of the same repository.

    The same command continues what was stopped.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_forager.config import DedupConfig
    from cwm_forager.dedup_run import deduplicate

    given = [f"data={data}", f"out={out}", *(overrides or [])]
    settings, report = work_in_run("forage dedup", DedupConfig, deduplicate, given, config)
    if report is not None:
        _show(report.as_json(), settings.out)


_Overrides = Annotated[list[str] | None, typer.Argument(help="key=value ...")]
_Config = Annotated[Path | None, typer.Option("--config", help="YAML with the same keys.")]


@app.command()
def run(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Run directory to write.")],
    overrides: _Overrides = None,
    config: _Config = None,
) -> None:
    """Let agents play tasks and keep every trajectory.

    For example: cwm forage run runs/a environment=swe environment.tasks=tasks.jsonl agents=oracle.
    The same command continues what was stopped or killed.
    """
    import json

    from cwm_core.cli.work import work_in_run
    from cwm_forager.collect.config import ForageConfig
    from cwm_forager.collect.run import collect

    given = [f"out={out}", *(overrides or [])]
    _, tally = work_in_run("forage run", ForageConfig, collect, given, config)
    if tally is not None:
        for name, counts in tally.as_json()["agents"].items():
            typer.echo(f"{name}: {json.dumps(counts)}")
        typer.echo(f"in {Path(out) / 'trajectories'}")


@app.command()
def tasks(
    source: Annotated[str, typer.Argument(metavar="IN", help="Records, mutants or repository.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="JSON lines to write.")],
    overrides: _Overrides = None,
    config: _Config = None,
) -> None:
    """Make tasks from SWE-bench, SWE-smith, SWE-Gym or R2E-Gym, from mutants or a history.

    For example: cwm forage tasks verified.jsonl tasks.jsonl format=swe-bench
    """
    from cwm_core.config import compose
    from cwm_forager.tasks.config import TasksConfig
    from cwm_forager.tasks.make import make_tasks

    given = [f"source={source}", f"out={out}", *(overrides or [])]
    count = make_tasks(compose("forage tasks", TasksConfig, given, config))
    typer.echo(f"{count} tasks in {out}")


@app.command()
def validate(
    tasks: Annotated[str, typer.Argument(metavar="TASKS", help="JSON lines of tasks.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Run directory to write.")],
    overrides: _Overrides = None,
    config: _Config = None,
) -> None:
    """Prove tasks: the gold patch passes, no patch fails, and the fix lies nowhere in the sandbox.

    Tasks of a history get the tests that their repair makes pass. The sound ones are in
    OUT/tasks.jsonl. The same command continues what was stopped.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_forager.tasks.config import ValidateConfig
    from cwm_forager.tasks.validate_run import validate_all

    given = [f"tasks={tasks}", f"out={out}", *(overrides or [])]
    _, report = work_in_run("forage validate", ValidateConfig, validate_all, given, config)
    if report is not None:
        typer.echo(f"{report['valid']} of {report['tasks']} tasks are sound")
        for reason, count in report["reasons"].items():
            typer.echo(f"{count:6} {reason}")


@app.command()
def mutate(
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="Of the image; or its dir.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Run directory to write.")],
    overrides: _Overrides = None,
    config: _Config = None,
) -> None:
    """Break an image's code in many ways; keep what fails some tests and not all.

    For example: cwm forage mutate runs/images/toolz runs/mutants count=200 seed=1. The same command
    continues what was stopped.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_forager.mutate.config import MutateConfig
    from cwm_forager.mutate.pipeline import mutate as make

    given = [f"manifest={manifest}", f"out={out}", *(overrides or [])]
    settings, report = work_in_run("forage mutate", MutateConfig, make, given, config)
    if report is not None:
        typer.echo(f"{report['kept']} mutants of {report['tried']} candidates: {report['reasons']}")
        if report["kept"] < settings.count:
            typer.echo(f"not {settings.count}: no further candidate was found or allowed")
        typer.echo(f"in {settings.out / 'mutants.jsonl'}")


@app.command()
def export(
    data: Annotated[Path, typer.Argument(metavar="IN", help="Directory of trajectory shards.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File (chat) or directory.")],
    format: Annotated[str, typer.Option(help="chat, mini-swe-agent or atif.")] = "chat",
) -> None:
    """Write trajectories in the format of another tool."""
    from cwm_forager.collect.export import export as write

    typer.echo(f"{write(data, format, out)} trajectories in {out}")


@app.command()
def show(
    data: Annotated[Path, typer.Argument(metavar="IN", help="Directory of trajectory shards.")],
    key: Annotated[str | None, typer.Argument(help="Id of one trajectory.")] = None,
    task: Annotated[str | None, typer.Option(help="Only tasks whose id contains this.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent.")] = None,
    exit: Annotated[str | None, typer.Option(help="Only this exit reason.")] = None,
    resolved: Annotated[bool | None, typer.Option(help="Only (un)resolved ones.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page instead.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 200,
) -> None:
    """Show trajectories: a table, one in full, or a self-contained HTML page."""
    from cwm_forager.show.select import Filter, select
    from cwm_forager.show.terminal import print_one, print_table

    chosen = select(data, Filter(key, task, agent, exit, resolved), limit)
    if html is not None:
        from cwm_forager.show.page import write_page

        typer.echo(f"{write_page(html, chosen)} trajectories in {html}")
    elif key is not None or len(chosen) == 1:
        print_one(*chosen[0])
    else:
        print_table(chosen)


@app.command()
def prune(
    everything: Annotated[
        bool, typer.Option("--all", help="Also what living processes use.")
    ] = False,
    images: Annotated[bool, typer.Option("--images", help="Also all images we built.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what there is.")] = False,
) -> None:
    """Remove the containers, snapshots and directories that dead processes left behind."""
    from cwm_core.errors import RunError
    from cwm_forager.docker.prune import find, remove_all

    found = find(everything=everything, images=images)
    for leftover in found:
        typer.echo(f"{leftover.kind} {leftover.name} {leftover.detail}".rstrip())
    if dry_run:
        return
    failed = remove_all(found)
    typer.echo(f"{len(found) - len(failed)} removed")
    if failed:
        reasons = "; ".join(error.message for _, error in failed)
        raise RunError(f"{len(failed)} could not be removed: {reasons}")


def _show(report: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("repository", "read", "kept", "dropped")
    for name, counts in report["groups"].items():
        table.add_row(name or "(none)", *(str(counts[key]) for key in ("read", "kept", "dropped")))
    table.add_section()
    table.add_row("all", *(str(report[key]) for key in ("read", "kept", "dropped")))
    Console().print(table)
    typer.echo(f"in {out / 'trajectories'}")
