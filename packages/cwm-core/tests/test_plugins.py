"""The registry: what plugins declare, and whose fault is what."""

import re
import sys

import pytest

from cwm_core.errors import ConfigError, PluginError
from cwm_core.plugins import Component, ComponentConfig, registry

CONFIG = '''
from cwm_core.plugins import ComponentConfig

class Lion(ComponentConfig):
    """Lion."""
    lr: float = 1e-4
    """Learning rate."""
    def build(self, named_parameters):
        return ("lion", self.lr)
'''
PLUGIN = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component

@hookimpl
def cwm_optimizers():
    return [Component("lion", "lion_config:Lion", "Sign momentum.")]
"""


def broken(message_of, distribution):
    """Problems of one distribution, joined."""
    found = [plugin for plugin in message_of.plugins() if plugin.distribution == distribution]
    assert len(found) == 1
    return "\n".join(problem.message for problem in found[0].problems)


def test_own_plugins_load_without_problems():
    problems = {p.distribution: p.problems for p in registry().plugins() if p.problems}
    assert problems == {}
    assert "cwm-core" in {plugin.distribution for plugin in registry().plugins()}


def test_kinds_are_the_collected_hooks():
    kinds = registry().kinds()
    assert "optimizers" in kinds and "tracers" in kinds
    assert not {"commands", "config_packages", "metrics", "run_started"} & set(kinds)


def test_component_is_found_made_and_built(make_plugin):
    make_plugin("lion-dist", {"lion_plugin": PLUGIN, "lion_config": CONFIG}, "lion_plugin")
    assert registry().components("optimizers")["lion"].summary == "Sign momentum."
    assert registry().distribution("optimizers", "lion") == "lion-dist"
    config = registry().make("optimizers", "lion", lr=0.5)
    assert isinstance(config, ComponentConfig) and config.name == "lion"
    assert config.build([]) == ("lion", 0.5)
    with pytest.raises(ConfigError, match=r"unknown key 'lrr'.*did you mean 'lr'"):
        registry().make("optimizers", "lion", lrr=0.5)


def test_unknown_names_suggest(make_plugin):
    make_plugin("lion-dist", {"lion_plugin": PLUGIN, "lion_config": CONFIG}, "lion_plugin")
    with pytest.raises(PluginError, match="did you mean 'lion'"):
        registry().config_class("optimizers", "loin")
    with pytest.raises(PluginError, match="did you mean 'optimizers'"):
        registry().components("optimizer")


def test_a_missing_package_is_named(make_plugin, monkeypatch):
    monkeypatch.setenv("CWM_DISABLED_PLUGINS", "cwm-train")
    make_plugin("lion-dist", {"lion_plugin": PLUGIN, "lion_config": CONFIG}, "lion_plugin")
    with pytest.raises(PluginError) as caught:
        registry().config_class("engines", "local")
    assert "pip install cwm-train" in caught.value.hint
    with pytest.raises(PluginError) as caught:
        registry().config_class("sandboxes", "nowhere")
    assert re.search("available: .*local", caught.value.hint)


BROKEN = {
    "import": ("raise ImportError('no such thing')", "cannot be imported: ImportError: no such"),
    "exit": ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
    "raising": (
        PLUGIN.replace("return [", "raise RuntimeError('boom')\n    return ["),
        "hook cwm_optimizers raised RuntimeError: boom",
    ),
    "misspelt": (
        PLUGIN.replace("def cwm_optimizers", "def cwm_optimizer"),
        "unknown hook 'cwm_optimizer'; did you mean 'cwm_optimizers'",
    ),
    "unmarked": (PLUGIN.replace("@hookimpl\n", ""), "'cwm_optimizers' is not marked with @"),
    "no component": (
        PLUGIN.replace('Component("lion", "lion_config:Lion", "Sign momentum.")', "42"),
        "hook cwm_optimizers returned 42, expected a list of Component",
    ),
    "bad name": (PLUGIN.replace('"lion"', '"Li/on"'), "'Li/on' is no valid name"),
    "wrapper": (
        PLUGIN.replace("@hookimpl", "@hookimpl(wrapper=True)").replace(
            "return", "yield\n    return"
        ),
        "wrappers are not supported",
    ),
    "arguments": (PLUGIN.replace("optimizers()", "optimizers(nothing)"), "is rejected: "),
    "class": ("class Thing: pass", "is a class; name a module or an instance"),
    "wrong type": ("Thing = 3", "is int, not a module with hooks"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_reported_and_harms_nobody(make_plugin, fault):
    source, message = BROKEN[fault]
    good_module = PLUGIN.replace('"lion"', '"good"')
    make_plugin("good-dist", {"good_plugin": good_module, "lion_config": CONFIG}, "good_plugin")
    entry = "bad_plugin:Thing" if fault in ("class", "wrong type") else "bad_plugin"
    make_plugin("bad-dist", {"bad_plugin": source}, entry)
    assert message in broken(registry(), "bad-dist")
    assert broken(registry(), "good-dist") == ""
    assert "good" in registry().components("optimizers")
    assert [plugin.distribution for plugin in registry().broken()] == ["bad-dist"]


def test_import_problem_keeps_its_traceback(make_plugin):
    make_plugin("bad-dist", {"bad_plugin": "def f():\n    1 / 0\nf()\n"}, "bad_plugin")
    (problem,) = next(registry().broken()).problems
    assert "ZeroDivisionError" in problem.traceback and "in f" in problem.traceback


def test_duplicate_names_both_distributions_and_first_stays(make_plugin):
    make_plugin("aa-dist", {"aa_plugin": PLUGIN, "lion_config": CONFIG}, "aa_plugin")
    make_plugin("bb-dist", {"bb_plugin": PLUGIN.replace("Sign", "Other")}, "bb_plugin")
    problem = broken(registry(), "bb-dist")
    assert "aa-dist" in problem and "bb-dist" in problem
    assert registry().components("optimizers")["lion"].summary == "Sign momentum."
    assert broken(registry(), "aa-dist") == ""


def test_missing_target_is_found_by_check_and_on_use(make_plugin):
    make_plugin("lion-dist", {"lion_plugin": PLUGIN}, "lion_plugin")
    assert broken(registry(), "lion-dist") == ""
    registry().check()
    assert "No module named 'lion_config'" in broken(registry(), "lion-dist")
    with pytest.raises(PluginError, match="cannot be loaded"):
        registry().config_class("optimizers", "lion")


def test_target_must_be_a_component_config(make_plugin):
    make_plugin("lion-dist", {"lion_plugin": PLUGIN, "lion_config": "Lion = dict"}, "lion_plugin")
    with pytest.raises(PluginError, match="no subclass of ComponentConfig"):
        registry().config_class("optimizers", "lion")


@pytest.mark.parametrize("switch", ["lion-dist", "plugin"])
def test_plugins_can_be_disabled(make_plugin, monkeypatch, switch):
    monkeypatch.setenv("CWM_DISABLED_PLUGINS", f"other, {switch}")
    make_plugin("lion-dist", {"lion_plugin": PLUGIN, "lion_config": CONFIG}, "lion_plugin")
    assert "lion" not in registry().components("optimizers")
    assert "lion_plugin" not in sys.modules
    assert [p.distribution for p in registry().plugins() if p.disabled] == ["lion-dist"]


def test_lifecycle_hooks_get_the_arguments_that_they_name_and_may_fail(make_plugin, tmp_path):
    source = """
from cwm_core.hookspecs import hookimpl
seen = []

@hookimpl
def cwm_metrics(step, metrics):
    seen.append((step, metrics))
    if step == 2:
        raise OSError("disk on fire")
"""
    make_plugin("watch-dist", {"watch_plugin": source}, "watch_plugin")
    for step in (1, 2, 3):
        registry().emit("metrics", run_dir=tmp_path, step=step, metrics={"loss": 1.0})
    assert [step for step, _ in sys.modules["watch_plugin"].seen] == [1, 2, 3]
    assert "OSError: disk on fire" in broken(registry(), "watch-dist")


def test_declarations_are_data():
    component = Component("a", "b:C", "d")
    assert component == Component("a", "b:C", "d")
    with pytest.raises(AttributeError):
        component.name = "b"
