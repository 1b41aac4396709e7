"""pytest fixtures for plugin authors; registered through the entry-point group pytest11."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CliRunner = Callable[..., "subprocess.CompletedProcess[str]"]
PluginMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_data(request: pytest.FixtureRequest) -> Path:
    """Directory with benchmark files: $CWM_SHARED_DATA, or shared/data beside the workspace."""
    given = os.environ.get("CWM_SHARED_DATA")
    path = Path(given) if given else request.config.rootpath.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no benchmark data at {path}; set CWM_SHARED_DATA")
    return path


@pytest.fixture
def cwm_cli(tmp_path: Path) -> CliRunner:
    """Run ``cwm ARGS...`` in a fresh process in `tmp_path`; returns the completed process."""

    def run(
        *arguments: str,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "cwm_core", *arguments],
            cwd=cwd or tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return run


@pytest.fixture
def make_plugin(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PluginMaker]:
    """Install a throwaway distribution for this test, in this process and its children.

    ``make_plugin("my-dist", modules={"my_dist.plugin": source}, entry="my_dist.plugin")`` writes
    the modules and their dist-info into a new directory, puts it on sys.path and PYTHONPATH, and
    empties the registry's cache. `entry` is the value of its entry point in the group ``cwm``.
    """
    from cwm_core.plugins import registry

    added: list[str] = []

    def forget(roots: set[str]) -> None:
        for module in [name for name in sys.modules if name.partition(".")[0] in roots]:
            del sys.modules[module]

    def make(
        distribution: str,
        modules: dict[str, str],
        entry: str,
        *,
        name: str = "plugin",
        version: str = "1.0",
    ) -> Path:
        directory = tmp_path_factory.mktemp(distribution)
        for module, source in modules.items():
            path = directory / f"{module.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        _write_dist_info(directory, distribution, version, f"{name} = {entry}")
        roots = {module.partition(".")[0] for module in modules}
        forget(roots)  # of another distribution with the same modules
        added.extend(roots)
        monkeypatch.syspath_prepend(str(directory))
        monkeypatch.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)
        importlib.invalidate_caches()
        registry.cache_clear()
        return directory

    yield make
    forget(set(added))
    registry.cache_clear()


def _write_dist_info(directory: Path, distribution: str, version: str, entry: str) -> None:
    info = directory / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[cwm]\n{entry}\n", encoding="utf-8")
