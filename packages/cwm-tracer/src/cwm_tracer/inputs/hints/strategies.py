"""Types as they are written in a program, to hypothesis strategies of source texts.

Types of the program itself are never imported: their definitions are read. So every strategy makes
the text of an expression, and that of ``list[Point]`` is made of that of ``Point``.
"""

from __future__ import annotations

import ast
import datetime
import decimal
import fractions
import functools
import uuid
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from cwm_tracer.inputs.callee import Parameter, constructor, is_enum
from cwm_tracer.inputs.constants import constants_of
from cwm_tracer.inputs.text import text_of

Texts = st.SearchStrategy[str]

_DEEPEST = 3
"""Types of the program inside one another, before only their simplest values are made."""
_ITEMS = 8
_CHARACTERS = 16

_LISTS = frozenset(
    (
        *("list", "List", "Sequence", "MutableSequence", "Iterable", "Collection", "Container"),
        *("Reversible", "Sized"),
    )
)
_SETS = frozenset(("set", "Set", "AbstractSet", "MutableSet", "KeysView"))
_DICTS = frozenset(("dict", "Dict", "Mapping", "MutableMapping"))
_ITERATORS = frozenset(("Iterator", "Generator", "AsyncIterator"))
_WRAPPERS = frozenset(("Annotated", "Final", "Required", "NotRequired", "ReadOnly", "ClassVar"))
_CALLABLES = (
    *("lambda *a: a[0] if a else None", "lambda *a: None", "lambda *a: True", "lambda *a: a"),
    *("lambda *a: False", "lambda *a: len(a)", "str", "lambda *a: -a[0]"),
)
_STANDARD: dict[str, type] = {
    "complex": complex,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "UUID": uuid.UUID,
}


