import pytest
from hypothesis import given
from hypothesis import strategies as s

from cwm_core.dialog import Dialog, Message, ToolCall, ToolSpec
from cwm_core.dialog.edits import CreateBlock, EditBlock, parse_create, parse_edit
from cwm_core.dialog.openai import from_openai, tool_specs
from cwm_core.dialog.results import (
    PythonResult,
    ToolObservation,
    parse_observation,
    parse_python_result,
    render_submission,
)
from cwm_core.dialog.tools import (
    announce_tools,
    find_calls,
    parse_calls,
    render_call,
    split_calls,
)
from cwm_core.errors import CodecError, DataError

BASH = ToolCall("bash", "ls\ncat x")


def test_calls_have_the_documented_form():
    assert render_call(BASH) == "<tool: bash>\nls\ncat x\n</tool>"
    assert render_call(ToolCall("submit", "")) == "<tool: submit>\n\n</tool>"


def test_calls_are_found_between_text():
    text = f"First\n{render_call(BASH)}\nthen {render_call(ToolCall('b', ''))} end"
    assert split_calls(text) == ("First\n", BASH, "\nthen ", ToolCall("b", ""), " end")
    assert parse_calls(text) == find_calls(text).calls == (BASH, ToolCall("b", ""))
    assert find_calls(text).problems == ()
    assert Message.assistant(text).calls == (BASH, ToolCall("b", ""))
    assert Message.user(text).calls == ()
    assert parse_calls("no call") == ()


BROKEN = [
    ("<tool: a>\nx", 11, "'</tool>'", ()),
    ("x</tool>", 1, "'<tool: NAME>' before", ()),
    ("<tool: a>\n<tool: b>\nx\n</tool>\n</tool>", 10, "before it", ("<tool: b>\nx",)),
    ("<tool:a>\nx\n</tool>", 0, "'<tool: NAME>'", ()),
    ("<tool: a>x\n</tool>", 0, "'<tool: NAME>'", ()),
    ("<tool: a b>\nx\n</tool>", 0, "'<tool: NAME>'", ()),
    ("<tool: a>\nx</tool>", 11, "a newline", ("x",)),
    ("<tool: a>\n</tool>", 10, "a newline", ("",)),
]


@pytest.mark.parametrize(("text", "offset", "expected", "contents"), BROKEN)
def test_deviations_are_errors_or_problems(text, offset, expected, contents):
    with pytest.raises(CodecError) as caught:
        parse_calls(text)
    assert (caught.value.offset, expected in caught.value.expected) == (offset, True)
    found = find_calls(text)
    assert found.problems[0].offset == offset
    assert tuple(call.content for call in found.calls) == contents


def test_an_unfinished_call_is_kept_apart():
    found = find_calls(f"a {render_call(BASH)} b <tool: edit>\npath")
    assert found.calls == (BASH,)
    assert found.unfinished == ToolCall("edit", "path")


TAGGED = s.lists(
    s.text(max_size=6) | s.sampled_from(["<tool: a>\n", "\n</tool>", "</tool>", "<tool:", "\n"]),
    max_size=8,
).map("".join)


@given(TAGGED)
def test_accepted_text_is_given_back_and_nothing_else_is_raised(text):
    find_calls(text)
    try:
        parts = split_calls(text)
    except CodecError as error:
        assert 0 <= error.offset <= len(text)
        assert find_calls(text).problems
    else:
        again = "".join(p if isinstance(p, str) else render_call(p) for p in parts)
        assert again == text
        assert find_calls(text).parts == parts


@pytest.mark.parametrize(
    "call",
    [ToolCall("a", "</tool>"), ToolCall("a", "<tool: b>"), ToolCall("", "x"), ToolCall("a b", "x")],
)
def test_calls_that_cannot_be_said_are_refused(call):
    with pytest.raises(CodecError):
        render_call(call)


def test_long_hostile_text_is_read_in_linear_time():
    text = "<tool: a>\n" * 20_000
    assert len(find_calls(text).problems) == 1
    assert len(find_calls("</tool>" * 20_000 + "<tool:" * 20_000).problems) > 1


def test_tools_are_announced_as_in_the_prompting_guide():
    tools = [
        ToolSpec("bash", "Executes bash command(s).", ("command(s)",)),
        ToolSpec("create", "Creates a file.", ("path", "content")),
        ToolSpec("add", "", ("a", "b")),
    ]
    assert announce_tools(tools) == (
        "You have access to the following tools:\n\n"
        "<tool: bash>\n[command(s)]\n</tool>\nExecutes bash command(s).\n\n"
        "<tool: create>\n[path]\n[content]\n</tool>\nCreates a file.\n\n"
        "<tool: add>\n[JSON object with a, b]\n</tool>"
    )


