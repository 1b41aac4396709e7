import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as s

from cwm_core.errors import CodecError
from cwm_core.text import special_tokens as st
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_core.trace.codec import (
    Role,
    parse_frames,
    parse_ids,
    parse_lenient,
    parse_text,
    pieces,
    prompt_ids,
    render_ids,
    render_text,
)
from cwm_core.trace.frames import START_OF_TRACE, Event, Frame, Trace

CONTEXT = f"def f(x):  {START_OF_TRACE}\n    y = x // 0\n    return y\n\nf(1)"
FRAMES = (
    Frame(Event.CALL, f"def f(x):  {START_OF_TRACE}\n", {"x": "1"}),
    Frame(Event.LINE, "    y = x // 0\n", {"x": "1"}),
    Frame(
        Event.EXCEPTION, "    y = x // 0\n", None, "ZeroDivisionError('division by \u00e9 zero')"
    ),
    Frame(Event.RETURN, "    y = x // 0\n", None, "None"),
)
TRACE = Trace(CONTEXT, FRAMES)
WIRE = (
    "<|begin_of_text|><|trace_context_start|>"
    "def f(x):  # << START_OF_TRACE\n    y = x // 0\n    return y\n\nf(1)<|frame_sep|>"
    '<|call_sep|>{"x": "1"}<|action_sep|>def f(x):  # << START_OF_TRACE\n<|frame_sep|>'
    '<|line_sep|>{"x": ".."}<|action_sep|>    y = x // 0\n<|frame_sep|>'
    "<|exception_sep|><|action_sep|>    y = x // 0\n"
    "<|arg_sep|>\"ZeroDivisionError('division by \\u00e9 zero')\"<|frame_sep|>"
    '<|return_sep|><|action_sep|>    y = x // 0\n<|arg_sep|>"None"<|frame_sep|>'
    "<|end_of_text|>"
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = [p.text for p in pieces(TRACE) if p.special is None]
    return train_bpe(texts * 10, 320)


ALPHABET = s.one_of(
    s.characters(exclude_categories=("Cs",)), s.sampled_from('<|>"\\{}:,. \n\t\r\u2028\U0001f600')
)
TEXT = s.text(ALPHABET, max_size=12) | s.sampled_from([*st.SPECIAL_TOKENS][:120:7]).map(
    lambda name: f"'{name}'"
)
VALUE = (TEXT | s.sampled_from(["1", "2", "[]", "None"])).filter(lambda text: text != "..")
NAME = s.sampled_from(["x", "y", "self", ".0"]) | TEXT
LOCALS = s.dictionaries(NAME, VALUE, max_size=4)
PLAIN = s.text(ALPHABET, max_size=30).filter(lambda t: not st.SPECIAL_PATTERN.search(t))
SOURCE = PLAIN.map(lambda text: text.replace("\n", " ") + "\n")
CALL = s.builds(Frame, s.just(Event.CALL), SOURCE, LOCALS)
LINE = s.builds(Frame, s.just(Event.LINE), SOURCE, LOCALS)
VALUED = s.builds(
    Frame, s.sampled_from([Event.RETURN, Event.EXCEPTION]), SOURCE, s.none(), VALUE | s.just("..")
)


@s.composite
def traces(draw: s.DrawFn) -> Trace:
    rest = draw(s.lists(s.one_of(CALL, LINE, LINE, VALUED), max_size=6))
    return Trace(draw(PLAIN), (draw(CALL), *rest), draw(s.booleans()))


def test_text_is_the_documented_wire_format():
    assert render_text(TRACE) == WIRE
    assert parse_text(WIRE) == TRACE
    assert parse_text(WIRE.encode()) == TRACE


def test_ids_are_special_ids_and_separately_encoded_texts(tokenizer):
    encoded = render_ids(TRACE, tokenizer)
    expected = []
    for piece in pieces(TRACE):
        if piece.special is None:
            expected += tokenizer.encode(piece.text)
        else:
            expected.append(tokenizer.special_id(piece.special))
    assert encoded.ids == expected
    assert tokenizer.decode(encoded.ids) == WIRE
    assert parse_ids(encoded.ids, tokenizer) == TRACE


def test_roles_frames_and_prompt(tokenizer):
    encoded = render_ids(TRACE, tokenizer)
    assert len(encoded.ids) == len(encoded.roles) == len(encoded.frame_index)

    def text_of(role: Role, frame: int) -> str:
        chosen = zip(encoded.ids, encoded.roles, encoded.frame_index)
        return tokenizer.decode([i for i, r, f in chosen if r == role and f == frame])

    assert text_of(Role.STATE, 0) == '{"x": "1"}'
    assert text_of(Role.STATE, 1) == '{"x": ".."}'
    assert text_of(Role.EVENT, 2) == st.EXCEPTION_SEP
    assert text_of(Role.ACTION, 3) == "    y = x // 0\n"
    assert text_of(Role.VALUE, 3) == '"None"'
    assert text_of(Role.SEPARATOR, 3) == "<|action_sep|><|arg_sep|><|frame_sep|>"
    assert text_of(Role.END, 4) == st.END_OF_TEXT
    assert text_of(Role.CONTEXT, -1) == f"<|begin_of_text|><|trace_context_start|>{CONTEXT}"
    prompt = encoded.ids[: encoded.prompt_length]
    assert prompt == prompt_ids(CONTEXT, FRAMES[0], tokenizer)
    assert tokenizer.decode(prompt) == WIRE[: WIRE.index("<|line_sep|>")]


def test_a_prompt_without_frames(tokenizer):
    encoded = render_ids(Trace(CONTEXT, (), complete=False), tokenizer)
    assert encoded.prompt_length == len(encoded.ids)
    assert parse_ids(encoded.ids, tokenizer) == Trace(CONTEXT, (), complete=False)


@given(traces(), s.booleans())
def test_text_round_trip(trace, diff):
    text = render_text(trace, diff=diff)
    assert parse_text(text, diff=diff) == trace
    assert parse_text(text, diff=None) == trace
    lenient = parse_lenient(text)
    assert (lenient.frames, lenient.problems) == (trace.frames, ())
    assert (lenient.complete, lenient.context) == (trace.complete, trace.context)


@given(trace=traces(), context=TEXT, diff=s.booleans())
def test_ids_round_trip_even_for_names_of_special_tokens(tokenizer, trace, context, diff):
    trace = Trace(context, trace.frames, trace.complete)
    encoded = render_ids(trace, tokenizer, diff=diff)
    assert parse_ids(encoded.ids, tokenizer, diff=diff) == trace
    lenient = parse_lenient(encoded.ids, tokenizer)
    assert (lenient.frames, lenient.problems, lenient.context) == (trace.frames, (), context)


@given(trace=traces(), data=s.data())
def test_continuations_round_trip(tokenizer, trace, data):
    cut = data.draw(s.integers(1, len(trace.frames)))
    ids, index = (lambda e: (e.ids, e.frame_index))(render_ids(trace, tokenizer))
    tail = [token for token, frame in zip(ids, index) if frame >= cut]
    read = parse_frames(tail, tokenizer, before=trace.frames[:cut])
    assert (read.frames, read.complete) == (trace.frames[cut:], trace.complete)
    lenient = parse_lenient(tail, tokenizer, before=trace.frames[:cut])
    assert (lenient.frames, lenient.problems, lenient.context) == (trace.frames[cut:], (), None)


DEVIATIONS = {
    "no begin": (WIRE.removeprefix("<|begin_of_text|>"), 0, "<|begin_of_text|>"),
    "no context start": (
        WIRE.replace("<|trace_context_start|>", ""),
        17,
        "<|trace_context_start|>",
    ),
    "no call first": (WIRE.replace("<|call_sep|>", "<|line_sep|>"), None, "<|call_sep|>"),
    "narrow colon": (WIRE.replace('"x": "1"', '"x":"1"'), None, "': '"),
    "wide comma": (WIRE.replace('{"x": "1"}', '{"x": "1",  "y": "2"}'), None, "a JSON string"),
    "space inside": (WIRE.replace('{"x": "1"}', '{ "x": "1"}'), None, "a JSON string"),
    "number": (WIRE.replace('"x": "1"', '"x": 1'), None, "a JSON string"),
    "huge number": (WIRE.replace('"x": "1"', '"x": ' + "9" * 5000), None, "a JSON string"),
    "nan": (WIRE.replace('"x": "1"', '"x": NaN'), None, "a JSON string"),
    "nesting": (WIRE.replace('{"x": "1"}', '{"x": ' * 9999), None, "a JSON string"),
    "list": (WIRE.replace('{"x": "1"}', '["1"]'), None, "a JSON object"),
    "no locals": (WIRE.replace('{"x": "1"}', ""), None, "a JSON object"),
    "duplicate": (WIRE.replace('{"x": "1"}', '{"x": "2", "x": "1"}'), None, "each local once"),
    "open string": (WIRE.replace('{"x": "1"}', '{"x": "1'), None, "a JSON string"),
    "open object": (WIRE.replace('{"x": "1"}', '{"x": "1"'), None, "', ' or '}'"),
    "raw newline": (WIRE.replace('"x": "1"', '"x": "\n"'), None, "a JSON string"),
    "raw accent": (WIRE.replace("\\u00e9", "\u00e9"), None, "\\u00e9"),
    "upper hex": (WIRE.replace("\\u00e9", "\\u00E9"), None, "\\u00e9"),
    "needless escape": (WIRE.replace('"x": "1"', '"x": "\\u0031"'), None, '"1"'),
    "lone surrogate": (WIRE.replace('"x": "1"', '"x": "\\ud800"'), None, "Unicode text"),
    "unchanged call": (WIRE.replace('"x": "1"', '"x": ".."'), None, "its text"),
    "no antecedent": (WIRE.replace('{"x": ".."}', '{"x": "..", "y": ".."}'), None, "its text"),
    "spelled out": (WIRE.replace('{"x": ".."}', '{"x": "1"}'), None, "'..' for it"),
    "no newline": (WIRE.replace("0\n<|frame_sep|>", "0<|frame_sep|>"), None, "a newline"),
    "two lines": (WIRE.replace("0\n<|frame_sep|>", "0\n\n<|frame_sep|>"), None, "one line"),
    "no source": (
        WIRE.replace("    y = x // 0\n<|frame_sep|>", "<|frame_sep|>"),
        None,
        "a newline",
    ),
    "no value": (WIRE.replace('<|arg_sep|>"None"', ""), None, "<|arg_sep|>"),
    "bare value": (WIRE.replace('"None"', "None"), None, "a JSON string"),
    "text after value": (WIRE.replace('"None"', '"None" '), None, "nothing more"),
    "value on a line": (
        WIRE.replace("0\n<|frame_sep|>", '0\n<|arg_sep|>"1"<|frame_sep|>'),
        None,
        "<|frame_sep|>",
    ),
    "locals on return": (
        WIRE.replace("<|return_sep|>", "<|return_sep|>{}"),
        None,
        "<|action_sep|>",
    ),
    "newline between": (WIRE.replace("<|line_sep|>", "\n<|line_sep|>"), None, "<|call_sep|>, "),
    "other token": (WIRE.replace("<|line_sep|>", "<|eot_id|>"), None, "<|call_sep|>, "),
    "reserved inside": (
        WIRE.replace('"None"', '"No<|reserved_special_token_9|>ne"'),
        None,
        "a JSON string",
    ),
    "no last separator": (
        WIRE.replace("<|frame_sep|><|end_of_text|>", "<|end_of_text|>"),
        len(WIRE) - 28,
        "<|frame_sep|>",
    ),
    "trailing newline": (WIRE + "\n", len(WIRE), "nothing after"),
    "twice": (WIRE + WIRE, len(WIRE), "nothing after"),
    "only an end": (
        WIRE[: WIRE.index("<|call_sep|>")] + st.END_OF_TEXT,
        WIRE.index("<|call_sep|>"),
        st.CALL_SEP,
    ),
    "empty": ("", 0, "<|begin_of_text|>"),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_strict_parsing_names_the_place_and_what_it_expects(name):
    text, offset, expected = DEVIATIONS[name]
    with pytest.raises(CodecError) as caught:
        parse_text(text)
    assert expected in caught.value.expected
    if offset is None:
        differing = next(i for i, (a, b) in enumerate(zip(text, WIRE)) if a != b)
        assert abs(caught.value.offset - differing) <= 60
    else:
        assert caught.value.offset == offset
    lenient = parse_lenient(text)
    assert lenient.problems or name in ("no begin", "spelled out", "empty")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"None"', "None", "no string for the value"),
        ('"None"', '"None', "a broken string for the value"),
        ('"1"', "1", "no string for the text of local 'x'"),
        ('{"x"', "{x", "no string for the name of a local"),
    ],
)
def test_what_is_no_string_is_said_so(old, new, message):
    with pytest.raises(CodecError, match=message):
        parse_text(WIRE.replace(old, new, 1))


