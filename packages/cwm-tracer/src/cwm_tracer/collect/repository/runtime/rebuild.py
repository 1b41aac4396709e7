"""Values from their recorded text, as far as the text says what they were.

Source literals and containers of them are evaluated; objects get their class, found by name, and
their fields, without running any constructor of theirs; functions, classes and modules are looked
up. Whatever comes out counts only if it is rendered as the same text again.
"""

from __future__ import annotations

import array
import ast
import builtins
import collections
import datetime
import decimal
import fractions
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from cwm_tracer.capture.values import Renderer

_PLACE = re.compile(r"(?:\w+\.|<locals>\.|<\w+>\.)*<locals>\.")
_NUMBER = re.compile(r" #\d+>")
_STRING = re.compile(r"""[bB]?'(?:[^'\\]|\\.)*'|[bB]?"(?:[^"\\]|\\.)*\"""")
_ENUM = re.compile(r"<(\w+)\.(\w+): ")
_NAMED = re.compile(r"<(?:function|class|built-in function|module) '?([\w.]+)'?>")
_MUTABLE = (ast.List, ast.Dict, ast.Set, ast.Call)
_BARE = re.compile(r"<(\w+) object #\d+>")
_CONSTRUCTED = (
    collections.Counter,
    collections.OrderedDict,
    collections.deque,
    collections.defaultdict,
    array.array,
    bytearray,
    slice,
    range,
    frozenset,
    set,
    datetime.timedelta,
    decimal.Decimal,
    fractions.Fraction,
)


class UnknownError(Exception):
    """The text does not say enough; the message is the reason."""


def same_text(one: str | None, other: str | None) -> bool:
    """Compare texts, whatever numbers objects without fields have.

    What a line makes by itself does not know the function that it was in.
    """
    if one is None or other is None:
        return one is other
    return one == other or _normal(one) == _normal(other)


def _normal(text: str) -> str:
    return _NUMBER.sub(">", _PLACE.sub("", text))


class Rebuilder:
    """Makes values with given texts; `alias` says which of them contain one another.

    Text does not tell whether the list in one variable is the very one that another variable's
    object holds. 0: nothing is shared; n: the n-th place that could hold a variable's value does;
    -1: all such places do.
    """

    def __init__(
        self, namespace: Mapping[str, Any], module: str, budgets: dict[str, Any], alias: int
    ) -> None:
        self._builder = _Builder(namespace, alias)
        self._module = module
        self._budgets = budgets

    @property
    def places(self) -> int:
        """How many places could hold the value of a variable, so far."""
        return self._builder.places

    def rebuild(self, text: str) -> Any:
        """Return a value with this text; UnknownError where there is no telling which."""
        if "<+" in _STRING.sub("", text):
            raise UnknownError("elided value")
        value = self._builder.build(text)
        shown = Renderer(module=self._module, **self._budgets).text(value)
        if not same_text(shown, text):
            raise UnknownError("object that its text does not determine")
        return value


