"""The body of `cwm trace tests`."""

from __future__ import annotations

from pathlib import Path

import typer


def trace_tests(overrides: list[str], config_file: Path | None = None) -> int:
    """Trace a repository's test suite; exit code 1 if outcomes differ from the untraced run."""
    from cwm_core.cli.work import work_in_run
    from cwm_tracer.collect.repository.collecting import collect_tests
    from cwm_tracer.collect.repository.config import TestsConfig

    config, summary = work_in_run("trace tests", TestsConfig, collect_tests, overrides, config_file)
    if summary is None:
        return 0
    outcomes = ", ".join(f"{count} {name}" for name, count in summary["test_outcomes"].items())
    typer.echo(f"{summary['tests']} tests in {summary['test_files']} files: {outcomes}")
    typer.echo(
        f"{summary['traces']} traces of {summary['programs']} functions, {summary['events']} events"
    )
    for rule, count in {**summary["dropped"], **summary["not_kept"]}.items():
        typer.echo(f"  left out: {count} {rule}")
    for note in summary["notes"]:
        typer.echo(f"  note: {', '.join(map(str, note.values()))}")
    for file, message in summary["failures"].items():
        typer.echo(f"  not run: {file}: {message}")
    for test, (untraced, traced) in summary["differences"].items():
        typer.echo(f"  differs: {test}: {untraced}, traced {traced}")
    typer.echo(f"in {config.out / 'traces'}")
    return 1 if summary["differences"] or summary["failures"] else 0
