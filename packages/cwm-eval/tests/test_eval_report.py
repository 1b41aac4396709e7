from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.atomic import atomic_write
from cwm_core.data.records import TraceRecord
from cwm_core.errors import DataError
from cwm_eval.benchmarks import text_metrics, trace_metrics
from cwm_eval.benchmarks.teacher_forced import FrameScore
from cwm_eval.benchmarks.trace_prediction import frame_to_row
from cwm_eval.report.alignment import align
from cwm_eval.report.charts import Bar, Series, bar_chart, column_chart, line_chart
from cwm_eval.report.page import html_report, markdown_report
from cwm_eval.report.selection import choose, verdict, worked_examples
from cwm_eval.report.text import examples_text
from cwm_eval.report.training import read_training
from cwm_eval.results import EvalRun
from cwm_eval.samples import Sample, SampleFile

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def sample(record: TraceRecord, mistakes: int) -> Sample:
    """A prediction of `record` whose last `mistakes` frames have a wrong source line."""
    truth = [frame_to_row(frame) for frame in record.frames]
    guess = [list(row) for row in truth[1:]]
    for row in guess[len(guess) - mistakes :]:
        row[2] = f"    {EVIL}\n"
    rows = [
        FrameScore(row[0], 9, 9 - 2 * (row != guess[i]), row == guess[i], True, True, None)
        for i, row in enumerate(truth[1:])
    ]
    result = {
        "context": record.context,
        "truth": truth,
        "prompt_tokens": 30,
        "new_tokens": 9 * len(rows),
        "teacher": {"frames": [r.to_row() for r in rows], "nll": 1.5, "wrong": {}, "seconds": 0.1},
        "free": {
            "ids": [1, 2, 3],
            "finish": "stop",
            "frames": guess,
            "problem": EVIL if mistakes else None,
            "complete": True,
            "valid": not mistakes,
            "exact": not mistakes,
            "prefix": len(guess) - mistakes,
            "output": not mistakes,
            "seconds": 0.1,
        },
        "no_free_run": None,
    }
    metadata = {
        "program_id": record.program_id,
        "entry": record.entry,
        "input": record.input,
        "constructs": [*record.constructs, EVIL],
        "difficulty": 3,
        "outcome": str(record.outcome),
        "origin": "handmade",
    }
    return Sample(record.trace_id, metadata, result=result, elapsed_s=0.5)


