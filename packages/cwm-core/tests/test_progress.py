"""Progress: lines in a log, a bar on a terminal."""

import os
import pty
import select
import subprocess
import sys

from cwm_core import progress as module
from cwm_core.progress import progress


def test_plain_lines_in_a_log(capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_INTERVAL_S", 0.0)
    with progress(4, "tracing", unit="traces") as bar:
        bar.advance(loss=1.5)
        bar.set(4, failed=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tracing: 1/4, ") and "traces/s" in lines[0]
    assert "left" in lines[0] and "loss 1.5" in lines[0]
    assert lines[-1].startswith("tracing: 4/4") and "loss 1.5 failed 2" in lines[-1]
    assert len(lines) == 2


def test_short_work_prints_one_line(capsys):
    with progress(None, "counting") as bar:
        for _ in range(1000):
            bar.advance()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("counting: 1000, ") and "left" not in line


def test_work_done_before_a_resume_does_not_count_as_speed(capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_INTERVAL_S", 0.0)
    with progress(2_000_000, "training") as bar:
        bar.set(1_000_000)
    assert "/s" not in capsys.readouterr().err


def test_logs_need_no_rich():
    code = """
import sys
from cwm_core.progress import progress
with progress(2, "x") as bar:
    bar.advance(2)
assert "rich" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def test_a_terminal_gets_a_bar_and_lines_above_it():
    code = """
from cwm_core.progress import progress, say
with progress(3, "outer") as bar:
    bar.advance(loss=0.25)
    say("a message")
    with progress(2, "inner") as inner:
        inner.advance(2)
    bar.set(3)
"""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=terminal, env=environment)
    os.close(terminal)
    shown = _read_all(controller)
    assert process.wait(60) == 0
    for text in ("outer", "inner", "3/3", "loss 0.25", "a message"):
        assert text in shown


def _read_all(controller):
    shown = b""
    while select.select([controller], [], [], 60)[0]:
        try:
            chunk = os.read(controller, 4096)
        except OSError:  # Linux reports the end of a terminal as an error
            break
        if not chunk:
            break
        shown += chunk
    os.close(controller)
    return shown.decode()
