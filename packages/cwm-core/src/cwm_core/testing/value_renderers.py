"""Conformance suite of value renderers: subclass it, give examples, and pytest runs it.

::

    class TestMoney(ValueRendererConformance):
        component = "money"
        setup = "from decimal import Decimal"
        examples: ClassVar = {"Decimal('1.50')": "1.50 EUR"}
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

from cwm_core.components import ComponentConfig
from cwm_core.plugins import registry, resolve

_LOADED = """
import runpy, sys, json
before = set(sys.modules)
runpy.run_path(sys.argv[1], run_name="_cwm_value_renderer")
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(names - sys.stdlib_module_names)))
"""


class ValueRendererConformance:
    """What every value renderer promises. The tracer `settrace` must be installed."""

    component: ClassVar[str]
    """Name of the component."""
    setup: ClassVar[str] = ""
    """Source that runs before the examples: imports, classes."""
    examples: ClassVar[Mapping[str, str]]
    """Expressions, and the texts of their values."""

    def config(self) -> ComponentConfig:
        """Return the component's configuration; override it to give fields."""
        return registry().make("value_renderers", self.component)

    def shown(self, expression: str, **options: Any) -> str:
        """Return the text of an expression's value in a trace."""
        source = f"{self.setup}\ndef f():\n    return {expression}\n"
        program = SimpleNamespace(
            id="p",
            source=source,
            entry="f",
            inputs=("",),
            difficulty=None,
            constructs=(),
            origin="",
        )
        tracer = registry().make("tracers", "settrace", renderers=[self.config()], **options)
        with tracer.build() as opened:
            record = opened.record(program, "")
        assert record.outcome == "returned", record.reason
        return record.frames[-1].value

    def test_classes_and_function_are_names(self) -> None:
        """Nothing but names reaches the traced process, and the function is there."""
        built = self.config().build()
        assert built.classes
        for name in built.classes:
            assert re.fullmatch(r"[^:\s]+:[^:\s]+", name), f"{name!r} is not 'module:name'"
        assert callable(resolve(built.target))

    def test_only_the_standard_library_is_loaded(self) -> None:
        """The traced process needs nothing else, and programs see no foreign modules."""
        file = resolve(self.config().build().target).__code__.co_filename
        command = [sys.executable, "-c", _LOADED, file]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == []

    def test_examples(self) -> None:
        """Each has the text that is promised, alone and inside of a container."""
        for expression, text in self.examples.items():
            assert self.shown(expression) == text
            assert self.shown(f"[{expression}]") == f"[{text}]"

    def test_texts_are_the_same_every_time(self) -> None:
        """They tell of the value alone: not of addresses, hashes or the time."""
        for expression in self.examples:
            texts = {self.shown(expression, hash_seed=seed) for seed in (0, 1)}
            assert len(texts) == 1
            assert not re.search(r"0x[0-9a-f]{8}", texts.pop())

    def test_budgets_hold(self) -> None:
        """Many values are cut off, and marked."""
        for expression in self.examples:
            text = self.shown(f"[{expression}] * 10_000", value_nodes=20)
            assert "<+" in text
            assert len(text) < 200 * (len(self.examples[expression]) + 10)
