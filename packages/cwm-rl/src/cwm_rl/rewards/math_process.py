"""Answers lines ``[given, wanted]`` with whether they are equal; see `math_answer`."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Compare until the input ends."""
    from math_verify import parse, verify

    for line in sys.stdin:
        given, wanted = json.loads(line)
        try:
            gold, found = (parse(f"${text}$", parsing_timeout=None) for text in (wanted, given))
            equal = verify(gold, found, timeout_seconds=None)
        except Exception:  # whatever the library raises: they are not shown to be equal
            equal = False
        print(json.dumps(bool(equal)), flush=True)


if __name__ == "__main__":
    main()
