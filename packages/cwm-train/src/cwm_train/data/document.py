"""Tokenised documents: what sources deliver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids, and for each whether the model is trained to predict it."""

    ids: npt.NDArray[np.int32]
    loss_mask: npt.NDArray[np.bool_]


@runtime_checkable
class DocumentSource(Protocol):
    """Indexed documents whose lengths are known without reading them.

    A source with a method ``where(index) -> str`` is asked for the file and row of a document
    that a message is about.
    """

    lengths: npt.NDArray[np.int64]
    """Tokens of each document."""

    def __len__(self) -> int:
        """Return the number of documents."""
        ...

    def __getitem__(self, index: int) -> Document:
        """Return one document."""
        ...


def where(source: DocumentSource, index: int) -> str:
    """Say which document it is: its file and row if the source knows them."""
    tell = getattr(source, "where", None)
    return str(tell(index)) if tell is not None else f"document {index}"
