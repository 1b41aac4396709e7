"""Targets, what tests reach, and the stream of candidates."""

from __future__ import annotations

import ast
import json
from random import Random

import pytest

from cwm_core.errors import DataError
from cwm_forager.images.outcomes import RunReport
from cwm_forager.mutate.choose import Candidate, Chooser
from cwm_forager.mutate.operators.table import OPERATORS
from cwm_forager.mutate.patches import changed_lines, unified_diff
from cwm_forager.mutate.reach import Reach, mentioned_at_import, same_outside
from cwm_forager.mutate.targets import is_test_file, replaced, targets
from cwm_forager.mutate.validate import Baseline, judge

TEXT = '''\
import os


class Stack:
    """Things."""

    @property
    def top(self):
        """Two
        lines."""
        return self.items[-1]

    def push(self, item):
        text = """
left
"""
        self.items.append(item)


def size(stack):
    return len(stack.items)
'''


def test_targets_have_names_lines_and_text_at_column_0() -> None:
    found = {target.name: target for target in targets("a.py", TEXT)}
    assert set(found) == {"line 1", "Stack", "Stack.top", "size"}  # push cannot be moved
    top = found["Stack.top"]
    assert (top.first, top.last, top.scope) == (7, 11, "function")
    assert top.source.startswith("@property\ndef top(self):\n")
    assert replaced(TEXT, top, top.source) == TEXT
    changed = replaced(TEXT, top, top.source.replace("-1", "0"))
    assert changed == TEXT.replace("[-1]", "[0]")
    assert "    pass\n" in replaced(TEXT, top, "")


def test_files_that_are_no_python_have_no_targets() -> None:
    assert targets("a.py", "def f(:\n") == []
    assert targets("a.py", "\0") == []


@pytest.mark.parametrize(
    "path", ["tests/a.py", "a/test_b.py", "b_test.py", "conftest.py", "setup.py"]
)
def test_tests_are_not_broken(path: str) -> None:
    assert is_test_file(path)
    assert not is_test_file("src/a/latest.py")


def test_patches_apply_as_git_reads_them() -> None:
    patch = unified_diff("a/b.py", "x\ny", "x\nz")
    assert patch.startswith("diff --git a/a/b.py b/a/b.py\n--- a/a/b.py\n+++ b/a/b.py\n@@")
    assert patch.count("\\ No newline at end of file\n") == 2
    assert unified_diff("a", "x\n", "x\n") == ""
    assert changed_lines("a\nb\nc\n", "a\nB\nc\n") == {2}
    assert changed_lines("a\nb\n", "a\nx\nb\n") == {1, 2}


def reach_of(**more: object) -> Reach:
    found = {
        "codes": [["a.py", 1, ["os"]], ["a.py", 7, ["items"]], ["a.py", 20, ["len", "items"]]],
        "reached": {"": [0], "t::top": [1], "t::size": [2]},
        "lines": {"a.py": [11, 21]},
        "opaque": ["t::process"],
        "modules": ["json"],
        "imports": {},
        "early": [],
        **more,
    }
    reach = Reach()
    reach.add(json.dumps(found).encode())
    return reach


def test_a_changed_body_matters_to_the_tests_that_enter_it() -> None:
    found = {target.name: target for target in targets("a.py", TEXT)}
    reach, trees = reach_of(), [ast.parse(TEXT)]
    size = found["size"]
    changed = size.source.replace("len", "sum")
    assert reach.affected(size, changed, trees) == {"t::size", "t::process"}
    everything = {"t::top", "t::size", "t::process"}
    assert reach.affected(found["Stack"], "class Stack: pass\n", trees) == everything


def test_a_changed_signature_matters_to_the_tests_that_say_the_name() -> None:
    found = {target.name: target for target in targets("a.py", TEXT)}
    codes = [["a.py", 20, ["len"]], ["t.py", 1, ["size"]], ["t.py", 9, ["getattr"]]]
    reached = {"": [], "t::size": [0], "t::mentions": [1], "t::looks": [2], "t::other": []}
    reach = reach_of(codes=codes, reached=reached)
    size = found["size"]
    changed = size.source.replace("(stack)", "(stack, x=1)")
    affected = reach.affected(size, changed, [ast.parse(TEXT)])
    assert affected == {"t::size", "t::mentions", "t::looks", "t::process"}
    alias = [ast.parse(TEXT + "length = size\n")]
    everything = {*affected, "t::other"}
    assert reach.affected(size, changed, alias) == everything
    assert reach.affected(size, "", [ast.parse(TEXT)]) == everything
    graph = {"t.py": ["b.py"], "b.py": []}
    apart = {"": [], "t.py::size": [0], "t.py::mentions": [1]}
    reach = reach_of(codes=codes, reached=apart, imports=graph)
    affected = reach.affected(size, changed, [ast.parse(TEXT)])
    assert affected == {"t.py::size", "t::process"}


