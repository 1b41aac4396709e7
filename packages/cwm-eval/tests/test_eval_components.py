from __future__ import annotations

import pytest

from cwm_core.plugins import Component
from cwm_core.testing.conformance import check_component, declared


@pytest.mark.parametrize(
    ("kind", "component"), declared("cwm-eval"), ids=lambda x: getattr(x, "name", x)
)
def test_components_keep_the_contract_of_their_kind(kind: str, component: Component) -> None:
    check_component(kind, component)


def test_what_is_declared() -> None:
    found = {(kind, component.name) for kind, component in declared("cwm-eval")}
    questions = {
        *("cruxeval_output", "cruxeval_input", "halteval", "humaneval", "mbpp", "livecodebench"),
        *("livecodebench_execution", "math500", "aime", "bigobench"),
    }
    assert found == {
        ("benchmarks", "trace_prediction"),
        ("benchmarks", "swebench"),
        *(("benchmarks", name) for name in questions),
        *(("environments", name) for name in questions),
        ("engines", "gold"),
        ("engines", "empty"),
    }
