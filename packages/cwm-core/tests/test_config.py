"""Configuration: components by name, one clear message per mistake, YAML that loads back."""

from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwm_core.config import CommandConfig, Slot, compose, to_yaml
from cwm_core.config.overrides import override_text, parse_values
from cwm_core.errors import ConfigError
from cwm_core.plugins import ComponentConfig

PLUGIN = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Component

@hookimpl
def cwm_optimizers():
    return [Component("adamw", "parts:AdamW", "A."), Component("muon", "parts:Muon", "M.")]

@hookimpl
def cwm_sources():
    return [Component("traces", "parts:Traces", "T.")]

@hookimpl
def cwm_benchmarks():
    return [Component("nested", "parts:Nested", "N.")]

@hookimpl
def cwm_config_packages():
    return ["pkg://experiments_pkg"]
"""
PARTS = """
from pathlib import Path
from typing import Annotated
from cwm_core.config import Slot
from cwm_core.plugins import ComponentConfig

class AdamW(ComponentConfig):
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)

class Muon(ComponentConfig):
    lr: float = 0.02
    momentum: float = 0.9

class Traces(ComponentConfig):
    path: Path
    weight: float = 1.0
    note: str = ""

class Nested(ComponentConfig):
    source: Annotated[ComponentConfig, Slot("sources")]
