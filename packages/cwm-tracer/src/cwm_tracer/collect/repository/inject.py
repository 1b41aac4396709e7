"""The files of the injected runtime: our own modules, under another package name."""

from __future__ import annotations

import re
from pathlib import Path

import cwm_tracer

PACKAGE = "_cwm_runtime"
_ROOT = Path(cwm_tracer.__file__).parent
_RUNTIME = _ROOT / "collect" / "repository" / "runtime"
_CAPTURE = re.compile(r"from cwm_tracer\.capture(?:\.(\w+) import|(?: import (\w+)))")


def runtime_files() -> dict[str, str]:
    """Return path and text of each file, relative to a directory for ``PYTHONPATH``.

    The renderer's modules are found by following the imports of `cwm_tracer.capture`; no traced
    environment needs (or sees) a package named `cwm_tracer`.
    """
    texts = {path.name: path.read_text(encoding="utf-8") for path in _RUNTIME.glob("*.py")}
    waiting = list(texts.values())
    while waiting:
        for names in _CAPTURE.findall(waiting.pop()):
            name = f"{''.join(names)}.py"
            if name not in texts:
                texts[name] = (_ROOT / "capture" / name).read_text(encoding="utf-8")
                waiting.append(texts[name])
    return {f"{PACKAGE}/{name}": _renamed(text) for name, text in sorted(texts.items())}


def _renamed(text: str) -> str:
    text = text.replace("cwm_tracer.collect.repository.runtime", PACKAGE)
    return text.replace("cwm_tracer.capture", PACKAGE)
