"""The split: near-duplicates never cross it, and order does not matter."""

import ast
import itertools
import random

import pytest

from cwm_tracer.programs import Program
from cwm_tracer.programs.generator import generate
from cwm_tracer.programs.near_duplicates import bands, jaccard, near_duplicates_of
from cwm_tracer.programs.normal_form import NormalForm
from cwm_tracer.programs.split import SIDES, clusters, side_of, split


class Rename(ast.NodeTransformer):
    """Other names for variables, parameters and helpers, and other constants."""

    def __init__(self, source: str) -> None:
        tree = ast.parse(source)
        names = {
            n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg) and n.arg != "self"}
        names |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        self.names = {name: f"zz_{name}" for name in names if not name.startswith("__")}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.names.get(node.arg, node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.name = self.names.get(node.name, node.name)
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.Nonlocal:
        node.names = [self.names.get(name, name) for name in node.names]
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if type(node.value) is int:
            node.value += 17
        elif isinstance(node.value, str):
            node.value += "q"
        return node


def disguised(program: Program) -> Program:
    """The same program with everything renamed, other constants, its definitions reordered."""
    tree = Rename(program.source).visit(ast.parse(program.source))
    tree.body.reverse()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body.insert(0, ast.Expr(ast.Constant("A docstring.")))
            break
    source = "# a comment\n" + ast.unparse(ast.fix_missing_locations(tree))
    return Program.of(source, program.entry, program.inputs)


def made(count: int, level: int = 3, start: int = 0) -> list[Program]:
    return [generate(seed, level) for seed in range(start, start + count)]


@pytest.mark.parametrize("level", [2, 3, 5])
def test_disguised_programs_stay_together(level: int) -> None:
    originals = made(120, level)
    twins = [disguised(program) for program in originals]
    names = clusters([*originals, *twins])
    assert names[:120] == names[120:]
    assert all(one.id != two.id for one, two in zip(originals, twins, strict=True))


def test_one_more_statement_stays_together() -> None:
    originals = [p for p in made(60, 5) if p.source.count("\n") > 25]
    heads = [
        next(line for line in p.source.splitlines() if line.startswith(f"def {p.entry}("))
        for p in originals
    ]
    longer = [
        Program.of(p.source.replace(head, f"{head}\n    z = 3"), p.entry, p.inputs)
        for p, head in zip(originals, heads, strict=True)
    ]
    assert all(len(two.source) == len(one.source) + 10 for one, two in zip(originals, longer))
    sides = split([*originals, *longer], validation=0.3, test=0.3)
    home = {p.id: side for side in SIDES for p in getattr(sides, side)}
    assert [home[p.id] for p in originals] == [home[p.id] for p in longer]
    assert len(originals) > 20


def test_split_is_independent_of_order() -> None:
    programs = made(200, 2) + [disguised(p) for p in made(60, 2)]
    mixed = random.Random(5).sample(programs, len(programs))
    one, two = split(programs, validation=0.2, test=0.2), split(mixed, validation=0.2, test=0.2)
    for side in SIDES:
        assert {p.id for p in getattr(one, side)} == {p.id for p in getattr(two, side)}


def test_split_keeps_every_program_once_with_the_asked_shares() -> None:
    programs = made(600)
    sides = split(programs, seed=3, validation=0.1, test=0.2)
    assert sorted(p.id for s in SIDES for p in getattr(sides, s)) == sorted(p.id for p in programs)
    assert 0.15 < len(sides.test) / 600 < 0.25 and 0.06 < len(sides.validation) / 600 < 0.14
    other = split(programs, seed=4, validation=0.1, test=0.2)
    assert {p.id for p in other.test} != {p.id for p in sides.test}


def test_no_near_duplicates_across_by_exact_comparison() -> None:
    sides = split(made(400, 2), validation=0.1, test=0.2)
    train = [NormalForm(p.source) for p in sides.train]
    shingles = [form.shingles() for form in train]
    digests = {form.digest for form in train}
    for program in sides.test + sides.validation:
        form = NormalForm(program.source)
        assert form.digest not in digests
        mine = form.shingles()
        assert max(jaccard(mine, other) for other in shingles) < 0.8


def test_streaming_filter_drops_near_duplicates_of_held_out() -> None:
    held = made(100)
    filter_ = near_duplicates_of(held)
    fresh = made(300, start=10_000)
    assert list(filter_.filter(map(disguised, held))) == []
    kept = list(filter_.filter(fresh))
    assert len(kept) >= 290 and kept == [p for p in fresh if p in kept]
    endless = filter_.filter(generate(seed, 3) for seed in itertools.count(90))
    assert next(endless).origin not in {program.origin for program in held}


def test_structure_matters() -> None:
    plus = Program.of("def f(a, b):\n    return a + b\n", "f", ["1, 2"])
    names = [
        "def f(x, y):\n    return x + y\n",
        "def f(a, b):\n    return a - b\n",
        "def f(a, b):\n    return b + a\n",
        "def f(a, b):\n    return max(a, b)\n",
    ]
    digests = [NormalForm(source).digest for source in names]
    assert digests[0] == NormalForm(plus.source).digest
    assert len(set(digests)) == len(digests)


def test_unparsable_sources_are_kept_apart() -> None:
    broken = [Program.of(source, "f", []) for source in ("def f(:", "def g(:\n x", "class")]
    assert len(set(clusters(broken))) == 3
    assert len(set(clusters([broken[0], broken[0]]))) == 1


def test_bands_reach_the_recall() -> None:
    for threshold in (0.5, 0.7, 0.8, 0.9, 1.0):
        count, rows = bands(threshold)
        assert 1 - (1 - threshold**rows) ** count >= 0.98
    for threshold in (0.0, 1.1, -1.0):
        with pytest.raises(ValueError, match="threshold"):
            bands(threshold)


def test_side_of_and_bad_shares() -> None:
    assert side_of("ab", 1) == side_of("ab", 1)
    assert {side_of(str(i), 0, 0.3, 0.3) for i in range(60)} == set(SIDES)
    assert {side_of(str(i), 0, 0.0, 0.0) for i in range(60)} == {"train"}
    for shares in ((0.5, 0.5), (-0.1, 0.2), (1.0, 0.0)):
        with pytest.raises(ValueError, match="shares"):
            split([], validation=shares[0], test=shares[1])
