"""Labels of what we make in an engine, by which it is found again."""

from __future__ import annotations

from typing import Literal

from cwm_core.sandbox.owner import this_process

KIND = "cwm.kind"
OWNER = "cwm.owner"
Kind = Literal["sandbox", "snapshot", "image"]


def labels_of(kind: Kind) -> dict[str, str]:
    """Return the labels of something that this process makes.

    A ``sandbox`` or ``snapshot`` is of no use without the process; an ``image`` is kept.
    """
    return {KIND: kind, OWNER: this_process().to_json()}
