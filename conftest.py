"""What the tests of all packages share."""

import os

from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers are as many as cores: the threads of one would only wait for those of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests never measure time, and the same run finds the same things.
settings.register_profile("cwm", deadline=None, derandomize=True)
settings.load_profile("cwm")
