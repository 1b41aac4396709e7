"""Seeds of everything that is drawn: an episode that is played again draws the same."""

from __future__ import annotations

import hashlib


def derived(*parts: int | str) -> int:
    """Return a seed of 63 bits that depends on all parts."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
