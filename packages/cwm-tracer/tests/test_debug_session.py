"""The debugger's timeline, stories and session, over executions and a model's predictions."""

from __future__ import annotations

import asyncio
import math

import pytest

from cwm_core.trace.frames import Event, Frame
from cwm_tracer import trace
from cwm_tracer.debug.breakpoints import Breakpoint
from cwm_tracer.debug.compare import differences
from cwm_tracer.debug.locate import SourceMap
from cwm_tracer.debug.predict import Predictor
from cwm_tracer.debug.session import Session, Why
from cwm_tracer.debug.story import DebugError, Story
from cwm_tracer.debug.timeline import Timeline


@pytest.fixture(scope="module")
def record(predicting):
    return trace(predicting.SHOP, "total", "[1, 2], 1")


@pytest.fixture
def session(record):
    return Session(Story(record.context, record.trace.frames))


def run(verb):
    return asyncio.run(verb)


def lines(session, *verbs):
    found = []
    for verb in verbs:
        run(getattr(session, verb)())
        found.append(session.line)
    return found


def test_over_steps_past_calls_and_in_goes_into_them(session):
    assert lines(session, "step_in", "step_over", "step_over", "step_over") == [7, 8, 9, 8]
    assert session.state()["result"] == "2"
    assert lines(session, "step_over", "step_in") == [9, 1]
    assert [entry.function for entry in session.stack()] == ["double", "total"]
    assert [entry.line for entry in session.stack()] == [1, 9]
    assert lines(session, "step_out") == [8]
    assert session.state()["result"] == "6"


def test_every_step_can_be_taken_back(session):
    seen = [(0, session.line)]
    while run(session.step_in()).why is not Why.END:
        seen.append((session.cursor, session.line))
    for cursor, line in reversed(seen[:-1]):
        run(session.step_back())
        assert (session.cursor, session.line) == (cursor, line)
    assert run(session.step_back()).why is Why.START


def test_back_over_a_call_stays_in_the_function(session):
    session.go(len(session.story.timeline) - 1)
    walk = [session.line]
    while run(session.step_back_over()).why is not Why.START:
        walk.append(session.line)
    assert walk == [10, 10, 8, 9, 8, 9, 8, 7, 6]


def test_breakpoints_hold_in_both_directions(session):
    session.stops.lines[2] = Breakpoint(2, condition="x > 1")
    assert run(session.continue_()).why is Why.BREAKPOINT
    assert session.state() == {"x": "2"}
    assert run(session.continue_()).why is Why.END
    assert run(session.reverse_continue()).why is Why.BREAKPOINT
    assert run(session.reverse_continue()).why is Why.START


@pytest.mark.parametrize(
    ("condition", "hits"), [("", 3), ("2", 1), (">= 2", 2), ("% 2", 1), ("< 3", 2), ("> 3", 0)]
)
def test_hit_conditions(session, condition, hits):
    session.stops.lines[8] = Breakpoint(8, hit_condition=condition)
    found = 0
    while run(session.continue_()).why is Why.BREAKPOINT:
        found += 1
    assert found == hits


def test_a_hit_condition_that_is_none_is_refused():
    with pytest.raises(DebugError, match="often"):
        Breakpoint(8, hit_condition="often")


def test_log_points_print_and_go_on(record):
    said = []
    session = Session(Story(record.context, record.trace.frames), said.append)
    session.stops.lines[9] = Breakpoint(9, log_message="price={price}, half={result / 2}, {nope}")
    assert run(session.continue_()).why is Why.END
    assert said[0].startswith("price=1, half=0.0, <no local 'nope'")
    assert len(said) == 2


def test_functions_changes_and_exceptions_stop(session, predicting):
    session.stops.functions["double"] = Breakpoint(function="double")
    session.stops.watched.add("result")
    why = []
    while (stop := run(session.continue_())).why is not Why.END:
        why.append((stop.why.value, stop.text))
    double, result = ("function breakpoint", "double"), ("data breakpoint", "result")
    assert why == [result, double, result, double, result]
    raised = trace(predicting.SHOP, "risky", "[1]")
    other = Session(Story(raised.context, raised.trace.frames))
    other.stops.exceptions = True
    stop = run(other.continue_())
    assert stop.why is Why.EXCEPTION and "IndexError" in stop.text


def test_run_to_a_line_goes_forward_else_back(session):
    assert run(session.run_to(10)).why is Why.GOTO
    assert session.line == 10
    run(session.run_to(7))
    assert session.line == 7
    with pytest.raises(DebugError, match="line 14 never runs"):
        run(session.run_to(14))


def test_lines_of_frames_that_know_only_their_text(record):
    """Predicted frames have neither depth nor line: both follow from text and order."""
    bare = [Frame(f.event, f.source, f.locals, f.value) for f in record.trace.frames]
    timeline = Timeline(SourceMap(record.context))
    timeline.extend(bare)
    assert list(timeline.lines) == [frame.line_number for frame in record.trace.frames]
    assert list(timeline.depths) == [frame.depth for frame in record.trace.frames]
    names = [timeline.function(i) for i in range(len(bare))]
    assert names == [frame.function for frame in record.trace.frames]


