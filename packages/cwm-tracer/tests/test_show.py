"""`cwm trace script` and `cwm trace show`: the terminal, and the page with time travel."""

import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from cwm_core.data.records import TRACE_SCHEMA
from cwm_core.data.shards import ShardWriter
from cwm_core.testing.conformance import HEAVY_MODULES
from cwm_tracer import trace
from cwm_tracer.capture.scripts import read_input, script_input
from cwm_tracer.timetravel.page import page

QUEENS = """\
def safe(queens, col):
    row = len(queens)
    for r, c in enumerate(queens):
        if c == col or abs(c - col) == row - r:
            return False
    return True


def place(n, queens):
    if len(queens) == n:
        return [tuple(queens)]
    found = []
    for col in range(n):
        if safe(queens, col):
            queens.append(col)
            found += place(n, queens)
            queens.pop()
    return found


def solve(n):
    print("start")
    boards = place(n, [])
    print(len(boards))
    return boards
"""
SCRIPT = """\
import sys

word = sys.argv[1]
count = int(input())
for _ in range(count):
    word += "!"
print(word)
sys.exit(3)
"""
pytestmark = pytest.mark.timeout(600)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TRAVEL = """<script>
const seen = [];
const row = (r) => r.className + ":" + [...r.cells].map((c) => c.textContent).join("=");
function look() {
  seen.push([
    document.getElementById("where").textContent,
    document.querySelector("li.current").textContent,
    document.getElementById("event").textContent,
    [...document.querySelectorAll("#state tr")].map(row),
    document.getElementById("stdout").textContent,
    document.querySelector("#tree .now").textContent,
  ]);
}
const press = (key, more) => {
  document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
  look();
};
look();
KEYS
const out = document.createElement("pre");
out.id = "seen";
out.textContent = JSON.stringify(seen);
document.body.append(out);
</script></body>"""


