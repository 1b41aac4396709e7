import json

import pytest
from hypothesis import given
from hypothesis import strategies as s

from cwm_core.dialog import ChatRole, Dialog, Message, ToolCall, ToolSpec
from cwm_core.dialog.jinja import CHAT_TEMPLATE
from cwm_core.dialog.openai import from_openai, to_openai, tool_specs
from cwm_core.dialog.parse import parse_ids, parse_text
from cwm_core.dialog.template import (
    ChatTemplate,
    Part,
    ReasoningStyle,
    exactly,
    render_ids,
    render_text,
    split_reasoning,
)
from cwm_core.errors import CodecError
from cwm_core.text import special_tokens as st
from cwm_core.text.tokenizer import Tokenizer, train_bpe

TOKEN = ChatTemplate(style=ReasoningStyle.TOKEN)
DIALOG = Dialog(
    (
        Message.system("Be brief."),
        Message.user("  2+2? "),
        Message.assistant(
            "Let me see.", reasoning="Easy:\n4.", calls=[ToolCall("python", "print(2 + 2)")]
        ),
        Message.tool_result("python", "completed. [stdout]4\n[/stdout]\n"),
        Message.assistant("4", reasoning="Done."),
    )
)
WIRE = (
    "<|begin_of_text|>"
    "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<think>\nEasy:\n4.\n</think>\n"
    "Let me see.\n<tool: python>\nprint(2 + 2)\n</tool><|eot_id|>"
    "<|start_header_id|>tool: python<|end_header_id|>\n\n"
    "completed. [stdout]4\n[/stdout]\n<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<think>\nDone.\n</think>\n4<|eot_id|>"
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe([WIRE] * 2, 300, profile="llama3")


def test_text_is_the_documented_wire_format():
    assert render_text(DIALOG) == WIRE


def test_ids_are_the_original_tokens_around_separately_encoded_texts(tokenizer):
    encoded = render_ids(Dialog((Message.user("hi"), Message.assistant("yo"))), tokenizer)
    sid = tokenizer.special_id
    expected = [sid(st.BEGIN_OF_TEXT)]
    for role, text in (("user", "hi"), ("assistant", "yo")):
        expected += [sid(st.START_HEADER), *tokenizer.encode(role), sid(st.END_HEADER)]
        expected += [*tokenizer.encode("\n\n"), *tokenizer.encode(text), sid(st.EOT)]
    assert encoded.ids == expected
    assert tokenizer.decode(render_ids(DIALOG, tokenizer).ids) == WIRE


@pytest.mark.parametrize(
    ("template", "prefix"),
    [
        (ChatTemplate(), "<think>\n"),
        (ChatTemplate(enable_thinking=False), ""),
        (TOKEN, "<|reasoning_thinking_start|>"),
    ],
)
def test_a_prompt_opens_an_assistants_turn(tokenizer, template, prefix):
    dialog = Dialog((Message.user("hi"),))
    wanted = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" + prefix
    encoded = render_ids(dialog, tokenizer, template, prompt=True)
    assert tokenizer.decode(encoded.ids).endswith("hi" + wanted)
    ids_of_prefix = tokenizer.encode(prefix, allow_special=True)
    assert encoded.ids[len(encoded.ids) - len(ids_of_prefix) :] == ids_of_prefix
    assert not any(encoded.loss_mask())


def test_a_prompt_leaves_a_last_assistants_message_open():
    dialog = Dialog((Message.user("hi"), Message.assistant("Well, ")))
    assert render_text(dialog, prompt=True).endswith("<|end_header_id|>\n\nWell, ")


def test_previous_reasoning_can_be_dropped():
    text = render_text(DIALOG, ChatTemplate(preserve_previous_think=False))
    assert "Easy" not in text
    assert "<think>\nDone.\n</think>\n4" in text
    asked = render_text(
        DIALOG + Message.user("Sure?"), ChatTemplate(preserve_previous_think=False), prompt=True
    )
    assert "Done" not in asked
    assert asked.endswith("<think>\n")


def masked_text(tokenizer: Tokenizer, template: ChatTemplate, *roles: ChatRole) -> str:
    encoded = render_ids(DIALOG, tokenizer, template)
    mask = encoded.loss_mask(roles) if roles else encoded.loss_mask()
    assert len(mask) == len(encoded.ids) == len(encoded.parts) == len(encoded.message_index)
    return tokenizer.decode([token for token, kept in zip(encoded.ids, mask) if kept])


def test_the_loss_mask_keeps_what_an_author_wrote(tokenizer):
    calls = "Let me see.\n<tool: python>\nprint(2 + 2)\n</tool><|eot_id|>"
    assert masked_text(tokenizer, ChatTemplate()) == (
        f"Easy:\n4.\n</think>\n{calls}Done.\n</think>\n4<|eot_id|>"
    )
    end = "<|reasoning_thinking_end|>"
    assert masked_text(tokenizer, TOKEN) == f"Easy:\n4.{end}{calls}Done.{end}4<|eot_id|>"
    assert masked_text(tokenizer, ChatTemplate(), ChatRole.USER) == "2+2?<|eot_id|>"
    assert "completed." in masked_text(tokenizer, ChatTemplate(), ChatRole.TOOL)


def test_parts_of_a_message(tokenizer):
    encoded = render_ids(DIALOG, tokenizer)

    def text_of(part: Part, message: int) -> str:
        chosen = zip(encoded.ids, encoded.parts, encoded.message_index)
        return tokenizer.decode([i for i, p, m in chosen if (p, m) == (part, message)])

    assert text_of(Part.HEADER, 3) == "<|start_header_id|>tool: python<|end_header_id|>\n\n"
    assert text_of(Part.PREFIX, 4) == "<think>\n"
    assert text_of(Part.REASONING, 4) == "Done.\n</think>\n"
    assert text_of(Part.CONTENT, 4) == "4"
    assert text_of(Part.END, 4) == st.EOT
    assert text_of(Part.BEGIN, -1) == st.BEGIN_OF_TEXT


ANY = s.text(s.characters(exclude_categories=("Cs",)), max_size=12)
TAGS = s.sampled_from(["<think>\n", "</think>", "\n</think>\n", "<tool: x>\n", "\n</tool>", "\n"])
PLAIN = s.lists(ANY | TAGS, max_size=4).map("".join)
SAFE = PLAIN.filter(lambda t: not st.SPECIAL_PATTERN.search(t))
ASSISTANT = s.builds(
    Message,
    s.just(ChatRole.ASSISTANT),
    SAFE.filter(lambda t: split_reasoning(t) is None),
    s.none() | SAFE.filter(lambda t: "</think>" not in t),
)
TOOL = s.builds(Message.tool_result, ANY.map(lambda t: f"t{t}t".replace("\n", "")), SAFE)
TOOL = TOOL.filter(lambda m: not st.SPECIAL_PATTERN.search(m.tool or ""))
OTHER = s.builds(Message, s.sampled_from([ChatRole.SYSTEM, ChatRole.USER]), SAFE)
DIALOGS = s.lists(s.one_of(ASSISTANT, TOOL, OTHER), max_size=4).map(lambda m: Dialog(tuple(m)))
STYLES = s.sampled_from([ChatTemplate(), TOKEN])


@given(DIALOGS, STYLES)
def test_text_round_trip(dialog, template):
    assert parse_text(render_text(dialog, exactly(template)), template) == dialog


@given(dialog=DIALOGS, template=STYLES, name=s.sampled_from([*st.NAMED_TOKENS]))
def test_ids_round_trip_even_for_names_of_special_tokens(tokenizer, dialog, template, name):
    dialog = dialog + Message.user(f"What is {name}?")
    encoded = render_ids(dialog, tokenizer, exactly(template))
    assert parse_ids(encoded.ids, tokenizer, template) == dialog


MUTATIONS = s.lists(
    s.tuples(
        s.integers(0, len(WIRE)),
        s.integers(0, 8),
        s.sampled_from([*st.NAMED_TOKENS, "\n", "<think>\n", "</think>", "user", "tool: "])
        | s.text(max_size=3),
    ),
    max_size=3,
)


@given(MUTATIONS, STYLES)
def test_whatever_text_is_accepted_is_given_back(mutations, template):
    text = render_text(DIALOG, template)
    for at, length, replacement in mutations:
        text = text[:at] + replacement + text[at + length :]
    try:
        dialog = parse_text(text, template)
    except CodecError as error:
        assert 0 <= error.offset <= len(text)
    else:
        assert render_text(dialog, exactly(template)) == text


@given(data=s.text() | s.binary(), ids=s.lists(s.integers(-1, 330) | s.none(), max_size=20))
def test_nothing_raises_anything_else(tokenizer, data, ids):
    for parse in (lambda: parse_text(data), lambda: parse_ids(ids, tokenizer)):
        try:
            parse()
        except CodecError as error:
            assert error.offset >= 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WIRE.removeprefix("<|begin_of_text|>"), "<|begin_of_text|>"),
        (WIRE.removesuffix("<|eot_id|>"), "<|eot_id|>"),
        (WIRE.replace("<|eot_id|>", "<|eom_id|>"), "<|eot_id|>"),
        (WIRE.replace(">user<", ">human<"), "system, user"),
        (WIRE.replace(">user<", ">user: me<"), "system, user"),
        (WIRE.replace("tool: python<", "tool<"), "tool: NAME"),
        (WIRE.replace("\n\nBe", "\nBe"), "two newlines"),
        (WIRE + "\n", "<|start_header_id|>"),
        (WIRE.replace("brief", "<|frame_sep|>"), "<|eot_id|>"),
    ],
)
def test_strict_parsing_says_what_it_expects(text, expected):
    with pytest.raises(CodecError) as caught:
        parse_text(text)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (Message.assistant("<think>\na\n</think>\nb"), "`reasoning`"),
        (Message.assistant("b", reasoning="a</think>"), "</think>"),
        (Message(ChatRole.USER, "b", reasoning="a"), "assistant messages only"),
        (Message(ChatRole.TOOL, "b"), "tool name"),
        (Message(ChatRole.TOOL, "b", tool="a\nb"), "tool name"),
        (Message(ChatRole.USER, "b", tool="a"), "tool messages only"),
        (Message.user("\ud800"), "surrogate"),
    ],
)
def test_what_the_format_cannot_say_is_refused(tokenizer, message, complaint):
    with pytest.raises(CodecError, match=complaint):
        render_text(Dialog((message,)))
    with pytest.raises(CodecError, match=complaint):
        render_ids(Dialog((message,)), tokenizer)


