"""The environment, agents and collection: budgets, exact tokens, servers, kills, exports, pages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from forager_repository import FIX, libraries, local_sandbox, shapes_instance

from cwm_core.data.records import trajectory_to_row
from cwm_core.data.shards import read_shards
from cwm_core.engine.base import Completion, SamplingParams
from cwm_core.env.concurrency import run_sync
from cwm_core.env.environment import Action, Task
from cwm_core.env.rollout import rollout
from cwm_core.env.trajectory import Trajectory, Turn, task_metadata
from cwm_core.errors import ConfigError, RunError
from cwm_core.sandbox import bubblewrap
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_forager.agent.config import Chat, Llm
from cwm_forager.agent.llm import context_ids
from cwm_forager.collect.export import export
from cwm_forager.collect.journal import Journal
from cwm_forager.show.page import write_page
from cwm_forager.show.select import Filter, select
from cwm_forager.swe.actions import read_action
from cwm_forager.swe.config import SweConfig
from cwm_forager.swe.environment import similarities_reward
from cwm_forager.tasks.instance import write_instances

needs_bubblewrap = pytest.mark.skipif(
    bubblewrap.why_not() is not None, reason=f"no isolation here: {bubblewrap.why_not()}"
)
EDIT = (
    "shapes/__init__.py\n<<<<<<< SEARCH\n    return width + height\n=======\n"
    "    return width * height\n>>>>>>> REPLACE"
)


def call(name: str, content: str) -> Action:
    return Action(f"Now.\n<tool: {name}>\n{content}\n</tool>")


def swe(directory: Path, tokenizer: Any = None, **changes: Any) -> Any:
    path = directory / "tasks.jsonl"
    write_instances(path, [shapes_instance(directory)])
    values = {"sandbox": local_sandbox(), "format_errors": "answered", **changes}
    return SweConfig(name="swe", tasks=path, **values).build(tokenizer)


def play(environment: Any, *actions: Action) -> list[Any]:
    (task,) = environment.tasks("train")

    async def all_of_them() -> list[Any]:
        steps = [await environment.start(task)]
        for action in actions:
            steps.append(await environment.step(steps[-1].state, action))
        await environment.release(steps[-1].state)
        return steps

    return run_sync(all_of_them())


# Actions and budgets


@pytest.mark.parametrize(
    ("text", "thinking", "problem"),
    [
        ("<tool: bash>\nls\n</tool>", "off", ""),
        ("hello", "off", "no tool call"),
        ("<tool: bash>\nls\n</tool>\n<tool: bash>\nls\n</tool>", "off", "One tool call"),
        ("<tool: bash>\nls", "off", "malformed"),
        ("<tool: fly>\nls\n</tool>", "off", "no tool 'fly'"),
        ("<tool: bash>\n \n</tool>", "off", "empty"),
        ("hm</think>\n<tool: bash>\nls\n</tool>", "tag", ""),
        ("<tool: bash>\nls\n</tool>", "tag", "exactly once"),
        ("a</think>b</think><tool: bash>\nls\n</tool>", "tag", "exactly once"),
    ],
)
def test_turns_are_read(text: str, thinking: str, problem: str) -> None:
    asked = read_action(text, ["bash"], thinking)
    assert problem in asked.problem
    assert (asked.call is None) == bool(problem)


def test_similarities_reward() -> None:
    assert similarities_reward(True, None, None, 2.0) == 1.0
    assert similarities_reward(False, 0.9, None, 1.0) == -1.0
    assert similarities_reward(False, 0.9, 0.8, 1.0) == pytest.approx(-0.2)
    assert similarities_reward(False, 0.7, 0.8, 1.0) == -1.0


def test_a_format_error_is_answered_or_fatal(tmp_path: Path) -> None:
    told = play(swe(tmp_path), Action("hello"))[-1]
    assert "no tool call" in told.observation.text
    fatal = play(swe(tmp_path, format_errors="fatal"), Action("hello"))[-1]
    assert (fatal.done, fatal.reward, fatal.info["exit"]) == (True, -1.0, "format_error")


@pytest.mark.parametrize(
    ("changes", "text", "exit_"),
    [
        ({"turns": 1}, "hello", "turn_limit"),
        ({"action_tokens": 5}, "hello " * 100, "action_limit"),
        ({"context_tokens": 1000}, "hello " * 1000, "token_limit"),
    ],
)
def test_limits_end_an_episode(
    tmp_path: Path, changes: dict[str, Any], text: str, exit_: str
) -> None:
    last = play(swe(tmp_path, **changes), Action(text))[-1]
    assert (last.done, last.info["exit"], last.reward) == (True, exit_, -1.0)


@needs_bubblewrap
def test_tools_and_budget(tmp_path: Path) -> None:
    environment = swe(tmp_path, observation_tokens=200, command_timeout_s=2.0)
    actions = [
        call("bash", "cd shapes && export WHO=me"),
        call("bash", "echo $WHO; pwd; printf '\\377'"),
        call("bash", "seq 10000"),
        call("bash", "sleep 60"),
        call("view", "__init__.py 4 6"),
        call("create", "colors.py\nx"),
        call("create", "absent/x.py\nx"),
        call("edit", "colors.py\n<<<<<<< SEARCH\nBLUE\n=======\nx\n>>>>>>> REPLACE"),
        call("submit", "colors.py"),
        call("submit", "absent"),
    ]
    steps = play(environment, *actions)
    texts = [step.observation.text for step in steps[1:]]
    assert "me\n" in texts[1]
    assert "/shapes" in texts[1]
    assert "\\xff" in texts[1]
    assert "* Remaining turns: 126" in texts[1]
    assert "[cut off]" in texts[2]
    assert len(texts[2]) < 900
    assert "ended after 2 seconds" in texts[3]
    assert "     5\t" in texts[4]
    assert "exists already" in texts[5]
    assert "does not exist" in texts[6]
    assert "do not occur" in texts[7]
    assert "is no patch" in texts[8]
    assert "no such file" in texts[9]
    left = [int(re.findall(r"tokens: (\d+)", text)[0]) for text in texts]
    assert left == sorted(left, reverse=True)


@needs_bubblewrap
def test_episodes_can_be_branched(tmp_path: Path) -> None:
    environment = swe(tmp_path)
    (task,) = environment.tasks("train")

    async def branch() -> tuple[str, str]:
        start = await environment.start(task)
        first = await environment.step(start.state, call("bash", "echo one > x"))
        await environment.step(first.state, call("bash", "echo two >> x"))
        again = await environment.step(first.state, call("bash", "cat x"))
        await environment.release(first.state)
        await environment.release(again.state)
        return first.observation.text, again.observation.text

    _, seen = run_sync(branch())
    assert "one" in seen
    assert "two" not in seen


# Exact tokens


class Replies:
    """An engine that says given texts and remembers the prompts."""

    def __init__(self, tokenizer: Tokenizer, texts: list[str]) -> None:
        self.tokenizer, self.texts = tokenizer, texts
        self.prompts: list[list[int]] = []

    async def generate(self, prompt_ids: Any, params: SamplingParams) -> Completion:
        self.prompts.append(list(prompt_ids))
        text = self.texts[len(self.prompts) - 1]
        ids = (*self.tokenizer.encode(text), self.tokenizer.special_id("<|eot_id|>"))
        return Completion(ids, (-0.1,) * len(ids), "stop", text)

    async def score(self, token_ids: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        return None


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(["def area(width, height): return width * height\n"] * 20, 700)


@needs_bubblewrap
def test_tokens_are_concatenated_never_encoded_again(tmp_path: Path, tokenizer: Tokenizer) -> None:
    texts = [
        call("edit", EDIT).text,
        call("bash", "git diff > .git/p").text,
        call("submit", ".git/p").text,
        "## Done",
    ]
    engine = Replies(tokenizer, texts)
    environment = swe(tmp_path, tokenizer)
    (task,) = environment.tasks("train")
    agent = Llm(name="llm").build(engine)
    played = run_sync(rollout(environment, task, agent))
    assert played.outcome["resolved"]
    whole: list[int] = []
    for turn in played.turns:
        if turn.role == "action":
            assert engine.prompts.pop(0) == whole
        whole += turn.token_ids or ()
    assert tokenizer.decode(whole).count("<|start_header_id|>tool: bash<|end_header_id|>") == 1
    assert played.actions[0].logprobs is not None


def test_an_engine_and_its_tokens_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs an engine"):
        Llm(name="llm").build(None)
    environment = swe(tmp_path)
    start = play(environment)[0]
    with pytest.raises(Exception, match="no token ids"):
        context_ids((start.observation,), ())


# A model server


class Server(BaseHTTPRequestHandler):
    """Solves the task by OpenAI tool calls, after a failure and some nonsense."""

    calls: ClassVar[list[tuple[str, dict[str, str]]]] = [
        (
            "edit",
            dict(
                zip(
                    ("path", "search", "replace"),
                    (
                        "shapes/__init__.py",
                        "    return width + height",
                        "    return width * height",
                    ),
                )
            ),
        ),
        ("bash", {"command": "git diff > .git/p"}),
        ("submit", {"path": ".git/p"}),
    ]
    seen: ClassVar[list[dict[str, Any]]] = []
    failures: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": "model", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.failures:
            self.failures.append(503)
            self.send_error(503)
            return
        self.seen.append(body)
        done = sum(m["role"] == "tool" for m in body["messages"])
        message: dict[str, Any] = {"role": "assistant", "content": "## Done"}
        if len(self.seen) == 1:
            message["content"] = "<tool: bash>\nno end"
        elif done < len(self.calls):
            name, arguments = self.calls[done]
            function = {"name": name, "arguments": json.dumps(arguments)}
            one = {"id": f"c{done}", "type": "function", "function": function}
            message = {"role": "assistant", "content": "", "tool_calls": [one]}
        self.reply({"choices": [{"message": message, "finish_reason": "stop"}]})

    def reply(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        return None


@pytest.fixture
def server() -> Iterator[str]:
    Server.seen.clear()
    Server.failures.clear()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    httpd.shutdown()


@needs_bubblewrap
def test_a_chat_server_plays_through(tmp_path: Path, server: str) -> None:
    environment = swe(tmp_path)
    (task,) = environment.tasks("train")
    agent = Chat(name="chat", base_url=server).build()
    played = run_sync(rollout(environment, task, agent))
    assert played.outcome["resolved"], played.outcome
    assert played.outcome["format_errors"] == 1
    last = Server.seen[-1]["messages"]
    assert [m["role"] for m in last][-2:] == ["assistant", "tool"]
    assert last[-2]["tool_calls"][0]["function"]["name"] == "submit"
    assert last[-1]["tool_call_id"] == last[-2]["tool_calls"][0]["id"]


# Collecting


def row(name: str, agent: str = "a", resolved: bool = True) -> dict[str, Any]:
    task = Task("shapes", {"fail_to_pass": ["t.py::a"], "pass_to_pass": ["t.py::b"]})
    turns = (
        Turn("prompt", "Repair </script> it."),
        Turn("action", call("bash", "ls").text),
        Turn("observation", "<output>\nx\n</output>"),
        Turn("action", "## Done"),
    )
    outcome = {
        "resolved": resolved,
        "exit": "answered",
        "patch": FIX,
        "verdict": {"result": "resolved", "outcomes": {"t.py::a": "passed", "t.py::b": "passed"}},
    }
    metadata = {**task_metadata(task), "agent": agent, "agent_config": {"name": "llm"}}
    return trajectory_to_row(
        Trajectory("shapes", turns, {"environment": 1.0}, outcome, metadata=metadata), name
    )


def ids(directory: Path) -> list[str]:
    path = directory / "trajectories"
    return (
        sorted(r["trajectory_id"] for r in read_shards(path)) if any(path.glob("*.parquet")) else []
    )


def test_the_journal_loses_nothing_at_any_point(tmp_path: Path) -> None:
    """Each state that a kill may leave is copied while another process would work."""
    states = []
    with Journal(tmp_path / "run", 3) as journal:
        for number in range(7):
            journal.claim(f"e{number}")
            journal.finish(row(f"e{number}"))
            journal.finish(row(f"e{number}"))
            states.append(tmp_path / f"state-{number}")
            shutil.copytree(tmp_path / "run", states[-1])
        journal.claim("open")
        journal.close_shards()
    assert ids(tmp_path / "run") == [f"e{n}" for n in range(7)]
    for number, state in enumerate(states):
        with (state / "journal.jsonl").open("a") as file:
            file.write('{"row": {"trajectory_id": "half')
        with Journal(state, 3) as journal:
            assert journal.done == {f"e{n}" for n in range(number + 1)}
            for name in range(7):
                journal.finish(row(f"e{name}"))
            journal.close_shards()
        assert ids(state) == [f"e{n}" for n in range(7)]


def test_a_row_in_journal_and_shard_counts_once(tmp_path: Path) -> None:
    with Journal(tmp_path, 10) as journal:
        journal.finish(row("e"))
        before = journal.path.read_text()
        journal.store()
    (tmp_path / "journal.jsonl").write_text(before)
    with Journal(tmp_path, 10) as journal:
        journal.close_shards()
    assert ids(tmp_path) == ["e"]


@needs_bubblewrap
def test_forage_run(tmp_path: Path, cwm_cli: Any) -> None:
    write_instances(tmp_path / "tasks.jsonl", [shapes_instance(tmp_path)])
    line = ["forage", "run", "out", "environment=swe", "environment.tasks=tasks.jsonl"]
    line += ["environment.sandbox=local", f"environment.sandbox.read_only=[{libraries()}]"]
    line += ["agents.o.name=oracle", "agents.n.name=noop"]
    done = cwm_cli(*line)
    assert done.returncode == 0, done.stderr
    assert ids(tmp_path / "out") == ["shapes-1#n#0", "shapes-1#o#0"]
    summary = json.loads((tmp_path / "out/summary.json").read_text())["agents"]
    assert (summary["o"]["resolved"], summary["n"]["resolved"]) == (1, 0)
    assert "nothing to do" in cwm_cli(*line).stdout
    shown = cwm_cli("forage", "show", "out/trajectories", "--agent", "o")
    assert "resolved" in shown.stdout
    failed = cwm_cli(
        *line[:2],
        "down",
        *line[3:-2],
        "agents.c.name=chat",
        "retries=0",
        "agents.c.retries=0",
        "agents.c.base_url=http://127.0.0.1:9/v1",
    )
    assert failed.returncode == 2
    assert "could not be played" in failed.stderr
    assert "Traceback" not in failed.stderr


# Exports and pages


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    with Journal(tmp_path / "run", 10) as journal:
        journal.finish(row("one#a#0"))
        journal.finish(row("two#b#0", "b", resolved=False))
        journal.close_shards()
    return tmp_path / "run/trajectories"


def test_chat_export(shards: Path, tmp_path: Path) -> None:
    assert export(shards, "chat", tmp_path / "chat.jsonl") == 2
    first = json.loads((tmp_path / "chat.jsonl").read_text().splitlines()[0])
    assert [m["role"] for m in first["messages"]] == ["user", "assistant", "tool", "assistant"]
    called = first["messages"][1]["tool_calls"][0]
    assert json.loads(called["function"]["arguments"]) == {"command": "ls"}
    assert first["messages"][2]["tool_call_id"] == called["id"]
    assert {t["function"]["name"] for t in first["tools"]} >= {"bash", "edit", "create", "submit"}


def test_mini_swe_agent_export(shards: Path, tmp_path: Path, shared_data: Path) -> None:
    export(shards, "mini-swe-agent", tmp_path / "mini")
    value = json.loads((tmp_path / "mini/one_a_0.traj.json").read_text())
    assert value["trajectory_format"] == "mini-swe-agent-1.1"
    assert value["info"]["exit_status"] == "Submitted"
    assert value["info"]["submission"] == FIX
    assert value["messages"][-1]["role"] == "exit"
    assert all("extra" in message for message in value["messages"])
    real = json.loads((shared_data / "mini_swe_agent_github_issue.messages.json").read_text())
    assert {key for m in real for key in m} <= set(value["messages"][0])
    assert {m["role"] for m in value["messages"]} - {"exit"} <= {m["role"] for m in real}


def test_atif_export(shards: Path, tmp_path: Path) -> None:
    export(shards, "atif", tmp_path / "atif")
    value = json.loads((tmp_path / "atif/one_a_0.json").read_text())
    assert value["schema_version"].startswith("ATIF-v1")
    assert [step["step_id"] for step in value["steps"]] == [1, 2, 3]
    assert [step["source"] for step in value["steps"]] == ["user", "agent", "agent"]
    made = value["steps"][1]["tool_calls"][0]
    assert (made["function_name"], made["arguments"]) == ("bash", {"command": "ls"})
    seen = value["steps"][1]["observation"]["results"][0]
    assert seen["source_call_id"] == made["tool_call_id"]


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CLICK = """<script>
at("resolved").value = "no"; at("resolved").dispatchEvent(new Event("input"));
document.title = at("count").textContent;
at("list").querySelector("button").click();
</script></body>"""


def test_page(shards: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert write_page(page, select(shards, Filter(), 10)) == 2
    text = page.read_text()
    assert "Repair </script>" not in text
    assert not re.search(r"(src|href)=", text)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    page.write_text(text.replace("</body>", CLICK))
    command = [
        *[browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"],
        *["--no-first-run", "--disable-background-networking", "--disable-component-update"],
        *["--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"],
    ]
    done = subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=240, check=True
    )
    assert "<title>1 of 2</title>" in done.stdout
    assert 'class="add"' in done.stdout
    assert "tests: 1 of 2 changed" in done.stdout


def test_filters(shards: Path) -> None:
    assert [key for key, _ in select(shards, Filter(agent="b"), 9)] == ["two#b#0"]
    assert [key for key, _ in select(shards, Filter(resolved=True), 9)] == ["one#a#0"]
    with pytest.raises(Exception, match="no trajectory"):
        select(shards, Filter(exit="never"), 9)


def test_no_task_is_an_error(tmp_path: Path) -> None:
    from cwm_forager.collect.config import ForageConfig
    from cwm_forager.collect.run import collect

    (tmp_path / "none.jsonl").write_text("")
    config = ForageConfig(
        out=tmp_path / "out",
        environment={"name": "swe", "tasks": tmp_path / "none.jsonl", "sandbox": "local"},
        agents={"a": "noop"},
    )
    with pytest.raises(RunError, match="no task"):
        collect(config, None)  # type: ignore[arg-type]