def test_equal_lines_are_told_apart_by_function_and_order():
    source = SourceMap("def f(x):\n    x += 1\n    x += 1\n\ndef g(x):\n    x += 1\n")
    assert source.line("    x += 1\n", first=1, before=1) == 2
    assert source.line("    x += 1\n", first=1, before=2) == 3
    assert source.line("    x += 1\n", first=5, before=5) == 6
    assert source.line("    y = 1\n", first=1, before=1) == 0
    assert source.executable == [1, 2, 3, 5, 6]


# With a model


@pytest.fixture
def story(record, predicting):
    """Tells the execution of `record`, and a model that believes in that of other arguments."""
    other = trace(predicting.SHOP, "total", "[1, 3], 1").trace.frames

    def tell(mode, **options):
        engine = predicting.Reciting(other, Frame(Event.RETURN, "    return y\n", value="99"))
        predictor = Predictor(engine, engine.tokenizer, record.context)
        return Story(record.context, record.trace.frames, predictor=predictor, mode=mode, **options)

    return tell


def test_differences_are_found_with_probabilities(story, predicting):
    session = Session(story("both"))
    stop = run(session.next_divergence())
    assert (stop.why, session.line) == (Why.DIVERGENCE, 8)
    assert stop.text == "prices: executed [1, 2], predicted [1, 3]"
    assert run(session.next_divergence()).why is Why.DIVERGENCE
    assert session.line == 9
    made = run(session.story.prediction(session.cursor))
    assert [str(each) for each in run(session.differences())] == ["price: executed 2, predicted 3"]
    assert 0 < made.confidence.values["price"] <= 0.9
    assert math.isclose(made.confidence.event, 0.9)
    spelled = len(predicting.tokenizer().encode("        result += double(price)\n"))
    assert math.isclose(made.confidence.source, 0.9**spelled)


def test_a_search_can_stop_where_prediction_and_execution_differ(story):
    session = Session(story("both"))
    session.stops.divergences = True
    assert run(session.continue_()).why is Why.DIVERGENCE
    assert "predicted [1, 3]" in session.last.text


def test_a_prediction_goes_its_own_way(story):
    session = Session(story("predicted"))
    assert len(session.story.timeline) == 1
    while run(session.step_in()).why is not Why.END:
        pass
    assert session.frame.value == "7" and session.story.ended
    assert run(session.differences()) == []
    assert run(session.reverse_continue()).why is Why.START


def test_stepping_over_a_call_asks_for_its_result_at_once(story):
    session = Session(story("predicted"))
    for _ in range(3):
        run(session.step_over())
    assert session.line == 9
    run(session.step_over())
    frames = session.story.timeline.frames
    assert [frame.event.value for frame in frames[3:6]] == ["line", "call", "return"]
    assert frames[5].value == "99"


def test_a_local_set_by_hand_forks_the_execution(story):
    told = story("both")
    session = Session(told)
    run(session.run_to(9))
    cursor = session.cursor
    run(session.set_variable("price", "40"))
    assert session.state()["price"] == "40" and told.edited(cursor) == {"price"}
    assert len(told.timeline) == cursor + 1 and told.predicting and not told.ended
    run(session.step_in())
    assert session.frame.event is Event.CALL
    assert run(session.differences()) == []
    with pytest.raises(DebugError, match="nothing"):
        run(session.set_variable("nothing", "1"))


def test_without_a_model_nothing_is_set(session, record):
    with pytest.raises(DebugError, match="cannot be changed"):
        run(session.set_variable("prices", "[]"))
    with pytest.raises(DebugError, match="needs a model"):
        Story(record.context, record.trace.frames, mode="both")


def test_output_that_is_no_trace_ends_the_prediction(record, predicting):
    class Babbling(predicting.Reciting):
        async def generate(self, prompt_ids, params):
            made = await super().generate(prompt_ids, params)
            return type(made)(made.token_ids[1:], made.logprobs[1:], "stop")

    engine = Babbling(record.trace.frames, record.trace.frames[-1])
    predictor = Predictor(engine, engine.tokenizer, record.context)
    told = Story(record.context, record.trace.frames, predictor=predictor, mode="predicted")
    stop = run(Session(told).step_in())
    assert stop.why is Why.END and stop.text


def test_a_prediction_is_bounded(story):
    told = story("predicted", max_events=4)
    session = Session(told)
    while run(session.step_in()).why is not Why.END:
        pass
    assert len(told.timeline) == 4 and "more than 4 events" in session.last.text


def test_differences_of_ends():
    frame = Frame(Event.RETURN, "return 1\n", value="1")
    assert differences(None, None) == []
    assert str(differences(frame, None)[0]) == "event: executed return, predicted end"
