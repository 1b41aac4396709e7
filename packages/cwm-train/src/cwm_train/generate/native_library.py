"""The decoding step in C: the library, if it was compiled, and the structures that it takes.

They mirror `native/decode.c`. Without torch, so that `cwm doctor` can ask.
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, Structure, c_double, c_int64, c_void_p
from functools import cache
from pathlib import Path


class Layer(Structure):
    """Addresses of a layer's weights, (out, in) each, and of its keys and values."""

    _fields_ = [
        ("window", c_int64),
        *((name, c_void_p) for name in ("norm_before", "qkv", "out", "norm_after")),
        *((name, c_void_p) for name in ("gate_up", "down", "store")),
    ]


class Decoder(Structure):
    """Sizes of a decoder, allocated slots of its cache, threads, and addresses of the weights."""

    _fields_ = [
        *((name, c_int64) for name in ("count", "width", "heads", "groups", "head", "inner")),
        *((name, c_int64) for name in ("vocabulary", "slots", "threads")),
        ("eps", c_double),
        *((name, c_void_p) for name in ("embedding", "frequencies", "norm", "lm_head")),
        ("layers", POINTER(Layer)),
    ]


class Tokens(Structure):
    """Addresses of int64 arrays, and of the results in fp32 (null: only the cache is filled)."""

    _fields_ = [
        ("count", c_int64),
        *((name, c_void_p) for name in ("ids", "rows", "positions", "hidden", "logits")),
    ]


@cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """Return the library, or None and the reason why there is none, and its file name."""
    found = importlib.util.find_spec("cwm_train.generate._native")
    if found is None or found.origin is None:
        return None, "it was not compiled"
    try:
        library = ctypes.CDLL(found.origin)
        sizes = (c_int64 * 3)()
        library.cwm_decode_sizes(sizes)
        if list(sizes) != [ctypes.sizeof(each) for each in (Layer, Decoder, Tokens)]:
            return None, "it was compiled from other sources"
        if not library.cwm_decode_runs_here():
            return None, "this processor lacks AVX2"
    except (OSError, AttributeError) as error:
        return None, f"it cannot be loaded: {error}"
    return library, Path(found.origin).name
