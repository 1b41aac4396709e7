"""Small programs whose results a tiny model can come to tell: they pass arguments on, return one.

A function copies its arguments from name to name, one to three times, and returns one of the names.
Whoever answers must follow the copies back to the argument and then to its value in the call.
Programs for learning and held-out ones differ in their structure, not in names alone.

    python tools/bench/rl_programs.py --out runs/rl-programs
    cwm trace programs=file programs.path=runs/rl-programs/train.jsonl split.side=train \
        out=runs/rl-programs/train
    cwm trace programs=file programs.path=runs/rl-programs/test.jsonl split.side=test \
        out=runs/rl-programs/test
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from pathlib import Path

NAMES = ["a", "b", "c", "d", "k", "m", "n", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z"]
FUNCTIONS = ["pick", "route", "take", "pass_on", "choose", "carry", "hold", "move", "turn", "give"]


def program(draw: random.Random) -> tuple[str, str, str, str]:
    """Return structure, source, entry and an argument list of a random program."""
    count, copies = draw.choice((2, 3)), draw.choice((1, 2, 3))
    names = draw.sample(NAMES, count + copies)
    known, lines, structure = list(range(count)), [], [str(count)]
    for new in range(count, count + copies):
        old = draw.choice(known)
        known.append(new)
        lines.append(f"    {names[new]} = {names[old]}\n")
        structure.append(str(old))
    result = draw.choice(known[count:] + known[-1:])
    structure.append(str(result))
    entry = draw.choice(FUNCTIONS)
    source = (
        f"def {entry}({', '.join(names[:count])}):\n{''.join(lines)}    return {names[result]}\n"
    )
    values = draw.sample(range(10, 100), count)
    given = ", ".join(f"{name}={value}" for name, value in zip(names, values))
    return " ".join(structure), source, entry, given


def is_held_out(structure: str) -> bool:
    """Whether programs of a structure are kept for measuring: a fifth, by its hash."""
    return hashlib.sha256(structure.encode()).digest()[0] % 5 == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    draw = random.Random(given.seed)
    rows: dict[bool, dict[str, str]] = {False: {}, True: {}}
    wanted = {False: given.train, True: given.test}
    while any(len(rows[side]) < wanted[side] for side in rows):
        structure, source, entry, arguments = program(draw)
        side = is_held_out(structure)
        if len(rows[side]) < wanted[side]:
            row = {"source": source, "entry": entry, "inputs": [arguments]}
            rows[side][source] = json.dumps(row)
    for side, name in ((False, "train"), (True, "test")):
        (given.out / f"{name}.jsonl").write_text("\n".join(rows[side].values()) + "\n")
        print(f"{len(rows[side])} programs in {given.out / name}.jsonl")


if __name__ == "__main__":
    main()
