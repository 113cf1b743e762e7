"""Runs each module of ``simulated`` in a process that has numba's simulator."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

MODULES = sorted(Path(__file__).with_name("simulated").glob("test_*.py"))


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="numba-cuda not installed")
@pytest.mark.skipif(find_spec("greenlet") is None, reason="greenlet not installed")
@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_in_simulator(module):
    # what pytest and its plugins told this process is not for that one
    told = {name: v for name, v in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", module],
        env=told | {"NUMBA_ENABLE_CUDASIM": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if ran.returncode:
        pytest.fail(ran.stdout, pytrace=False)
