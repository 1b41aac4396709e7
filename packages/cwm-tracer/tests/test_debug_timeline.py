"""The debugger's timeline: what it looks up is what a walk through all events would find."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.trace.frames import Event, Frame
from cwm_tracer import trace
from cwm_tracer.debug.breakpoints import Breakpoint
from cwm_tracer.debug.locate import SourceMap
from cwm_tracer.debug.nearest import NONE, Nearest
from cwm_tracer.debug.places import between
from cwm_tracer.debug.session import Session, Why
from cwm_tracer.debug.story import Story
from cwm_tracer.debug.timeline import Timeline

PROGRAM = """\
class Tree:
    def __init__(self, value, *below):
        self.value, self.below = value, below

    def sum(self):
        return self.value + sum(each.sum() for each in self.below)


def double(x):
    return x * 2


def walk(n):
    if n == 0:
        raise KeyError(n)
    try:
        return walk(n - 1)
    except KeyError:
        if n == 2:
            return double(n) + double(n + 1)
        raise


def items(n):
    for k in range(n):
        yield double(k)


def whole(n):
    seen = [double(k) for k in items(n)]
    tree = Tree(1, Tree(2, Tree(3)), Tree(4))
    return walk(n) + tree.sum() + sum(seen)
"""


@pytest.fixture(scope="module")
def record():
    return trace(PROGRAM, "whole", "5")


def timeline_of(record, frames=None):
    timeline = Timeline(SourceMap(record.context))
    timeline.extend(record.trace.frames if frames is None else frames)
    return timeline


def first(found):
    return next(iter(found), NONE)


depths = st.lists(st.integers(0, 6), min_size=1, max_size=40)


@given(depths, st.data())
def test_the_nearest_events_are_those_that_a_search_finds(found, data):
    nearest = Nearest()
    for depth in found:
        nearest.append(depth)
    length = data.draw(st.integers(1, len(found)))
    nearest.cut(length)
    found = found[:length] + (more := data.draw(depths))
    for depth in more:
        nearest.append(depth)
    for at, depth in enumerate(found):
        later = range(at + 1, len(found))
        assert nearest.within(at) == first(j for j in later if found[j] <= depth)
        assert nearest.outside(at) == first(j for j in later if found[j] < depth)
        assert nearest.before(at) == first(j for j in range(at - 1, -1, -1) if found[j] <= depth)


@given(st.sets(st.integers(0, 30)), st.integers(-1, 31), st.integers(-1, 31))
def test_what_lies_between_is_told_in_the_direction_of_the_search(known, start, end):
    expected = [k for k in sorted(known) if min(start, end) < k < max(start, end)]
    if end < start:
        expected.reverse()
    assert list(between(sorted(known), start, end)) == expected


def test_the_stack_shows_who_waits_and_nobody_who_has_returned(record):
    """Of two calls on one line the first is over when the second begins."""
    timeline = timeline_of(record)
    for at, frame in enumerate(timeline.frames):
        stack = timeline.stack(at)
        assert len(stack) == timeline.height(at) == frame.depth + 1
        assert [timeline.depths[entry.index] for entry in stack] == [*range(frame.depth, -1, -1)]
        assert stack[0].index == at and stack[-1].function == "whole"
        assert timeline.stack(at, 1, 1) == stack[1:2]
    names = {tuple(entry.function for entry in timeline.stack(at)) for at in range(len(timeline))}
    assert ("double", "walk", "walk", "walk", "walk", "whole") in names
    assert not any(a == "double" for stack in names for a in stack[1:])


def test_an_event_after_calls_knows_the_state_before_them(record):
    timeline = timeline_of(record)
    for at, frame in enumerate(timeline.frames):
        if frame.locals is None:
            own = [k for k in range(at) if timeline.activations[k] == timeline.activations[at]]
            shown = [
                timeline.frames[k].locals for k in own if timeline.frames[k].locals is not None
            ]
            assert timeline.state(at) == shown[-1]


def test_changes_can_be_asked_of_some_locals(record):
    timeline = timeline_of(record)
    every = [timeline.changed(at) for at in range(len(timeline))]
    assert any(len(names) > 1 for names in every)
    for name in set().union(*every):
        found = [timeline.changed(at, {name, "nowhere"}) for at in range(len(timeline))]
        assert found == [names & {name} for names in every]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_taken_back_leaves_nothing(record, seed):
    """A timeline cut anywhere and continued is the one that was never cut."""
    frames = record.trace.frames
    rng = random.Random(seed)
    timeline, whole = timeline_of(record), timeline_of(record)
    for _ in range(20):
        length = rng.randrange(1, len(frames))
        timeline.cut(length)
        assert len(timeline) == length
        timeline.extend(frames[length:])
    for at in range(len(frames)):
        assert timeline.stack(at) == whole.stack(at)
        assert timeline.state(at) == whole.state(at)
        for name in ("within", "outside", "before"):
            assert getattr(timeline.nearest, name)(at) == getattr(whole.nearest, name)(at)
    for line in range(1, 34):
        assert list(timeline.places.line(line)) == list(whole.places.line(line))
    assert list(timeline.places.exceptions) == list(whole.places.exceptions)
    for name in ("double", "Tree.sum", "sum", "nothing"):
        assert list(timeline.places.calls(name)) == list(whole.places.calls(name))


def walked(session, verb):
    stop = asyncio.run(getattr(session, verb)())
    return stop.index, stop.why


def test_steps_end_where_a_walk_through_all_events_would(record):
    session = Session(Story(record.context, record.trace.frames))
    found = [frame.depth for frame in record.trace.frames]
    end = len(found) - 1

    def ahead(indices):
        goal = first(indices)
        return (end, Why.END) if goal < 0 else (goal, Why.STEP)

    def back(indices):
        goal = first(indices)
        return (0, Why.START) if goal < 0 else (goal, Why.STEP)

    for at, depth in enumerate(found):
        later, earlier = range(at + 1, len(found)), range(at - 1, -1, -1)
        expected = {
            "step_in": ahead(later),
            "step_over": ahead(j for j in later if found[j] <= depth),
            "step_out": ahead(j for j in later if found[j] < depth),
            "step_back": back(earlier),
            "step_back_over": back(j for j in earlier if found[j] <= depth),
        }
        for verb, stop in expected.items():
            session.go(at)
            assert walked(session, verb) == stop, (at, verb)


class Counting(list):
    """Counts how often an item is looked at."""

    looks = 0

    def __getitem__(self, key):
        self.looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("start", [1, 2_000, 3_990])
def test_no_verb_looks_at_the_events_that_it_passes(start):
    """So what a step takes does not depend on how long the execution is."""
    source = "def f(n):\n    for k in range(n):\n        k\n\ndef g(n):\n    f(n)\n    return n\n"
    loop = [Frame(Event.LINE, "", {"k": str(k)}, None, 3, 1, "f") for k in range(4_000)]
    call = Frame(Event.CALL, "def f(n):\n", {"n": "0"}, None, 1, 1, "f")
    around = [Frame(Event.CALL, "def g(n):\n", {"n": "0"}, None, 5, 0, "g")]
    around.append(Frame(Event.LINE, "    f(n)\n", {"n": "0"}, None, 6, 0, "g"))
    ends = [Frame(Event.RETURN, "        k\n", None, "None", 3, 1, "f")]
    ends.append(Frame(Event.LINE, "    return n\n", {"n": "0"}, None, 7, 0, "g"))
    session = Session(Story(source, [*around, call, *loop, *ends]))
    session.stops.lines = {6: Breakpoint(6), 7: Breakpoint(7)}
    session.stops.functions = {"f": Breakpoint(function="f")}
    frames = session.story.timeline.frames = Counting(session.story.timeline.frames)
    verbs = "step_in step_over step_out step_back step_back_over continue_ reverse_continue"
    for verb in verbs.split():
        session.go(start)
        asyncio.run(getattr(session, verb)())
        session.stack()
        session.state()
    session.go(start)
    asyncio.run(session.run_to(7))
    assert frames.looks < 80
