# ruff: noqa: PTH123
"""Runs single recorded lines again from their recorded state, each in a process of its own.

``python -m _cwm_runtime.reexecution < JOBS > RESULTS``: JSON lines in, see `steps.Step`; lines of
``{"id", "verdict", "detail"}`` out. The repository's modules are imported from `sys.path`.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
from typing import Any

from cwm_tracer.collect.repository.runtime.outside import outside_state
from cwm_tracer.collect.repository.runtime.rebuild import UnknownError
from cwm_tracer.collect.repository.runtime.steps import Step

_TIMEOUT_S = 10
_PIPE = 60_000
_WAYS = 60
_CHANCE = "depends on chance"


def main() -> None:
    """Serve jobs until the end of input."""
    results = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        job = json.loads(line)
        verdict, detail = _verdict(job)
        results.write(json.dumps({"id": job["id"], "verdict": verdict, "detail": detail}) + "\n")
        results.flush()


def _verdict(job: dict[str, Any]) -> tuple[str, str]:
    """Run a step with no value shared by two variables, then with each way of sharing one.

    One that comes out in two ways, or elsewhere after drawing random numbers, depends on chance.
    """
    try:
        module = module_of(job["path"])
    except BaseException as error:
        return "unknown", f"module cannot be imported: {type(error).__name__}"
    first = _isolated(job, module, 0, 1)
    if first[0] != "mismatch":
        return first[:2]
    if _isolated(job, module, 0, 2) != first:
        return "unknown", _CHANCE
    ways = _isolated(job, module, -1, 1)
    if ways[0] == "match" or any(
        _isolated(job, module, way, 1)[0] == "match" for way in range(1, min(ways[2], _WAYS) + 1)
    ):
        return "match", "shared"
    return ways[:2] if ways[0] == "unknown" else first[:2]


def _isolated(job: dict[str, Any], module: Any, alias: int, seed: int) -> tuple[str, str, int]:
    """Run a step in a forked process, where it may do anything."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(_TIMEOUT_S)
        random.seed(seed)
        answer = json.dumps(_answer(job, module, alias)).encode("ascii")
        os.write(writer, answer[:_PIPE])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if not data:
        return "unknown", f"the process died (status {status})", 0
    verdict, detail, places = json.loads(data)
    return verdict, detail, places


def _answer(job: dict[str, Any], module: Any, alias: int) -> tuple[str, str, int]:
    undrawn = random.getstate()
    try:
        step = Step(job, module, alias)
        difference = step.difference()
    except UnknownError as error:
        return "unknown", str(error), 0
    except BaseException as error:
        return "unknown", f"cannot be run: {type(error).__name__}: {error}"[:500], 0
    if difference is None:
        return "match", "", step.places
    if random.getstate() != undrawn:
        return "unknown", _CHANCE, step.places
    if outside := outside_state(step.mentioned, os.path.realpath(_root(job["path"]))):
        return "unknown", f"hidden state: outside of variables, {outside[0]}", step.places
    return "mismatch", difference[:2000], step.places


def _root(path: str) -> str:
    """Return the entry of `sys.path` that a file lies in."""
    wanted = os.path.realpath(path)
    roots = [os.path.realpath(entry or ".") for entry in sys.path]
    return max((root for root in roots if wanted.startswith(root + os.sep)), key=len)


def module_of(path: str) -> Any:
    """Import the module that a file of the repository is."""
    wanted = os.path.realpath(path)
    roots = {os.path.realpath(entry or ".") for entry in sys.path}
    for root in sorted(roots, key=len, reverse=True):  # `src` before the repository itself
        if not wanted.startswith(root + os.sep):
            continue
        name = wanted[len(root) + 1 : -len(".py")].replace(os.sep, ".")
        if name.endswith(".__init__"):
            name = name[: -len(".__init__")]
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if os.path.realpath(getattr(module, "__file__", None) or "") == wanted:
            return module
    raise ImportError(path)


if __name__ == "__main__":
    main()
