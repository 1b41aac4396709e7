"""Text to token ids and back, for Llama-3-family vocabularies and small ones trained here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from cwm_core.errors import ConfigError, DataError
from cwm_core.text import special_tokens as st
from cwm_core.text.cache import EncodingCache, Ids
from cwm_core.text.llama3 import check_specials, is_llama3, place_specials
from cwm_core.text.profiles import PROFILES

_PROBE = " If x:\n\t'é\u4e2d\U0001f600'  # 10\x00\r\n"
_BYTES = 256


class Tokenizer:
    """A byte-level tokenizer with CWM's special tokens.

    Encoding never yields special ids for what a text merely spells, unless `allow_special` says
    so. Instances can be pickled and shared between threads.
    """

    def __init__(self, content: str) -> None:
        """Take the contents of a `tokenizer.json`; use `load` for files."""
        self._content = content
        self._plain = tokenizers.Tokenizer.from_str(content)
        self._plain.encode_special_tokens = True
        self._cache = EncodingCache(self._encode_plain)
        self.vocab_size: int = self._plain.get_vocab_size()
        """Number of ids, special ones included; ids are 0 to this, exclusive."""
        added = self._plain.get_added_tokens_decoder()
        names = {i: token.content for i, token in added.items() if token.special}
        self.special_names: Mapping[int, str] = MappingProxyType(names)
        """Names of the special tokens by id."""
        self.special_ids: Mapping[str, int] = MappingProxyType({n: i for i, n in names.items()})
        """Ids of the special tokens by name."""

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str]]:
        return Tokenizer, (self._content,)

    @cached_property
    def _special(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self._content)

    def to_json(self) -> str:
        """Return the contents of the `tokenizer.json`."""
        return self._content

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the contents (16 hex digits): equal for tokenizers that give equal ids."""
        return hashlib.sha256(self._content.encode()).hexdigest()[:16]

    # Files

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Load a `tokenizer.json`, or the one of a directory.

        In a Llama-3-family file, reserved tokens are renamed so that CWM's are at their ids. Raises
        `DataError` for a missing or unusable file and for one without the special tokens.
        """
        file = Path(path)
        if file.is_dir():
            file = file / "tokenizer.json"
        content = _read(file)
        if is_llama3(content):
            place_specials(content, str(file))
        else:
            check_specials(content, str(file))
        tokenizer = _from_content(content, str(file))
        _check_text_survives(tokenizer, str(file))
        return tokenizer

    def save(self, directory: Path | str) -> None:
        """Write the files that `transformers.AutoTokenizer.from_pretrained(directory)` loads."""
        from cwm_core.dialog.jinja import CHAT_TEMPLATE

        roles = {"bos_token": st.BEGIN_OF_TEXT, "eos_token": st.END_OF_TEXT, "pad_token": st.PAD}
        config = {
            **roles,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
            "chat_template": CHAT_TEMPLATE,
        }
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("tokenizer.json", self._content),
            ("tokenizer_config.json", json.dumps(config, indent=2)),
            ("special_tokens_map.json", json.dumps(roles, indent=2)),
        ):
            (directory / name).write_text(content, encoding="utf-8")

    # Ids

    def _encode_plain(self, texts: list[str]) -> list[Ids]:
        return [tuple(ids) for ids in _encode(self._plain, texts)]

    def encode(self, text: str, allow_special: bool = False) -> list[int]:
        """Return the ids of a text; `allow_special` turns names of special tokens into their ids.

        Raises `DataError` for a lone surrogate, which UTF-8 cannot encode.
        """
        return _encode(self._special if allow_special else self._plain, [text])[0]

    def encode_batch(self, texts: Sequence[str], allow_special: bool = False) -> list[list[int]]:
        """Return the ids of each text, as `encode` does."""
        return _encode(self._special if allow_special else self._plain, list(texts))

    def encode_cached(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text, as `encode` does; fast for short texts that come again."""
        return self._cache(texts)

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        """Return the text of ids; special tokens appear by name unless skipped.

        Bytes that are not UTF-8 and ids outside the vocabulary become U+FFFD.
        """
        ids = list(ids)
        if ids and (min(ids) < 0 or max(ids) >= self.vocab_size):
            return "".join(self._decode_outsiders(ids, skip_special))
        return self._plain.decode(ids, skip_special_tokens=skip_special)

    def _decode_outsiders(self, ids: list[int], skip_special: bool) -> Iterator[str]:
        run: list[int] = []
        for token in ids:
            if 0 <= token < self.vocab_size:
                run.append(token)
                continue
            yield self._plain.decode(run, skip_special_tokens=skip_special) + "\ufffd"
            run = []
        yield self._plain.decode(run, skip_special_tokens=skip_special)

    def special_id(self, name: str) -> int:
        """Return the id of a special token; raises `DataError` for an unknown name."""
        try:
            return self.special_ids[name]
        except KeyError:
            raise DataError(
                f"the tokenizer has no special token {name!r}",
                f"it has {', '.join(list(self.special_ids)[:40])}",
            ) from None

    def special_name(self, token_id: int) -> str | None:
        """Return the name of a special token's id, None for an ordinary id."""
        return self.special_names.get(token_id)


