"""Pickles of plain text, as publishers of benchmarks use them: nothing else is accepted."""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any, NoReturn

from cwm_core.errors import DataError

MOST_BYTES = 1 << 30
"""Size of what a compressed field may hold."""


class _TextOnly(pickle.Unpickler):
    """Knows no class and no function, so it can build nothing but plain values."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside")


def packed_text(data: str, where: str) -> str:
    """Return the text in base64 of zlib of a pickle.

    Raises `DataError` for anything else: other encodings, a pickle that holds more than one text
    or names a class, and what would grow beyond 1 GiB.
    """
    try:
        unpacked = zlib.decompressobj()
        content = unpacked.decompress(base64.b64decode(data, validate=False), MOST_BYTES)
        if unpacked.unconsumed_tail:
            raise ValueError(f"it holds more than {MOST_BYTES} bytes")
        text = _TextOnly(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, zlib.error, binascii.Error, ValueError, EOFError) as error:
        raise DataError(f"{where} is no packed text: {error}", "fetch the file again") from None
    except (LookupError, TypeError, AttributeError, MemoryError, OverflowError) as error:
        raise DataError(f"{where} is a damaged pickle: {error!r}", "fetch the file again") from None
    if type(text) is not str:
        raise DataError(f"{where} packs a {type(text).__name__}, no text", "fetch the file again")
    return text


def packed_json(data: str, where: str) -> Any:
    """Return the JSON value in a field that is JSON itself or packs it; raises `DataError`."""
    text = data if data.lstrip()[:1] in ("[", "{", '"') else packed_text(data, where)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} holds no JSON: {error}", "fetch the file again") from None
