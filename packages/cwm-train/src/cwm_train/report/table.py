"""Training runs side by side in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cwm_train.report.runs import Run, differences, figures


def comparison(runs: Sequence[Run]) -> str:
    """Return the figures of the runs, and the configuration where it differs, as aligned text."""
    head = {"": [run.name for run in runs]}
    parts = [_aligned({**head, **figures(runs)})]
    if changed := differences(runs):
        parts += ["", "configuration:", _aligned(changed)]
    return "\n".join(parts)


def _aligned(rows: Mapping[str, Sequence[str]]) -> str:
    first = max(len(title) for title in rows)
    columns = list(zip(*rows.values()))
    widths = [max(len(text) for text in column) for column in columns]
    lines = []
    for title, texts in rows.items():
        cells = [text.rjust(width) for text, width in zip(texts, widths)]
        lines.append("  ".join([title.ljust(first), *cells]).rstrip())
    return "\n".join(lines)
