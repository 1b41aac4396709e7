"""Figures that others published, shown beside ours and labelled as theirs."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A published figure: a share from 0 to 1."""

    benchmark: str
    metric: str
    setting: str
    value: float
    source: str


_CARD = "CWM 32B, model card"
_PAPER = "CWM 32B, arXiv 2510.02387"

FIGURES = (
    Published("swebench", "accuracy", "SWE-bench Verified, mean of 4", 0.539, _CARD),
    Published("swebench", "majority", "SWE-bench Verified, majority", 0.584, _PAPER),
    Published("swebench", "best@16", "SWE-bench Verified, best@16", 0.658, _CARD),
    Published("swebench", "pass@40", "SWE-bench Verified, pass@40", 0.804, _PAPER),
    Published("livecodebench", "accuracy", "v5, 2024-10-01 to 2025-02-01", 0.686, _CARD),
    Published("livecodebench", "accuracy", "v6, 2024-08-01 to 2025-05-01", 0.635, _CARD),
    Published("math500", "accuracy", "MATH-500", 0.966, _CARD),
    Published("aime", "accuracy", "AIME 2024", 0.760, _CARD),
    Published("aime", "accuracy", "AIME 2025", 0.682, _CARD),
    Published("cruxeval_output", "accuracy", "reasoning (1164 tokens)", 0.943, _PAPER),
    Published("cruxeval_output", "accuracy", "full trace (497 tokens)", 0.877, _PAPER),
    Published("cruxeval_output", "accuracy", "single-step trace", 0.581, _PAPER),
    Published("cruxeval_output", "accuracy", "few-shot", 0.666, _PAPER),
    Published("trace_prediction", "valid", "traces of CRUXEval", 0.996, _PAPER),
    Published("trace_prediction", "state", "traces of CRUXEval", 0.969, _PAPER),
    Published("trace_prediction", "action", "traces of CRUXEval", 0.965, _PAPER),
    Published("trace_prediction", "output", "traces of CRUXEval", 0.880, _PAPER),
    Published("trace_prediction", "valid", "traces of functions", 1.0, _PAPER),
    Published("trace_prediction", "state", "traces of functions", 0.964, _PAPER),
    Published("trace_prediction", "action", "traces of functions", 0.980, _PAPER),
    Published("trace_prediction", "output", "traces of functions", 0.944, _PAPER),
    Published("halteval", "accuracy", "HaltEval-prelim (115 + 115)", 0.94, _PAPER),
)
"""The paper measured with temperature 1.0 and top-p 0.95; its models are not run here."""


def published(benchmark: str) -> list[Published]:
    """Return what was published for a benchmark."""
    return [figure for figure in FIGURES if figure.benchmark == benchmark]
