"""Generated programs: they run, end, and are as various as promised."""

import builtins
import functools
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

import cwm_tracer
from cwm_tracer.programs import Program
from cwm_tracer.programs.generator import KNOBS, generate
from cwm_tracer.programs.split import clusters

LEVELS = tuple(KNOBS)
SEEDS = 400
STEPS = 3000
INTENDED = ("ValueError", "KeyError", "IndexError", "ZeroDivisionError")


@dataclass
class Run:
    program: Program
    input: str
    events: int
    value: object
    error: BaseException | None
    lines: frozenset[int]


class TooLong(BaseException):
    pass


def run(program: Program, text: str) -> Run:
    """Execute one input under sys.settrace, at most `STEPS` events."""
    namespace: dict[str, object] = {"__name__": "program", "__builtins__": builtins}
    exec(compile(program.source, "<generated>", "exec"), namespace)
    args, kwargs = eval(f"(lambda *a, **k: (a, k))({text})", namespace)
    events, lines, value, error = 0, set(), None, None

    def tracer(frame, event, _arg):
        nonlocal events
        if frame.f_code.co_filename != "<generated>":
            return None
        events += 1
        lines.add(frame.f_lineno)
        if events > STEPS:
            raise TooLong
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        value = namespace[program.entry](*args, **kwargs)  # type: ignore[operator]
    except (Exception, TooLong) as caught:
        error = caught
    finally:
        sys.settrace(before)
    return Run(program, text, events, value, error, frozenset(lines))


@functools.cache
def programs(level: int) -> list[Program]:
    return [generate(seed, level) for seed in range(SEEDS)]


@functools.cache
def runs(level: int) -> list[Run]:
    return [run(program, text) for program in programs(level) for text in program.inputs]


@pytest.mark.parametrize("level", LEVELS)
def test_no_accidental_errors(level: int) -> None:
    own = {"BadInput", "Empty", "Limit", "Refused"}
    for item in runs(level):
        if item.error is not None:
            name = type(item.error).__name__
            assert name in own or name in INTENDED, (item.error, item.input, item.program.source)


@pytest.mark.parametrize("level", LEVELS)
def test_trace_sizes(level: int) -> None:
    sizes = sorted(item.events for item in runs(level))
    aim = KNOBS[level].events
    assert 0.75 * aim <= statistics.median(sizes) <= 1.3 * aim
    assert sizes[int(0.99 * len(sizes))] <= 3 * aim
    assert sizes[-1] <= 4 * aim


@pytest.mark.parametrize("level", LEVELS)
def test_uncaught_exceptions_are_a_minority(level: int) -> None:
    raising = {item.program.id for item in runs(level) if item.error is not None}
    assert len(raising) / SEEDS < 0.10
    if level >= 3:
        assert raising


@pytest.mark.parametrize("level", LEVELS)
def test_inputs_differ_and_take_different_ways(level: int) -> None:
    ways: dict[str, set[frozenset[int]]] = {}
    results: dict[str, set[str]] = {}
    for item in runs(level):
        ways.setdefault(item.program.id, set()).add(item.lines)
        results.setdefault(item.program.id, set()).add(repr((item.value, item.error)))
    for program in programs(level):
        assert 1 <= len(program.inputs) <= 3
        assert len(set(program.inputs)) == len(program.inputs)
    assert statistics.mean(len(program.inputs) for program in programs(level)) > 1.8
    if level > 1:
        assert statistics.mean(len(way) > 1 for way in ways.values()) > 0.5
    assert statistics.mean(len(seen) > 1 for seen in results.values()) > 0.55


@pytest.mark.parametrize("level", LEVELS)
def test_distinct(level: int) -> None:
    made = programs(level)
    assert len({program.id for program in made}) >= 0.995 * len(made)
    together = [size for size in Counter(clusters(made)).values() if size > 1]
    assert sum(together) / len(made) < {1: 0.25, 2: 0.05, 3: 0.03}.get(level, 0.02)


WANTED = (
    "for", "while", "if", "list", "dict", "set", "tuple", "str", "slice", "comprehension",
    "generator", "nested_function", "lambda", "recursion", "class", "exception", "try",
    "augmented", "unpacking", "helper", "break", "continue", "closure", "format", "if_expression",
)  # fmt: skip


def test_every_construct_at_the_middle_difficulty() -> None:
    counts = Counter(tag for program in programs(3) for tag in program.constructs)
    missing = {tag: counts[tag] for tag in WANTED if counts[tag] < 0.02 * SEEDS}
    assert not missing


def test_difficulty_one_is_simple() -> None:
    counts = Counter(tag for program in programs(1) for tag in program.constructs)
    for tag in ("class", "nested_function", "recursion", "try", "generator", "lambda", "dict"):
        assert not counts[tag]


def test_difficulty_grows() -> None:
    lengths = [statistics.median(p.source.count("\n") for p in programs(d)) for d in LEVELS]
    assert lengths == sorted(lengths) and lengths[0] < 0.6 * lengths[2] < 0.6 * lengths[4]
    tags = [statistics.mean(len(p.constructs) for p in programs(d)) for d in LEVELS]
    assert tags == sorted(tags)


def test_middle_difficulty_is_moderate() -> None:
    lines = sorted(program.source.count("\n") for program in programs(3))
    assert lines[len(lines) // 10] >= 8 and lines[len(lines) // 2] <= 20
    values = [item.value for item in runs(3) if type(item.value) is int]
    assert statistics.mean(abs(value) <= 100 for value in values) > 0.95


def test_program_fields() -> None:
    program = generate(7, 3)
    assert program.difficulty == 3 and program.origin == "generated:3:7"
    assert program.source.endswith("\n") and f"def {program.entry}(" in program.source
    assert program == generate(7, 3) and program.id != generate(8, 3).id


@pytest.mark.parametrize("level", [0, 6, -1])
def test_unknown_difficulty(level: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.5"):
        generate(0, level)


DIGEST = """
import hashlib
from cwm_tracer.programs.generator import generate
made = "".join(repr(generate(seed, level)) for level in range(1, 6) for seed in range(60))
print(hashlib.sha256(made.encode()).hexdigest())
"""


def digest(python: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(cwm_tracer.__file__).parents[1])
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": source}
    return subprocess.run([python, "-c", DIGEST], env=env, capture_output=True, text=True)


def here() -> str:
    made = "".join(repr(generate(seed, level)) for level in LEVELS for seed in range(60))
    return hashlib.sha256(made.encode()).hexdigest()


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_independent_of_the_hash_seed(hash_seed: str) -> None:
    done = digest(sys.executable, hash_seed)
    assert done.stdout.strip() == here(), done.stderr


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_independent_of_the_python_version(version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-V"], capture_output=True).returncode:
        pytest.skip(f"no python{version} here")
    done = digest(python, "0")
    assert done.stdout.strip() == here(), done.stderr


def test_order_of_generation_does_not_matter() -> None:
    forward = [generate(seed, 4).id for seed in range(20)]
    assert [generate(seed, 4).id for seed in reversed(range(20))] == forward[::-1]