class Types:
    """The strategies of the types that a program knows."""

    def __init__(self, tree: ast.Module, source: str) -> None:
        self._tree = tree
        self._constants = constants_of(source)
        self._depth = 0

    def any_of(self, annotations: Sequence[str]) -> Texts:
        """Return a strategy for a value of one of several types, each as likely."""
        return st.one_of([self.of(ast.parse(each, mode="eval").body) for each in annotations])

    def of(self, node: ast.expr) -> Texts:
        """Return the strategy of an annotation; of anything at all, where it says nothing."""
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return st.one_of(self.of(node.left), self.of(node.right))
        if isinstance(node, ast.Subscript):
            return self._generic(last_name(node.value), _arguments(node))
        if isinstance(node, ast.Name | ast.Attribute):
            return self._named(last_name(node))
        return self._anything()

    def _constant(self, node: ast.Constant) -> Texts:
        if node.value is None:
            return st.just("None")
        if isinstance(node.value, str):
            try:
                return self.of(ast.parse(node.value.strip(), mode="eval").body)
            except SyntaxError:
                return self._anything()
        return self._anything()

    def _generic(self, name: str, arguments: list[ast.expr]) -> Texts:
        if name == "Optional":
            return st.one_of(st.just("None"), self.of(arguments[0]))
        if name == "Union":
            return st.one_of([self.of(each) for each in arguments])
        if name == "Literal":
            return st.sampled_from([ast.unparse(each) for each in arguments])
        if name in _WRAPPERS:
            return self.of(arguments[0])
        if name in ("tuple", "Tuple"):
            return self._tuple(arguments)
        found = self._container(name, [self.of(each) for each in arguments])
        return self._named(name) if found is None else found

    def _tuple(self, arguments: list[ast.expr]) -> Texts:
        if len(arguments) == 2 and isinstance(arguments[1], ast.Constant):
            return _many(self.of(arguments[0])).map(_tuple_text)
        items = [self.of(each) for each in arguments if not isinstance(each, ast.Tuple)]
        return st.tuples(*items).map(list).map(_tuple_text)

    def _container(self, name: str, items: list[Texts]) -> Texts | None:
        """Return the strategy of a container of the standard library; None for other classes."""
        item = items[0] if items else self._atom()
        if name in _LISTS:
            return _many(item).map(_in("[", "]"))
        if name in _SETS:
            return _many(item).map(_set_text)
        if name in ("frozenset", "FrozenSet"):
            return _many(item).map(_set_text).map(lambda text: f"frozenset({text})")
        if name in _ITERATORS:
            return _many(item).map(_in("iter([", "])"))
        if name in ("deque", "Deque"):
            return _many(item).map(_in("__import__('collections').deque([", "])"))
        if name == "Counter":
            return _many(item).map(_in("__import__('collections').Counter([", "])"))
        if name in (*_DICTS, "defaultdict", "DefaultDict", "OrderedDict"):
            return self._dict(name, items)
        return None

    def _dict(self, name: str, items: list[Texts]) -> Texts:
        keys, values = items if len(items) == 2 else (self._text(), self._atom())
        pairs = _many(st.tuples(keys, values).map(": ".join)).map(_in("{", "}"))
        if name in _DICTS:
            return pairs
        made = "OrderedDict(" if name == "OrderedDict" else "defaultdict(int, "
        return pairs.map(lambda text: f"__import__('collections').{made}{text})")

    def _named(self, name: str) -> Texts:
        atom = _ATOMS.get(name)
        if atom is not None:
            return atom(self)
        if name in ("tuple", "Tuple"):
            return _many(self._atom()).map(_tuple_text)
        if name in ("Callable", "FunctionType"):
            return st.sampled_from(_CALLABLES)
        for found in (self._container(name, []), self._own(name)):
            if found is not None:
                return found
        if name in _STANDARD:
            return st.from_type(_STANDARD[name]).map(text_of)
        return self._anything()

    def _own(self, name: str) -> Texts | None:
        """Return the strategy of what the program itself defines under a name."""
        for node in reversed(self._tree.body):
            if isinstance(node, ast.ClassDef) and node.name == name:
                return self._class(node)
            value = _alias(node, name)
            if value is not None:
                return self._nested(functools.partial(self._of_alias, value), "None")
        return None

    def _of_alias(self, value: ast.expr) -> Texts:
        """Return the strategy of ``X = list[int]``, a `TypeVar` or a `NewType`."""
        if not isinstance(value, ast.Call):
            return self.of(value)
        kind = last_name(value.func)
        if kind == "NewType" and len(value.args) == 2:
            return self.of(value.args[1])
        if kind == "TypeVar":
            bounds = [word.value for word in value.keywords if word.arg == "bound"]
            bounds += value.args[1:]
            return st.one_of([self.of(each) for each in bounds]) if bounds else self._atom()
        return self._anything()

    def _class(self, owner: ast.ClassDef) -> Texts:
        if is_enum(owner):
            members = [
                f"{owner.name}.{target.id}"
                for node in owner.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name) and not target.id.startswith("_")
            ]
            return st.sampled_from(members) if members else self._anything()
        if "TypedDict" in [last_name(base) for base in owner.bases]:
            return self._nested(lambda: self._typed_dict(owner), "{}")
        parameters = constructor(self._tree, owner)
        if parameters is None:
            return st.just(f"{owner.name}()")
        return self._nested(lambda: self._call(owner.name, parameters), "None")

    def _call(self, name: str, parameters: list[Parameter]) -> Texts:
        from cwm_tracer.inputs.hints.generator import call_texts
        from cwm_tracer.inputs.hints.inference import guessed

        def texts(parameter: Parameter) -> Texts:
            if parameter.annotation is not None:
                return self.of(parameter.annotation)
            return self.any_of(guessed(parameter))

        pieces = [(each, texts(each)) for each in parameters]
        return call_texts(pieces).map(lambda text: f"{name}({text})")

    def _typed_dict(self, owner: ast.ClassDef) -> Texts:
        fields = [
            self.of(node.annotation).map(lambda text, name=node.target.id: f"{name!r}: {text}")  # type: ignore[misc]
            for node in owner.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ]
        return st.tuples(*fields).map(lambda items: f"{{{', '.join(items)}}}")

    def _nested(self, made: Callable[[], Texts], simplest: str) -> Texts:
        """Go into a type of the program, unless that is deep inside others."""
        if self._depth >= _DEEPEST:
            return st.just(simplest)
        self._depth += 1
        try:
            return made()
        finally:
            self._depth -= 1

    def _constants_or(self, kind: type, texts: Texts) -> Texts:
        """Mix in the constants of the program, which its branches compare with."""
        values = self._constants.get(kind, ())
        return st.one_of(texts, texts, st.sampled_from(values).map(text_of)) if values else texts

    def _int(self) -> Texts:
        small, large = st.integers(-10, 10), st.integers(-1000, 1000)
        counts = st.integers(0, 20)
        mixed = st.one_of(counts, small, counts, large).map(repr)
        return self._constants_or(int, mixed)

    def _float(self) -> Texts:
        rounded = st.integers(-400, 400).map(lambda value: value / 4)
        wide = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
        return self._constants_or(float, st.one_of(rounded, rounded, wide).map(text_of))

    def _text(self) -> Texts:
        letters = st.text("abcdexyzABZ", max_size=_CHARACTERS)
        mixed = st.text("aAbBzZ019 _-.,!()[]{}", max_size=_CHARACTERS)
        words = st.lists(st.sampled_from(("a", "the", "Bob", "cat", "x1", "42", "")), max_size=4)
        digits = st.text("0123456789", max_size=6)
        unusual = st.text(max_size=6)
        made = st.one_of(letters, mixed, words.map(" ".join), digits, letters, unusual)
        return self._constants_or(str, made.map(repr))

    def _bytes(self) -> Texts:
        return self._constants_or(bytes, st.binary(max_size=_CHARACTERS).map(repr))

    def _atom(self) -> Texts:
        return st.one_of(self._int(), self._text(), self._int())

    def _anything(self) -> Texts:
        item = self._atom()
        return st.one_of(
            *(item, _many(self._int()).map(_in("[", "]")), _many(item).map(_in("[", "]"))),
            *(self._float(), st.sampled_from(("None", "True", "False")), self._dict("dict", [])),
        )


