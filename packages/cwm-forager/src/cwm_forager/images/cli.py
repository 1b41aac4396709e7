"""The command `cwm image`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def image() -> None:
    """Build and look at executable images of repositories."""


@app.command()
def build(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Repository, URL or sdist; key=value.")
    ],
    out: Annotated[Path, typer.Option(help="Run directory to write.")] = Path("runs/images"),
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with the same keys.")
    ] = None,
) -> None:
    """Build images, run their tests, and write a manifest for each.

    For example: cwm image build more-itertools-10.7.0.tar.gz strategy=activ runs=3. The same
    command continues what was stopped.
    """
    import json

    from cwm_core.cli.work import work_in_run
    from cwm_forager.images.config import BuildConfig
    from cwm_forager.images.work import build_images

    given, overrides = _split(sources)
    listed = [f"sources={json.dumps(given)}"] if given else []
    overrides = [*listed, f"out={out}", *overrides]
    _, built = work_in_run("image build", BuildConfig, build_images, overrides, config)
    if built is None:
        return
    for manifest in built.manifests.values():
        typer.echo(f"{manifest.image}: {manifest.counts()}")


@app.command()
def base(
    name: Annotated[str, typer.Option(help="Tag of the image.")] = "cwm-base:bookworm",
    suite: Annotated[str, typer.Option(help="Release of Debian.")] = "bookworm",
    package: Annotated[
        list[str] | None, typer.Option(help="A further package; may be repeated.")
    ] = None,
    again: Annotated[bool, typer.Option(help="Make it even if it is up to date.")] = False,
) -> None:
    """Make the image that builds start from, without a registry: Debian by debootstrap."""
    from cwm_forager.images.base import BaseImage, make_base

    made = BaseImage(name=name, suite=suite)
    made = made.model_copy(update={"packages": (*made.packages, *(package or ()))})
    typer.echo(make_base(made, again=again, say=typer.echo))


@app.command()
def show(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Manifest or directory.")],
) -> None:
    """Show how an image was built and how its tests end."""
    from cwm_forager.images.manifest import ImageManifest

    found = ImageManifest.read(manifest)
    typer.echo(f"{found.image}  {found.size_bytes / 1e6:.0f} MB  built by {found.strategy}")
    typer.echo(f"commit {found.commit} of {found.source}")
    typer.echo(f"tests: {found.counts()} in {found.test_s:g} s, {found.runs} runs")
    for name in found.flaky:
        typer.echo(f"flaky: {name} {', '.join(found.tests[name].outcomes)}")
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"\n{found.script}")


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Separate sources from overrides, which are ``key=value``."""
    overrides = [word for word in words if _is_override(word)]
    return [word for word in words if word not in overrides], overrides


def _is_override(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and key.replace(".", "").isidentifier()
