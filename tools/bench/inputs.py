"""How much of a benchmark's reference solutions the inputs of each generator reach.

    python tools/bench/inputs.py mbpp.jsonl --every 10

Prints, per set of generators, the mean number of lines and branches (line after line) that the
chosen inputs reach per function, and the share of the functions' statements.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from statistics import mean

from cwm_core.config import compose
from cwm_core.plugins import registry
from cwm_tracer.capture.limits import Limits
from cwm_tracer.collect.function_finder import Function, find_functions
from cwm_tracer.collect.functions_config import FunctionsConfig
from cwm_tracer.inputs.budget import Budget
from cwm_tracer.inputs.choice import choose

SETS = (
    ("usage",),
    ("hints",),
    ("usage", "mutation"),
    ("usage", "doctest", "hints", "mutation"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="JSON lines of MBPP, HumanEval or CRUXEval")
    parser.add_argument("--every", type=int, default=1, help="take every n-th function")
    parser.add_argument("--candidates", type=int, default=60, help="inputs tried per function")
    given = parser.parse_args()
    config = compose("trace functions", FunctionsConfig, [f"sources=[{given.data}]", "out=unused"])
    functions = find_functions(config).functions[:: given.every]
    budget = Budget(candidates=given.candidates, turn=10)
    total = mean(statements(function) for function in functions)
    print(
        f"{len(functions)} functions, {total:.2f} statements each, {budget.candidates} candidates"
    )
    for names in SETS:
        measure(functions, names, budget)


def measure(functions: list[Function], names: tuple[str, ...], budget: Budget) -> None:
    """Choose inputs with one set of generators and print what they reach."""
    generators = {name: registry().make("input_generators", name).build() for name in names}
    limits = Limits(steps=2000, timeout_s=5)
    with registry().make("tracers", "settrace").build(limits) as tracer:
        choices = [choose(f.callee, generators, tracer, None, budget) for f in functions]
    shares = [c.lines / statements(f) for c, f in zip(choices, functions, strict=True)]
    print(
        f"{' + '.join(names):32} lines {mean(c.lines for c in choices):5.2f} "
        f"({100 * mean(shares):.1f} %)  branches {mean(c.branches for c in choices):5.2f}  "
        f"inputs {mean(len(c.inputs) for c in choices):.2f}  "
        f"without any {sum(not c.inputs for c in choices)}",
        flush=True,
    )


def statements(function: Function) -> int:
    """Count the lines on which a statement of a function of the program begins."""
    return len(set(_lines(ast.parse(function.program.source))))


def _lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for inner in node.body:
                for each in ast.walk(inner):
                    prose = isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
                    if isinstance(each, ast.stmt) and not prose:
                        yield each.lineno


if __name__ == "__main__":
    main()
