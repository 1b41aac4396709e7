from __future__ import annotations

import pytest

from cwm_core.plugins import Component
from cwm_core.testing.conformance import check_component, declared


@pytest.mark.parametrize(
    ("kind", "component"), declared("cwm-core"), ids=lambda x: getattr(x, "name", x)
)
def test_components_keep_the_contract_of_their_kind(kind: str, component: Component) -> None:
    check_component(kind, component)
