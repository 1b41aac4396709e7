"""Configurations of program sources."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from cwm_tracer.programs.config import GeneratedPrograms, ProgramFile
from cwm_tracer.programs.generator import generate


def test_generated_is_repeatable() -> None:
    config = GeneratedPrograms(seed=40, count=5, difficulty=2)
    programs = config.build()
    assert list(programs) == [generate(seed, 2) for seed in range(40, 45)]
    assert list(programs) == list(config.build())


@pytest.mark.parametrize("difficulty", ["1-3", {1: 1, 2: 1, 3: 1}, {"1": 2, "2": 2, "3": 2}])
def test_mixes(difficulty: object) -> None:
    config = GeneratedPrograms.model_validate({"count": 30, "difficulty": difficulty})
    assert Counter(p.difficulty for p in config.build()) == {1: 10, 2: 10, 3: 10}


def test_weights_hold_on_every_prefix() -> None:
    config = GeneratedPrograms(count=400, difficulty={2: 3, 4: 1, 5: 0})
    levels = [p.difficulty for p in itertools.islice(config.build(), 200)]
    assert Counter(levels) == {2: 150, 4: 50}
    assert Counter(levels[:40]) == {2: 30, 4: 10}
    assert len({p.id for p in config.build()}) == 400


@pytest.mark.parametrize("difficulty", [0, 6, "3-1", "0-2", "hard", {}, {1: -1, 2: 3}, {9: 1}, ""])
def test_bad_difficulty(difficulty: object) -> None:
    with pytest.raises(ValidationError):
        GeneratedPrograms.model_validate({"difficulty": difficulty})


def test_unknown_field_and_negative_count() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        GeneratedPrograms.model_validate({"cuont": 3})
    with pytest.raises(ValidationError):
        GeneratedPrograms(count=-1)


def test_file(tmp_path: Path) -> None:
    row = {"source": "def f(x):\n    return x\n", "entry": "f", "inputs": ["1"]}
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join([json.dumps(row)] * 3))
    programs = ProgramFile(path=path, limit=2).build()
    assert [p.entry for p in programs] == ["f", "f"] and len(list(programs)) == 2


def test_every_field_is_described() -> None:
    for config in (GeneratedPrograms, ProgramFile):
        for name, field in config.model_fields.items():
            assert field.description, name


def test_import_is_light() -> None:
    code = (
        "import sys, cwm_tracer.programs.config\n"
        "heavy = {'torch', 'numpy', 'datasketch', 'scipy', 'pyarrow', 'hydra', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
