from __future__ import annotations

import contextlib
import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_core.errors import DataError
from cwm_eval.benchmarks.unpickling import packed_json, packed_text
from cwm_eval.grading.inside import wire

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
    st.fractions(),
    st.decimals(allow_nan=False),
)
KEYS = st.one_of(st.integers(), st.text(), st.tuples(st.integers(), st.text()))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=20,
)


@given(VALUES)
@settings(max_examples=150)
def test_values_survive_with_their_exact_types(value: Any) -> None:
    again = wire.loads(wire.dumps(value))
    assert again == value
    assert type(again) is type(value)


@given(st.binary(max_size=200))
@settings(max_examples=150)
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    with contextlib.suppress(wire.WireError):
        wire.loads(data)


@pytest.mark.parametrize(
    "text",
    [
        '{"x":1}', '{"t":1}', '{"t":[1],"s":[1]}', '{"d":[[1]]}', '{"s":[[1]]}', '{"i":"zz"}',
        '{"q":"1/0"}', '{"y":"eval"}', '{"b":"0"}', '{"c":[1]}', "[" * 5000, '{"r":[1]}',
        '{"d":[[[1],2]]}', "nonsense",
    ],
)  # fmt: skip
def test_malformed_values_are_refused(text: str) -> None:
    with pytest.raises(wire.WireError):
        wire.loads(text.encode())


def test_special_numbers() -> None:
    assert math.isnan(wire.loads(wire.dumps(math.nan)))
    assert math.copysign(1, wire.loads(wire.dumps(-0.0))) == -1
    with pytest.raises(wire.WireError):
        wire.dumps(object())
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(wire.WireError):
        wire.dumps(deep)


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("run",))


def test_pickles_of_anything_but_text_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import base64
    import zlib

    def pack(value: Any) -> str:
        return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()

    assert packed_text(pack("text"), "here") == "text"
    assert packed_json(pack("[1]"), "here") == packed_json("[1]", "here") == [1]
    for bad in (Evil(), b"bytes", ["text"], Exception()):
        with pytest.raises(DataError, match="here"):
            packed_text(pack(bad), "here")
    for bad_text in ("", "AAAA", pack("[")):
        with pytest.raises(DataError):
            packed_json(bad_text, "here")
    assert capsys.readouterr().out == ""
