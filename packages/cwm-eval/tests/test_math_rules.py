from __future__ import annotations

import pytest

from cwm_eval.grading.math_rules import same_answer

SAME = [
    ("52_8", "52_{8}"),
    ("52_8", "52"),
    ("1,234", "1234"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac12", "1/2"),
    (r"2\frac{1}{2}", r"\frac{5}{2}"),
    (r"864 \mbox{ inches}^2", "864"),
    (r"864 \mbox{ inches}^2", r"864\text{ inches}^2"),
    (r"x^2 + 2x + 1", "(x+1)^2"),
    (r"\{1, 2\}", r"\{2, 1\}"),
    (r"\text{Evelyn}", "Evelyn"),
]
DIFFERENT = [
    ("52_8", "52_9"),
    ("4210_{5}", "4210_{6}"),
    (r"864 \mbox{ inches}^2", r"864 \mbox{ inches}^3"),
    ("1/3", "0.3333333"),
    ("1", "1,1"),
    ("(1, 2)", r"\{1, 2\}"),
    ("(1, 2)", "(2, 1)"),
    (r"\text{Evelyn}", "Eve"),
    ("3", ""),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_the_same(gold: str, answer: str) -> None:
    assert same_answer(gold, answer)


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_not_the_same(gold: str, answer: str) -> None:
    assert not same_answer(gold, answer)