def test_text_refuses_names_of_special_tokens():
    with pytest.raises(CodecError, match="render_ids"):
        render_text(Dialog((Message.user("<|eot_id|>"),)))


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": {p: {"type": "string"} for p in fields}},
        },
    }
    for name, description, fields in (
        ("python", "Runs code. ", ["code"]),
        ("edit", "", ["path", "search", "replace"]),
        ("create", "Creates a file.", ["path", "content"]),
        ("add", "Adds.", ["a", "b"]),
    )
]


def openai_messages() -> list[dict]:
    def call(name: str, arguments: dict, call_id: str) -> dict:
        function = {"name": name, "arguments": arguments}
        return {"id": call_id, "type": "function", "function": function}

    return [
        {"role": "system", "content": " Be brief. "},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Go"}, {"type": "text", "text": "!"}],
        },
        {
            "role": "assistant",
            "content": "First.",
            "reasoning_content": "Hm",
            "tool_calls": [call("python", {"code": "print('\u00e9')\n"}, "c1")],
        },
        {"role": "tool", "tool_call_id": "c1", "content": " completed.\n"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                call("edit", {"path": "a.py", "search": "x", "replace": "y\nz"}, "c2"),
                call("create", {"path": "b.py", "content": "1\n"}, "c3"),
                call("add", {"a": 1, "b": "\u00e9"}, "c4"),
            ],
        },
        {"role": "tool", "name": "edit", "tool_call_id": "c2", "content": "ok"},
        {"role": "assistant", "content": "<think>\nold\n</think>\nDone."},
        {"role": "user", "content": "Thanks"},
    ]