class _Builder:
    def __init__(self, namespace: Mapping[str, Any], alias: int) -> None:
        self.places = 0
        self._namespace = namespace
        self._alias = alias
        self._marks: dict[str, Any] = {"nan": float("nan"), "inf": float("inf")}
        self._names: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def build(self, text: str) -> Any:
        source = self._marked(text)
        try:
            return self._value(ast.parse(source, mode="eval").body)
        except UnknownError:
            raise
        except RecursionError:
            raise UnknownError("value nested too deeply") from None
        except Exception as error:
            raise UnknownError(_reason(error)) from None

    def _marked(self, text: str) -> str:
        """Replace ``<...>`` outside of strings by names, and note what these stand for."""
        parts, position = [], 0
        while position < len(text):
            string = _STRING.match(text, position)
            if string:
                parts.append(string[0])
                position = string.end()
            elif text[position] == "<":
                end = _closing(text, position)
                parts.append(self._mark(text[position:end]))
                position = end
            else:
                parts.append(text[position])
                position += 1
        return "".join(parts)

    def _mark(self, text: str) -> str:
        """Return a name for a text in angle brackets."""
        if text not in self._names:
            name = f"_mark{len(self._names)}"
            self._marks[name] = self._special(text)
            self._names[text] = name
        return self._names[text]

    def _special(self, text: str) -> Any:
        enum = _ENUM.match(text)
        if enum:
            return getattr(self._class(enum[1]), enum[2])
        named = _NAMED.match(text)
        if named:
            return self._named(named[1])
        if text.startswith("<object object"):
            found = [value for value in self._namespace.values() if type(value) is object]
            if len(found) == 1:
                return found[0]
        bare = _BARE.match(text)
        if bare and not hasattr(builtins, bare[1]):
            return object.__new__(self._class(bare[1]))
        raise UnknownError(_kind(text))

    def _named(self, path: str) -> Any:
        first, *rest = path.split(".")
        for start in (self._namespace, vars(builtins), sys.modules):
            value = start.get(first)
            try:
                for name in rest:
                    value = getattr(value, name)
            except AttributeError:
                continue
            if value is not None:
                return value
        for module in self._modules():
            if hasattr(module, path):
                return getattr(module, path)
        raise UnknownError("function or class that cannot be looked up")

    def _modules(self) -> Iterator[types.ModuleType]:
        for value in list(self._namespace.values()):
            if isinstance(value, types.ModuleType):
                yield value

    def _value(self, node: ast.AST) -> Any:
        if not isinstance(node, _MUTABLE):
            return self._new(node)
        key = ast.dump(node)
        if key in self._values:
            self.places += 1
            if self._alias in (-1, self.places):
                return self._values[key]
        value = self._new(node)
        self._values.setdefault(key, value)
        return value

    def _new(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in self._marks:
            return self._marks[node.id]
        if isinstance(node, ast.List):
            return [self._value(item) for item in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(self._value(item) for item in node.elts)
        if isinstance(node, ast.Set):
            return {self._value(item) for item in node.elts}
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values)
            return {self._value(key): self._value(value) for key, value in pairs if key}
        if isinstance(node, (ast.UnaryOp, ast.BinOp)):
            return self._number(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise UnknownError(f"text with {type(node).__name__}")

    def _number(self, node: ast.AST) -> Any:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._value(node.operand)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            left, right = self._value(node.left), self._value(node.right)
            return left + right if isinstance(node.op, ast.Add) else left - right
        raise UnknownError(f"text with {type(node).__name__}")

    def _call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Attribute):  # re.compile, datetime.date
            return self._library_call(node)
        if not isinstance(node.func, ast.Name):
            raise UnknownError("text with Call")
        kind = self._class(node.func.id)
        arguments = [self._value(item) for item in node.args]
        fields = {item.arg: self._value(item.value) for item in node.keywords if item.arg}
        if kind in _CONSTRUCTED:
            return kind(*arguments, **fields)
        if issubclass(kind, BaseException):
            if "__slots__" in vars(kind) or isinstance(kind.__init__, types.FunctionType):
                raise UnknownError("hidden state: fields of an exception")
            return _with_fields(kind.__new__(kind, *arguments), fields)
        if issubclass(kind, tuple) and hasattr(kind, "_fields") and not arguments:
            return tuple.__new__(kind, fields.values())
        if len(arguments) == 1:
            return _with_fields(_extended(kind, arguments[0]), fields)
        if arguments:
            raise UnknownError("object that its text does not determine")
        return _with_fields(object.__new__(kind), fields)

    def _library_call(self, node: ast.Call) -> Any:
        path = ast.dump(node.func)
        if "'re'" not in path and "'datetime'" not in path:
            raise UnknownError("text with Call")
        source = ast.Expression(node)
        modules = {"re": re, "datetime": datetime}
        return eval(compile(ast.fix_missing_locations(source), "<value>", "eval"), modules)

    def _class(self, name: str) -> Any:
        """Find a class by its bare name: in the module, in those it imports, in the library."""
        library = [builtins, collections, array, decimal, fractions, datetime]
        for modules in ([self._namespace], map(vars, self._modules()), map(vars, library)):
            found = {id(kind): kind for place in modules for kind in _classes(place, name)}
            if len(found) == 1:
                return found.popitem()[1]
            if found:
                raise UnknownError("class whose name is not unique")
        raise UnknownError(f"hidden state: {name}")


def _classes(place: Mapping[str, Any], name: str, depth: int = 2) -> Iterator[Any]:
    """Yield the classes of this bare name in a namespace, and inside of its classes."""
    for value in list(place.values()):
        if isinstance(value, type):
            if value.__name__ == name:
                yield value
            if depth:
                yield from _classes(vars(value), name, depth - 1)


def _with_fields(value: Any, fields: Mapping[str, Any]) -> Any:
    for name, field in fields.items():
        object.__setattr__(value, name, field)
    return value


def _extended(kind: Any, content: Any) -> Any:
    """Make an instance of a class that extends the builtin class of its content."""
    base: Any = type(content)
    if not issubclass(kind, base):
        raise UnknownError("object that its text does not determine")
    if base is list:
        value = list.__new__(kind)
        list.extend(value, content)
    elif base in (dict, set):
        value = base.__new__(kind)
        base.update(value, content)
    else:
        value = base.__new__(kind, content)
    return value


def _closing(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "<") - (text[position] == ">")
        if not depth:
            return position + 1
    raise UnknownError("text that does not parse")


def _kind(text: str) -> str:
    """Name what a text in angle brackets stands for: an object of which class."""
    found = re.match(r"<(\w+)( object| method)?", text)
    return f"hidden state: {found[0][1:]}" if found else "hidden state"


def _reason(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return "text that does not parse"
    return "object that its text does not determine"