def test_what_runs_at_import_matters_to_the_tests_that_could_import_it() -> None:
    found = {target.name: target for target in targets("a.py", TEXT)}
    reached = {"": [2], "t.py::one": [], "u.py::two": [], "v.py::three": [], "w.py::four": [2]}
    graph = {"t.py": ["b.py"], "b.py": ["a.py"], "u.py": [], "w.py": []}
    source = "def size(stack):\n    pass\n"
    reach = reach_of(reached=reached, imports=graph)
    wanted = {"t.py::one", "v.py::three", "w.py::four", "t::process"}
    assert reach.affected(found["size"], source, []) == wanted
    for shared in ({"imports": {**graph, "c/conftest.py": ["b.py"]}}, {"early": ["a.py"]}):
        reach = reach_of(**{"reached": reached, "imports": graph, **shared})
        assert reach.affected(found["size"], source, []) == {*wanted, "u.py::two"}


def test_becoming_a_generator_is_seen_from_outside() -> None:
    assert same_outside("def f():\n    return 1\n", "def f():\n    return 2\n")
    assert not same_outside("def f():\n    yield 1\n", "def f():\n    return 1\n")
    assert not same_outside("def f():\n    pass\n", "@g\ndef f():\n    pass\n")


def test_mentions_at_import() -> None:
    mentioned = "x = [f]|class A(f): pass|@f\ndef g(): pass|from a import f as h|y = a.f"
    assert all(mentioned_at_import(ast.parse(text), "f") for text in mentioned.split("|"))
    free = "def g():\n    return f()|from a import f|f = 1|class A:\n    def m(self): f()"
    assert not any(mentioned_at_import(ast.parse(text), "f") for text in free.split("|"))


def test_damaged_reach_is_refused() -> None:
    with pytest.raises(DataError):
        Reach().add(b"{}")


def chooser(seed: int = 0, **more: object) -> Chooser:
    operators = {name: (operator, 1.0) for name, operator in OPERATORS.items()}
    reach = reach_of(reached={"": [0], "t::top": [1], "t::size": [2]})
    return Chooser({"a.py": TEXT}, reach, operators, seed=seed, **more)  # type: ignore[arg-type]


def test_candidates_follow_the_seed() -> None:
    first, again, other = ([c.patch for c in chooser(seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(first)) == len(first) >= 5


def test_combined_candidates_name_all_operators() -> None:
    combined = [c for c in chooser(3, combined=1.0) if len(c.operators) > 1]
    assert combined
    for candidate in combined:
        assert len(candidate.functions) == len(candidate.operators) <= 3
        ast.parse(candidate.text)


def test_a_mutator_that_raises_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        scope = "function"

        def mutations(self, source: str, random: Random) -> list[str]:
            raise RuntimeError("boom")

    reach = reach_of()
    found = Chooser({"a.py": TEXT}, reach, {"broken": (Broken(), 1.0)})  # type: ignore[dict-item]
    assert list(found) == []
    assert "boom" in caplog.text


def candidate(tests: frozenset[str] | None = None) -> Candidate:
    return Candidate(0, "a.py", "", "", ("x",), ("f",), tests)


BASELINE = Baseline(frozenset("abc"), {"a": 0.1})


def verdict(tests: dict[str, str], selected: str = "abc", finished: bool = True):
    report = RunReport(tests=tests, finished=finished)
    return judge(candidate(), report, BASELINE, frozenset(selected))


def test_a_mutant_breaks_some_and_leaves_some() -> None:
    found = verdict({"a": "failed", "b": "passed", "c": "error"})
    assert found.valid
    assert (found.fail_to_pass, found.pass_to_pass) == (("a", "c"), ("b",))


def test_tests_that_were_not_selected_pass() -> None:
    found = verdict({"a": "failed"}, "a")
    assert (found.fail_to_pass, found.pass_to_pass) == (("a",), ("b", "c"))


def test_an_absent_test_did_not_fail() -> None:
    found = verdict({"a": "failed", "b": "passed"})
    assert found.not_run == ("c",)
    assert "c" not in found.fail_to_pass + found.pass_to_pass
    alone = verdict({"a": "passed", "b": "passed"})
    assert (alone.valid, alone.reason) == (False, "tests did not run")


@pytest.mark.parametrize(
    ("tests", "finished", "reason"),
    [
        (dict.fromkeys("abc", "passed"), True, "no test fails"),
        (dict.fromkeys("abc", "failed"), True, "no test passes"),
        ({"a": "timeout", "b": "passed", "c": "failed"}, True, "timeout: a"),
        ({"a": "failed"}, False, "did not finish"),
    ],
)
def test_what_is_no_mutant(tests: dict[str, str], finished: bool, reason: str) -> None:
    found = verdict(tests, finished=finished)
    assert (found.valid, found.reason) == (False, reason)
