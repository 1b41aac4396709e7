"""The process that compares mathematical answers; killed when a comparison takes too long.

Texts of a model are parsed here, by `math-verify` and SymPy: nothing of them is executed, but some
make these libraries compute without end. One JSON line in, one out.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
from typing import Any

MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Serve comparisons until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(2000)
    signal.signal(signal.SIGPROF, _stop)
    from cwm_eval.grading.math_rules import same_answer

    same_answer("x", "y")  # imports what takes seconds, before any clock runs
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        found = _compared(request["gold"], request["answer"], request["cpu_s"])
        print(json.dumps(found), file=answers, flush=True)


class _TooLongError(BaseException):
    """The CPU time of a comparison is used up; no handler of a library may keep it."""


def _stop(number: int, frame: Any) -> None:
    raise _TooLongError


def _compared(gold: str, answer: str, cpu_s: float) -> dict[str, Any]:
    from cwm_eval.grading.math_rules import same_answer

    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return {"same": same_answer(gold, answer)}
    except MemoryError:
        return {"same": False}
    except _TooLongError:
        return {"same": None}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