"""


class Inner(CommandConfig):
    depth: int = 1
    label: str = ""


class Config(CommandConfig):
    out: Path
    """Run directory."""
    steps: int = 10
    note: str = ""
    inner: Inner = Inner()
    optimizer: Annotated[ComponentConfig, Slot("optimizers", default="adamw")]
    """Optimizer."""
    benchmark: Annotated[ComponentConfig | None, Slot("benchmarks", default=None)]
    sources: Annotated[dict[str, ComponentConfig], Slot("sources")] = {}  # noqa: RUF012
    extra: Annotated[list[ComponentConfig], Slot("optimizers", default=())]


@pytest.fixture(autouse=True)
def parts(make_plugin, monkeypatch):
    others = ("tracer", "forager", "train", "rl", "eval")
    monkeypatch.setenv("CWM_DISABLED_PLUGINS", ",".join(f"cwm-{name}" for name in others))
    directory = make_plugin("parts-dist", {"parts_plugin": PLUGIN, "parts": PARTS}, "parts_plugin")
    experiments = directory / "experiments_pkg" / "train"
    experiments.mkdir(parents=True)
    (experiments / "base.yaml").write_text("steps: 77\noptimizer: {name: muon, momentum: 0.5}\n")
    (experiments / "big.yaml").write_text("defaults: [base]\noptimizer: {lr: 9}\n")
    (experiments / "other.yaml").write_text("defaults: [base]\noptimizer: {name: adamw, lr: 8}\n")
    return directory


def read(*overrides, config=None):
    return compose("train", Config, list(overrides), config)


def message(*overrides, config=None):
    with pytest.raises(ConfigError) as caught:
        read(*overrides, config=config)
    return str(caught.value)


def describe(component):
    return component.model_dump(mode="json")


# choosing components


def test_defaults():
    config = read("out=x")
    assert config.out == Path("x") and config.steps == 10
    assert describe(config.optimizer) == {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.95]}
    assert config.benchmark is None and config.sources == {} and config.extra == []


@pytest.mark.parametrize("choice", ["optimizer=muon", "optimizer.name=muon", "+optimizer=muon"])
def test_choice_and_fields_in_any_order(choice):
    for overrides in ([choice, "optimizer.lr=3e-4"], ["optimizer.lr=3e-4", choice]):
        config = read("out=x", *overrides)
        assert describe(config.optimizer) == {"name": "muon", "lr": 3e-4, "momentum": 0.9}


def test_the_last_choice_wins():
    assert read("out=x", "optimizer=muon", "optimizer=adamw").optimizer.name == "adamw"
    assert read("out=x", "steps=1", "steps=2").steps == 2


def test_named_instances_and_lists():
    config = read(
        "out=x",
        "sources.mine=traces",
        "sources.mine.path=/tmp/a",
        "sources.yours.name=traces",
        "sources.yours.path=b",
        "extra=[muon,{name: adamw, lr: 2}]",
    )
    assert config.sources["mine"].path == Path("/tmp/a")
    assert config.sources["yours"].path == Path("b")
    assert [(each.name, each.lr) for each in config.extra] == [("muon", 0.02), ("adamw", 2.0)]


def test_slots_inside_components():
    config = read("out=x", "benchmark=nested", "benchmark.source=traces", "benchmark.source.path=p")
    assert config.benchmark.source.path == Path("p")
    assert "'benchmark.source.paht'" in message(
        "out=x", "benchmark=nested", "benchmark.source=traces", "benchmark.source.paht=p"
    )


def test_null_empties_an_optional_slot_only(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("out: x\nbenchmark: {name: nested, source: {name: traces, path: p}}\n")
    assert read(config=file).benchmark.source.name == "traces"
    assert read("benchmark=null", config=file).benchmark is None
    assert "choose a component of kind 'optimizers': adamw, muon" in message(
        "out=x", "optimizer=null"
    )


def test_python_construction_uses_slot_defaults():
    assert Config(out=Path("x")).optimizer.name == "adamw"


def test_hydra_values():
    config = read("out=x", "note='a, b'", "inner={depth: 3}", "inner.label='true'")
    assert config.note == "a, b" and config.inner == Inner(depth=3, label="true")
    assert read("out=x", "note=${out}/y").note == "x/y"
    assert read("out=x", 'steps=${calc:"2 * 3 + 1"}').steps == 7


# files and experiments


def test_a_file_is_below_the_command_line(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("out: x\nsteps: 5\noptimizer: {name: muon, lr: 0.5, momentum: 0.1}\n")
    assert describe(read(config=file).optimizer) == {"name": "muon", "lr": 0.5, "momentum": 0.1}
    again = read("optimizer=muon", "optimizer.lr=7", config=file)
    assert describe(again.optimizer) == {"name": "muon", "lr": 7.0, "momentum": 0.1}
    assert read("steps=6", config=file).steps == 6


def test_another_component_leaves_the_fields_of_the_first_behind(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("out: x\noptimizer: {name: muon, momentum: 0.1}\n")
    chosen = read("optimizer=adamw", config=file).optimizer
    assert describe(chosen) == {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.95]}


def test_fields_without_a_name_go_to_whatever_is_chosen(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("out: x\noptimizer: {lr: 4}\nnote: lr ${optimizer.lr}\n")
    config = read(config=file)
    assert config.optimizer.name == "adamw" and config.optimizer.lr == 4
    assert config.note == "lr 4"


def test_packaged_experiments_and_inheritance():
    base = read("out=x", config=Path("base"))
    assert base.steps == 77 and base.optimizer.momentum == 0.5
    big = read("out=x", config=Path("big"))
    assert big.steps == 77 and big.optimizer.lr == 9 and big.optimizer.momentum == 0.5
    other = read("out=x", config=Path("other"))
    assert describe(other.optimizer) == {"name": "adamw", "lr": 8.0, "betas": [0.9, 0.95]}
    assert "did you mean 'base'" in message("out=x", config=Path("bas"))


# mistakes

MISTAKES = [
    (["out=x", "optimizr=muon"], ["unknown key 'optimizr' in 'cwm train'", "mean 'optimizer'?"]),
    (["out=x", "lr=1"], ["unknown key 'lr'", "did you mean 'optimizer.lr'?"]),
    (["out=x", "optimizer.lrr=1"], ["unknown key 'optimizer.lrr'", "did you mean 'optimizer.lr'"]),
    (["out=x", "inner.dpth=1"], ["unknown key 'inner.dpth'", "did you mean 'inner.depth'"]),
    (["out=x", "+typo=1"], ["unknown key 'typo'", "keys: out, steps"]),
    (["out=x", "hydra.verbose=1"], ["unknown key 'hydra'"]),
    (
        ["out=x", "optimizer=muonn"],
        ["'optimizer'", "did you mean 'muon'", "available: adamw, muon"],
    ),
    (["out=x", "sources.a=trace"], ["'sources.a'", "did you mean 'traces'"]),
    (["out=x", "extra=[mun]"], ["'extra.0'", "did you mean 'muon'"]),
    (["out=x", "sources.a.path=p"], ["'sources.a'", "choose a component of kind 'sources'"]),
    (
        ["out=x", "sources.a=traces"],
        ["missing value for 'sources.a.path'", "set it: sources.a.path="],
    ),
    (["steps=1"], ["missing value for 'out' in 'cwm train'", "set it: out=..."]),
    (["out=???"], ["missing value for 'out'"]),
    (["out=x", "steps=abc"], ["wrong value for 'steps'", "valid integer", "got 'abc'"]),
    (["out=x", "optimizer.lr=fast"], ["wrong value for 'optimizer.lr'", "got 'fast'"]),
    (["out=x", "sources=3"], ["wrong value for 'sources'"]),
    (["out=x", "optimizer=[a]"], ["'optimizer'", "no component's name"]),
    (["out=12"], ["wrong value for 'out'", "quote text"]),
    (["out=x", "steps=1,2"], ["is a sweep", "steps=[1,2]"]),
    (["out=x", "steps=range(1,3)"], ["is a sweep"]),
    (["out=x", "steps"], ["cannot read 'steps'", "key=value"]),
    (["out=/a b(c"], ["cannot read the override", "quote the value"]),
    (["out=x", "a@b=c"], ["'@' is not used"]),
    (["out=x", "note=${nope}"], ["'note'", "'nope' not found"]),
    (["out=x", 'steps=${calc:"__import__(1)"}'], ["cannot calculate", "not allowed"]),
    (["out=x", "~steps"], ["'steps' does not exist"]),
]


@pytest.mark.parametrize(("overrides", "parts_of_message"), MISTAKES, ids=lambda x: str(x[-1]))
def test_mistakes_name_the_key_the_command_and_the_fix(overrides, parts_of_message):
    shown = message(*overrides)
    assert "train" in shown or "calculate" in shown
    for part in parts_of_message:
        assert part in shown


def test_all_mistakes_come_in_one_message():
    shown = message("out=x", "steps=abc", "optimizer.momentum=1", "noot=2")
    assert "'steps'" in shown and "'optimizer.momentum'" in shown and "'noot'" in shown


BAD_FILES = {
    "out: [x": "is no valid YAML at line 1, column 8",
    "- a": "holds list",
    "out: x\nout: y": "duplicate key",
    "out: x\noptimizer: {name: mu}": "did you mean 'muon'",
    "out: x\ndefaults: [nope]": "Could not load 'nope'",
    "out: x\ndefaults: {a: 1}": "defaults must be a list",
    "out: x\nstep: 3": "did you mean 'steps'",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_bad_files(tmp_path, text):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert BAD_FILES[text] in message(config=file)


def test_missing_and_unreadable_files(tmp_path):
    assert "cannot read" in message(config=tmp_path / "nope.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "no UTF-8" in message(config=tmp_path / "binary.yaml")
    assert "cannot read" in message(config=tmp_path / "some" / "folder.yaml")


# round trips

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30).filter(
    lambda text: text != "???"
)
tricky = st.sampled_from(
    [
        "${x}",
        r"\${x}",
        r"\\${x}",
        "${",
        "1e3",
        "1_0",
        "null",
        "~",
        "true",
        "0x1",
        "1:30",
        ".inf",
        "a: b",
        "# c",
        "'",
        '"',
        "\\",
        "\t",
        "line\nbreak",
        "é",
        "2024-01-01",
        "@muon",
        " x ",
        "!!int",
    ]
)
strings = texts | tricky
numbers = st.floats(allow_nan=False) | st.integers(-(10**20), 10**20).map(float)
paths = st.text("abc ./${}1e\\'\"", min_size=1, max_size=12).map(Path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    note=strings, steps=st.integers(), lr=numbers, path=paths, key=texts.filter(bool), name=strings
)
def test_yaml_loads_back_to_an_equal_config(tmp_path, note, steps, lr, path, key, name):
    config = Config(
        out=path,
        note=note,
        steps=steps,
        inner=Inner(label=name),
        optimizer={"name": "muon", "lr": lr},
        sources={key: {"name": "traces", "path": path, "note": note}},
        extra=["adamw", {"name": "muon", "momentum": lr}],
    )
    file = tmp_path / "round.yaml"
    file.write_text(to_yaml(config), encoding="utf-8")
    assert read(config=file) == config


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | strings,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=100)
@given(values)
def test_override_texts_parse_back(value):
    (parsed,) = parse_values([override_text("key", value)], "a test").values()
    assert _unescaped(parsed) == value


def _unescaped(value):
    """The grammar leaves interpolations to OmegaConf, which also removes their escapes."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.create({"value": value}), resolve=True)["value"]
