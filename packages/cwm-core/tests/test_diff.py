import pytest
from hypothesis import given
from hypothesis import strategies as s

from cwm_core.errors import CodecError
from cwm_core.trace.diff import decode_diff, encode_diff
from cwm_core.trace.frames import Event, Frame


def call(**values: str) -> Frame:
    return Frame(Event.CALL, "def f():\n", values, None, 1, 0, "f", suspended=True)


def line(**values: str) -> Frame:
    return Frame(Event.LINE, "pass\n", values, line_number=2, depth=0, function="f")


RETURN = Frame(Event.RETURN, "return\n", None, "None")
EXCEPTION = Frame(Event.EXCEPTION, "raise\n", None, "ValueError()")


def coded(*frames: Frame) -> list[dict[str, str] | None]:
    return [None if f.locals is None else dict(f.locals) for f in encode_diff(frames)]


def test_unchanged_locals_are_abbreviated_per_variable():
    assert coded(call(a="1"), line(a="1"), line(a="1", b="2"), line(a="3", b="2")) == [
        {"a": "1"},
        {"a": ".."},
        {"a": "..", "b": "2"},
        {"a": "3", "b": ".."},
    ]


def test_calls_and_returns_bound_the_lookup_but_exceptions_do_not():
    assert coded(call(a="1"), call(a="1"), line(a="1"), RETURN, line(a="1"), line(a="1")) == [
        {"a": "1"},
        {"a": "1"},
        {"a": ".."},
        None,
        {"a": "1"},
        {"a": ".."},
    ]
    assert coded(line(a="1"), EXCEPTION, line(a="1")) == [{"a": "1"}, None, {"a": ".."}]


def test_a_variable_that_was_deleted_is_spelled_out_when_it_returns():
    assert coded(line(a="1"), line(), line(a="1")) == [{"a": "1"}, {}, {"a": "1"}]


def test_the_reader_looks_past_frames_without_the_variable():
    frames = (line(a="1"), line(), line(a=".."))
    assert decode_diff(frames)[2].locals == {"a": "1"}


@pytest.mark.parametrize(
    "frames",
    [
        (line(a=".."),),
        (call(a=".."),),
        (call(a="1"), call(a="..")),
        (call(a="1"), RETURN, line(a="..")),
        (call(a="1"), call(), line(a="..")),
    ],
)
def test_an_abbreviation_without_antecedent_is_an_error(frames):
    with pytest.raises(CodecError, match="'a'") as caught:
        decode_diff(frames)
    assert caught.value.offset == len(frames) - 1


def test_a_value_that_reads_as_unchanged_cannot_be_coded():
    with pytest.raises(CodecError, match="means 'unchanged'") as caught:
        encode_diff((call(a="1"), line(a="..")))
    assert caught.value.offset == 1


VALUES = s.dictionaries(s.sampled_from("abc"), s.sampled_from(["1", "2", "..."]))
ANY = s.one_of(
    VALUES.map(lambda v: call(**v)),
    VALUES.map(lambda v: line(**v)),
    s.just(RETURN),
    s.just(EXCEPTION),
)


@given(s.lists(ANY, max_size=12))
def test_decoding_inverts_encoding_and_keeps_what_is_not_on_the_wire(frames):
    decoded = decode_diff(encode_diff(frames))
    assert decoded == tuple(frames)
    kept = [(f.line_number, f.depth, f.function, f.suspended) for f in decoded]
    assert kept == [(f.line_number, f.depth, f.function, f.suspended) for f in frames]
