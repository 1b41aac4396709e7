"""The programs of CRUXEval, MBPP and HumanEval under the tracer.

By default every so-manieth of them; `CWM_FULL_BENCHMARKS=1` takes all, which needs some minutes.
"""

import gzip
import json
import os
from collections import Counter

import pytest

from cwm_tracer.api import record_source
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.limits import Limits
from cwm_tracer.capture.scripts import MODULE
from cwm_tracer.compare import same_value

FULL = os.environ.get("CWM_FULL_BENCHMARKS", "") not in ("", "0")
LONG = {"step_limit", "value_limit"}
"""How the solutions end whose tests take more events than are recorded here."""

SLOW = {123}
"""A solution of MBPP that runs for seconds without the tracer."""

pytestmark = pytest.mark.timeout(3600 if FULL else 300)


def rows(path, every):
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    found = [json.loads(line) for line in text.splitlines()]
    return found if FULL else found[::every]


@pytest.fixture(scope="module")
def tracer():
    limits = Limits(steps=100_000, timeout_s=60, trace_bytes=64 << 20)
    with SettraceConfig(value_bytes=1 << 16, value_nodes=1 << 14).build(limits) as built:
        yield built


def test_cruxeval_programs_return_what_the_data_set_says(tracer, shared_data):
    tasks = rows(shared_data / "cruxeval.jsonl", 20)
    wrong = []
    for task in tasks:
        record = record_source(tracer, task["code"], "f", task["input"])
        value = record.frames[-1].value if record.frames else None
        if record.outcome != "returned" or not same_value(value or "", task["output"]):
            wrong.append((task["id"], str(record.outcome), record.reason, value))
    assert wrong == [] and len(tasks) == (800 if FULL else 40)


def trace_tests(tracer, programs):
    """Run scripts that hold a solution and its tests; return how many ended how, and the bad."""
    outcomes, bad = Counter(), []
    for name, source in programs:
        record = record_source(tracer, source, MODULE, "")
        outcomes[str(record.outcome)] += 1
        if record.outcome != "returned" and str(record.outcome) not in LONG:
            bad.append((name, str(record.outcome), record.reason))
        assert record.frames[0].function == MODULE
    print(outcomes)
    return outcomes, bad


def test_mbpp_solutions_pass_their_tests(tracer, shared_data):
    tasks = rows(shared_data / "mbpp.jsonl", 25)
    programs = [
        (task["task_id"], "\n".join([task["code"], task["test_setup_code"], *task["test_list"]]))
        for task in tasks
    ]
    outcomes, bad = trace_tests(tracer, programs)
    assert [each for each in bad if each[0] not in SLOW] == []
    assert outcomes["returned"] > 0.95 * len(tasks)


def test_humaneval_solutions_pass_their_tests(tracer, shared_data):
    tasks = rows(shared_data / "HumanEval.jsonl.gz", 10)
    programs = [
        (
            task["task_id"],
            f"{task['prompt']}{task['canonical_solution']}\n{task['test']}\n"
            f"check({task['entry_point']})\n",
        )
        for task in tasks
    ]
    outcomes, bad = trace_tests(tracer, programs)
    assert bad == [] and outcomes["returned"] > 0.8 * len(tasks)
