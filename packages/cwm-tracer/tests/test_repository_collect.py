"""`cwm trace tests` from the repository to shards: kept, left out, continued, run again."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from cwm_core.config import compose
from cwm_core.data.records import TRACE_SCHEMA, TraceRecord
from cwm_core.data.shards import ShardWriter, read_shards, verify_shards
from cwm_core.rundir import open_run
from cwm_core.trace.codec import parse_text, render_text
from cwm_tracer.collect.repository.collecting import collect_tests
from cwm_tracer.collect.repository.config import TestsConfig
from cwm_tracer.collect.repository.listing import Listing
from cwm_tracer.collect.repository.outcomes import differences, read_outcomes
from cwm_tracer.collect.repository.reexecute import main, reexecute, steps

pytestmark = pytest.mark.timeout(900)

FILES = {
    "src/shop/__init__.py": "",
    "src/shop/prices.py": '''
        """Prices."""

        def double(x):
            return 2 * x

        class Cart:
            """What is bought."""

            def __init__(self, discount=0):
                self.prices = []
                self.discount = discount

            def add(self, price, *more, note=None):
                for each in (price, *more):
                    self.prices.append(
                        each
                    )
                return self

            def total(self):
                result = 0
                index = 0
                while index < len(self.prices):
                    result += double(self.prices[index])
                    index += 1
                if result > 10:
                    result -= self.discount
                return result

            def each(self):
                for price in self.prices:
                    yield price
        ''',
    "src/shop/words.py": """
        from shop.prices import double

        def count(text):
            found = {}
            for word in text.split():
                found[word] = found.get(word, 0) + 1
            return {word: double(number) for word, number in found.items()}

        def check(text):
            if not text:
                raise ValueError("no text")
            return count(text)
        """,
    "src/shop/till.py": """
        class Till:
            sales = 0

            @classmethod
            def sell(cls, amount):
                cls.sales += amount
                total = cls.sales
                return total

        class Drawer:
            def __init__(self):
                self.coins = 0

        drawer = Drawer()

        def put(coins):
            drawer.coins += coins
            held = drawer.coins
            return held

        def place(things):
            found = id(things)
            return found

        def number(text):
            found = None
            try:
                found = int(text)
            except ValueError as error:
                found = str(error)
            return found

        def strict(text):
            try:
                return int(text)
            except ValueError:
                raise
        """,
    "tests/test_till.py": """
        import pytest
        from shop.till import Till, number, place, put, strict

        def test_sell():
            Till.sell(2)
            assert Till.sell(3) == 5

        def test_drawer():
            assert put(2) == 2
            assert place([1]) > 0

        def test_numbers():
            assert "invalid" in number("x")
            with pytest.raises(ValueError):
                strict("x")
        """,
    "tests/test_cart.py": """
        import pytest
        from shop.prices import Cart

        @pytest.mark.parametrize("n", range(6))
        def test_total(n):
            cart = Cart(1).add(n, 5, note="x")
            assert cart.total() == 2 * (n + 5) - (n > 0)
            assert list(cart.each()) == [n, 5]
        """,
    "tests/test_words.py": """
        import sys, time
        import pytest
        from shop import words

        def test_count():
            time.sleep(PAUSE)
            assert words.count("a b a") == {"a": 4, "b": 2}

        def test_check():
            with pytest.raises(ValueError):
                words.check("")

        def test_untraced():
            assert sys.gettrace() is None
        """,
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return write(tmp_path_factory.mktemp("suite") / "shop-1.0")


def write(root, pause="0"):
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text).replace("PAUSE", pause))
    return root


def words(repository, out):
    return [
        f"repository={repository}",
        f"out={out}",
        "sandbox.allow_unisolated=true",
        "workers=1",
        "split.side=train",
        "sampling.step_in=1",
    ]


def collect(overrides):
    config = compose("trace tests", TestsConfig, overrides)
    with open_run(config.out, "trace tests", config) as run:
        return collect_tests(config, run)


@pytest.fixture(scope="module")
def collected(repository):
    out = repository.parent / "run"
    return out, collect(words(repository, out))


def records(out):
    return [TraceRecord.from_row(row) for row in read_shards(out / "traces")]


def test_shards_hold_whole_traces_in_the_wire_format(collected):
    out, summary = collected
    found = records(out)
    assert summary["traces"] == len(found) == verify_shards(out / "traces")["rows"] > 10
    assert {record.split for record in found} == {"train"}
    assert {record.origin for record in found} == {"tests:shop-1.0"}
    assert len({record.trace_id for record in found}) == len(found)
    for record in found:
        assert parse_text(render_text(record.trace)).frames == record.frames
        assert record.frames[0].event == "call" and record.frames[0].depth == 0
        lines = record.context.split("\n")
        for frame in record.frames:
            line = lines[frame.line_number - 1].replace("  # << START_OF_TRACE", "")
            assert frame.source == line + "\n"


def test_outcomes_and_differences_are_reported(collected):
    _, summary = collected
    assert summary["tests"] == 12 and summary["test_files"] == 3
    assert summary["test_outcomes"] == {"passed": 12}
    assert summary["differences"] == {
        "tests/test_words.py::test_untraced": ["passed", "failed"],
    }
    assert summary["flaky"] == [] and summary["failures"] == {}


def test_a_context_shows_the_functions_of_the_trace(collected):
    out, _ = collected
    by_entry = {record.entry: record for record in records(out)}
    assert by_entry["Cart.add"].context.split("\n")[:3] == [
        "class Cart:",
        "    def add(self, price, *more, note=None):  # << START_OF_TRACE",
        "        for each in (price, *more):",
    ]
    assert by_entry["Cart.add"].input.endswith(", *(5,), note='x'")
    total = by_entry["Cart.total"]
    assert total.context.startswith("def double(x):\n    return 2 * x\n\nclass Cart:\n")
    assert {frame.function for frame in total.frames} == {"Cart.total", "double"}
    count = by_entry["count"].context
    assert "# src/shop/words.py" in count and "# src/shop/prices.py\ndef double" in count
    assert by_entry["check"].outcome == "raised"


def test_every_line_runs_again_as_recorded(collected):
    out, _ = collected
    report = reexecute(out, frames=1000)
    assert report["mismatched"] == 0
    assert report["matched"] > 40
    assert set(report["reasons"]) == {
        "hidden state: iterator of a loop",
        "hidden state: the exception that is handled",
        "hidden state: outside of variables, drawer",
        "hidden state: outside of variables, id",
        "hidden state: outside of variables, sales",
        "statement: ExceptHandler",
    }
    assert report["sampled"] == report["checked"] + report["not_rebuilt"]


def test_a_wrong_record_is_found_out(collected, tmp_path, capsys):
    out, _ = collected
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for name in ("config.yaml", "provenance.jsonl", "repository.tar"):
        (wrong / name).write_bytes((out / name).read_bytes())
    rows = list(read_shards(out / "traces"))
    changed = 0
    for row in rows:
        for frame in row["frames"]:
            if frame["event"] == "return" and frame["value"] == "10":
                frame["value"] = "11"
                changed += 1
    with ShardWriter(wrong / "traces", TRACE_SCHEMA) as writer:
        for row in rows:
            writer.write(row)
        writer.finish()
    assert changed and main([str(wrong)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["mismatched"] >= 1
    assert report["mismatches"][0]["difference"] == "return of 10, recorded 11"


def test_what_is_there_is_not_run_again(collected, repository):
    out, _ = collected
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    config = compose("trace tests", TestsConfig, words(repository, out))
    with open_run(out, "trace tests", config) as run:
        assert run.is_done
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


@pytest.mark.slow
def test_a_killed_run_continues(tmp_path):
    repository = write(tmp_path / "shop-1.0", pause="3")
    out = tmp_path / "run"
    line = [sys.executable, "-m", "cwm_core", "trace", "tests", *words(repository, out)]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL, start_new_session=True)
    ledger = out / "files.jsonl"
    deadline = time.monotonic() + 200
    while not (ledger.exists() and ledger.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert [json.loads(each)["file"] for each in ledger.read_text().splitlines()] == [
        "tests/test_cart.py"
    ]
    kept = {record.trace_id for record in records(out)}
    assert kept
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 1  # a test noticed the tracing
    assert "differs: tests/test_words.py::test_untraced: passed, traced failed" in done.stdout
    found = [record.trace_id for record in records(out)]
    assert kept < set(found) and len(set(found)) == len(found)
    assert "12 tests in 3 files" in done.stdout


def test_outcomes_join_the_phases_of_a_test():
    def lines(*entries):
        return "".join(json.dumps(entry) + "\n" for entry in entries).encode()

    def report(when, outcome, xfail=False):
        return {"kind": "report", "id": "a", "when": when, "outcome": outcome, "xfail": xfail}

    start, end = {"kind": "start", "id": "a"}, {"kind": "end", "id": "a"}
    phases = [report("setup", "passed"), report("call", "passed"), report("teardown", "failed")]
    assert read_outcomes(lines(start, *phases, end)).tests == {"a": "error"}
    assert read_outcomes(lines(start, *phases[:2])).tests == {"a": "never ended"}
    skipped = [report("setup", "passed"), report("call", "skipped", True), end]
    assert read_outcomes(lines(start, *skipped)).tests == {"a": "xfailed"}
    crash = report("???", "failed")
    assert read_outcomes(lines(start, crash)).tests == {"a": "failed"}
    torn = lines({"kind": "collected", "ids": ["a", "b"]}, start, *phases[:2], end) + b'{"kind'
    outcomes = read_outcomes(torn)
    assert outcomes.tests == {"a": "passed", "b": "not run"} and not outcomes.finished
    assert differences(outcomes, read_outcomes(b"")) == {
        "a": ("passed", "not run"),
    }


def test_a_listing_needs_a_block_for_each_line():
    described = {
        "path": "a.py",
        "source": "x = 1\n\n\ndef f():\n    pass\n",
        "blocks": [[4, 5, []]],
    }
    listing = Listing({"0": described}, (0, 4), [(0, 5)])
    assert listing.text == "def f():\n    pass\n"
    assert listing.line((0, 5)) == 2
    with pytest.raises(KeyError):
        Listing({"0": described}, (0, 2), [])


def test_steps_pair_a_line_with_the_next_event_of_its_call(collected):
    out, _ = collected
    total = next(record for record in records(out) if record.entry == "Cart.total")
    for index, following, _ in steps(total.frames):
        one, other = total.frames[index], total.frames[following]
        assert one.depth == other.depth and one.function == other.function
        between = total.frames[index + 1 : following]
        assert all(frame.depth > one.depth for frame in between)
