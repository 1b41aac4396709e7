import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as s

from cwm_core.errors import ConfigError, DataError
from cwm_core.text import special_tokens as st
from cwm_core.text.profiles import LLAMA3, PROFILES
from cwm_core.text.tokenizer import Tokenizer, train_bpe

TEXTS = [
    '{"x": "..", "y": "..", "total": "12"}',
    "    for x in items:\n        total += x\n",
    "    return total\n",
    "def f(items):  # << START_OF_TRACE\n    total = 0\n    return total\n",
] * 20

LLAMA31 = {
    "<|begin_of_text|>": 128000,
    "<|end_of_text|>": 128001,
    "<|finetune_right_pad_id|>": 128004,
    "<|start_header_id|>": 128006,
    "<|end_header_id|>": 128007,
    "<|eom_id|>": 128008,
    "<|eot_id|>": 128009,
    "<|python_tag|>": 128010,
}


def llama3_content(names: dict[str, int] = LLAMA31) -> dict:
    """A tokenizer.json shaped as Llama 3's: few merges, filler up to 128000, then the specials."""
    base = json.loads(train_bpe(TEXTS, 320, profile="llama3").to_json())
    vocabulary = base["model"]["vocab"]
    for i in range(len(vocabulary), 128000):
        vocabulary[f"filler \u2603 {i}"] = i
    by_id = {token_id: name for name, token_id in names.items()}
    base["added_tokens"] = [
        {
            "id": i,
            "content": by_id.get(i, f"<|reserved_special_token_{i}|>"),
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i in range(128000, 128256)
    ]
    base["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<|begin_of_text|>": {
                "id": "<|begin_of_text|>",
                "ids": [128000],
                "tokens": ["<|begin_of_text|>"],
            }
        },
    }
    return base


def write(directory: Path, content: object) -> Path:
    file = directory / "tokenizer.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return train_bpe(TEXTS, 340)


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Tokenizer:
    return Tokenizer.load(write(tmp_path_factory.mktemp("llama"), llama3_content()))


@pytest.fixture(params=["small", "llama"])
def each(request) -> Tokenizer:
    return request.getfixturevalue(request.param)


def test_llama_3_gets_the_names_of_cwm_at_their_ids(llama):
    for name, token_id in st.NAMED_TOKENS.items():
        assert llama.special_id(name) == token_id
        assert llama.special_name(token_id) == name
        assert llama.encode(name, allow_special=True) == [token_id]
        assert llama.decode([token_id]) == name
    assert llama.vocab_size == 128256
    assert llama.special_name(128010) == "<|python_tag|>"
    assert llama.special_name(127999) is None
    assert len(llama.special_names) == 256


def test_llama_3_text_is_encoded_as_by_the_library(llama, tmp_path):
    library = tokenizers.Tokenizer.from_file(str(write(tmp_path, llama3_content())))
    for text in TEXTS[:4]:
        assert llama.encode(text) == library.encode(text, add_special_tokens=False).ids


def test_loading_what_was_saved_changes_nothing(each, tmp_path):
    each.save(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert again.encode_batch(TEXTS) == each.encode_batch(TEXTS)
    assert dict(again.special_ids) == dict(each.special_ids)
    assert Tokenizer.load(tmp_path / "saved" / "tokenizer.json").fingerprint == again.fingerprint


def without(content: dict, *ids: int) -> dict:
    content["added_tokens"] = [t for t in content["added_tokens"] if t["id"] not in ids]
    return content


def changed(content: dict, **fields: object) -> dict:
    return content | fields


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: "not json", "no JSON"),
        (lambda: "[" * 50_000, "no JSON"),
        (lambda: "[]", "format"),
        (lambda: {"model": {}, "added_tokens": [{"id": 1}]}, "format"),
        (lambda: {"model": {"type": "BPE"}}, "lacks the special tokens"),
        (lambda: without(llama3_content(), 128107), r"lacks the special token ids \[128107\]"),
        (
            lambda: llama3_content(LLAMA31 | {"<|frame_sep|>": 128011}),
            "frame_sep.* at id 128011; CWM has it at 128100",
        ),
        (lambda: changed(llama3_content(), model={"type": "Unknown"}), "cannot load"),
        (lambda: changed(llama3_content(), normalizer={"type": "Lowercase"}), "keep every text"),
    ],
)
def test_unusable_files_are_refused_with_a_remedy(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as caught:
        Tokenizer.load(write(tmp_path, content()))
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


def test_missing_files_are_refused_with_a_remedy(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.json"):
        with pytest.raises(DataError, match="cannot read") as caught:
            Tokenizer.load(path)
        assert caught.value.hint


def test_a_small_vocabulary_ends_with_the_same_special_names(small):
    assert small.vocab_size <= 340
    first = small.vocab_size - len(st.NAMED_TOKENS)
    assert dict(small.special_ids) == {n: first + i for i, n in enumerate(st.NAMED_TOKENS)}


def test_an_unknown_special_name_is_an_error(small):
    with pytest.raises(DataError, match="reserved_special_token_0"):
        small.special_id("<|reserved_special_token_0|>")


@pytest.mark.parametrize(
    ("size", "profile", "message"), [(272, "trace", "too small"), (400, "llama", "known profiles")]
)
def test_impossible_training_settings_are_refused(size, profile, message):
    with pytest.raises(ConfigError, match=message):
        train_bpe(TEXTS, size, profile=profile)


def test_training_is_deterministic_across_processes(small):
    code = (
        "import json, sys; from cwm_core.text.tokenizer import train_bpe\n"
        "print(train_bpe(json.load(sys.stdin), 340).fingerprint)"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(TEXTS),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed},
        )
        assert done.stdout.strip() == small.fingerprint
    assert train_bpe(TEXTS, 300).fingerprint != small.fingerprint


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([token]) for token in tokenizer.encode(text)]


