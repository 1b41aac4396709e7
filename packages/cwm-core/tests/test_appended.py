"""Appended JSON lines: what was written is there again, half a line is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cwm_core.appended import AppendedEntries, AppendedLines
from cwm_core.errors import DataError, RunError


class Names(AppendedEntries):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.names: list[str] = []

    def _take(self, entry: dict[str, Any]) -> None:
        self.names.append(entry["name"])


def test_entries_are_there_on_the_next_start(tmp_path: Path) -> None:
    for expected in ([], ["a"], ["a", "a"]):
        with Names(tmp_path / "names.jsonl") as names:
            assert names.names == expected
            names.append({"name": "a"})


@pytest.mark.parametrize("damage", ['{"name": "b', '{"name": "b"}', "{}\n", "[1]\n", "no\n"])
def test_entries_end_before_what_means_nothing(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "names.jsonl"
    path.write_text('{"name": "a"}\n' + damage)
    with Names(path) as names:
        names.append({"name": "c"})
        assert names.names == ["a", "c"]
    assert path.read_text() == '{"name": "a"}\n{"name": "c"}\n'


@pytest.mark.parametrize("before", ["", "one line\n", "one\nand two\n"])
def test_lines_lose_only_a_last_half(tmp_path: Path, before: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(before + "half")
    with AppendedLines(path) as lines:
        lines.write({"n": 1})
    assert path.read_text() == before + json.dumps({"n": 1}) + "\n"


def test_a_closed_file_and_a_directory_in_the_way_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not open"):
        AppendedLines(tmp_path / "lines.jsonl").write({})
    with pytest.raises(RunError, match="in the way"), AppendedLines(tmp_path):
        pass
