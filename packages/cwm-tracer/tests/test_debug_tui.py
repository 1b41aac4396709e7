"""The debugger on the terminal, driven by Textual's pilot."""

from __future__ import annotations

import asyncio

import pytest
from textual.widgets import DataTable, Input, Static

from cwm_core.trace.frames import Event, Frame
from cwm_tracer import trace
from cwm_tracer.debug.opening import Opened
from cwm_tracer.debug.predict import Predictor
from cwm_tracer.debug.story import Story
from cwm_tracer.debug.tui.app import DebuggerApp
from cwm_tracer.debug.tui.panes import Calls

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def opened(predicting):
    record = trace(predicting.SHOP, "total", "[1, 2], 1")
    return Opened(Story(record.context, record.trace.frames), record, "total", None, None)


@pytest.fixture
def beside_a_model(predicting):
    record = trace(predicting.SHOP, "total", "[1, 2], 1")
    other = trace(predicting.SHOP, "total", "[1, 3], 1").trace.frames
    engine = predicting.Reciting(other, Frame(Event.RETURN, "    return y\n", value="99"))
    predictor = Predictor(engine, engine.tokenizer, record.context)
    story = Story(record.context, record.trace.frames, predictor=predictor, mode="both")
    return Opened(story, record, "total", None, engine)


def play(opened, *keys, typed=""):
    """Press keys (``"..."`` types the text and Enter) and return the app and what it showed."""

    async def through():
        app = DebuggerApp(opened)
        async with app.run_test(size=(120, 40)) as pilot:
            for key in keys:
                if key == "...":
                    app.query_one("#prompt", Input).value = typed
                    await pilot.press("enter")
                else:
                    await pilot.press(key)
                await app.workers.wait_for_complete()
                await pilot.pause()
            table = app.query_one(DataTable)
            rows = [[str(cell) for cell in table.get_row_at(n)] for n in range(table.row_count)]
            message = str(app.query_one("#message", Static).content)
            event = str(app.query_one("#event", Static).content)
        return app.session, rows, message, event

    return asyncio.run(through())


def test_keys_step_over_in_out_and_back(opened):
    session, rows, message, event = play(opened, "n", "n", "n", "s")
    assert session.line == 1 and "step" in message and event.startswith("call")
    assert rows == [["x", "1", "", ""]]
    session, rows, _, _ = play(opened, "n", "n", "n", "s", "o", "b")
    assert session.line == 9 and rows[2][:2] == ["result", "0"]


def test_breakpoints_are_set_at_the_cursor(opened):
    session, _, message, _ = play(opened, "n", "down", "down", "t", "c", "c")
    assert list(session.stops.lines) == [9] and session.line == 9 and "breakpoint" in message
    session, _, _, _ = play(opened, "n", "down", "down", "t", "t", "c")
    assert not session.stops.lines and session.frame.event is Event.RETURN


def test_conditions_and_expressions_are_asked_for(opened):
    session, _, _, _ = play(opened, "n", "down", "down", "C", "...", "c", typed="price == 2")
    assert session.state()["price"] == "2"
    _, _, message, _ = play(opened, "n", "x", "...", typed="sum(prices) * 10")
    assert message == "sum(prices) * 10 = 30"
    _, _, message, _ = play(opened, "x", "...", typed="nothing + 1")
    assert "no local 'nothing'" in message


def test_the_search_goes_back_too_and_lines_are_run_to(opened):
    session, _, _, _ = play(opened, "n", "down", "down", "t", "c", "c", "c", "r")
    assert session.line == 9 and session.state()["price"] == "2"
    session, _, _, _ = play(opened, "n", "down", "down", "down", "g")
    assert session.line == 10


def test_what_the_model_thinks_otherwise_is_marked(beside_a_model):
    session, rows, message, event = play(beside_a_model, "d")
    assert session.line == 8 and "divergence" in message
    assert "the model differs: prices" in event and "probabilities" in event
    [prices] = [row for row in rows if row[0].endswith("prices")]
    assert prices[:3] == ["≠ prices", "[1, 2]", "[1, 3]"] and float(prices[3]) < 1


def test_a_local_is_set_and_the_prediction_goes_on(beside_a_model):
    session, rows, _, _ = play(beside_a_model, "n", "n", "e", "...", typed="result = 5 * 8")
    assert rows[2][:2] == ["✎ result", "40"] and session.story.predicting
    _, _, message, _ = play(beside_a_model, "e", "...", typed="result")
    assert "sets nothing" in message


def test_without_a_model_setting_is_refused_in_plain_words(opened):
    _, _, message, _ = play(opened, "n", "n", "e", "...", typed="result = 1")
    assert "cannot be changed" in message


def test_long_values_and_deep_stacks_leave_room_for_the_rest():
    source = "def f(n, seen):\n    return f(n - 1, seen) if n else seen\n"
    record = trace(source, "f", "120, 'x' * 5000")
    frames = record.trace.frames
    opened = Opened(Story(record.context, frames), record, "f", None, None)

    async def through():
        app = DebuggerApp(opened)
        app.session.go(next(at for at, frame in enumerate(frames) if frame.depth == 120))
        async with app.run_test(size=(120, 40)):
            cells = app.query_one(DataTable).get_row_at(1)
            return str(cells[1]), str(app.query_one(Calls).content)

    value, calls = asyncio.run(through())
    assert value == "'" + "x" * 199 + "…"
    assert calls.count("\n") == 100 and calls.endswith("and 21 more")
