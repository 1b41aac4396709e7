"""What `cwm doctor` says about the recorders."""

from __future__ import annotations

import os

from cwm_core.cli.probes import Finding
from cwm_tracer.capture import native_choice

_GET_IT = "with a C compiler: pip install --force-reinstall --no-binary cwm-tracer cwm-tracer"


def native_recorder() -> Finding:
    """Tell whether the recorder in C is there, and used."""
    found = native_choice.missing is None
    in_use = "in use" if native_choice.wanted("auto") else "off: CWM_TRACER=python"
    there = f"{os.path.basename(native_choice.path())}, {in_use}"  # noqa: PTH119
    return Finding(
        "Native recorder",
        found,
        there if found else f"{native_choice.missing}; its twin in Python is in use",
        "cwm trace at ten to forty times the speed",
        _GET_IT,
    )
