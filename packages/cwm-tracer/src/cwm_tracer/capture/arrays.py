"""Arrays, tensors and scalars of numpy and torch, which are never imported here.

Small ones show their content, large ones a digest of it, so that every change shows.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwm_tracer.capture.values import Renderer

    Form = Callable[[Renderer, Any, type, int], str]

_NAMESPACE = vars(types.ModuleType)["__dict__"].__get__
_SMALL = 64
"""Most elements of an array that is shown whole."""
_HASHED = 4 << 20
"""Most bytes of which a digest is taken; of more, evenly spaced blocks are."""
_BLOCKS = 256


def form_of(bases: tuple[type, ...]) -> Form | None:
    """Return how a class with these bases is rendered, if it is one of those told of here."""
    for module, name, form in _CLASSES:
        namespace = _loaded(module)
        if namespace and any(base is namespace.get(name) for base in bases):
            return form
    return None


def _loaded(name: str) -> Any:
    """Return the namespace of a module that the program has imported."""
    module = sys.modules.get(name)
    return _NAMESPACE(module) if type(module) is types.ModuleType else None


def _array(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    numpy = _loaded("numpy")
    plain = numpy["ndarray"].view(value, numpy["ndarray"])
    about = [f"dtype={plain.dtype}"]
    if plain.size > _SMALL or not plain.size:
        about.append(f"shape={plain.shape}")
    if plain.size > _SMALL:
        if not plain.dtype.hasobject:
            about.append(_digest_of(plain.tobytes if plain.nbytes <= _HASHED else None, plain))
        content = f"<+{plain.size} more>"
    else:
        content = renderer.render(_short_floats(plain.tolist(), plain.dtype), depth)
    return f"{_name(kind)}({', '.join([content, *about])})"


def _digest_of(whole: Any, array: Any) -> str:
    if whole is not None:
        return f"digest={_digest([whole()])}"
    flat = array.reshape(-1)
    step = max(flat.size // _BLOCKS, 1)
    room = max(_HASHED // _BLOCKS // max(array.itemsize, 1), 1)
    blocks = (flat[start : start + room].tobytes() for start in range(0, flat.size, step))
    return f"sampled={_digest(blocks)}"


def _digest(blocks: Any) -> str:
    import hashlib  # takes long, and few programs have large arrays

    found = hashlib.blake2b(digest_size=8)
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def _short_floats(content: Any, dtype: Any) -> Any:
    """Return nested lists with the shortest floats that are the same in their own precision."""
    if dtype.kind != "f" or dtype.itemsize >= 8:
        return content
    if type(content) is list:
        return [_short_floats(item, dtype) for item in content]
    return float(str(dtype.type(content)))


def _scalar(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    numpy = _loaded("numpy")
    item = numpy["generic"].item(value)
    if isinstance(item, numpy["generic"]):  # more precise than anything builtin
        text = str(value)
    else:
        text = renderer.render(_short_floats(item, value.dtype), depth)
    return f"np.{_name(kind)}({text})"


def _dtype(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return f"dtype({str(value)!r})"


def _torch_name(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    return repr(value)


def _tensor(renderer: Renderer, value: Any, kind: type, depth: int) -> str:
    torch = _loaded("torch")
    with torch["_C"].DisableTorchFunctionSubclass(), torch["no_grad"]():
        about = [f"dtype={str(value.dtype).replace('torch.', '')}"]
        count = value.numel()
        if count > _SMALL or not count:
            about.append(f"shape={tuple(value.shape)}")
        if count > _SMALL or value.device.type != "cpu":
            about.append(f"device={value.device}")
        if value.requires_grad:
            about.append("requires_grad=True")
        content = _tensor_content(renderer, torch, value, depth, about)
    return f"{_name(kind)}({', '.join([content, *about])})"


def _tensor_content(renderer: Renderer, torch: Any, value: Any, depth: int, about: Any) -> str:
    count = value.numel()
    if value.device.type == "meta" or value.layout is not torch["strided"]:
        return f"<+{count} more>"
    if count <= _SMALL:
        items = value.detach().cpu().tolist()
        return renderer.render(items, depth)
    flat = value.detach().reshape(-1)
    size = flat.element_size()
    if flat.numel() * size <= _HASHED:
        about.append(f"digest={_digest([_tensor_bytes(flat)])}")
    else:
        step, room = flat.numel() // _BLOCKS, _HASHED // _BLOCKS // size
        blocks = (_tensor_bytes(flat[i : i + room]) for i in range(0, flat.numel(), step))
        about.append(f"sampled={_digest(blocks)}")
    return f"<+{count} more>"


def _tensor_bytes(flat: Any) -> bytes:
    import ctypes

    held = flat.cpu().contiguous()
    return ctypes.string_at(held.data_ptr(), held.numel() * held.element_size())


def _name(kind: type) -> str:
    name = type.__dict__["__name__"].__get__(kind)
    return name if name.isprintable() else "array"


_CLASSES = (
    ("numpy", "ndarray", _array),
    ("numpy", "generic", _scalar),
    ("numpy", "dtype", _dtype),
    ("torch", "Tensor", _tensor),
    ("torch", "dtype", _torch_name),
    ("torch", "device", _torch_name),
)
