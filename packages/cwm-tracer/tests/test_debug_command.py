"""`cwm debug`: its messages, and a session as a page in a real browser."""

from __future__ import annotations

import asyncio
import html
import shutil
import subprocess
import sys

import pytest

from cwm_core.trace.frames import Event, Frame
from cwm_tracer import trace
from cwm_tracer.debug.opening import Opened
from cwm_tracer.debug.page import write_session
from cwm_tracer.debug.predict import Predictor
from cwm_tracer.debug.story import Story

pytestmark = pytest.mark.timeout(300)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
LOOK = """<script>
const seen = [];
const look = () => seen.push(document.getElementById("where").textContent + " | "
  + document.getElementById("verdict").textContent + " | "
  + [...document.querySelectorAll("#predicted tr.wrong")].map((r) => r.textContent).join("; "));
document.getElementById("divergence").click(); look();
document.getElementById("divergence").click(); look();
document.body.dataset.seen = JSON.stringify(seen);
</script>"""


def debug(*arguments):
    command = [sys.executable, "-m", "cwm_core", "debug", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to debug"),
        (("x.py",), "names no function"),
        (("nosuch.py:f",), "cannot read"),
        (("nosuch",), "which trace of nosuch?"),
        (("x.py:f", "mode=both"), "cannot read"),
        (("x.py:f", "modus=both"), "did you mean 'mode'"),
        (("--listen", "door"), "is no port"),
    ],
)
def test_what_cannot_be_debugged_is_said(arguments, message, tmp_path):
    result = debug(*arguments)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert message in result.stderr


def test_a_mode_that_needs_a_model_says_so(tmp_path):
    (tmp_path / "p.py").write_text("def f(x):\n    return x\n")
    result = debug(f"{tmp_path / 'p.py'}:f", "--input", "1", "mode=predicted", "--html", "x.html")
    assert result.returncode == 2 and "mode=predicted needs a model" in result.stderr


def test_a_program_that_cannot_run_says_why(tmp_path):
    (tmp_path / "p.py").write_text("def f(x)\n    return x\n")
    result = debug(f"{tmp_path / 'p.py'}:f")
    assert result.returncode == 2 and "syntax_error" in result.stderr


def test_an_executed_session_as_a_page(tmp_path):
    (tmp_path / "p.py").write_text("def f(x):\n    return x\n")
    page = tmp_path / "p.html"
    result = debug(f"{tmp_path / 'p.py'}:f", "--input", "1", "--html", str(page))
    assert result.returncode == 0 and "3 events" in result.stdout
    assert '"predictions":[]' in page.read_text()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_page_goes_to_where_prediction_and_execution_differ(tmp_path, predicting):
    record = trace(predicting.SHOP, "total", "[1, 2], 1")
    other = trace(predicting.SHOP, "total", "[1, 3], 1").trace.frames
    engine = predicting.Reciting(other, Frame(Event.RETURN, "    return y\n", value="99"))
    predictor = Predictor(engine, engine.tokenizer, record.context)
    story = Story(record.context, record.trace.frames, predictor=predictor, mode="both")
    page = tmp_path / "session.html"
    opened = Opened(story, record, "total", None, engine)
    said = asyncio.run(write_session(opened, page))
    assert "predicts 9 of 16 as they were executed" in said
    page.write_text(page.read_text().replace("</body>", f"{LOOK}</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    shown = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=180)
    seen = html.unescape(shown.stdout.partition('data-seen="')[2].partition('"')[0])
    assert "step 9 of 17, line 8 | differs in prices | prices[1, 3]0." in seen
    assert "step 10 of 17, line 9 | differs in price | price3" in seen
