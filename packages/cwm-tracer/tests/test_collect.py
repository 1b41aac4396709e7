"""From programs to shards: kept, left out, continued."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cwm_core.config import compose
from cwm_core.data.records import TraceRecord
from cwm_core.data.shards import read_shards, verify_shards
from cwm_core.errors import CwmError
from cwm_core.rundir import open_run, read_status
from cwm_tracer.collect.config import TraceConfig
from cwm_tracer.collect.journal import Journal
from cwm_tracer.collect.pipeline import collect
from cwm_tracer.programs.near_duplicates import near_duplicates_of
from cwm_tracer.programs.program import Program

pytestmark = pytest.mark.timeout(300)


def run(*overrides):
    config = compose("trace", TraceConfig, list(overrides))
    with open_run(config.out, "trace", config) as opened:
        return collect(config, opened)


def rows(out):
    return list(read_shards(out / "traces"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    out = tmp_path_factory.mktemp("collect") / "run"
    summary = run(
        "programs.count=60", "split.test=0.2", "split.validation=0.2", "workers=1", f"out={out}"
    )
    return out, summary


def test_shards_hold_whole_records(generated):
    out, summary = generated
    records = [TraceRecord.from_row(row) for row in rows(out)]
    assert len(records) == summary["traces"] > 60
    assert {record.outcome for record in records} <= {"returned", "raised"}
    assert all(record.frames and record.trace.complete for record in records)
    assert len({record.trace_id for record in records}) == len(records)
    assert sum(record.events for record in records) == summary["events"]
    assert verify_shards(out / "traces")["rows"] == len(records)
    assert read_status(out)["state"] == "done"
    assert json.loads((out / "summary.json").read_text()) == summary


def test_the_split_is_by_program_and_near_duplicates_do_not_cross_it(generated):
    out, summary = generated
    sides = {}
    for row in rows(out):
        sides.setdefault(row["program_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in sides.values())
    assert set(summary["programs_by_split"]) == {"train", "validation", "test"}
    by_side = {"train": [], "validation": [], "test": []}
    for row in rows(out):
        source = row["context"].replace("  # << START_OF_TRACE", "")
        by_side[row["split"]].append(Program.of(source, row["entry"], ()))
    held_out = near_duplicates_of(by_side["test"] + by_side["validation"])
    assert not any(held_out.resembles(program) for program in by_side["train"])


def test_what_is_there_is_not_recorded_again(generated):
    out, summary = generated
    before = {path: path.stat().st_mtime_ns for path in (out / "traces").glob("*.parquet")}
    config = compose(
        "trace",
        TraceConfig,
        ["programs.count=60", "split.test=0.2", "split.validation=0.2", f"out={out}", "workers=1"],
    )
    with open_run(out, "trace", config) as opened:
        assert opened.is_done
        assert collect(config, opened) == summary
    assert before == {path: path.stat().st_mtime_ns for path in (out / "traces").glob("*.parquet")}


def test_exclude_leaves_out_near_duplicates(generated, tmp_path):
    out, _ = generated
    # The same seeds make the same programs; ten more follow.
    summary = run(
        "programs.count=70",
        "split.side=train",
        f"exclude=[{out}]",
        f"out={tmp_path}/b",
        "workers=1",
    )
    assert summary["dropped"]["near_duplicate_of_excluded"] >= 60
    assert 0 < summary["programs"] <= 10
    assert set(summary["traces_by_split"]) == {"train"}


PROGRAMS = [
    ("def f(x):\n    return x\n", ["1", "'a'", "1"]),
    ("def f(x):\n    while True:\n        x += 1\n", ["1"]),
    ("import os\ndef f(x):\n    os._exit(x)\n", ["1"]),
    ("def f(x):\n    return [x] * 100_000\n", ["1"]),
    ("def f(x):\n    for i in range(x):\n        y = i\n", ["500"]),
    ("def f(x):\n    raise KeyError(x)\n", ["1"]),
]


@pytest.fixture
def program_file(tmp_path):
    path = tmp_path / "programs.jsonl"
    lines = [
        json.dumps({"id": f"p{i}", "source": source, "entry": "f", "inputs": inputs})
        for i, (source, inputs) in enumerate(PROGRAMS)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_each_execution_left_out_has_a_reason(program_file, tmp_path):
    out = tmp_path / "run"
    summary = run(
        "programs=file", f"programs.path={program_file}", "programs.format=cwm", f"out={out}",
        "drop.max_events=600", "drop.elided=true", "workers=1", "limits.steps=5000",
    )  # fmt: skip
    assert summary["dropped"] == {
        "incomplete: step_limit": 1,
        "incomplete: exited": 1,
        "elided value": 1,
        "too many events": 1,
    }
    assert summary["outcomes"] == {"returned": 2, "raised": 1}
    assert summary["traces_by_split"] == {"test": 3}
    entries = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert {entry["outcome"] for entry in entries} == {"step_limit", "exited", "returned"}
    assert "5000 events" in next(e["reason"] for e in entries if e["outcome"] == "step_limit")


def test_cut_off_executions_are_kept_on_request(program_file, tmp_path):
    summary = run(
        "programs=file", f"programs.path={program_file}", "programs.format=cwm", "workers=1",
        f"out={tmp_path}/run", "drop.incomplete=false", "limits.steps=100", "split.side=train",
        "inputs_per_program=1",
    )  # fmt: skip
    assert summary["outcomes"] == {"returned": 2, "step_limit": 2, "exited": 1, "raised": 1}
    cut = next(row for row in rows(tmp_path / "run") if row["outcome"] == "step_limit")
    record = TraceRecord.from_row(cut)
    assert len(record.frames) == 100 and not record.trace.complete
    assert record.split == "train"


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    out = tmp_path / "run"
    words = ["programs.count=120", "workers=1", "rows_per_shard=30", "batch=8", f"out={out}"]
    script = "import sys; from cwm_core.cli.main import main; main()"
    command = [sys.executable, "-c", script, "trace", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((out / "traces").glob("part-*.parquet")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = {path: path.read_bytes() for path in (out / "traces").glob("part-*.parquet")}
    assert first and not (out / "summary.json").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(path.read_bytes() == content for path, content in first.items())
    ids = [row["trace_id"] for row in rows(out)]
    assert len(set(ids)) == len(ids)
    assert {row["program_id"] for row in rows(out)} | _left_out(out) == {
        program.id for program in compose("trace", TraceConfig, words).programs.build()
    }


def _left_out(out):
    lines = (out / "dropped.jsonl").read_text().splitlines()
    return {json.loads(line)["trace_id"].split()[0].split("-")[0] for line in lines}


def test_half_a_line_of_the_journal_is_cut(tmp_path):
    path = tmp_path / "dropped.jsonl"
    with Journal(path) as journal:
        journal.add("a", "too large", "returned", "x")
        journal.add("b", "incomplete", "timeout", "y")
    path.write_bytes(path.read_bytes()[:-9])
    with Journal(path) as journal:
        assert journal.ids == {"a"}
        journal.add("c", "too large")
    with Journal(path) as journal:
        assert journal.ids == {"a", "c"} and journal.counts["too large"] == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["limits.stepps=3"], "limits.steps"),
        (["tracer=setrace"], "settrace"),
        (["limits.steps=0"], "limits.steps"),
        (["split.test=0.6", "split.validation=0.6"], "training"),
        (["programs=file", "programs.path=/nonexistent.jsonl"], "nonexistent"),
        (["exclude=[/nonexistent]"], "nonexistent"),
    ],
)
def test_mistakes_are_told(tmp_path, overrides, words):
    with pytest.raises(CwmError, match=words):
        run(*overrides, "programs.count=1" if "programs=file" not in overrides else "batch=1",
            "workers=1", f"out={tmp_path}/run")  # fmt: skip


def test_an_unwritable_directory_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CwmError, match="file"):
        run("programs.count=1", f"out={tmp_path}/file/run")
