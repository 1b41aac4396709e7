"""Objects that are no plain builtin values, as text without addresses and without their own code.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

import array
import collections
import enum
import re
import sys
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cwm_tracer.capture import arrays
from cwm_tracer.capture.renderers import NONE, Part

if TYPE_CHECKING:
    from cwm_tracer.capture.values import Renderer

    _Form = Callable[["Renderer", Any, type, int], str]

_ADDRESS = re.compile(r"\b0x([0-9a-fA-F]{8,16})\b")

_NAME = type.__dict__["__name__"].__get__
_MRO = type.__dict__["__mro__"].__get__
_MODULE = type.__dict__["__module__"].__get__
_ARGS = BaseException.__dict__["args"].__get__
_NAMESPACE = vars(types.ModuleType)["__dict__"].__get__
_OFFSETS = frozenset({"__dictoffset__", "__vectorcalloffset__", "__weaklistoffset__"})
"""Members of classes written in C that lie inside the object, and hold addresses."""
_FACTORY = collections.defaultdict.__dict__["default_factory"].__get__
_MAXLEN = collections.deque.__dict__["maxlen"].__get__


def name_of(kind: type) -> str:
    """Return a class's bare name, whatever its metaclass says."""
    return printable(_NAME(kind))


def printable(name: str) -> str:
    """Return a name, with what cannot be printed escaped."""
    return name if name.isprintable() else repr(name)[1:-1]


def render(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    """Render a value whose exact type is none of the plain builtins."""
    form = _FORMS.get(kind) if type(kind) is type else None
    if renderer.renderers is not NONE and renderer.renderers.function(_MRO(kind)) is not None:
        form = _rendered
    elif form is None:
        form = _inherited_form(renderer, kind)
    if not renderer.enter(value):
        return f"{name_of(kind)}(...)"
    try:
        return form(renderer, value, kind, depth + 1)
    finally:
        renderer.leave(value)


class Numbers:
    """Numbers objects in the order in which they are first shown, without keeping them alive."""

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[int, Any]] = {}
        self._next = 1

    def of(self, value: Any, kind: type) -> int | None:
        """Return the object's number; None where the end of its life cannot be noticed."""
        key = id(value)
        if key in self._numbers:
            return self._numbers[key][0]
        holder = self._holder(value, kind, key)
        if holder is None:
            return None
        self._numbers[key] = (self._next, holder)
        self._next += 1
        return self._numbers[key][0]

    def of_address(self, address: int) -> int:
        """Return the number of whatever is at an address, for as long as this lives."""
        if address not in self._numbers:
            self._numbers[address] = (self._next, None)
            self._next += 1
        return self._numbers[address][0]

    def _holder(self, value: Any, kind: type, key: int) -> Any:
        if kind is object:
            return value
        try:
            return weakref.ref(value, lambda _: self._numbers.pop(key, None))
        except TypeError:
            return None


def _inherited_form(renderer: Renderer, kind: type) -> _Form:
    """Choose by the nearest base class that has a form of its own."""
    bases = _MRO(kind)
    if renderer.call_repr and _own_repr(bases, renderer.module):
        return _called_repr
    form = arrays.form_of(bases)
    if form is not None:
        return form
    if any(base is enum.Enum for base in bases):
        return _enum_member
    if any(base is tuple for base in bases) and _is_namedtuple(bases):
        return _named_tuple
    for base in bases:
        if type(base) is type and base in _INHERITED:
            return _INHERITED[base]
    if _MODULE(kind) == "builtins":
        return _opaque
    return _own_text if _has_safe_repr(kind) else _by_fields