@pytest.fixture(scope="module")
def theirs(tokenizer, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    directory = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(directory)
    return transformers.AutoTokenizer.from_pretrained(str(directory))


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("tools", [TOOLS, None])
@pytest.mark.parametrize("drop", [0, 1, 2])
def test_the_jinja_template_renders_the_same(
    tokenizer, theirs, thinking, preserve, prompt, tools, drop
):
    messages = openai_messages()[drop % 2 : -drop or None]
    if prompt and messages[-1]["role"] == "assistant":
        messages.append({"role": "user", "content": "More"})
    template = ChatTemplate(enable_thinking=thinking, preserve_previous_think=preserve)
    dialog = from_openai(messages, tool_specs(tools or ()))
    options = {
        "tools": tools,
        "add_generation_prompt": prompt,
        "enable_thinking": thinking,
        "preserve_previous_think": preserve,
    }
    assert theirs.apply_chat_template(messages, tokenize=False, **options) == render_text(
        dialog, template, prompt=prompt
    )
    ids = theirs.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    encoded = render_ids(dialog, tokenizer, template, prompt=prompt).ids
    # Jinja text is encoded as a whole, so only whitespace at the start of a tool's answer differs.
    assert tokenizer.decode(ids) == tokenizer.decode(encoded)
    if not any(m.content.startswith(" ") and m.role == "tool" for m in dialog.messages):
        assert ids == encoded


def test_the_jinja_switches_default_to_thinking(theirs):
    assert theirs.chat_template == CHAT_TEMPLATE
    text = theirs.apply_chat_template(openai_messages(), tokenize=False, add_generation_prompt=True)
    assert text.endswith("<think>\n")
    assert "Hm\n</think>" in text


def test_openai_messages_become_a_dialog():
    dialog = from_openai(openai_messages(), tool_specs(TOOLS), announce=False)
    assert dialog.messages[1] == Message.user("Go!")
    assert dialog.messages[2].calls == (ToolCall("python", "print('\u00e9')\n"),)
    assert dialog.messages[2].reasoning == "Hm"
    assert dialog.messages[3].tool == "python"
    edit, create, add = dialog.messages[4].calls
    assert edit.content == "a.py\n<<<<<<< SEARCH\nx\n=======\ny\nz\n>>>>>>> REPLACE"
    assert create.content == "b.py\n1\n"
    assert json.loads(add.content) == {"a": 1, "b": "\u00e9"}
    assert dialog.messages[6] == Message.assistant("Done.", reasoning="old")


CALLS = s.lists(
    s.builds(
        ToolCall,
        s.sampled_from(["python", "edit", "create", "add", "unknown"]),
        ANY | s.just("p\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE") | s.just('{"a": "1"}'),
    ),
    max_size=3,
)


@given(
    s.lists(
        s.builds(
            lambda text, reasoning, calls: Message.assistant(
                text, reasoning=reasoning, calls=calls
            ),
            ANY,
            s.none() | ANY,
            CALLS,
        )
        | ASSISTANT
        | OTHER,
        max_size=4,
    ),
    s.sampled_from([(), tool_specs(TOOLS)]),
)
def test_openai_round_trip(messages, tools):
    dialog = Dialog(tuple(messages))
    dicts = json.loads(json.dumps(to_openai(dialog, tools)))
    assert from_openai(dicts, tools, announce=False) == dialog


def test_calls_and_their_answers_are_linked_by_id():
    dialog = Dialog(
        (
            Message.assistant("", calls=[ToolCall("a", "1"), ToolCall("b", "2")]),
            Message.tool_result("b", "two"),
            Message.tool_result("a", "one"),
        )
    )
    first, second, third = to_openai(dialog, [ToolSpec("a", parameters=("x",))])
    assert [call["id"] for call in first["tool_calls"]] == ["call_0", "call_1"]
    assert first["tool_calls"][0]["function"] == {"name": "a", "arguments": '{"x": "1"}'}
    assert (second["tool_call_id"], third["tool_call_id"]) == ("call_1", "call_0")
