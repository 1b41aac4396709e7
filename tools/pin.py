"""Keep exact pins of the whole dependency tree in the root's `[tool.uv] constraint-dependencies`.

uv refuses a lock file without absolute registry addresses, so the lock stays out of version control
and these pins take its place: every `uv sync` resolves to the same versions.

    uv run tools/pin.py             add what is new, drop what is gone, keep the other pins
    uv run tools/pin.py --upgrade   move every pin but the held ones to the newest release
    uv run tools/pin.py --check     change nothing; exit 1 when the pins are not current
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tomlkit
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
EXPORT = [
    "uv", "export", "--quiet", "--all-packages", "--all-extras", "--all-groups",
    "--no-hashes", "--no-annotate", "--no-header", "--no-emit-workspace",
]  # fmt: skip


def read_pins(root: Path) -> list[str]:
    """The pins written in the root `pyproject.toml`."""
    document = tomlkit.parse((root / "pyproject.toml").read_text())
    return [str(pin) for pin in document["tool"]["uv"]["constraint-dependencies"]]


def write_pins(root: Path, pins: list[str]) -> None:
    """Replace the pins, leaving the rest of the file as it is."""
    path = root / "pyproject.toml"
    document = tomlkit.parse(path.read_text())
    array = tomlkit.array()
    array.extend(pins)
    array.multiline(True)
    document["tool"]["uv"]["constraint-dependencies"] = array
    path.write_text(tomlkit.dumps(document))


def held(root: Path) -> set[str]:
    """Names of the packages that an upgrade leaves alone."""
    document = tomlkit.parse((root / "pyproject.toml").read_text())
    return set(document["tool"]["cwm"]["pin"]["hold"])


def public(requirement: str) -> str:
    """Strip the local part of a pinned version (`2.13.0+cpu`): a registry does not know it."""
    parsed = Requirement(requirement)
    (specifier,) = parsed.specifier
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{parsed.name}=={Version(specifier.version).public}{marker}"


def resolve(root: Path, pins: list[str]) -> list[str]:
    """Resolve the workspace under `pins`; returns one exact requirement per package and marker.

    Works on a copy of the `pyproject.toml` files, and from the registry alone: a local directory
    of wheels would hide the dependencies that the registry's wheels declare.

    Raises `subprocess.CalledProcessError` when there is no solution (uv has printed why).
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("UV_FIND_LINKS", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for manifest in [root / "pyproject.toml", *root.glob("packages/*/pyproject.toml")]:
            target = copy / manifest.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(manifest, target)
        write_pins(copy, pins)
        out = subprocess.run(EXPORT, cwd=copy, env=environment, check=True, capture_output=True)
    lines = [line.strip() for line in out.stdout.decode().splitlines()]
    return sorted(public(line) for line in lines if line and not line.startswith(("#", "-e")))


def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="exit 1 when the pins are not current")
    mode.add_argument("--upgrade", action="store_true", help="move pins to the newest releases")
    parser.add_argument("--root", type=Path, default=ROOT, help="workspace root")
    options = parser.parse_args(argv)
    before = read_pins(options.root)
    keep = held(options.root)
    start = [p for p in before if not options.upgrade or Requirement(p).name in keep]
    try:
        after = resolve(options.root, start)
    except subprocess.CalledProcessError as error:
        print(error.stderr.decode(), file=sys.stderr)
        return 1
    added, gone = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    for sign, pins in (("+", added), ("-", gone)):
        for pin in pins:
            print(f"{sign} {pin}")
    if options.check:
        if added or gone:
            print("pins are not current: run `uv run tools/pin.py`", file=sys.stderr)
        return 1 if added or gone else 0
    write_pins(options.root, after)
    print(f"{len(after)} pins written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
