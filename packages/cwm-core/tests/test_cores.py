import os
import subprocess
import sys

import pytest

from cwm_core.cores import usable_cores

PINNED = """
import os
from cwm_core.cores import usable_cores
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(usable_cores())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity of processes here")
def test_a_process_pinned_to_a_core_has_one():
    done = subprocess.run([sys.executable, "-c", PINNED], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


def test_without_affinity_all_cores_count(monkeypatch):
    for name in ("process_cpu_count", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_python_knows_best(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert usable_cores() == 3
