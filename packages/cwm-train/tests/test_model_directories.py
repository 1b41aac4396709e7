"""Model directories: ours, Hugging Face's, and damaged ones; the model and tokenizer commands."""

from __future__ import annotations

import json

import pytest
import torch

from cwm_core.cli.main import run as cwm
from cwm_core.errors import ConfigError, DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import load_pretrained, save_pretrained, with_tokenizer
from cwm_train.model.config import CwmModelConfig, CwmTiny

transformers = pytest.importorskip("transformers")


@pytest.fixture
def saved(tmp_path, tokenizer):
    torch.manual_seed(0)
    model = with_tokenizer(CwmTiny(), tokenizer).build()
    save_pretrained(model, tokenizer, tmp_path / "model")
    return model, tmp_path / "model"


@pytest.mark.parametrize("tied", [False, True])
def test_transformers_loads_model_and_tokenizer(tmp_path, tokenizer, tied):
    torch.manual_seed(0)
    model = with_tokenizer(CwmTiny(tie_word_embeddings=tied), tokenizer).build().eval()
    save_pretrained(model, tokenizer, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "CwmForCausalLM"
    assert set(theirs.generation_config.eos_token_id) == set(model.config.eos_token_id)
    ids_bt = torch.randint(0, tokenizer.vocab_size, (2, 80))
    with torch.no_grad():
        assert (theirs(ids_bt).logits - model(ids_bt)).abs().max() < 1e-4
    text = "def f(a, b):\n    return a\n"
    assert transformers.AutoTokenizer.from_pretrained(tmp_path).encode(
        text, add_special_tokens=False
    ) == tokenizer.encode(text)


def test_hugging_face_round_trip_is_bit_identical(saved, tmp_path, tokenizer):
    model, directory = saved
    theirs = transformers.AutoModelForCausalLM.from_pretrained(directory)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="200KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    tokenizer.save(tmp_path / "theirs")
    back, _ = load_pretrained(tmp_path / "theirs")
    assert back.config.to_hf() == model.config.to_hf()
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_damaged_directories_are_explained(saved, tmp_path, tokenizer):
    _, directory = saved
    weights = directory / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:1000])
    with pytest.raises(DataError, match="cannot read the weights"):
        load_pretrained(directory)
    weights.write_bytes(content)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    with pytest.raises(DataError, match=r"mlp\.\w+\.weight has shape"):
        load_pretrained(directory)
    (directory / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(ConfigError, match="llama"):
        load_pretrained(directory)
    (directory / "config.json").write_text(json.dumps({**config, "num_attention_heads": 3}))
    with pytest.raises(ConfigError, match="multiple"):
        load_pretrained(directory)


def test_smaller_model_vocabulary_than_tokenizer_is_refused(tmp_path, tokenizer):
    save_pretrained(CwmTiny(vocab_size=32).build(), tokenizer, tmp_path)
    with pytest.raises(DataError, match="tokenizer has"):
        load_pretrained(tmp_path)


def test_tokenizer_and_model_commands(traces, tmp_path, capsys):
    out, model = tmp_path / "tokenizer", tmp_path / "model"
    assert cwm(["tokenizer", "train", f"data={traces}", "vocab_size=350", f"out={out}"]) == 0
    assert Tokenizer.load(out).vocab_size <= 350
    assert cwm(["tokenizer", "info", str(out), "--text", "a += b"]) == 0
    assert "<|frame_sep|>" in capsys.readouterr().out
    assert cwm(["model", "init", f"tokenizer={out}", f"out={model}", "model.num_hidden_layers=2"]) == 0  # fmt: skip # noqa: E501
    assert CwmModelConfig.load(model).num_hidden_layers == 2
    half = tmp_path / "half"
    assert cwm(["model", "export", str(model), str(half), "--dtype", "bfloat16"]) == 0
    assert load_pretrained(half)[0].lm_head.weight.dtype == torch.bfloat16
    capsys.readouterr()
    assert cwm(["model", "info", "cwm_32b"]) == 0
    assert "32,581,097,472" in capsys.readouterr().out
    assert cwm(["model", "info", str(model)]) == 0


def test_wrong_command_input_exits_with_2(traces, tmp_path, capsys):
    assert cwm(["tokenizer", "train", f"data={traces}", "vocab_size=9", f"out={tmp_path / 'a'}"]) == 2  # fmt: skip # noqa: E501
    assert cwm(["tokenizer", "train", f"data={tmp_path}", f"out={tmp_path / 'b'}"]) == 2
    assert cwm(["model", "info", "cwm_9b"]) == 2
    assert cwm(["train", "optimizr=adamw", f"out={tmp_path / 'c'}"]) == 2
    assert "did you mean" in capsys.readouterr().err