def visit(text, keys, directory):
    """Open a page in a browser, press keys, and return what was seen at first and after each."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    path = directory / "page.html"
    path.write_text(text.replace("</body>", TRAVEL.replace("KEYS", keys)))
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={directory / 'profile'}", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    found = re.search('<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def queens():
    return replace(trace(QUEENS, input="5"), split="test")


def test_time_travel_in_a_browser(queens, tmp_path):
    assert queens.events > 2000
    keys = """
      press("ArrowRight"); press("ArrowRight"); press("ArrowRight"); press("ArrowUp");
      press("ArrowDown"); press("End"); press("ArrowLeft"); press("Home");
      press("ArrowRight", {shiftKey: true});
      for (let i = 0; i < 40; i++) document.querySelector('[data-go="on"]').click();
      look();
    """
    seen = visit(page(queens), keys, tmp_path)
    where = [each[0] for each in seen]
    last = queens.events
    assert where == [
        f"step {step} of {last}, line {queens.frames[step - 1].line_number}"
        for step in (1, 2, 3, 4, 3, last - 2, last, last - 1, 1, 26, 66)
    ]
    first, _, before, inside, back, after, *_ = seen
    assert back == before
    assert first[3] == ["changed:n=5"] and first[2].startswith("call")
    assert before[4] == "start\n" and "place(n, [])" in before[1]
    assert inside[3] == ["changed:n=5", "changed:queens=[]"]
    assert after[3][0] == ":n=5" and after[3][1].startswith("changed:boards=[(0, 2, 4, 1, 3)")
    assert seen[6][2].startswith("return") and seen[6][4] == "start\n10\n"
    assert seen[8][:4] == first[:4]
    frame = queens.frames[65]
    state = {row.partition(":")[2].split("=")[0] for row in seen[10][3]}
    assert state == set(frame.locals or {}) or frame.locals is None


def test_the_state_of_every_step_is_that_of_its_frame(queens, tmp_path):
    keys = """
      const all = [];
      for (const index of [...steps.keys()].reverse()) {
        go(index, true);
        all.push([...document.querySelectorAll("#state tr")].filter((r) => r.className !== "gone")
          .map((r) => [r.cells[0].textContent, r.cells[1].lastChild.textContent]));
      }
      seen.push(all.reverse());
    """
    short = trace(QUEENS, input="3")
    states = visit(page(short), keys, tmp_path)[-1]
    assert len(states) == short.events
    for frame, state in zip(short.frames, states, strict=True):
        if frame.locals is not None:
            assert dict(state) == dict(frame.locals)


def test_nothing_of_a_trace_becomes_markup(tmp_path):
    source = (
        "def f(x):\n    y = '</script><img src=x onerror=\"document.title=1\">' + x\n    return y\n"
    )
    record = trace(source, input="'<!--<script>'")
    text = page(record)
    assert text.count("</script>") == 2 and "<img" not in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text) and "://" not in text
    seen = visit(text, 'press("End");', tmp_path)
    assert "</script><img src=x" in seen[1][2]


def test_an_empty_trace_has_a_page():
    assert "No event was recorded" in page(trace("def f(:\n", entry="f"))


def test_scripts_on_the_command_line(cwm_cli, tmp_path):
    (tmp_path / "s.py").write_text(SCRIPT)
    (tmp_path / "in.txt").write_text("2\n")
    done = cwm_cli("trace", "script", "--stdin", "in.txt", "s.py", "a", "--flag")
    assert done.returncode == 0, done.stderr
    assert "argv = ['a', '--flag']" in done.stdout and "word = 'a!!'" in done.stdout
    assert "raised: SystemExit(3)" in done.stdout
    cut = cwm_cli("trace", "script", "--json", "--stdin", "in.txt", "limits.steps=3", "s.py", "a")
    assert cut.returncode == 1 and "step_limit" in cut.stderr
    assert [json.loads(line).get("line_number") for line in cut.stdout.splitlines()][:3] == [
        1,
        1,
        3,
    ]
    for words, message in [(["limits.steps=3"], "no script"), (["none.py"], "none.py")]:
        failed = cwm_cli("trace", "script", *words)
        assert failed.returncode == 2 and message in failed.stderr


def test_recorded_traces_are_listed_and_shown(cwm_cli, tmp_path, queens):
    small = replace(trace("def f(x):\n    return x\n", input="7"), split="test")
    with ShardWriter(tmp_path / "run" / "traces", TRACE_SCHEMA) as writer:
        for record in (queens, small):
            writer.write(record.to_row())
    listed = cwm_cli("trace", "show", "run", "--limit", "1")
    assert listed.stdout.splitlines()[0].startswith(queens.trace_id)
    assert "1 more" in listed.stdout
    shown = cwm_cli("trace", "show", "run", small.trace_id[:10])
    assert "→ 7" in shown.stdout and shown.returncode == 0
    written = cwm_cli("trace", "show", "run", queens.trace_id, "--html", "out/page.html")
    assert written.returncode == 0 and "returned" in written.stdout
    assert (tmp_path / "out" / "page.html").read_text() == page(queens)
    wrong = cwm_cli("trace", "show", "run", "zz")
    assert wrong.returncode == 2 and "no trace" in wrong.stderr


@pytest.mark.parametrize(
    ("argv", "stdin"), [([], ""), (["-v", "a'b"], ""), ([], "1\n\x00é\udc80"), (["x"], "y")]
)
def test_the_input_of_a_script_is_read_as_it_was_written(argv, stdin):
    assert read_input(script_input(argv, stdin)) == (argv, stdin)


@pytest.mark.parametrize("text", ["1", "argv=1", "stdin=f()", "x='a'", "argv=[1]", ")(", "**{}"])
def test_what_is_no_input_of_a_script_is_an_outcome(text):
    with pytest.raises(ValueError, match="the input of a script"):
        read_input(text)
    record = trace("x = 1\n", entry="<module>", input=text)
    assert record.outcome == "load_error" and "input of a script" in record.reason


def test_help_is_light_and_lists_every_subcommand(cwm_cli):
    done = cwm_cli("trace", "--help")
    names = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line]
    assert done.returncode == 0
    assert {"functions", "contest", "tests", "script", "narrate", "show"} <= set(names)
    code = (
        "import sys, cwm_tracer.cli\n"
        f"print([name for name in {HEAVY_MODULES!r} + ('hypothesis',) if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stdout + loaded.stderr
