"""The process that compares mathematical answers; killed when a comparison takes too long.

Texts of a model are parsed here, by `math-verify` and SymPy: nothing of them is executed, but some
make these libraries compute without end. One JSON line in, one out.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
from typing import Any

MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Serve comparisons until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(2000)
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_compared(request["gold"], request["answer"])), file=answers, flush=True)


def _compared(gold: str, answer: str) -> dict[str, Any]:
    from cwm_eval.grading.math_rules import same_answer

    try:
        return {"same": same_answer(gold, answer)}
    except MemoryError:
        return {"same": False}


if __name__ == "__main__":
    main()
