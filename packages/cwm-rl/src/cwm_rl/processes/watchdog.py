"""From signs of life to an error that names who waits for whom."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from cwm_core.errors import RunError
from cwm_rl.board.beacon import Sign


def describe(signs: Mapping[str, Sign | None], now: float | None = None) -> str:
    """Say what every process does and for whom it waits, those that wait first."""
    now = time.time() if now is None else now

    def line(name: str, sign: Sign | None) -> str:
        if sign is None:
            return f"{name} has given no sign of life"
        whom = f" (for {sign.waits_for})" if sign.waits_for else ""
        silent = f", silent for {now - sign.time:.0f} s" if now - sign.time > 5 else ""
        return f"{name} {sign.doing}{whom} since {now - sign.since:.0f} s{silent}"

    order = sorted(signs, key=lambda name: (not (signs[name] and signs[name].waits_for), name))  # type: ignore[union-attr]
    return "; ".join(line(name, signs[name]) for name in order)


def culprit(signs: Mapping[str, Sign | None]) -> str | None:
    """Return the process at the end of the chain of waiting, `None` if the chain is a circle."""
    name: str | None = next(
        (n for n, sign in sorted(signs.items()) if sign and sign.waits_for), None
    )
    seen = set()
    while name is not None and name not in seen:
        seen.add(name)
        sign = signs.get(name)
        if sign is None or not sign.waits_for:
            return name
        name = _resolve(sign.waits_for, signs)
    return None


def hang_error(signs: Mapping[str, Sign | None], seconds: float) -> RunError:
    """Return the error of a run in which nothing has happened for so long."""
    found = culprit(signs)
    blame = f"; all wait for {found}" if found else ""
    return RunError(
        f"no group and no step has ended for {seconds:.0f} s{blame}: {describe(signs)}",
        "the output of each process is in processes/; the same command continues the run; raise "
        "watchdog.hang_s if episodes or steps take so long",
    )


def _resolve(waits_for: str, signs: Iterable[str]) -> str:
    """Return a process's name; ``engine`` stands for any of them."""
    names = sorted(signs)
    return next((n for n in names if n == waits_for or n.startswith(f"{waits_for}-")), waits_for)