def _rendered(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    """Have a third party's function render; one that fails leaves the fields, and a mark."""
    if renderer.too_deep(depth):
        return f"{name_of(kind)}(<+1 more>)"
    try:
        text = renderer.renderers.function(_MRO(kind))(value, Part(renderer, depth))
        if type(text) is str and text.strip(". "):
            return renderer.bounded(text)
        failure = "gave no text"
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        failure = f"raised {name_of(type(error))}"
    return f"{_by_fields(renderer, value, kind, depth)}<renderer {failure}>"


def _own_repr(bases: tuple[type, ...], module: str) -> bool:
    """Whether the first class that defines `__repr__` is the program's own."""
    for base in bases:
        if "__repr__" in type.__dict__["__dict__"].__get__(base):
            return bool(_MODULE(base) == module)
    return False


def _called_repr(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    if id(value) in renderer.half_built:
        return _by_fields(renderer, value, kind, depth)
    try:
        text = repr(value)
    except RecursionError:  # the program's own: what the recorder needs of the stack is in reserve
        return f"<{name_of(kind)} object (repr raised RecursionError)>"
    return _bounded(renderer, _ADDRESS.sub(renderer.of_address, text), kind)


def _bounded(renderer: Renderer, text: str, kind: type) -> str:
    """Cut an object's own text; one that says nothing gives way to the class's name."""
    if not text.strip():
        return f"<{name_of(kind)} object>"
    room = 4096
    return text if len(text) <= room else f"{text[:room]}<+{len(text) - room} more>"


def _opaque(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return renderer.numbered(value, kind)


def _by_fields(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    fields = _fields(value, kind)
    if not fields:
        return renderer.numbered(value, kind)
    name = name_of(kind)
    if renderer.too_deep(depth):
        return f"{name}(<+{len(fields)} more>)"
    return f"{name}({renderer.fields(fields, len(fields), depth)})"


def _fields(value: Any, kind: type) -> list[tuple[str, Any]]:
    """Return slots, base class first, then the instance dict in the order of assignment."""
    found: list[tuple[str, Any]] = []
    for base in reversed(_MRO(kind)):
        for name, member in list(type.__dict__["__dict__"].__get__(base).items()):
            if name in _OFFSETS:
                continue
            if type(member) is types.MemberDescriptorType and _MODULE(base) != "builtins":
                try:
                    found.append((name, member.__get__(value)))
                except AttributeError:
                    continue
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        attributes = None
    if type(attributes) is dict:
        found.extend((printable(str(name)), item) for name, item in list(attributes.items()))
    return found


def _exception(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    args = _ARGS(value)
    inside = renderer.items(args, len(args), depth)
    return f"{name_of(kind)}({inside})"


def _enum_member(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    attributes = object.__getattribute__(value, "__dict__")
    name, inner = attributes.get("_name_"), attributes.get("_value_")
    text = renderer.render(inner, depth)
    label = f"{name_of(kind)}.{name}" if isinstance(name, str) else name_of(kind)
    return f"<{label}: {text}>"


def _is_namedtuple(bases: tuple[type, ...]) -> bool:
    names = type.__dict__["__dict__"].__get__(bases[0]).get("_fields")
    return type(names) is tuple and all(type(name) is str for name in names)


def _named_tuple(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    names = type.__dict__["__dict__"].__get__(kind)["_fields"]
    pairs = list(zip(names, tuple.__iter__(value)))
    return f"{name_of(kind)}({renderer.fields(pairs, len(pairs), depth)})"


def _container_subclass(base: type) -> _Form:
    """Make the form of a class that extends a container: its content under its name."""

    def form(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
        text = renderer.content(value, base, depth)
        return f"{name_of(kind)}({text}{_more_fields(renderer, value, kind, depth)})"

    return form


def _atom_subclass(read: Callable[[Any], Any]) -> _Form:
    """Make the form of a class that extends a number or string, whose value `read` returns."""

    def form(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
        text = renderer.render(read(value), depth)
        return f"{name_of(kind)}({text}{_more_fields(renderer, value, kind, depth)})"

    return form


def _more_fields(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    fields = _fields(value, kind)
    return f", {renderer.fields(fields, len(fields), depth)}" if fields else ""


def _default_dict(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    factory = renderer.render(_FACTORY(value), depth)
    return f"{name_of(kind)}({factory}, {renderer.content(value, dict, depth)})"


def _counter(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    pairs = list(dict.items(value))
    if not pairs:
        return f"{name_of(kind)}()"
    if all(type(count) is int for _, count in pairs):
        pairs.sort(key=lambda pair: -pair[1])
    return f"{name_of(kind)}({{{renderer.entries(pairs, len(pairs), depth + 1)}}})"


def _ordered_dict(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    """Render as Python 3.12 does, on every version."""
    if not dict.__len__(value):
        return f"{name_of(kind)}()"
    pairs = collections.OrderedDict.items(value)
    return f"{name_of(kind)}({{{renderer.entries(pairs, len(pairs), depth + 1)}}})"


def _deque(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    size = collections.deque.__len__(value)
    inside = renderer.items(collections.deque.__iter__(value), size, depth + 1)
    limit = _MAXLEN(value)
    return f"{name_of(kind)}([{inside}]{'' if limit is None else f', maxlen={limit}'})"


def _view(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return f"{name_of(kind)}([{renderer.items(value, len(value), depth)}])"


def _proxy(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return f"mappingproxy({renderer.render(dict(value), depth)})"


def _byte_array(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    room = max(len(value), 1) if len(value) < 100_000 else 100_000
    more = f"<+{len(value) - room} more>" if len(value) > room else ""
    return f"{name_of(kind)}({renderer.cut(bytes(value[:room]))}{more})"


def _slice(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return f"slice({renderer.items((value.start, value.stop, value.step), 3, depth)})"


def _class(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    module = type.__dict__["__module__"].__get__(value)
    name = printable(type.__dict__["__qualname__"].__get__(value))
    bare = type(module) is not str or module in ("builtins", renderer.module)
    return f"<class '{name if bare else f'{printable(module)}.{name}'}'>"


def _function(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return f"<function {printable(value.__qualname__)}>"


def _builtin(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    owner = value.__self__
    if owner is None or type(owner) is types.ModuleType:
        return f"<built-in function {value.__name__}>"
    return f"<built-in method {value.__name__} of {name_of(type(owner))} object>"


def _bound_method(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    function = value.__func__
    name = function.__qualname__ if type(function) is types.FunctionType else "?"
    return f"<bound method {printable(name)}>"


def _running(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return f"<{name_of(kind)} object {printable(value.__qualname__)}>"


def _module(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    name = _NAMESPACE(value).get("__name__")
    return f"<module {name!r}>" if type(name) is str else "<module>"


def _own_text(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return _bounded(renderer, repr(value), kind)


def _array(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    if not len(value):
        return repr(value)
    if value.typecode in "uw":
        return f"array({value.typecode!r}, {renderer.cut(value[:100_000].tounicode())})"
    items = renderer.items(array.array.__iter__(value), len(value), depth + 1)
    return f"array({value.typecode!r}, [{items}])"


def _has_safe_repr(kind: type) -> bool:
    """Whether this is one of the library classes whose `repr` runs nothing of the program's."""
    name = _NAME(kind)
    modules = _SAFE_CLASSES.get(name, ())
    return any(getattr(sys.modules.get(module), name, None) is kind for module in modules)


_SAFE_CLASSES = {
    "date": ("datetime",),
    "datetime": ("datetime",),
    "time": ("datetime",),
    "timedelta": ("datetime",),
    "timezone": ("datetime",),
    "Decimal": ("decimal",),
    "Fraction": ("fractions",),
    "UUID": ("uuid",),
    "PosixPath": ("pathlib",),
    "PurePosixPath": ("pathlib",),
    "PureWindowsPath": ("pathlib",),
}

_FORMS: dict[type, _Form] = {
    type: _class,
    collections.deque: _deque,
    collections.defaultdict: _default_dict,
    collections.OrderedDict: _ordered_dict,
    collections.Counter: _counter,
    type({}.keys()): _view,
    type({}.values()): _view,
    type({}.items()): _view,
    types.MappingProxyType: _proxy,
    bytearray: _byte_array,
    slice: _slice,
    types.FunctionType: _function,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: _bound_method,
    types.GeneratorType: _running,
    types.CoroutineType: _running,
    types.AsyncGeneratorType: _running,
    types.ModuleType: _module,
    types.MethodDescriptorType: _own_text,
    types.WrapperDescriptorType: _own_text,
    types.ClassMethodDescriptorType: _own_text,
    types.GetSetDescriptorType: _own_text,
    types.MemberDescriptorType: _own_text,
    re.Pattern: _own_text,
    re.Match: _own_text,
    array.array: _array,
}

_INHERITED: dict[type, _Form] = {
    type: _class,
    BaseException: _exception,
    types.ModuleType: _module,
    collections.deque: _deque,
    collections.defaultdict: _default_dict,
    collections.OrderedDict: _ordered_dict,
    collections.Counter: _counter,
    **{base: _container_subclass(base) for base in (list, tuple, dict, set, frozenset)},
    int: _atom_subclass(int.__pos__),
    float: _atom_subclass(float.__pos__),
    complex: _atom_subclass(complex.__pos__),
    str: _atom_subclass(lambda value: str.__getitem__(value, slice(None))),
    bytes: _atom_subclass(lambda value: bytes.__getitem__(value, slice(None))),
}
