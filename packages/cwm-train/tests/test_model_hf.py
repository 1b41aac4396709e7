"""Our decoder against Hugging Face's `CwmForCausalLM`."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cross_entropy

from cwm_train.attention.config import Chunked, Reference, Sdpa
from cwm_train.model.config import Cwm32b, CwmModelConfig, CwmTiny, RopeParameters
from cwm_train.model.loss import IGNORE
from cwm_train.model.transformer import CwmForCausalLM

transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "sliding_window": 7,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": (2,),
}
ROPES = {
    "default": RopeParameters(rope_type="default", rope_theta=10_000.0),
    "llama3": RopeParameters(rope_theta=500.0, factor=4.0, original_max_position_embeddings=16),
}


GRID = {
    "gqa": {},
    "mha": {"num_key_value_heads": 6},
    "mqa": {"num_key_value_heads": 1, "head_dim": 16},
    "wide-window": {"sliding_window": 100},
    "window-2": {"sliding_window": 2},
    "tied": {"tie_word_embeddings": True},
    "last-global": {"pattern": "fsss+f"},
    "odd-width": {"hidden_size": 42, "intermediate_size": 77, "vocab_size": 101},
}
LENGTHS = {"packed": (23, 9, 1, 8), "one-document": (41,), "odd": (5, 3, 31, 2)}


def config(rope: str = "llama3", **changes: object) -> CwmModelConfig:
    return CwmModelConfig(**{**SMALL, "rope_parameters": ROPES[rope], **changes})


def pair(settings: CwmModelConfig, backend: object = None):
    torch.manual_seed(0)
    ours = settings.build(attention=backend)
    fields = settings.to_hf()
    theirs = transformers.CwmForCausalLM(
        transformers.CwmConfig(**fields, attn_implementation="eager")
    )
    missing = theirs.load_state_dict(ours.state_dict(), strict=not settings.tie_word_embeddings)
    assert not missing.unexpected_keys
    return ours.eval(), theirs.eval()


@pytest.mark.parametrize("backend", [Reference(), Sdpa()], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("rope", ROPES)
@pytest.mark.parametrize("changes", GRID.values(), ids=GRID)
def test_logits_equal_hugging_face(rope, changes, backend):
    ours, theirs = pair(config(rope, **changes), backend.build())
    ids_bt = torch.randint(0, 97, (3, 41), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = (ours(ids_bt) - theirs(ids_bt).logits).abs().max()
    assert difference < 1e-4


@pytest.mark.parametrize("backend", [Sdpa(), Chunked()], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("rope", ROPES)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("changes", GRID.values(), ids=GRID)
def test_loss_and_every_gradient_equal_hugging_face(changes, lengths, rope, backend):
    """Ours gets the documents packed in a row, theirs one by one."""
    ours, theirs = pair(config(rope, **changes), backend.build())
    generator = torch.Generator().manual_seed(2)
    documents = [torch.randint(0, 97, (n,), generator=generator) for n in lengths]
    ids_bt = torch.cat(documents)[None]
    document_bt = torch.cat([torch.full((len(d),), i) for i, d in enumerate(documents)])[None]
    positions_bt = torch.cat([torch.arange(len(d)) for d in documents])[None]
    labels = [torch.cat((d[1:], torch.tensor([IGNORE]))) for d in documents]
    loss = ours(ids_bt, positions_bt, document_bt, labels_bt=torch.cat(labels)[None])
    loss.backward()
    wanted = torch.zeros(())
    for document, targets in zip(documents, labels):
        logits = theirs(document[None]).logits[0]
        wanted += cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    wanted.backward()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    assert gradients.keys() == {name for name, _ in ours.named_parameters()}
    for name, parameter in ours.named_parameters():
        scale = gradients[name].abs().max()
        assert (parameter.grad - gradients[name]).abs().max() <= 1e-4 * scale, name


def test_packed_rows_equal_hugging_faces_own_packing():
    """`CwmForCausalLM` packs documents where `position_ids` start again."""
    ours, theirs = pair(config())
    ids_bt = torch.randint(0, 97, (2, 41), generator=torch.Generator().manual_seed(4))
    lengths = (23, 9, 1, 8)
    positions_bt = torch.cat([torch.arange(n) for n in lengths]).expand(2, -1)
    document_bt = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)]).expand(2, -1)
    with torch.no_grad():
        found = ours(ids_bt, positions_bt, document_bt)
        wanted = theirs(ids_bt, position_ids=positions_bt, use_cache=False).logits
    assert (found - wanted).abs().max() < 1e-4


def test_released_size_on_the_meta_device():
    with torch.device("meta"):
        model = Cwm32b().build()
    assert sum(p.numel() for p in model.parameters()) == 32_581_097_472
    assert len(model.state_dict()) == 579
    assert Cwm32b().parameter_count() == 32_581_097_472
    with torch.device("meta"):
        theirs = transformers.CwmForCausalLM(transformers.CwmConfig())
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def test_default_configuration_is_hugging_faces():
    ours, theirs = Cwm32b().to_hf(), transformers.CwmConfig().to_dict()
    for key, value in ours.items():
        if key not in ("architectures", "dtype"):
            assert theirs[key] == value, key


@pytest.mark.parametrize(
    ("pattern", "layers", "letters"),
    [
        ("fsss", 8, "fsssfsss"),
        ("fsss+f", 8, "fsssfssf"),
        ("fsss+f", 1, "f"),
        ("sffs", 6, "sffssf"),
        ("s+ff", 2, "ff"),
        ("s+sf", 1, "f"),
    ],
)
def test_patterns_fill_the_depth(pattern, layers, letters):
    kinds = {"f": "full_attention", "s": "sliding_attention"}
    found = CwmModelConfig(pattern=pattern, num_hidden_layers=layers).layer_pattern
    assert found == tuple(kinds[letter] for letter in letters)


def test_the_release_differs_from_hugging_face_in_the_last_layer_only():
    theirs = transformers.CwmConfig().layer_types
    release = Cwm32b(pattern="fsss+f").layer_pattern
    assert list(Cwm32b().layer_pattern) == theirs
    assert release[:-1] == tuple(theirs[:-1])
    assert (theirs[-1], release[-1]) == ("sliding_attention", "full_attention")


@pytest.mark.parametrize("pattern", ["", "x", "fs+", "+f", "f+s+f"])
def test_wrong_patterns_are_refused(pattern):
    with pytest.raises(ValidationError, match="pattern"):
        CwmModelConfig(pattern=pattern)


def test_configurations_of_older_transformers_are_read():
    """Before version 5, the rotary parameters stood in two keys."""
    content = config().to_hf()
    rope = dict(content.pop("rope_parameters"))
    content |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    assert CwmModelConfig.from_hf(content).to_hf() == config().to_hf()
    content["rope_scaling"] = None
    assert CwmModelConfig.from_hf(content).rope_parameters.rope_type == "default"


def test_configuration_round_trip():
    settings = config()
    assert CwmModelConfig.from_hf(settings.to_hf()).to_hf() == settings.to_hf()


def test_documents_do_not_see_one_another():
    model = config().build().eval()
    ids_bt = torch.randint(0, 97, (1, 30), generator=torch.Generator().manual_seed(3))
    document_bt = torch.tensor([[0] * 12 + [1] * 18])
    positions_bt = torch.cat((torch.arange(12), torch.arange(18)))[None]
    with torch.no_grad():
        packed = model(ids_bt, positions_bt, document_bt)
        alone = model(ids_bt[:, 12:])
    assert torch.allclose(packed[:, 12:], alone, atol=1e-5)


def test_fan_in_initialisation_starts_as_identity():
    torch.manual_seed(0)
    model = CwmForCausalLM(config(init="fan_in"))
    ids_bt = torch.arange(10)[None]
    embedded = model.model.embed_tokens(ids_bt)
    normalised = embedded / (embedded.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(model.model(ids_bt), normalised, atol=1e-5)


def test_induction_initialisation_copies_what_it_has_seen():
    """Before any training, repeated random text is mostly continued as it went before."""
    torch.manual_seed(0)
    model = CwmTiny(vocab_size=700).build().eval()
    ids_bt = torch.randint(0, 700, (4, 100)).repeat(1, 3)
    with torch.no_grad():
        guesses = model(ids_bt).argmax(-1)
    accuracy = (guesses[:, 110:-1] == ids_bt[:, 111:]).float().mean()
    assert accuracy > 0.5
