"""Release one package: check its changelog and siblings, build wheel and sdist, tag the commit.

    uv run tools/release.py cwm-tracer            check and build into dist/, change nothing else
    uv run tools/release.py cwm-tracer --tag      the same, then create the tag cwm-tracer-v1.2.3

Uploading stays a step of its own: `uv publish dist/*`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def manifest(package: str, root: Path = ROOT) -> dict:
    """The `[project]` table of a package."""
    path = root / "packages" / package / "pyproject.toml"
    return tomllib.loads(path.read_text())["project"]


def problems(package: str, root: Path = ROOT) -> list[str]:
    """What keeps `package` from being released, one sentence each."""
    project = manifest(package, root)
    version = project["version"]
    found = []
    changelog = (root / "packages" / package / "CHANGELOG.md").read_text()
    if f"\n## {version}\n" not in changelog:
        found.append(f"CHANGELOG.md of {package} has no section '## {version}'")
    for text in project["dependencies"]:
        need = Requirement(text)
        if need.name.startswith("cwm-"):
            sibling = manifest(need.name, root)["version"]
            if sibling not in need.specifier:
                found.append(f"{package} needs {need}, but {need.name} is at {sibling}")
    return found


def git(*arguments: str) -> str:
    """Run git in the workspace root and return what it printed."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main(argv: list[str] | None = None) -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("package", choices=sorted(p.name for p in (ROOT / "packages").iterdir()))
    parser.add_argument("--tag", action="store_true", help="tag the commit when all is well")
    options = parser.parse_args(argv)
    found = problems(options.package)
    if git("status", "--porcelain"):
        found.append("the working tree has uncommitted changes")
    tag = f"{options.package}-v{manifest(options.package)['version']}"
    if git("tag", "--list", tag):
        found.append(f"{tag} exists already: raise the version")
    for line in found:
        print(line, file=sys.stderr)
    if found:
        return 1
    build = ["uv", "build", "--no-sources", "--package", options.package, "--out-dir", "dist"]
    subprocess.run(build, cwd=ROOT, check=True)
    if options.tag:
        git("tag", "--annotate", tag, "--message", tag)
        print(f"tagged {tag}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