def test_offsets_of_ids_count_tokens(tokenizer):
    head = [tokenizer.special_id(st.BEGIN_OF_TEXT), tokenizer.special_id(st.TRACE_CONTEXT_START)]
    head += [tokenizer.special_id(st.FRAME_SEP), tokenizer.special_id(st.CALL_SEP)]
    good, bad = tokenizer.encode('{"x": '), tokenizer.encode("7}")
    with pytest.raises(CodecError) as caught:
        parse_ids(head + good + bad, tokenizer)
    assert caught.value.offset == len(head) + len(good)
    with pytest.raises(CodecError) as caught:
        parse_ids([*head, tokenizer.vocab_size], tokenizer)
    assert caught.value.offset == len(head)


def test_strict_ids_must_be_the_tokenizers_own(tokenizer):
    encoded = render_ids(TRACE, tokenizer)
    start = encoded.roles.index(Role.ACTION)
    merged = tokenizer.encode("def ")
    assert encoded.ids[start : start + len(merged)] == merged
    letters = [token for letter in "def " for token in tokenizer.encode(letter)]
    assert letters != merged
    split = encoded.ids[:start] + letters + encoded.ids[start + len(merged) :]
    assert tokenizer.decode(split) == WIRE
    with pytest.raises(CodecError, match="other tokens") as caught:
        parse_ids(split, tokenizer)
    assert caught.value.offset == start
    lenient = parse_lenient(split, tokenizer)
    assert (lenient.frames, lenient.problems) == (FRAMES, ())


