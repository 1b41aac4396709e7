"""Train, validation and test sides, by program and never by trace.

Near-duplicates always land on the same side: programs are clustered first, and a cluster's side
is a hash of its representative and the seed. So the side of a program does not depend on the
order in which programs come.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from cwm_tracer.programs.near_duplicates import NearDuplicateIndex
from cwm_tracer.programs.normal_form import NormalForm
from cwm_tracer.programs.program import Program

SIDES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Split:
    """The programs of each side, in the order in which they came."""

    train: list[Program] = field(default_factory=list)
    validation: list[Program] = field(default_factory=list)
    test: list[Program] = field(default_factory=list)


def clusters(programs: Iterable[Program], threshold: float = 0.8) -> list[str]:
    """For each program, the name of its near-duplicate cluster.

    A cluster is a connected component of the relation "same normal form, or Jaccard similarity
    of at least `threshold`"; its name is the least digest of a normal form in it.
    """
    digests: list[str] = []
    parents: dict[str, str] = {}
    index = NearDuplicateIndex(threshold)
    for program in programs:
        form = NormalForm(program.source)
        digest = form.digest
        digests.append(digest)
        if digest in parents:
            continue
        parents[digest] = digest
        for other in index.add_and_match(digest, form.shingles()):
            _join(parents, digest, str(other))
    return [_root(parents, digest) for digest in digests]


def _root(parents: dict[str, str], item: str) -> str:
    root = item
    while parents[root] != root:
        root = parents[root]
    while parents[item] != root:
        parents[item], item = root, parents[item]
    return root


def _join(parents: dict[str, str], one: str, two: str) -> None:
    first, second = sorted((_root(parents, one), _root(parents, two)))
    parents[second] = first


def side_of(cluster: str, seed: int = 0, validation: float = 0.05, test: float = 0.05) -> str:
    """The side (one of `SIDES`) of a cluster: a pure function of its name and the seed."""
    digest = hashlib.sha256(f"{seed}:{cluster}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def split(
    programs: Iterable[Program],
    seed: int = 0,
    validation: float = 0.05,
    test: float = 0.05,
    threshold: float = 0.8,
) -> Split:
    """Put every program on a side; `validation` and `test` are the expected shares of clusters.

    Raises ValueError if the shares do not leave room for training programs.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError(f"shares must be >= 0 and sum to less than 1: {validation}, {test}")
    kept = list(programs)
    made = Split()
    for program, cluster in zip(kept, clusters(kept, threshold), strict=True):
        getattr(made, side_of(cluster, seed, validation, test)).append(program)
    return made
