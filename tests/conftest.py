"""One thread per process: results and timings do not depend on how many cores a machine has."""

import os
import signal
import sys

import pytest
from hypothesis import settings

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A run in the background starts with Ctrl-C switched off; the tests of interrupted trainings send one.
signal.signal(signal.SIGINT, signal.default_int_handler)

import shapes  # noqa: E402

shapes.install()

# The same examples every time, and no deadline that a busy machine could miss.
settings.register_profile("course", derandomize=True, deadline=None)
settings.load_profile("course")


@pytest.fixture(autouse=True)
def figures_closed():
    """A figure that one test leaves open is none of the next one."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
