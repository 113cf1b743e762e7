"""What compiling costs: the first calls of a process, and ``import skxent``.

A first call is one in a new process, of 32 x 3 float32 logits; its time includes the
import of numba. It is cold where the cache of kernels is empty and warm where an
earlier process made the same call.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .common import by_profile
from .first_call import NAMES

CHOSEN = by_profile(
    quick=["binary_cross_entropy_with_logits"],
    regular=[name for name in NAMES if name.endswith("_value_and_grad")],
    full=NAMES,
)
ROOMS = by_profile(
    quick=["skxent.losses"],
    regular=["skxent", "skxent.losses", "skxent.metrics", "skxent.linear_model"],
    full=["skxent", "skxent.losses", "skxent.metrics", "skxent.linear_model"],
)
# Calls of every kind compile for a minute where no earlier process did.
CALLS = by_profile(quick="once", regular="all", full="all")
N_WARM = by_profile(quick=1, regular=3, full=5)


def in_new_process(which, name, cache_dir=None):
    """Return what ``first_call.py`` reports."""
    environment = dict(os.environ)
    if cache_dir is not None:
        environment["NUMBA_CACHE_DIR"] = cache_dir
    program = str(Path(__file__).with_name("first_call.py"))
    result = subprocess.run(
        [sys.executable, program, which, name],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(result.stdout)


def first_call_seconds(name, n_warm):
    """Return the seconds of the cold first call, and of as many warm ones."""
    with tempfile.TemporaryDirectory() as cache_dir:
        cold, *warm = [
            in_new_process("once", name, cache_dir)["seconds"]
            for _ in range(1 + n_warm)
        ]
    return cold, warm


class FirstCall:
    """The first call of each public loss in a process of its own."""

    params = CHOSEN
    param_names = ("function",)
    unit = "s"

    def track_cold(self, name):
        """Return the seconds with an empty cache."""
        return first_call_seconds(name, 0)[0]

    def track_warm(self, name):
        """Return the seconds with a cache that holds the kernels."""
        return float(np.median(first_call_seconds(name, N_WARM)[1]))


class Specialisations:
    """How many kernels each public loss compiles in calls of every kind."""

    params = CHOSEN
    param_names = ("function",)
    unit = "specialisations"
    timeout = 1800

    def track_specialisations(self, name):
        """Return the number of compiled signatures."""
        return in_new_process(CALLS, name)["specialisations"]


class Import:
    """The import of a room in a new process."""

    params = ROOMS
    param_names = ("room",)
    number = 1  # a second import in the same process would cost nothing

    def timeraw_import(self, room):
        """Return the statement to time."""
        return f"import {room}"


class ImportBeyondOthers:
    """The import of a room where numba and scikit-learn are imported already.

    The package promises less than 50 ms.
    """

    params = ROOMS
    param_names = ("room",)
    number = 1

    def timeraw_import(self, room):
        """Return the statement to time, and what is not timed before it."""
        return f"import {room}", "import numba, sklearn.linear_model, sklearn.metrics"
