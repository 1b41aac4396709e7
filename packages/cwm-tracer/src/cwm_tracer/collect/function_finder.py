"""Finding functions that can be run alone, and saying of the others why they cannot."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from cwm_core.errors import CwmError, DataError
from cwm_tracer.collect.effects import foreign_import, has_star_import, side_effect
from cwm_tracer.collect.function_sources import (
    Text,
    Usages,
    is_benchmark,
    is_installed,
    read_source_texts,
)
from cwm_tracer.collect.functions_config import FunctionsConfig
from cwm_tracer.collect.slices import Module, Slice
from cwm_tracer.inputs.callee import Callee, FunctionNode, anatomy, base_names
from cwm_tracer.programs.constructs import constructs_in
from cwm_tracer.programs.normal_form import NormalForm
from cwm_tracer.programs.program import Program, content_id, normalise
from cwm_tracer.target import read_source

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ATTRIBUTES = ("property", "cached_property", "setter", "deleter", "getter")


@dataclass(frozen=True, slots=True)
class Function:
    """A function that can be run."""

    program: Program
    """What is run; its inputs are those that came with the function."""
    callee: Callee
    """What input generators see."""


@dataclass(slots=True)
class Found:
    """Everything that the sources hold."""

    functions: list[Function] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(where, reason)"""
    benchmark: bool = False
    """Whether the functions are those of benchmarks."""


def find_functions(config: FunctionsConfig) -> Found:
    """Read all sources; nothing of them is run.

    Raises:
        DataError: a source does not exist or is damaged, or benchmarks stand beside other sources
            so that no side of the split fits both.
    """
    return _Finder(config).find()


class _Finder:
    def __init__(self, config: FunctionsConfig) -> None:
        self._config = config
        self._found = Found(benchmark=_all_benchmarks(config))
        self._seen: set[tuple[str, str]] = set()
        self._names: dict[str, None] = {}

    def find(self) -> Found:
        texts: list[Text] = []
        for source in self._config.sources:
            for each in read_source_texts(source, self._config.fields):
                if isinstance(each, Text):
                    texts.append(each)
                else:
                    self._skip(each[0], "cannot be read")
        allowed = {text.module.partition(".")[0] for text in texts if text.module}
        usages = Usages([*(text.source for text in texts if text.is_test), *self._tests()])
        for text in texts:
            if not text.is_test and not self._is_full():
                self._text(text, usages, allowed)
        return self._found

    def _tests(self) -> Iterator[str]:
        for path in self._config.tests:
            if not path.exists():
                raise DataError(f"no tests at {path}", "give a file or directory with tests=[...]")
            for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
                yield read_source(file)

    def _is_full(self) -> bool:
        limit = self._config.limit
        return limit is not None and len(self._found.functions) >= limit

    def _skip(self, where: str, reason: str) -> None:
        self._found.skipped.append((where, f"skipped: {reason}"))

    def _text(self, text: Text, usages: Usages, allowed: Collection[str]) -> None:
        try:
            module = Module(text.source, text.module)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._skip(text.where, "no valid Python")
            return
        if text.entry:
            whole = Slice(normalise(text.source), module.tree, frozenset())
            reason = self._take(text, text.entry, whole, text.usages)
            if reason:
                self._skip(f"{text.where}:{text.entry}", reason)
            return
        for node in module.tree.body:
            for entry, reason in _entries(node, self._config.methods):
                if self._is_full():
                    return
                reason = reason or self._function(text, module, entry, usages, allowed)
                if reason:
                    self._skip(f"{text.where}:{entry}", reason)

    def _function(
        self, text: Text, module: Module, entry: str, usages: Usages, allowed: Collection[str]
    ) -> str:
        """Take a function; return why not."""
        cut = module.slice(entry.partition(".")[0])
        reason = self._objection(cut, allowed)
        if not reason:
            texts = (text.source, *text.usages, *usages.of(entry.rpartition(".")[2]))
            return self._take(text, entry, cut, texts)
        return reason

    def _objection(self, cut: Slice, allowed: Collection[str]) -> str:
        if cut.source.count("\n") > self._config.max_lines:
            return "too long"
        if has_star_import(cut.tree):
            return "imports without names"
        foreign = foreign_import(cut.tree, allowed)
        if foreign == ".":
            return "needs its package"
        if foreign and (self._config.imports == "standard" or not is_installed(foreign)):
            return "needs other packages"
        effect = side_effect(cut.tree)
        if effect:
            return f"uses {effect}"
        return "uses undefined names" if cut.undefined else ""

    def _take(self, text: Text, entry: str, cut: Slice, usages: tuple[str, ...]) -> str:
        """Take a function unless there is one like it; return why not."""
        method = entry if "." in entry else ""
        # Rows of a data set are meant to be taken, unless they are the same; what is found in
        # files often differs in names only.
        form = cut.source if text.entry else NormalForm(cut.source).digest
        if (form, method) in self._seen:
            return "duplicate"
        callee = Callee(cut.source, entry, usages, text.aliases)
        try:
            anatomy(callee)
        except CwmError:
            return "no function"
        self._seen.add((form, method))
        source = normalise(cut.source)
        program = Program(
            # Several functions may need the same part of their module: the entry tells them apart.
            id=content_id(f"{source}# {entry}\n"),
            source=source,
            entry=entry,
            inputs=text.inputs,
            constructs=constructs_in(ast.parse(source)),
            origin=f"{text.where}:{entry}",
        )
        self._found.functions.append(Function(program, callee))
        return ""