def test_whether_a_trace_must_be_complete():
    cut = WIRE.removesuffix(st.END_OF_TEXT)
    assert parse_text(cut) == Trace(CONTEXT, FRAMES, complete=False)
    with pytest.raises(CodecError, match="cut off") as caught:
        parse_text(cut, complete=True)
    assert caught.value.offset == len(cut)
    with pytest.raises(CodecError, match="the trace ends"):
        parse_text(WIRE, complete=False)


def test_diff_none_accepts_either_coding():
    spelled = WIRE.replace('{"x": ".."}', '{"x": "1"}')
    assert parse_text(spelled, diff=None) == parse_text(spelled, diff=False) == TRACE
    assert parse_text(WIRE, diff=None) == TRACE
    with pytest.raises(CodecError, match="diff-coded"):
        parse_text(WIRE, diff=False)


LINE_X = Frame(Event.LINE, "x\n", {"x": "1"})


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (Trace("", (Frame(Event.CALL, "x\n", {"x": ".."}),)), "unchanged"),
        (Trace("", (LINE_X,)), "a call frame first"),
        (Trace("", ()), "a call frame"),
        (Trace("", (Frame(Event.CALL, "x\n"),)), "locals and no value"),
        (Trace("", (Frame(Event.CALL, "x\n", {}, "1"),)), "locals and no value"),
        (Trace("", (FRAMES[0], Frame(Event.RETURN, "x\n"))), "a value and no locals"),
        (Trace("", (FRAMES[0], Frame(Event.RETURN, "x\n", {}, "1"))), "a value and no locals"),
        (Trace("", (Frame(Event.CALL, "x\ny\n", {}),)), "one source line"),
        (Trace("", (Frame(Event.CALL, "x\n", {"x": 1}),)), "repr text"),  # type: ignore[dict-item]
        (Trace("", (Frame(Event.CALL, "x\n", {"x": "\ud800"}),)), "surrogate"),
        (Trace("\udfff", FRAMES), "surrogate"),
        (Trace("", (*FRAMES[:3], Frame(Event.RETURN, "x\n", None, "\ud800"))), "surrogate"),
    ],
)
def test_what_the_format_cannot_say_is_refused(tokenizer, trace, message):
    with pytest.raises(CodecError, match=message):
        render_text(trace)
    with pytest.raises(CodecError, match=message):
        render_ids(trace, tokenizer)


