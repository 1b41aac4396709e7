"""Separate distributions that add to every part of the stack, seen and used through `cwm`."""

import json
import subprocess
import sys
import zipfile

import pytest

from cwm_core.components import ComponentConfig
from cwm_core.testing.conformance import check_component, declared

PLUGIN = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component

@hookimpl
def cwm_optimizers():
    return [Component("lion", "acme_parts:Lion", "Sign momentum.")]

@hookimpl
def cwm_mixers():
    return [Component("zigzag", "acme_parts:ZigZag", "Forth and back.")]

@hookimpl
def cwm_rewards():
    return [Component("brevity", "acme_parts:Brevity", "Shorter is better.")]

@hookimpl
def cwm_tracers():
    return [Component("oracle", "acme_parts:Oracle", "Knows already.")]

@hookimpl
def cwm_commands():
    return [Command("acme", "acme_cli:acme", "Build the parts of acme.")]
"""
PARTS = '''
from cwm_core.plugins import ComponentConfig

class Lion(ComponentConfig):
    """Lion."""
    lr: float = 1e-4
    """Learning rate."""
    def build(self, named_parameters):
        return f"lion({self.lr})"

class ZigZag(ComponentConfig):
    """ZigZag."""
    width: int = 2
    """Steps before it turns."""
    def build(self, lengths, seed):
        return f"zigzag({self.width})"

class Brevity(ComponentConfig):
    """Brevity."""
    def build(self):
        return "brevity"

class Oracle(ComponentConfig):
    """Oracle."""
    answer: str
    """What it knows."""
    def build(self, limits=None):
        return f"oracle({self.answer})"
'''
CLI = '''
from typing import Annotated
import typer
from cwm_core.config import CommandConfig, Slot
from cwm_core.plugins import ComponentConfig

class AcmeConfig(CommandConfig):
    optimizer: Annotated[ComponentConfig, Slot("optimizers", default="lion")]
    mixer: Annotated[ComponentConfig, Slot("mixers", default="zigzag")]
    rewards: Annotated[dict[str, ComponentConfig], Slot("rewards")] = {}
    tracers: Annotated[list[ComponentConfig], Slot("tracers", default=())]

def acme(overrides: Annotated[list[str] | None, typer.Argument()] = None):
    """Build the parts of acme."""
    from cwm_core.config import compose
    config = compose("acme", AcmeConfig, overrides)
    print(config.optimizer.build([]), config.mixer.build([], 0))
    print([(name, reward.build()) for name, reward in config.rewards.items()])
    print([tracer.build() for tracer in config.tracers])
'''


@pytest.fixture
def acme(make_plugin):
    return make_plugin(
        "acme", {"acme_plugin": PLUGIN, "acme_parts": PARTS, "acme_cli": CLI}, "acme_plugin"
    )


def test_a_distribution_adds_a_command_that_uses_its_components(acme, cwm_cli):
    done = cwm_cli(
        "acme",
        "optimizer.lr=0.5",
        "mixer=zigzag",
        "mixer.width=7",
        "rewards.short=brevity",
        "tracers=[{name: oracle, answer: forty-two}]",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "lion(0.5) zigzag(7)",
        "[('short', 'brevity')]",
        "['oracle(forty-two)']",
    ]


def test_it_is_visible(acme, cwm_cli):
    assert "Build the parts of acme." in cwm_cli("--help").stdout
    listed = json.loads(cwm_cli("plugins", "--json").stdout)
    (facts,) = [each for each in listed if each["distribution"] == "acme"]
    assert facts["components"]["optimizers"] == ["lion"] and facts["commands"] == ["acme"]
    assert facts["problems"] == [] and facts["version"] == "1.0"
    assert "Forth and back." in cwm_cli("plugins", "mixers").stdout
    shown = cwm_cli("plugins", "tracers", "oracle").stdout
    assert "answer" in shown and "required" in shown and "What it knows." in shown


def test_a_broken_neighbour_is_reported_and_harmless(acme, make_plugin, cwm_cli):
    make_plugin("broken-dist", {"broken_plugin": "import nonexistent_module_x"}, "broken_plugin")
    assert cwm_cli("acme").returncode == 0
    help_page = cwm_cli("--help")
    assert help_page.returncode == 0
    assert "Plugins with problems: broken-dist" in help_page.stdout
    listing = cwm_cli("plugins").stdout
    assert "PROBLEM: cannot be imported: ModuleNotFoundError" in listing
    assert "Traceback" not in listing
    assert "Traceback" in cwm_cli("--debug", "plugins").stdout


def test_a_broken_command_fails_alone(make_plugin, cwm_cli):
    source = PLUGIN.replace("acme_cli:acme", "acme_cli:nothing")
    modules = {"acme_plugin": source, "acme_parts": PARTS, "acme_cli": CLI}
    make_plugin("acme", modules, "acme_plugin")
    assert cwm_cli("--help").returncode == 0
    done = cwm_cli("acme")
    assert done.returncode == 2
    assert "'cwm acme' cannot be loaded: AttributeError" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_duplicate_component_leaves_the_first_usable(acme, make_plugin, cwm_cli):
    late = PLUGIN.replace('"acme_cli:acme"', '"zz_cli:zz"').replace('"acme",', '"zz",')
    make_plugin("zz-late", {"zz_plugin": late}, "zz_plugin")
    assert "lion(0.0001)" in cwm_cli("acme").stdout
    listing = cwm_cli("plugins").stdout
    assert "optimizers 'lion' of zz-late is already declared by acme" in listing


def test_an_installed_wheel_works_like_an_unpacked_directory(tmp_path, cwm_cli, monkeypatch):
    wheel = tmp_path / "acme_wheel-2.0-py3-none-any.whl"
    info = "acme_wheel-2.0.dist-info"
    files = {
        "acme_plugin.py": PLUGIN,
        "acme_parts.py": PARTS,
        "acme_cli.py": CLI,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: acme-wheel\nVersion: 2.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{info}/entry_points.txt": "[cwm]\nacme = acme_plugin\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    target = tmp_path / "site"
    _install(wheel, target)
    monkeypatch.setenv("PYTHONPATH", str(target))
    assert "lion(0.0001) zigzag(2)" in cwm_cli("acme").stdout
    assert "acme-wheel 2.0" in cwm_cli("--version").stdout


def _install(wheel, target):
    """A pure wheel is installed by unpacking it; that is what an installer does with it."""
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(target)], check=True)


def test_the_conformance_suite_passes_good_components_and_names_faults(make_plugin):
    parts = (
        PARTS
        + """
