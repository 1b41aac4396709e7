"""Import of the original release's layout, from synthetic releases written with torch DCP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed import checkpoint as dcp
from torch.nn import functional

from cwm_core.cli.main import run as cwm
from cwm_core.errors import ConfigError, DataError
from cwm_train.checkpoint import native
from cwm_train.checkpoint.hf import load_model, read_weights
from cwm_train.checkpoint.native import NativeCheckpoint, half_split, hf_name, import_native
from cwm_train.model.rope import inverse_frequencies

PARAMS: dict[str, Any] = {
    "dim": 48,
    "n_layers": 5,
    "n_heads": 6,
    "n_kv_heads": 2,
    "head_dim": 8,
    "max_seq_len": 256,
    "vocab_size": 97,
    "ffn_dim_multiplier": 1.3,
    "multiple_of": 16,
    "pos_embed_impl": "scaled_rope",
    "rope_theta": 500.0,
    "scaled_rope": {"scale_factor": 4, "old_context_len": 16},
    "window_attn": {"window_pattern": 4, "local_window": 7},
}
INNER = 176
HALF = torch.bfloat16


def release_weights(params: dict[str, Any], dtype: torch.dtype) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) * 0.2).to(dtype)

    width = params["dim"]
    queries, keys = (params[n] * params["head_dim"] for n in ("n_heads", "n_kv_heads"))
    weights = {
        "tok_embeddings": draw(params["vocab_size"], width),
        "norm": 1 + draw(width),
        "output": draw(params["vocab_size"], width),
    }
    for layer in range(params["n_layers"]):
        weights |= {
            f"layers.{layer}.{name}": weight
            for name, weight in {
                "attention.wq": draw(queries, width),
                "attention.wk": draw(keys, width),
                "attention.wv": draw(keys, width),
                "attention.wo": draw(width, queries),
                "feed_forward.w1": draw(INNER, width),
                "feed_forward.w2": draw(width, INNER),
                "feed_forward.w3": draw(INNER, width),
                "attention_norm": 1 + draw(width),
                "ffn_norm": 1 + draw(width),
            }.items()
        }
    return {f"{name}.weight": weight for name, weight in weights.items()}


def write_release(directory: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    params = {**PARAMS, **changes}
    weights = release_weights(PARAMS, dtype)
    dcp.save({"model": weights}, checkpoint_id=directory, no_dist=True)
    (directory / "params.json").write_text(json.dumps({"model": params, "tokenizer": {}}))
    return directory


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release"))


def release_logits(weights: dict[str, Tensor], ids: Tensor, config: Any) -> Tensor:
    """The release's model as its definition says: pairs of neighbours are rotated."""
    positions = torch.arange(len(ids))
    angles = positions[:, None, None] * inverse_frequencies(8, config.rope_parameters)
    turn = torch.polar(torch.ones_like(angles), angles)

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], weights[f"{name}.weight"], 1e-5)

    def rotated(x: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turn).flatten(2)

    x = weights["tok_embeddings.weight"][ids]
    gap = positions[:, None] - positions
    for layer in range(PARAMS["n_layers"]):
        own = f"layers.{layer}"
        w = {n: weights[f"{own}.attention.w{n}.weight"] for n in "qkvo"}
        h = norm(x, f"{own}.attention_norm")
        q, k, v = ((h @ w[n].T).unflatten(-1, (-1, 8)) for n in "qkv")
        k, v = (y.repeat_interleave(3, 1) for y in (rotated(k), v))
        scores = torch.einsum("the,she->hts", rotated(q), k) / 8**0.5
        everywhere = layer % 4 == 0 or layer == PARAMS["n_layers"] - 1
        hidden = (gap < 0) if everywhere else (gap < 0) | (gap >= 7)
        mixed = torch.einsum("hts,she->the", scores.masked_fill(hidden, -torch.inf).softmax(-1), v)
        x = x + mixed.flatten(1) @ w["o"].T
        h = norm(x, f"{own}.ffn_norm")
        w1, w2, w3 = (weights[f"{own}.feed_forward.w{n}.weight"] for n in (1, 2, 3))
        x = x + (functional.silu(h @ w1.T) * (h @ w3.T)) @ w2.T
    return norm(x, "norm") @ weights["output.weight"].T


def test_the_imported_model_computes_what_the_release_does(release, tmp_path):
    config = import_native(release, tmp_path / "model")
    assert config.layer_pattern[-1] == "full_attention"
    ids = torch.randint(0, 97, (40,), generator=torch.Generator().manual_seed(1))
    wanted = release_logits(release_weights(PARAMS, torch.float32), ids, config)
    with torch.no_grad():
        found = load_model(tmp_path / "model")(ids[None])[0]
    assert (found - wanted).abs().max() < 1e-4


