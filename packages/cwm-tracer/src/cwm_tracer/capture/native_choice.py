"""Which recorder is used: the one in C where it was compiled, or its twin in Python.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

import os
from typing import Any

from cwm_tracer.capture import recorder

try:
    from cwm_tracer.capture import _native
except ImportError as _error:
    missing: str | None = str(_error)
    """Why there is no native recorder; None where there is one."""
else:
    missing = None

VARIABLE = "CWM_TRACER"
"""Environment variable that, set to ``python``, turns the native recorder off."""


def wanted(choice: str) -> bool:
    """Whether to use the native recorder, where the configuration says `auto`, `on` or `off`."""
    if choice == "auto":
        return missing is None and os.environ.get(VARIABLE) != "python"
    return choice == "on"


def path() -> str:
    """Return the file of the native recorder."""
    return str(_native.__file__)


def recorder_class(native: bool) -> Any:
    """Return the class `Recorder`, in C or in Python."""
    return _native.Recorder if native else recorder.Recorder