def test_the_trace_profile_splits_digits_and_joins_punctuation():
    tokenizer = train_bpe(TEXTS, 600)
    assert tokens(tokenizer, "12345") == list("12345")
    assert tokens(tokenizer, '{"x": "..", "total": "12"}') == [
        '{"', "x", '": "..", "', "total", '": "', "1", "2", '"}'
    ]  # fmt: skip
    assert tokens(tokenizer, "        total += x\n") == [" " * 8, "total", " += ", "x", "\n"]


def test_the_llama_3_profile_is_its_split():
    for text in ("I'll pay 12345 euros", "x  =  1\n\n  y", "\t\u00e9t\u00e9 --\r\n"):
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(LLAMA3), "isolated")
        pieces = [piece for piece, _ in split.pre_tokenize_str(text)]
        assert "".join(pieces) == text
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(LLAMA3), "isolated")
    assert [piece for piece, _ in split.pre_tokenize_str("I'll pay 12345 euros\n\n")] == [
        "I", "'ll", " pay", " ", "123", "45", " euros", "\n\n"
    ]  # fmt: skip


TEXT = s.lists(
    s.text(max_size=8) | s.sampled_from([*st.NAMED_TOKENS, "<|reserved_special_token_250|>"]),
    max_size=6,
).map("".join)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_keeps_any_text(profile):
    tokenizer = train_bpe(TEXTS, 340, profile=profile)

    @given(TEXT)
    def check(text):
        assert tokenizer.decode(tokenizer.encode(text)) == text

    check()


@given(text=TEXT)
def test_user_text_never_becomes_special_ids(small, llama, text):
    for tokenizer in (small, llama):
        ids = tokenizer.encode(text)
        assert not set(ids) & set(tokenizer.special_names)
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode_batch([text, "x"])[0] == ids
        assert list(tokenizer.encode_cached([text, "x"])[0]) == ids
        assert list(tokenizer.encode_cached([text, text])[1]) == ids


@given(text=TEXT)
def test_special_names_become_ids_on_request(small, text):
    ids = small.encode(text, allow_special=True)
    parts = st.SPECIAL_PATTERN.sub(
        lambda match: match[0] if match[0] in small.special_ids else "", text
    )
    found = [match[0] for match in st.SPECIAL_PATTERN.finditer(parts)]
    assert [small.special_name(i) for i in ids if small.special_name(i)] == found
    assert small.decode(ids) == text


def test_decoding_can_skip_special_tokens(each):
    ids = [each.special_id(st.FRAME_SEP), *each.encode("x"), each.special_id(st.EOT)]
    assert each.decode(ids) == "<|frame_sep|>x<|eot_id|>"
    assert each.decode(ids, skip_special=True) == "x"


def test_decoding_survives_any_ids(small):
    letter = small.encode("x")[0]
    assert small.decode([letter, small.vocab_size, letter, -1, 2**70]) == "x\ufffdx\ufffd\ufffd"
    assert small.decode(small.encode("\u00e9")[:1]) == "\ufffd"
    assert small.decode([]) == ""


def test_lone_surrogates_are_refused_with_a_remedy(small):
    for encode in (
        small.encode,
        lambda t: small.encode_batch([t]),
        lambda t: small.encode_cached([t]),
    ):
        with pytest.raises(DataError, match="character 1") as caught:
            encode("x\ud800")
        assert caught.value.hint


def test_cached_encodings_stay_right_when_the_cache_overflows():
    from cwm_core.text.cache import EncodingCache

    batches = []

    def encode(texts: list[str]) -> list[tuple[int, ...]]:
        batches.append(list(texts))
        return [tuple(text.encode()) for text in texts]

    cache = EncodingCache(encode, size=4, longest=8)
    for i in range(50):
        texts = [str(i), "same", str(i), "longer than that", str(i - 3)]
        assert cache(texts) == [tuple(text.encode()) for text in texts]
    asked = [text for batch in batches for text in batch]
    assert asked.count("same") == 1
    assert asked.count("longer than that") == 50
    assert len(asked) < 50 * 4
    assert all(len(set(batch)) == len(batch) for batch in batches)


def test_tokenizers_can_be_pickled(small):
    again = pickle.loads(pickle.dumps(small))
    assert again.encode_batch(TEXTS) == small.encode_batch(TEXTS)
    assert again.fingerprint == small.fingerprint


def test_transformers_loads_what_was_saved(each, tmp_path):
    transformers = pytest.importorskip("transformers")
    each.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert len(theirs) == each.vocab_size
    text = "".join(TEXTS[:4]) + "<|frame_sep|>x<|eot_id|>\n"
    assert theirs.encode(text, add_special_tokens=False) == each.encode(text, allow_special=True)
    plain = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert plain == each.encode(text)
    assert theirs.decode(each.encode(text)) == text
    assert theirs.bos_token_id == each.special_id(st.BEGIN_OF_TEXT)
    assert theirs.eos_token_id == each.special_id(st.END_OF_TEXT)
    assert theirs.pad_token_id == each.special_id(st.PAD)