def test_text_refuses_names_of_special_tokens_where_it_cannot_escape_them(tokenizer):
    for trace in (
        Trace("print('<|frame_sep|>')", FRAMES),
        Trace("", (Frame(Event.CALL, "x = '<|eot_id|>'\n", {}),)),
    ):
        with pytest.raises(CodecError, match="render_ids"):
            render_text(trace)
        assert parse_ids(render_ids(trace, tokenizer).ids, tokenizer) == trace


def test_a_last_line_without_newline_gets_one():
    trace = Trace("x", (Frame(Event.CALL, "f(1)", {}),))
    assert parse_text(render_text(trace)).frames[0].source == "f(1)\n"


def test_lenient_parsing_keeps_what_a_damaged_frame_says():
    text = (
        '<|line_sep|>{"a":"1", "b": 2}<|action_sep|>x = 1\n<|frame_sep|>'
        '<|line_sep|>{"a": "..", "b": "5<|action_sep|>y = 1\n<|frame_sep|>'
        "garbage<|frame_sep|>"
        '<|line_sep|>{"a": "2"}<|frame_sep|>'
        '<|return_sep|><|action_sep|>z\n<|arg_sep|>"unfinished'
    )
    read = parse_lenient(text)
    assert not read.complete
    assert read.frames == (
        Frame(Event.LINE, "x = 1\n", {"a": "1"}),
        Frame(Event.LINE, "y = 1\n", {"a": "1"}),
        Frame(Event.LINE, "", {"a": "2"}),
        Frame(Event.RETURN, "z\n", None, '"unfinished'),
    )
    offsets = [problem.offset for problem in read.problems]
    assert offsets == sorted(offsets)
    assert [text[offset:][:5] for offset in offsets[:2]] == [':"1",', '"5<|a'[:5]]