class Careless(ComponentConfig):
    undocumented: int = 0
"""
    )
    extra = (
        PLUGIN
        + """
@hookimpl
def cwm_schedules():
    return [Component("careless", "acme_parts:Careless", "Breaks rules.")]
"""
    )
    make_plugin("acme", {"acme_plugin": extra, "acme_parts": parts}, "acme_plugin")
    components = declared("acme")
    assert {kind for kind, _ in components} == {
        "optimizers", "mixers", "rewards", "tracers", "schedules"
    }  # fmt: skip
    for kind, component in components:
        if component.name == "careless":
            with pytest.raises(AssertionError, match="Careless has no docstring"):
                check_component(kind, component)
        else:
            check_component(kind, component)


def test_the_conformance_suite_sees_heavy_imports_and_wrong_signatures(make_plugin):
    heavy = "import numpy\n" + PARTS
    make_plugin("acme", {"acme_plugin": PLUGIN, "acme_parts": heavy}, "acme_plugin")
    ((_, lion), *_) = declared("acme")
    with pytest.raises(AssertionError, match="loads numpy"):
        check_component("optimizers", lion)
    with pytest.raises(AssertionError, match="does not take \\(lengths, seed\\)"):
        check_component("mixers", lion)


def test_an_overriding_field_keeps_the_docstring_of_its_base():
    class Base(ComponentConfig):
        """A base."""

        size: int = 1
        """Width in tokens."""
        rate: float = 0.1
        """Per step."""

    class Preset(Base):
        """A preset."""

        size: int = 2
        rate: float = 0.2
        """Per token."""
        new: int = 0

    found = {name: field.description for name, field in Preset.model_fields.items()}
    assert found["size"] == "Width in tokens."
    assert found["rate"] == "Per token."
    assert found["new"] is None
    assert Base.model_fields["size"].default == 1