def _all_benchmarks(config: FunctionsConfig) -> bool:
    kinds = {source: is_benchmark(source) for source in config.sources}
    if len(set(kinds.values())) > 1 and config.split.side in ("auto", "fractions"):
        benchmark = next(source for source, known in kinds.items() if known)
        raise DataError(
            f"{benchmark} is a benchmark and would be mixed with training data",
            "collect it on its own, or say where all goes with split.side=...",
        )
    return all(kinds.values())


def _entries(node: ast.stmt, methods: bool) -> Iterator[tuple[str, str]]:
    """Yield (entry, reason to leave it out) of the functions that a statement defines."""
    if isinstance(node, _FUNCTIONS):
        yield node.name, _unfit(node)
    elif isinstance(node, ast.ClassDef) and methods and not node.name.startswith("Test"):
        reason = _unfit_class(node)
        for each in node.body:
            if isinstance(each, _FUNCTIONS) and not re.fullmatch(r"__\w+__", each.name):
                yield f"{node.name}.{each.name}", reason or _unfit(each)


def _unfit(node: FunctionNode) -> str:
    """Return why a function is not worth running, as far as its own text tells."""
    if node.name.startswith("test_"):
        return "test"
    decorators = [ast.unparse(each).partition("(")[0] for each in node.decorator_list]
    names = [each.rpartition(".")[2] for each in decorators]
    if any(name in _ATTRIBUTES for name in names):
        return "property"
    if "fixture" in names:
        return "test"
    if _is_stub(node) or "abstractmethod" in names or "overload" in names:
        return "stub"
    return ""


def _is_stub(node: FunctionNode) -> bool:
    """Whether a function does nothing, or only says that it is not there."""
    return all(
        isinstance(each, ast.Pass)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        or (isinstance(each, ast.Raise) and "NotImplemented" in ast.unparse(each))
        for each in node.body
    )


def _unfit_class(node: ast.ClassDef) -> str:
    names = base_names(node)
    if "Protocol" in names:
        return "protocol"
    if any("Test" in name for name in names):
        return "test"
    abstract = (
        isinstance(each, _FUNCTIONS)
        and any("abstract" in ast.unparse(mark) for mark in each.decorator_list)
        for each in node.body
    )
    return "abstract class" if any(abstract) else ""