def test_lenient_parsing_goes_by_earlier_frames_for_unchanged_locals():
    text = '<|line_sep|>{"x": "..", "y": ".."}<|action_sep|>x\n<|frame_sep|><|end_of_text|>'
    read = parse_lenient(text, before=FRAMES[:2])
    assert read.frames[0].locals == {"x": "1", "y": ".."}
    assert read.complete
    assert [p.expected for p in read.problems] == ["its text"]


MUTATIONS = s.lists(
    s.tuples(
        s.integers(0, len(WIRE)),
        s.integers(0, 6),
        s.sampled_from([*st.NAMED_TOKENS, *'"{}:,. \n\\<|>..', "..", "\\u003c", '{"x": "'])
        | s.text(max_size=4),
    ),
    max_size=4,
)


@settings(max_examples=300)
@given(MUTATIONS, s.sampled_from([True, False]))
def test_whatever_text_is_accepted_is_given_back(mutations, diff):
    text = render_text(TRACE, diff=diff)
    for at, length, replacement in mutations:
        text = text[:at] + replacement + text[at + length :]
    parse_lenient(text)
    try:
        trace = parse_text(text, diff=diff)
    except CodecError as error:
        assert 0 <= error.offset <= len(text)
    else:
        assert render_text(trace, diff=diff) == text


@settings(max_examples=300)
@given(data=s.data())
def test_whatever_ids_are_accepted_are_given_back(tokenizer, data):
    ids = render_ids(TRACE, tokenizer).ids
    token = s.integers(0, tokenizer.vocab_size) | s.sampled_from([*tokenizer.special_names])
    for _ in range(data.draw(s.integers(1, 3))):
        at = data.draw(s.integers(0, len(ids)))
        ids[at : at + data.draw(s.integers(0, 3))] = data.draw(s.lists(token, max_size=3))
    parse_lenient(ids, tokenizer)
    try:
        trace = parse_ids(ids, tokenizer)
    except CodecError as error:
        assert 0 <= error.offset <= len(ids)
    else:
        assert render_ids(trace, tokenizer).ids == ids


@given(s.text() | s.binary() | s.text(s.characters(categories=("Cs",))))
def test_no_text_or_bytes_raise_anything_else(data):
    for parse in (parse_text, parse_frames):
        try:
            parse(data)
        except CodecError as error:
            assert 0 <= error.offset <= len(data)
    parse_lenient(data)


@given(
    ids=s.lists(
        s.integers() | s.integers(0, 340) | s.none() | s.text(max_size=2) | s.floats(), max_size=30
    )
)
def test_no_ids_raise_anything_else(tokenizer, ids):
    for parse in (parse_ids, parse_frames):
        try:
            parse(ids, tokenizer)
        except CodecError as error:
            assert 0 <= error.offset <= len(ids)
    parse_lenient(ids, tokenizer)


@given(
    s.recursive(
        s.none() | s.floats() | s.integers() | s.text(),
        lambda x: s.lists(x, max_size=3) | s.dictionaries(s.text(max_size=3), x, max_size=3),
    )
)
def test_any_json_in_place_of_locals_is_survived(value):
    text = WIRE.replace('{"x": "1"}', json.dumps(value))
    try:
        assert render_text(parse_text(text)) == text
    except CodecError:
        assert parse_lenient(text).problems


def test_locals_keep_their_order(tokenizer):
    rng = random.Random(0)
    names = [f"v{i}" for i in range(40)]
    rng.shuffle(names)
    trace = Trace("", (Frame(Event.CALL, "f\n", dict.fromkeys(names, "1")),))
    for read in (
        parse_text(render_text(trace)),
        parse_ids(render_ids(trace, tokenizer).ids, tokenizer),
    ):
        assert list(read.frames[0].locals or ()) == names