def test_transformers_loads_it(release, tmp_path):
    transformers = pytest.importorskip("transformers")
    import_native(release, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.arange(30)[None]
    with torch.no_grad():
        assert (theirs(ids).logits - load_model(tmp_path)(ids)).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, HALF])
def test_weights_stay_bit_identical_but_for_the_order_of_rows(tmp_path, dtype):
    release = write_release(tmp_path / "release", dtype)
    import_native(release, tmp_path / "model")
    found = read_weights(tmp_path / "model")
    for name, weight in release_weights(PARAMS, dtype).items():
        mine = found.pop(hf_name(name))
        assert mine.dtype == dtype
        if name.endswith(("wq.weight", "wk.weight")):
            mine = mine.unflatten(0, (-1, 2, 4)).transpose(1, 2).flatten(0, 2)
        assert torch.equal(mine, weight), name
    assert not found


@given(st.integers(1, 5), st.sampled_from([2, 4, 8, 16]))
def test_half_split_puts_even_rows_of_a_head_before_odd_ones(heads, width):
    rows = torch.arange(heads * width)[:, None]
    for head, moved in zip(rows.split(width), half_split(rows, width).split(width)):
        assert moved.tolist() == [*head[0::2].tolist(), *head[1::2].tolist()]


def test_every_file_is_fetched_on_its_own_and_an_interrupted_import_goes_on(
    release, tmp_path, monkeypatch
):
    fetched: list[int] = []
    read = NativeCheckpoint.read

    def counted(self: Any, names: list[str], dtype: Any = None) -> dict[str, Tensor]:
        if len(fetched) == 3:
            raise KeyboardInterrupt
        tensors = read(self, names, dtype)
        fetched.append(sum(tensor.nbytes for tensor in tensors.values()))
        return tensors

    monkeypatch.setattr(NativeCheckpoint, "read", counted)
    with pytest.raises(KeyboardInterrupt):
        import_native(release, tmp_path, shard_bytes=60_000)
    assert not (tmp_path / "config.json").exists()
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.safetensors")}
    assert len(kept) == 3
    monkeypatch.setattr(NativeCheckpoint, "read", read)
    import_native(release, tmp_path, shard_bytes=60_000)
    assert max(fetched) <= 60_000
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    whole = import_native(release, tmp_path / "whole")
    assert load_model(tmp_path).config.to_hf() == whole.to_hf()
    one, many = read_weights(tmp_path / "whole"), read_weights(tmp_path)
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)


def test_another_import_into_the_same_directory_replaces_everything(release, tmp_path):
    import_native(release, tmp_path, shard_bytes=60_000)
    import_native(release, tmp_path, dtype=HALF)
    assert [file.name for file in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]
    assert {tensor.dtype for tensor in read_weights(tmp_path).values()} == {HALF}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qk_norm": True}, r"model\.qk_norm"),
        ({"new_part": 1}, r"model\.new_part"),
        ({"window_attn": {"local_window": 7, "global_window": 99}}, "global_window"),
    ],
)
def test_another_architecture_is_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        import_native(write_release(tmp_path / "release", **change), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_damaged_is_named(tmp_path, capsys):
    release, out = write_release(tmp_path / "release"), tmp_path / "model"
    with pytest.raises(DataError, match=r"params\.json"):
        import_native(tmp_path, out)
    (release / "params.json").write_text(json.dumps({"model": {**PARAMS, "vocab_size": 98}}))
    with pytest.raises(DataError, match=r"tok_embeddings\.weight has shape \(97, 48\)"):
        import_native(release, out)
    (release / "params.json").write_text(json.dumps({"model": {**PARAMS, "n_layers": 6}}))
    with pytest.raises(DataError, match=r"layers\.5\..* is missing"):
        import_native(release, out)
    (release / "params.json").write_text(json.dumps({"model": PARAMS}))
    file = next(release.glob("*.distcp"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot read the weights"):
        import_native(release, out)
    (release / ".metadata").write_bytes(b"no pickle")
    with pytest.raises(DataError, match=r"\.metadata"):
        import_native(release, out)
    assert cwm(["model", "import", str(release), str(out)]) == 2
    assert "Error" in capsys.readouterr().err


def test_the_command(release, tmp_path, capsys):
    out = tmp_path / "model"
    assert cwm(["model", "import", str(release), str(out), "--dtype", "bfloat16"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert cwm(["model", "info", str(out)]) == 0
    assert cwm(["model", "import", str(release), str(out), "--dtype", "int3"]) == 2


@pytest.mark.parametrize("name", ["rope.freqs", "layers.0.norm.weight", "attention.wq.weight"])
def test_unknown_names_have_no_other_name(name):
    assert hf_name(name) is None
    assert native.hf_name("output.weight") == "lm_head.weight"
