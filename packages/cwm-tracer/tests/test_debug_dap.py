"""The debug adapter, spoken to by debugpy's messaging layer over real pipes and sockets."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_tracer.debug.dap.wire import ProtocolError, encode, read_message

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def shop(tmp_path, predicting):
    path = tmp_path / "shop.py"
    path.write_text(predicting.SHOP)
    return path


@pytest.fixture
def client(dap_client):
    made, process = dap_client.Client.over_stdio()
    yield made
    process.stdin.close()
    assert process.wait(60) == 0


def test_a_session_of_every_request(client, shop):
    """The verbs and views of an editor, one after the other, without a protocol error."""
    source = {"path": str(shop)}
    client.launch(program=f"{shop}:total", input="[1, 2], 1")
    assert [s["path"] for s in client.ask("loadedSources")["sources"]] == [str(shop)]
    places = client.ask("breakpointLocations", source=source, line=4, endLine=9)["breakpoints"]
    assert [each["line"] for each in places] == [6, 7, 8, 9]
    points = client.ask(
        "setBreakpoints",
        source=source,
        breakpoints=[{"line": 2, "condition": "x == 2"}, {"line": 4}, {"line": 99}],
    )["breakpoints"]
    assert [each["verified"] for each in points] == [True, True, False]
    assert points[1]["line"] == 6
    client.ask("setFunctionBreakpoints", breakpoints=[{"name": "double"}])
    filters = client.ask("setExceptionBreakpoints", filters=["raised", "divergence"])
    assert [each["verified"] for each in filters["breakpoints"]] == [True, False]
    client.ask("configurationDone")
    assert client.wait_for("stopped")["reason"] == "entry"
    assert client.ask("threads")["threads"][0]["name"] == "total([1, 2], 1), executed"
    assert client.top()["name"] == "total (call)"

    assert client.move("next")["reason"] == "step"
    assert client.top()["line"] == 7
    assert client.move("continue")["reason"] == "function breakpoint"
    stack = client.ask("stackTrace", threadId=1, levels=20)
    assert [frame["line"] for frame in stack["stackFrames"]] == [1, 9]
    assert client.ask("stackTrace", threadId=1, startFrame=1, levels=1)["totalFrames"] == 2
    client.ask("setFunctionBreakpoints", breakpoints=[])
    assert client.move("continue")["reason"] == "breakpoint"
    assert client.scopes()["Locals"] == {"x": "2"}
    assert client.ask("evaluate", expression="x * 21", context="watch")["result"] == "42"
    assert client.move("stepOut")["reason"] == "step"
    assert client.move("stepBack")["reason"] == "breakpoint"
    client.ask("setBreakpoints", source=source, breakpoints=[])
    assert client.move("stepOut")["reason"] == "step"
    assert client.move("stepBack")["reason"] == "step"
    assert client.top()["line"] == 9
    assert client.move("stepIn")["reason"] == "step"
    assert client.move("stepBack", granularity="instruction")["reason"] == "step"

    info = client.ask("dataBreakpointInfo", name="result", frameId=client.top()["id"])
    client.ask("setDataBreakpoints", breakpoints=[{"dataId": info["dataId"]}])
    assert client.move("continue")["reason"] == "data breakpoint"
    client.ask("setDataBreakpoints", breakpoints=[])
    target = client.ask("gotoTargets", source=source, line=7)["targets"][0]
    assert client.move("goto", targetId=target["id"])["reason"] == "goto"
    assert client.move("continue")["description"] == "The end of the execution"
    assert client.scopes()["Result"] == {"(returned)": "5"}
    assert client.move("reverseContinue")["description"] == "The start of the execution"
    assert client.move("restart")["reason"] == "entry"
    client.ask("pause", threadId=1)
    client.ask("source", sourceReference=1, source={"sourceReference": 1})
    assert client.requests >= 30
    client.close()


def test_values_unfold_and_numbers_end_with_their_stop(client, shop):
    client.launch(program=str(shop), function="total", input="[1, 2], 1")
    client.ask("configurationDone")
    client.wait_for("stopped")
    frame = client.top()["id"]
    scope = client.ask("scopes", frameId=frame)["scopes"][0]["variablesReference"]
    prices = client.ask("variables", variablesReference=scope)["variables"][0]
    inner = client.ask("variables", variablesReference=prices["variablesReference"])["variables"]
    assert [(each["name"], each["value"]) for each in inner] == [("[0]", "1"), ("[1]", "2")]
    client.move("next")
    assert "earlier stop" in client.refused("variables", variablesReference=scope)
    client.close()


def test_exceptions_stop_and_are_told(client, shop):
    client.launch(program=f"{shop}:risky", input="[1]", stopOnEntry=False)
    client.ask("setExceptionBreakpoints", filters=["raised"])
    client.ask("configurationDone")
    assert client.wait_for("stopped")["reason"] == "exception"
    assert client.ask("exceptionInfo", threadId=1)["exceptionId"] == "IndexError"
    client.close()


def test_bad_requests_are_answered_and_the_session_lives(client, shop):
    assert "send launch first" in client.refused("threads")
    client.ask("initialize", adapterID="cwm")
    assert "names no program" in client.refused("launch")
    assert "cannot read" in client.refused("launch", program=f"{shop}x.py:f")
    assert "did you mean 'mode'" in client.refused(
        "launch", program=f"{shop}:total", overrides=["mod=executed"]
    )
    client.ask("launch", program=f"{shop}:total", input="[1], 0")
    client.wait_for("initialized")
    client.ask("configurationDone")
    client.wait_for("stopped")
    assert "not supported" in client.refused("readMemory")
    assert "unusable arguments" in client.refused("setBreakpoints", breakpoints=[{"lin": 1}])
    assert "no local 'zz'" in client.refused("evaluate", expression="zz + 1")
    assert "there is no stack frame" in client.refused("scopes", frameId=9999)
    scope = client.ask("scopes", frameId=client.top()["id"])["scopes"][0]["variablesReference"]
    assert "cannot be changed" in client.refused(
        "setVariable", variablesReference=scope, name="discount", value="1"
    )
    client.close()


def test_a_port_serves_one_client_after_the_other(shop, dap_client):
    command = [sys.executable, "-m", "cwm_core", "debug", f"{shop}:total"]
    server = subprocess.Popen(
        [*command, "--input", "[5], 0", "--listen", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        port = int(re.findall(r":(\d+)$", server.stderr.readline().strip())[0])
        for _ in range(2):
            client = dap_client.Client.over_tcp(port)
            client.launch()
            client.ask("configurationDone")
            client.wait_for("stopped")
            assert client.scopes()["Locals"] == {"prices": "[5]", "discount": "0"}
            client.close()
        waiting = dap_client.Client.over_tcp(port)
        waiting.launch()
        server.terminate()
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.stderr.close()


def test_a_search_lets_other_requests_in_and_a_pause_or_restart_ends_it(client, tmp_path):
    path = tmp_path / "long.py"
    path.write_text("def f(n):\n    k = 0\n    while k < n:\n        k += 1\n    return k\n")
    limits = ["limits.steps=1000000", "limits.trace_bytes=1000000000", "limits.timeout_s=60"]
    client.launch(program=f"{path}:f", input="30000", overrides=limits)
    client.ask("configurationDone")
    client.wait_for("stopped")
    never = {"line": 4, "condition": "sum([k * 2, len(str(k))]) < 0"}
    point = client.ask("setBreakpoints", source={"path": str(path)}, breakpoints=[never])
    assert point["breakpoints"][0]["verified"]
    # Both are sent before the first is answered, or the search could be over on a busy machine.
    for request in [client.channel.send_request(each) for each in ("continue", "pause")]:
        request.wait_for_response()
    assert client.wait_for("stopped")["reason"] == "pause"
    assert client.top()["line"] == 4
    for request in [client.channel.send_request(each) for each in ("continue", "restart")]:
        request.wait_for_response()
    assert [client.wait_for("stopped")["reason"] for _ in range(2)] == ["pause", "entry"]
    assert client.top()["name"] == "f (call)"
    client.close()


def test_conditions_that_are_none_are_told_at_once_and_others_hold(client, shop):
    client.launch(program=f"{shop}:total", input="[1, 2], 1")
    wanted = [{"line": 2, "condition": "x >"}, {"line": 3, "hitCondition": "often"}]
    wanted.append({"line": 9, "condition": "later == 2"})
    source = {"path": str(shop)}
    points = client.ask("setBreakpoints", source=source, breakpoints=wanted)["breakpoints"]
    assert [each["verified"] for each in points] == [False, False, True]
    assert "no Python expression" in points[0]["message"] and "often" in points[1]["message"]
    client.ask("configurationDone")
    client.wait_for("stopped")
    stopped = client.move("continue")
    assert stopped["reason"] == "breakpoint" and "no local 'later'" in stopped["text"]
    assert client.top()["line"] == 9
    client.close()


def test_an_execution_that_a_limit_cut_off_says_so_at_its_end(client, shop):
    client.launch(program=f"{shop}:total", input="[1, 2], 1", overrides=["limits.steps=5"])
    client.ask("configurationDone")
    client.wait_for("stopped")
    client.ask("continue", threadId=1)
    assert "The end of the execution: more than 5 events" in client.wait_for("output")["output"]
    client.wait_for("stopped")
    client.close()


def test_log_points_are_told_before_the_stop_that_follows(client, shop):
    client.launch(program=f"{shop}:total", input="[1, 2], 1")
    point = {"line": 9, "logMessage": "{price} of {prices}"}
    client.ask("setBreakpoints", source={"path": str(shop)}, breakpoints=[point])
    client.ask("configurationDone")
    client.wait_for("stopped")
    client.ask("continue", threadId=1)
    assert client.wait_for("output")["output"] == "1 of [1, 2]\n2 of [1, 2]\n"
    client.wait_for("stopped")
    client.close()


def test_an_editor_sees_predictions_and_sets_variables(shop, tmp_path, predicting, dap_client):
    """With a scripted engine, whose script is what the model would say."""
    from cwm_core.trace.codec import render_ids
    from cwm_tracer import trace

    own = predicting.tokenizer()
    own.save(tmp_path / "tokenizer")
    told = render_ids(trace(predicting.SHOP, "total", "[4], 1").trace, own)
    frames = [
        [t for t, at in zip(told.ids, told.frame_index) if at == n]
        for n in range(1, told.frame_index[-1] + 1)
    ]
    script = tmp_path / "script.jsonl"
    # Asked at the second event, at the third, and, once that is set by hand, for what follows it.
    said = [frames[0], frames[1], frames[2]]
    script.write_text("".join(json.dumps({"token_ids": ids}) + "\n" for ids in said))
    client, process = dap_client.Client.over_stdio(
        "engine=scripted", f"engine.path={script}", f"tokenizer={tmp_path / 'tokenizer'}"
    )
    client.launch(program=f"{shop}:total", input="[], 1")
    client.ask("configurationDone")
    client.wait_for("stopped")
    client.move("next")
    assert client.scopes()["Predicted"]["(source)"] == "result = 0"
    client.move("next")
    scopes = client.scopes()
    assert scopes["Locals"] == {"prices": "[]", "discount": "1", "result": "0"}
    client.ask("setExpression", expression="result", value="20 + 1")
    assert client.ask("evaluate", expression="result")["result"] == "21"
    client.move("stepIn")
    assert client.scopes()["Locals"]["price"] == "4"
    client.close()
    process.stdin.close()
    assert process.wait(60) == 0


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), max_size=4))
def test_messages_come_back_as_they_were(message):
    async def through():
        reader = asyncio.StreamReader()
        reader.feed_data(encode(message) + encode({"next": 1}))
        reader.feed_eof()
        return [await read_message(reader) for _ in range(3)]

    assert asyncio.run(through()) == [message, {"next": 1}, None]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data):
    async def through():
        reader = asyncio.StreamReader(limit=64)
        reader.feed_data(data)
        reader.feed_eof()
        try:
            while await read_message(reader) is not None:
                pass
        except ProtocolError:
            pass

    asyncio.run(through())
