from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from cwm_core.engine.scripted import ScriptedEngine
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import prompt_ids, render_ids
from cwm_core.trace.frames import Event, Frame, Trace
from cwm_eval.benchmarks.cruxeval import call_frame
from cwm_eval.scaling.best_at_k import Candidate, best_at_k, choose, majority_tests, normal_form
from cwm_eval.scaling.generated_tests import assertions
from cwm_eval.scaling.self_verification import first_verified, same_literal


def test_existing_tests_come_first_then_majority_tests_votes_and_length() -> None:
    broken = Candidate("b", 1, 0.5, {"t": True})
    weak = Candidate("w", 1, 1.0, {"t": False})
    good = Candidate("g", 90, 1.0, {"t": True})
    assert choose([broken, weak, good]) == 2
    twice = [good, replace(good, answer="h", tokens=10), replace(good, tokens=80)]
    assert choose(twice) == 2  # "g" has two votes; the shorter of them
    short = [replace(good, answer="x"), replace(good, answer="y", tokens=5)]
    assert choose(short) == 1
    empty = Candidate("", 0, 1.0, {}, empty=True)
    assert choose([empty, broken]) == 1 and choose([empty]) == 0
    with pytest.raises(ValueError):
        choose([])


def test_majority_tests() -> None:
    votes = {"all": [1, 1, 1], "most": [1, 1, 0], "none": [0, 0, 0], "one": [0, 0, 1]}
    candidates = [
        Candidate(str(i), 1, 1.0, {name: bool(row[i]) for name, row in votes.items()})
        for i in range(3)
    ]
    assert majority_tests(candidates) == ["all", "most", "one"]
    assert majority_tests(candidates, top=1) == ["all"]
    spoiled = [*candidates, Candidate("x", 1, 0.0, {"none": True})]
    assert "none" not in majority_tests(spoiled)  # it breaks existing tests, so it has no vote


def test_patches_with_other_positions_vote_together() -> None:
    left = "diff --git a/x b/x\nindex 1..2\n@@ -1,2 +1,2 @@\n-a\n+b\n"
    right = "diff --git a/x b/x\nindex 3..4\n@@ -9,2 +9,2 @@ def f\n-a\n+b  \n\n"
    assert normal_form(left) == normal_form(right) != normal_form(left.replace("+b", "+c"))


def test_best_at_k_over_subsets() -> None:
    right = [True, False, False]
    candidates = [Candidate(str(i), 1, float(ok)) for i, ok in enumerate(right)]
    assert best_at_k(candidates, right, 1) == pytest.approx(1 / 3)
    assert best_at_k(candidates, right, 2) == pytest.approx(2 / 3)
    assert best_at_k(candidates, right, 3) == 1.0
    assert math.isnan(best_at_k(candidates, right, 4))
    many = [Candidate(str(i), i, float(i % 2)) for i in range(40)]
    share = best_at_k(many, [i % 2 == 1 for i in range(40)], 5, seed=1)
    assert 0.94 < share < 1.0


def test_assertions_of_a_text() -> None:
    text = "Tests:\n```python\nassert f(1) == 2\nassert g(1)\nassert f(\nassert f(1) == 2\n```"
    assert assertions(text, "f") == ["assert f(1) == 2"]


def test_the_program_whose_predicted_execution_agrees_is_taken(tokenizer: Tokenizer) -> None:
    answers = {}
    programs = ["def f(n):\n    return n - 1\n", "def f(n):\n    return n + 1\n"]
    for code, value in zip(programs, ("1", "3")):
        context, frame = call_frame(code, "2")
        last = Frame(Event.RETURN, code.splitlines(keepends=True)[1], None, value)
        encoded = render_ids(Trace(context, (frame, last)), tokenizer)
        answers[tuple(prompt_ids(context, frame, tokenizer))] = encoded.ids[encoded.prompt_length :]
    engine = ScriptedEngine(by_prompt=answers)
    index, tried = asyncio.run(first_verified(engine, tokenizer, programs, "f", {"2": "3"}))
    assert index == 1
    assert [[p.value for p in found] for found in tried] == [["1"], ["3"]]
    assert tried[1][0].agrees and tried[1][0].tokens > 0
    broken, _ = asyncio.run(first_verified(engine, tokenizer, ["def g(): 1"], "f", {"2": "3"}))
    assert broken == 0
    assert same_literal("{1, 2}", "{2, 1}") and not same_literal("1", "True")