@pytest.fixture
def eval_run(tmp_path: Path, records: list[TraceRecord]) -> EvalRun:
    samples = [sample(r, i % 3 if i % 2 else 0) for i, r in enumerate(records)]
    with SampleFile(tmp_path / "samples.jsonl") as file:
        for each in samples:
            file.append(each)
    summary = trace_metrics.summarise(samples)
    results = {
        "label": f"Handmade {EVIL}",
        "out_of_distribution": True,
        "benchmark": "trace_prediction",
        "engine": "gold",
        "train_run": None,
        "metrics": {
            name: {
                "title": trace_metrics.INFOS[name].title,
                "about": trace_metrics.INFOS[name].about,
                "unit": trace_metrics.INFOS[name].unit,
                **estimate.to_json(),
            }
            for name, estimate in summary.metrics.items()
        },
        "breakdowns": {
            dimension: {
                group: {name: e.to_json() for name, e in metrics.items()}
                for group, metrics in groups.items()
            }
            for dimension, groups in summary.breakdowns.items()
        },
        "counts": {
            "tasks": 12, "scored": 12, "skipped": 0, "infrastructure_failures": 0,
            **summary.counts,
        },
        "timing": {"wall_s": 6.0, "tokens": 600, "tokens_per_s": 100.0},
        "machine": {"system": EVIL, "cores": "2"},
        "config": {"note": EVIL},
    }  # fmt: skip
    return EvalRun(tmp_path, results)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    run = tmp_path / "train"
    lines = [
        {"step": s, "time": 0.0, "loss": 3.0 / s, "tokens": 100.0 * s, "tokens_per_s": 50.0}
        | ({"validation/loss": 3.5 / s, "validation/frame_accuracy": s / 40} if s % 5 == 0 else {})
        for s in range(1, 31)
    ]
    run.mkdir()
    atomic_write(run / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return run


class Elements(HTMLParser):
    """Collects tags with their attributes and the text inside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_page_escapes_programs_labels_and_problems(eval_run: EvalRun) -> None:
    page = html_report([eval_run])
    elements = Elements(page)
    assert len(elements.all("script")) == 1
    assert not elements.all("img")
    assert EVIL not in page and "owned" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_page_fetches_nothing(eval_run: EvalRun, training: Path) -> None:
    elements = Elements(html_report([eval_run], train=training))
    assert not [a for _, a in elements.found if a.get("src")]
    assert {a["href"] for _, a in elements.found if a.get("href")} == {"data:,"}
    policy = next(a for a in elements.all("meta") if a.get("http-equiv"))
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_page_shows_figures_charts_and_samples(eval_run: EvalRun, training: Path) -> None:
    page = html_report([eval_run], train=training)
    elements = Elements(page)
    value = eval_run.results["metrics"]["next_frame"]["value"]
    assert f"{value:.1%}" in page and "out of distribution" in page
    labelled = [a.get("aria-labelledby") for a in elements.all("svg")]
    titles = {a.get("id") for a in elements.all("title")}
    assert len(labelled) >= 4 and set(labelled) <= titles
    assert "validation" in page and "median training tokens/s" in page
    shown = [a for a in elements.all("details") if a.get("class") == "sample"]
    assert len(shown) == 12
    assert {a["data-verdict"] for a in shown} == {"right", "nearly right", "wrong"}
    assert all(EVIL in json.loads(a["data-kinds"] or "") for a in shown)


def test_one_run_may_lack_a_metric_of_another(eval_run: EvalRun) -> None:
    fewer = {k: v for k, v in eval_run.results["metrics"].items() if k != "loss"}
    other = EvalRun(eval_run.path, {**eval_run.results, "metrics": fewer, "label": "Other"})
    assert "Other" in html_report([other, eval_run])
    assert "–" in markdown_report([eval_run, other])


def test_nothing_scored_still_gives_a_page(eval_run: EvalRun) -> None:
    empty = {**eval_run.results, "metrics": {}, "breakdowns": {}}
    shutil.copy(eval_run.path / "samples.jsonl", eval_run.path / "kept")
    (eval_run.path / "samples.jsonl").write_text("")
    assert "<h1>" in html_report([EvalRun(eval_run.path, empty)])
    assert examples_text([]).startswith("No trace was generated")


def test_markdown_tables_stay_tables(eval_run: EvalRun) -> None:
    eval_run.results["label"] = "a|b\n<script>"
    text = markdown_report([eval_run])
    assert "<script>" not in text and "a\\|b &lt;script>" in text
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line[:1] == "|"}
    assert len(widths) > 1 and min(widths) == 3
    assert "\n\n\n\n" not in text


@pytest.mark.parametrize("name", ["empty", "no_loss", "missing"])
def test_training_run_without_losses(tmp_path: Path, name: str) -> None:
    run = tmp_path / name
    if name != "missing":
        run.mkdir()
        (run / "metrics.jsonl").write_text('{"step": 1, "lr": 0.1}\n' if name == "no_loss" else "")
    with pytest.raises(DataError, match=r"metrics\.jsonl"):
        read_training(run)


def test_an_evaluation_is_not_lost_with_its_training(eval_run: EvalRun, tmp_path: Path) -> None:
    eval_run.results["train_run"] = str(tmp_path / "gone")
    assert "Training run" not in html_report([eval_run])


def test_curves_of_losses_and_accuracies(training: Path) -> None:
    found = read_training(training)
    assert [(s.name, len(s.points)) for s in found.losses] == [("training", 30), ("validation", 6)]
    assert found.losses[1].points[0] == (500.0, 0.7)
    assert [(s.name, s.points[-1]) for s in found.accuracies] == [
        ("frame accuracy", (3000.0, 0.75))
    ]
    assert found.facts["training tokens"] == "3,000"


def test_long_curves_are_thinned_without_changing_their_mean(tmp_path: Path) -> None:
    lines = [{"step": s, "loss": float(s % 7)} for s in range(7 * 240)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (curve,) = read_training(tmp_path).losses
    assert len(curve.points) == 240
    assert sum(y for _, y in curve.points) / 240 == pytest.approx(3.0)


# Alignment


def test_alignment_marks_what_differs() -> None:
    truth = [
        ["call", {"n": "1"}, "def f(n):\n", None],
        ["line", {"n": "1", "m": "2"}, "    m += 1\n", None],
        ["return", None, "    return m\n", "3"],
    ]
    guess = [
        ["call", {"n": "1"}, "def f(n):\n", None],
        ["line", {"n": "1", "m": "9"}, "  m += 1\n", None],
        ["exception", None, "    return m\n", "4"],
        ["line", {}, "pass\n", None],
    ]
    call, line, end, extra = align(truth, guess)
    assert [p.verdict for p in (call, line, end, extra)] == ["right", "wrong", "wrong", "extra"]
    assert line.predicted is not None and line.truth is not None
    n, m = line.predicted.variables
    assert (n.changed, n.wrong, m.changed, m.wrong) == (False, False, True, True)
    assert line.predicted.source == "  m += 1" and line.predicted.source_wrong
    assert end.predicted is not None
    assert (end.predicted.event_wrong, end.predicted.value_wrong) == (True, True)
    assert extra.truth is None
    assert align(truth, truth[:1])[2].verdict == "missing"


def test_variables_that_are_left_out_are_named() -> None:
    truth = [["line", {"a": "1", "b": "2"}, "x\n", None]]
    (pair,) = align(truth, [["line", {"b": "2"}, "x\n", None]])
    assert pair.verdict == "wrong"
    assert pair.predicted is not None and pair.predicted.missing == ("a",)


# Examples for the terminal


def test_examples_are_right_near_and_wrong(records: list[TraceRecord]) -> None:
    loop = next(r for r in records if r.trace_id == "loop-3")
    samples = [sample(loop, 0), sample(records[0], 1), sample(records[1], 3)]
    found = worked_examples(samples)
    assert [kind for kind, _ in found] == ["right", "nearly right", "wrong"]
    assert [verdict(s) for _, s in found] == [kind for kind, _ in found]
    text = examples_text(samples)
    assert "10 of 10 frames are right" in text and "Call: f(3)" in text
    assert max(map(len, text.splitlines())) <= 110


def test_terminal_is_not_steered_by_programs(records: list[TraceRecord]) -> None:
    one = sample(records[0], 1)
    assert one.result is not None
    one.result["free"]["frames"][-1][2] = "\x1b[2J\x07 = 1\n"
    assert "\x1b" not in examples_text([one]) and "\\x1b[2J" in examples_text([one])


def test_choice_takes_verdicts_in_turn(records: list[TraceRecord]) -> None:
    samples = [sample(r, 0) for r in records[:9]] + [sample(r, 3) for r in records[9:]]
    chosen = choose(samples, 4)
    assert sorted(verdict(s) for s in chosen) == ["right", "right", "wrong", "wrong"]
    assert len(choose(samples, 50)) == 12


# Charts


@given(st.lists(st.tuples(st.floats(0, 1), st.text()), max_size=8))
def test_charts_are_well_formed_for_any_values(rows: list[tuple[float, str]]) -> None:
    bars = [Bar("".join(filter(str.isprintable, t)), v, v / 2, None, "") for v, t in rows]
    for chart in (bar_chart("a & b", bars), column_chart("<t>", bars, "x")):
        root = ET.fromstring(str(chart))
        assert root.find("title") is not None


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.floats(allow_nan=True)), max_size=6),
)
def test_line_charts_take_any_numbers(points: list[tuple[int, float]]) -> None:
    kept = [(float(x), y) for x, y in points if not abs(y) > 1e30]
    ET.fromstring(str(line_chart("t", [Series("s", kept)], "x", "y")))


# In a browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CLICKS = """<script>
document.querySelector('[data-show="wrong"]').click();
document.title = [...document.querySelectorAll('.sample')].filter((s) => !s.hidden).length
  + ' after wrong;';
document.querySelector('[data-show="all"]').click();
const search = document.querySelector('.search');
search.value = 'RANGE(N)';
search.dispatchEvent(new Event('input'));
document.title += [...document.querySelectorAll('.sample')].filter((s) => !s.hidden).length
  + ' after search';
</script></body>"""


def dump_dom(page: Path, profile: Path) -> str:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout


def told(page: str, script: str, directory: Path) -> tuple[str, str]:
    """Run a script at the end of a page; return what it made of the title, and the page then."""
    file = directory / "report.html"
    file.write_text(page.replace("</body>", script))
    dom = dump_dom(file, directory / "profile")
    title = re.search("<title>([^<]*)</title>", dom)
    assert title is not None
    return title[1], dom


def test_page_works_in_a_browser(eval_run: EvalRun, training: Path, tmp_path: Path) -> None:
    page = html_report([eval_run], train=training, title="Ours")
    title, dom = told(page, CLICKS, tmp_path)
    wrong = sum(not s.result["free"]["exact"] for s in eval_run.samples if s.result)
    assert title == f"{wrong} after wrong;3 after search"
    assert "3 of 12 shown" in dom
    assert dom.count("<svg") >= 5


def answer(number: int, right: bool, outcome: str, detail: str, **more: Any) -> Sample:
    result = {
        "question": f"Question {number}? {EVIL}",
        "text": f"It is {number}. {EVIL}",
        "answer": f"{number}",
        "truth": "1",
        "detail": detail,
        "prompt_tokens": 5,
        "new_tokens": 7,
        "finish": "stop",
        "right": right,
        "outcome": outcome,
        "scores": {},
        **more,
    }
    names = {"problem": f"p{number}", "sample": 0, "subject": f"Kind {number % 2} {EVIL}"}
    return Sample(f"p{number}", names, result)


ANSWERS = [
    answer(1, True, "right", ""),
    answer(2, True, "right", ""),
    answer(3, False, "wrong_answer", "expected 1, got 3"),
    answer(4, False, "wrong_answer", "expected 1, got 4"),
    answer(5, False, "no_answer", EVIL),
    answer(6, False, "wrong_answer", "", finish="length"),
]
BROWSE = """<script>
const part = document.querySelector('#answers');
const others = document.querySelector('#executions .shown').textContent;
const said = [];
const tell = () => said.push([...part.querySelectorAll('.sample')].filter((s) => !s.hidden)
  .map((s) => s.querySelector('.call').textContent).join(''));
const put = (selector, value) => {
  const control = part.querySelector(selector);
  control.value = value;
  control.dispatchEvent(new Event('input'));
  tell();
};
part.querySelector('[data-show="right"]').click();
tell();
part.querySelector('[data-show="wrong"]').click();
put('.kind', 'wrong answer: expected N, got N');
put('.search', ' QUESTION 4');
put('.kind', '');
part.querySelector('[data-show="all"]').click();
put('.search', '');
put('.run', '1');
put('.run', '0');
put('.search', 'nothing says this');
said.push(part.querySelector('.shown').textContent);
said.push(document.querySelector('#executions .shown').textContent === others);
said.push(part.querySelectorAll('details[open]').length);
part.querySelector('summary').click();
said.push(part.querySelectorAll('details[open] pre').length);
document.title = said.join('|');
</script></body>"""


@pytest.fixture
def answers_run(tmp_path: Path) -> EvalRun:
    path = tmp_path / "answers"
    path.mkdir()
    with SampleFile(path / "samples.jsonl") as file:
        for each in ANSWERS:
            file.append(each)
    summary = text_metrics.summarise(ANSWERS, (1,))
    infos = text_metrics.infos((1,))
    results = {
        "label": f"Answers {EVIL}",
        "out_of_distribution": False,
        "benchmark": "math500",
        "engine": "gold",
        "train_run": None,
        "metrics": {
            name: {**asdict(infos[name]), **estimate.to_json()}
            for name, estimate in summary.metrics.items()
        },
        "breakdowns": {},
        "counts": {
            "tasks": 6, "scored": 6, "skipped": 0, "infrastructure_failures": 0, **summary.counts
        },
        "timing": {"wall_s": 1.0, "tokens": 42, "tokens_per_s": 42.0},
        "machine": {},
        "config": {},
    }  # fmt: skip
    return EvalRun(path, results)


def test_answers_escape_what_models_write(answers_run: EvalRun) -> None:
    page = html_report([answers_run])
    assert EVIL not in page and not Elements(page).all("img")
    assert len(Elements(page).all("script")) == 1
    assert "6 of 6, from every cluster" in page
    clusters = page[page.index('id="clusters"') : page.index('id="answers"')]
    assert clusters.index("expected N, got N") < clusters.index("cut off by the token limit")


def test_answers_are_browsed_beside_executions(
    answers_run: EvalRun, eval_run: EvalRun, tmp_path: Path
) -> None:
    page = html_report([answers_run, eval_run])
    title, _ = told(page, BROWSE, tmp_path)
    said = title.split("|")
    assert sorted(said[0]) == sorted("p1p2")
    assert said[1:4] == ["p3p4", "p4", "p4"]
    assert sorted(said[4]) == sorted("p1p2p3p4p5p6") and said[5] == ""
    assert sorted(said[6]) == sorted(said[4]) and said[7] == ""
    assert said[8:] == ["0 of 6 shown", "true", "0", "4"]
