"""The larger pieces that a program may have besides its entry function's own phases."""

from collections.abc import Callable

from cwm_tracer.programs.generator import (
    classes,
    closures,
    exceptions,
    functions,
    recursion,
    yields,
)
from cwm_tracer.programs.generator.draft import Draft, Phase

Feature = Callable[[Draft], Phase]

FEATURES: tuple[tuple[float, Feature], ...] = (
    (5, functions.helper),
    (3, recursion.recursive),
    (3, classes.klass),
    (2, yields.generator),
    (2.5, exceptions.raiser),
    (1.6, closures.inner_function),
    (1.2, closures.counter),
    (1, closures.factory),
    (2, closures.anonymous),
)
ONLY_SIMPLE: tuple[tuple[float, Feature], ...] = (
    (5, functions.helper),
    (1, closures.inner_function),
    (1, closures.anonymous),
)


def features(draft: Draft) -> list[Phase]:
    """Define the program's features; the phases that use them, in the order to be placed."""
    count = draft.rng.weighted(draft.knobs.features)
    table = FEATURES if draft.knobs.difficulty > 2 else ONLY_SIMPLE
    chosen: list[Feature] = []
    while len(chosen) < count:
        feature = draft.rng.weighted(table)
        if feature not in chosen or feature is functions.helper:
            chosen.append(feature)
    return [feature(draft) for feature in chosen]
