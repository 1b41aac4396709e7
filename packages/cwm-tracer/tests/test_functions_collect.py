"""`cwm trace functions`: from sources to shards, continued after a kill."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import pytest

from cwm_core.config import compose
from cwm_core.data.records import TraceRecord
from cwm_core.data.shards import read_shards
from cwm_core.errors import CwmError
from cwm_core.rundir import open_run
from cwm_tracer.collect.functions import ChooseBatch, collect_functions
from cwm_tracer.collect.functions_config import FunctionsConfig

pytestmark = pytest.mark.timeout(300)

SHOP = '''\
import time
from dataclasses import dataclass

RATES = {"book": 7}


@dataclass
class Item:
    kind: str
    price: int

    def taxed(self):
        if self.kind in RATES:
            return self.price * RATES[self.kind]
        return self.price


def cheapest(items: list[Item]):
    best = None
    for item in items:
        if best is None or item.price < best.price:
            best = item
    return best


def sign(n: int) -> str:
    """Name the sign.

    >>> sign(-4)
    'negative'
    """
    if n < 0:
        return "negative"
    return "positive" if n else "zero"


def unordered(words: list[str]):
    return list({"a", "b", "c", "d", "e", "f", *words})


def endless(n: int):
    while True:
        n += 1


def stamp(n: int):
    return time.time() + n
'''
FEW = ("budget.candidates=16", "budget.turn=6", "limits.steps=300", "workers=1", "inputs_batch=2")


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def words(directory, *more):
    return [f"sources=[{directory}/shop.py]", f"out={directory}/run", *FEW, *more]


def run(*overrides):
    config = compose("trace functions", FunctionsConfig, list(overrides))
    with open_run(config.out, "trace functions", config) as opened:
        return collect_functions(config, opened)


def records(out):
    return [TraceRecord.from_row(row) for row in read_shards(out / "traces")]


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    directory = tmp_path_factory.mktemp("traced")
    (directory / "shop.py").write_text(SHOP)
    return directory, run(*words(directory))


def test_functions_to_shards(traced):
    shop, summary = traced
    found = records(shop / "run")
    assert {record.entry for record in found} == {"Item.taxed", "cheapest", "sign"}
    assert all(record.outcome in ("returned", "raised") and record.frames for record in found)
    assert len({record.trace_id for record in found}) == len(found) == summary["traces"]
    assert summary["functions"] == 5
    assert summary["dropped"] == {"skipped: uses the clock": 1, "no inputs": 2}
    told = [json.loads(line) for line in (shop / "run" / "dropped.jsonl").read_text().splitlines()]
    assert {(each["trace_id"].rpartition(":")[2], each["reason"]) for each in told} == {
        ("stamp", ""),
        ("unordered", "not deterministic"),
        ("endless", "incomplete: step_limit"),
    }
    signs = [record for record in found if record.entry == "sign"]
    assert "- 4" not in signs[0].input and any(record.input == "-4" for record in signs)
    assert {record.frames[-1].value for record in signs} == {"'negative'", "'zero'", "'positive'"}
    assert "RATES" not in signs[0].context and "RATES" in _context(found, "Item.taxed")
    inputs = summary["inputs"]
    assert inputs["kept"] == len(found) and inputs["dropped"]["incomplete: step_limit"] == 3
    assert json.loads((shop / "run" / "summary.json").read_text()) == summary


def _context(found, entry):
    return next(record.context for record in found if record.entry == entry)


def test_the_seed_alone_decides(traced):
    shop, _ = traced
    same = [each for each in words(shop, "limit=2") if not each.startswith("out=")]
    run(*same, f"out={shop}/again")
    first = {record.trace_id: record.frames for record in records(shop / "run")}
    again = {record.trace_id: record.frames for record in records(shop / "again")}
    assert len(again) > 2 and again.items() <= first.items()
    run(*same, f"out={shop}/other", "seed=9", "limit=1")
    assert not {record.trace_id for record in records(shop / "other")} <= set(first)


SMALL = "\n\n".join(f"def f{i}(n: int):\n    return {'n + ' * i}n" for i in range(12)) + "\n"


def test_a_killed_run_goes_on_after_the_last_choice(tmp_path):
    script = "import sys; from cwm_core.cli.main import main; main()"
    (tmp_path / "shop.py").write_text(SMALL)
    more = ("generators=[hints]", "budget.candidates=4", "inputs_batch=1")
    command = [sys.executable, "-c", script, "trace", "functions", *words(tmp_path, *more)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "run" / "inputs.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = log.read_bytes()
    assert before and not (tmp_path / "run" / "summary.json").exists()
    log.write_bytes(before + b'{"program_id": "half')
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert log.read_bytes().startswith(before)
    functions = [json.loads(line)["function"] for line in log.read_text().splitlines()]
    assert len(set(functions)) == len(functions) == 12
    found = records(tmp_path / "run")
    assert len({record.trace_id for record in found}) == len(found)
    assert {record.entry for record in found} == {f"f{i}" for i in range(12)}
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and "nothing to do" in again.stdout


def test_inputs_of_a_data_set_are_tried_first_and_kept_when_they_add(tmp_path):
    rows = [
        {"source": "def f(x):\n    return x\n", "entry": "f", "inputs": ["[7, 7]", "[8, 8]"]},
        {"source": "def f(x):\n    return x\n", "entry": "f", "inputs": ["1"]},
    ]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    summary = run(
        f"sources=[{tmp_path}/set.jsonl]", f"out={tmp_path}/run", "generators=[usage]", "workers=1",
        "split.side=validation",
    )  # fmt: skip
    assert [record.input for record in records(tmp_path / "run")] == ["[7, 7]"]
    assert summary["inputs"]["kept_by_generator"] == {"given": 1}
    assert summary["inputs"]["dropped"] == {"nothing new": 1}
    assert summary["dropped"] == {"skipped: duplicate": 1}
    assert summary["traces_by_split"] == {"validation": 1}


def test_benchmarks_go_to_the_test_side(tmp_path, shared_data):
    summary = run(
        f"sources=[{shared_data}/mbpp.jsonl]", f"out={tmp_path}/run", "generators=[usage]",
        "workers=1", "limit=6", "budget.kept=3",
    )  # fmt: skip
    assert set(summary["traces_by_split"]) == {"test"} and summary["programs"] == 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sources=[nowhere.py]"], "nowhere.py"),
        (["sources=[]"], "sources"),
        (["generators=[hint]"], "hints"),
        (["generators=[usage,usage]"], "once"),
        (["generators=[]"], "generators"),
        (["budget.kept=0"], "budget.kept"),
        (["tests=[no_such_directory]"], "no_such_directory"),
    ],
)
def test_mistakes_are_told(shop, overrides, message):
    with pytest.raises(CwmError, match=message):
        run(*words(shop), *overrides)


def test_a_tracer_without_a_hash_seed_needs_determinism_switched_off(shop, make_plugin):
    plugin = (
        "from cwm_core.hookspecs import hookimpl\nfrom cwm_core.plugins import Component\n\n"
        "@hookimpl\ndef cwm_tracers():\n"
        "    return [Component('plain', 'plain_tracer.config:Plain', 'No seed.')]\n"
    )
    config = (
        "from cwm_core.plugins import ComponentConfig\n"
        "from cwm_tracer.capture.config import SettraceConfig\n\n"
        "class Plain(ComponentConfig):\n    '''Plain.'''\n\n"
        "    def build(self, limits=None):\n        return SettraceConfig().build(limits)\n"
    )
    modules = {"plain_tracer.__init__": "", "plain_tracer.plugin": plugin}
    make_plugin("plain-tracer", {**modules, "plain_tracer.config": config}, "plain_tracer.plugin")
    with pytest.raises(CwmError, match="hash seed"):
        run(*words(shop), "tracer=plain")
    (shop / "shop.py").write_text(SHOP[SHOP.index("def unordered") : SHOP.index("def endless")])
    summary = run(*words(shop), "tracer=plain", "deterministic=false", f"out={shop}/run2")
    assert "not deterministic" not in summary["inputs"]["dropped"]
    assert "unordered" in {record.entry for record in records(shop / "run2")}


def test_the_work_can_be_sent_to_other_machines(shop):
    config = compose("trace functions", FunctionsConfig, words(shop))
    work = ChooseBatch(
        *(config.tracer, config.limits, config.drop, tuple(config.generators)),
        *(config.budget, config.seed, config.deterministic),
    )
    assert pickle.loads(pickle.dumps(work)) == work