def _encode(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    try:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError):
        _refuse_surrogates(texts)
        raise
    return [encoding.ids for encoding in encodings]


def _refuse_surrogates(texts: list[str]) -> None:
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"text {index} cannot be encoded: {error.reason} at its character {error.start}",
                "replace lone surrogates, e.g. text.encode(errors='replace').decode()",
            ) from None


def _read(file: Path) -> dict[str, Any]:
    hint = "give a tokenizer.json, or a directory that holds one"
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the tokenizer {file}: {error.strerror}", hint) from None
    except (ValueError, RecursionError):
        raise DataError(f"{file} is no JSON file, so no tokenizer", hint) from None
    try:
        known = isinstance(content["model"], dict) and all(
            isinstance(token["id"], int) and isinstance(token["content"], str)
            for token in content.get("added_tokens", ())
        )
    except (TypeError, KeyError, AttributeError):
        known = False
    if not known:
        raise DataError(f"{file} is not in the format of the tokenizers library", hint)
    return content


def _from_content(content: dict[str, Any], where: str) -> Tokenizer:
    try:
        return Tokenizer(json.dumps(content, ensure_ascii=False))
    except Exception as error:  # the library raises bare Exception
        raise DataError(
            f"the tokenizers library cannot load {where}: {error}",
            "download or train the tokenizer again",
        ) from None


def _check_text_survives(tokenizer: Tokenizer, where: str) -> None:
    if tokenizer.decode(tokenizer.encode(_PROBE)) != _PROBE:
        raise DataError(
            f"{where} does not keep every text as it is",
            "CWM needs a byte-level tokenizer without normalization",
        )


def train_bpe(texts: Iterable[str], vocab_size: int, *, profile: str = "trace") -> Tokenizer:
    """Train a small byte-level BPE: bytes, merges, then the named special tokens.

    `texts` are plain pieces (a context, LOCALS, a source line, ...). `vocab_size` counts
    everything; texts with little variety may give fewer merges and a smaller vocabulary. `profile`
    names an entry of `cwm_core.text.profiles.PROFILES`. Equal inputs give equal tokenizers. Raises
    `ConfigError` for an unknown profile or a size without room for the bytes and special tokens.
    """
    least = _BYTES + len(st.NAMED_TOKENS)
    if vocab_size < least:
        raise ConfigError(f"a vocabulary of {vocab_size} is too small", f"give at least {least}")
    if profile not in PROFILES:
        raise ConfigError(
            f"unknown tokenizer profile {profile!r}", f"known profiles: {', '.join(PROFILES)}"
        )
    bpe = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(PROFILES[profile].pattern), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(st.NAMED_TOKENS),
        min_frequency=PROFILES[profile].min_frequency,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens(list(st.NAMED_TOKENS))
    return Tokenizer(bpe.to_str())
