"""What `cwm doctor` says about the decoding step in C."""

from __future__ import annotations

from cwm_core.cli.probes import Finding
from cwm_train.generate.native_library import load

_GET_IT = "with a C compiler: pip install --force-reinstall --no-binary cwm-train cwm-train"


def native_decoder() -> Finding:
    """Tell whether the decoding step in C is there."""
    library, detail = load()
    found = library is not None
    return Finding(
        "Native decoder",
        found,
        detail if found else f"{detail}; torch computes in its place",
        "small models on CPUs generate several times as fast",
        _GET_IT,
    )