_ATOMS: dict[str, Callable[[Types], Texts]] = {
    "int": Types._int,
    "Integral": Types._int,
    "SupportsIndex": Types._int,
    "float": Types._float,
    "Number": Types._float,
    "Real": Types._float,
    "bool": lambda types: st.sampled_from(("True", "False")),
    "str": Types._text,
    "AnyStr": Types._text,
    "LiteralString": Types._text,
    "bytes": Types._bytes,
    "ByteString": Types._bytes,
    "bytearray": lambda types: types._bytes().map(lambda text: f"bytearray({text})"),
    "None": lambda types: st.just("None"),
    "object": Types._anything,
    "Any": Types._anything,
    "Hashable": Types._atom,
    "range": lambda types: st.integers(0, 9).map(lambda stop: f"range({stop})"),
    "slice": lambda types: st.slices(9).map(text_of),
}


def last_name(node: ast.expr) -> str:
    """Return the last part of a dotted name, without subscripts."""
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    return ast.unparse(node).rpartition(".")[2]


def _arguments(node: ast.Subscript) -> list[ast.expr]:
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def _alias(node: ast.stmt, name: str) -> ast.expr | None:
    """Return what a statement binds a name to; None if it is another statement."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.value if node.target.id == name else None
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    target = node.targets[0]
    return node.value if isinstance(target, ast.Name) and target.id == name else None


def _many(item: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(item, max_size=_ITEMS)


def _in(opening: str, closing: str) -> Callable[[list[str]], str]:
    return lambda texts: f"{opening}{', '.join(texts)}{closing}"


def _tuple_text(texts: list[str]) -> str:
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"


def _set_text(texts: list[str]) -> str:
    return f"{{{', '.join(sorted(set(texts)))}}}" if texts else "set()"