@pytest.mark.parametrize(
    ("result", "separator", "text"),
    [
        (PythonResult(), " ", "completed."),
        (PythonResult("4\n"), " ", "completed. [stdout]4\n[/stdout]"),
        (PythonResult("4", "w"), " ", "completed. [stdout]4[/stdout] [stderr]w[/stderr]"),
        (PythonResult("4", "w"), "\n", "completed.\n[stdout]4[/stdout]\n[stderr]w[/stderr]"),
        (PythonResult("", "w"), " ", "completed. [stderr]w[/stderr]"),
        (PythonResult(error="Timeout"), " ", "error: Timeout"),
    ],
)
def test_python_results(result, separator, text):
    assert result.render(separator=separator) == text
    assert parse_python_result(text) == result


def test_other_texts_are_no_python_results():
    for text in ("", "completed", "completed. ", "completed. [stdout]x", "done"):
        with pytest.raises(CodecError):
            parse_python_result(text)


@given(s.text(), s.integers(-9, 10**9), s.integers(-9, 10**9))
def test_observations_round_trip(output, turns, tokens):
    observation = ToolObservation(output, turns, tokens)
    assert parse_observation(observation.render()) == observation


def test_an_observation_has_the_documented_form():
    assert ToolObservation(render_submission("diff"), 3, 500).render() == (
        "<output>\n<submission>\ndiff\n</submission>\n</output>\n\n"
        "<budget>\n* Remaining turns: 3\n* Remaining tokens: 500\n</budget>"
    )
    for text in ("", "<output>\nx\n</output>", "<output>x</output>\n\n<budget>\n</budget>"):
        with pytest.raises(CodecError):
            parse_observation(text)


def test_edit_blocks():
    block = EditBlock("a/b.py", "  x = 1\n\n", "Title\n=======\ntext")
    text = "a/b.py\n<<<<<<< SEARCH\n  x = 1\n\n\n=======\nTitle\n=======\ntext\n>>>>>>> REPLACE"
    assert block.render() == text
    assert parse_edit(text) == block
    assert parse_edit("a\n<<<<<<< SEARCH\n\n=======\n\n>>>>>>> REPLACE") == EditBlock("a", "", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.py", "SEARCH"),
        ("\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE", "a path"),
        ("a\nb\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE", "a path"),
        ("a\n<<<<<<< SEARCH\n=======\ny\n>>>>>>> REPLACE", "'======='"),
        ("a\n<<<<<<< SEARCH\nx\n>>>>>>> REPLACE", "'======='"),
        ("a\n<<<<<<< SEARCH\nx\n=======\n>>>>>>> REPLACE", "REPLACE"),
        ("a\n<<<<<<< SEARCH\nx\n=======\ny", "REPLACE"),
        ("a\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n", "one search/replace block"),
        ("a\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\nb\n<<<<<<< SEARCH\n", "one search"),
    ],
)
def test_broken_edit_blocks_are_refused(text, expected):
    with pytest.raises(CodecError) as caught:
        parse_edit(text)
    assert expected in caught.value.expected
    assert 0 <= caught.value.offset <= len(text)


MARKED = s.lists(
    s.text("ab \n", max_size=4)
    | s.sampled_from(["\n=======\n", "=======", "\n>>>>>>> REPLACE", "\n<<<<<<< SEARCH\n"]),
    max_size=4,
).map("".join)


@given(MARKED, MARKED, MARKED)
def test_edit_blocks_round_trip_or_are_refused(path, search, replace):
    block = EditBlock(path, search, replace)
    try:
        text = block.render()
    except CodecError:
        return
    assert parse_edit(text) == block


@given(MARKED)
def test_accepted_edits_are_given_back(text):
    text = f"a\n<<<<<<< SEARCH\n{text}\n=======\nb\n>>>>>>> REPLACE"
    try:
        assert parse_edit(text).render() == text
    except CodecError as error:
        assert 0 <= error.offset <= len(text)


def test_create_blocks():
    assert parse_create("a.py\nx\n\n") == CreateBlock("a.py", "x\n\n")
    assert CreateBlock("a.py", "").render() == "a.py\n"
    for text in ("", "a.py", "\nx"):
        with pytest.raises(CodecError):
            parse_create(text)
    with pytest.raises(CodecError):
        CreateBlock("", "x").render()


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"role": "robot", "content": ""},
        {"role": "user", "content": [{"type": "image_url"}]},
        {"role": "user", "content": 3},
        {"role": "tool", "content": "x", "tool_call_id": "nobody's"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        "text",
    ],
)
def test_what_is_no_openai_message_is_refused(entry):
    with pytest.raises(DataError, match="message 1") as caught:
        from_openai([{"role": "developer", "content": "x"}, entry])
    assert caught.value.hint


def test_what_is_no_openai_tool_is_refused():
    with pytest.raises(DataError, match="tool 0"):
        tool_specs([{"name": "x"}])


def test_tools_are_announced_in_the_system_prompt():
    tools = [ToolSpec("bash")]
    with_system = from_openai([{"role": "system", "content": "Hi"}], tools)
    assert with_system == Dialog((Message.system(f"Hi\n\n{announce_tools(tools)}"),))
    without = from_openai([{"role": "user", "content": "Hi"}], tools)
    assert without.messages == (Message.system(announce_tools(tools)), Message.user("Hi"))
