from cwm_core.text import special_tokens as st


def test_the_named_tokens_sit_at_the_ids_of_the_original():
    expected = {
        "<|begin_of_text|>": 128000,
        "<|end_of_text|>": 128001,
        "<|pad|>": 128004,
        "<|start_header_id|>": 128006,
        "<|end_header_id|>": 128007,
        "<|eom_id|>": 128008,
        "<|eot_id|>": 128009,
        "<|frame_sep|>": 128100,
        "<|action_sep|>": 128101,
        "<|return_sep|>": 128102,
        "<|call_sep|>": 128103,
        "<|line_sep|>": 128104,
        "<|exception_sep|>": 128105,
        "<|arg_sep|>": 128106,
        "<|trace_context_start|>": 128107,
        "<|reasoning_thinking_start|>": 128120,
        "<|reasoning_thinking_end|>": 128121,
    }
    assert expected.items() <= st.SPECIAL_TOKENS.items()
    assert expected == st.NAMED_TOKENS


def test_the_table_covers_the_reserved_range_without_gaps():
    assert list(st.SPECIAL_TOKENS.values()) == list(range(128000, 128256))
    assert len(set(st.SPECIAL_TOKENS)) == 256


def test_unnamed_ids_are_numbered_as_in_llama_3():
    llama3 = {0: 128002, 1: 128003, 3: 128005, 5: 128010, 94: 128099, 103: 128108, 250: 128255}
    for number, token_id in llama3.items():
        assert st.SPECIAL_TOKENS[f"<|reserved_special_token_{number}|>"] == token_id


def test_the_pattern_finds_every_name_and_nothing_else():
    for name in st.SPECIAL_TOKENS:
        assert st.SPECIAL_PATTERN.fullmatch(name)
    for text in ("<|frame|>", "<frame_sep>", "<| frame_sep |>", "<|eotxid|>", "|frame_sep|"):
        assert st.SPECIAL_PATTERN.search(text) is None
