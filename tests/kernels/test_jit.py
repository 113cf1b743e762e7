"""How kernels are compiled and cached."""

import os
import subprocess
import sys

from skxent.kernels import _cpu, _sigmoid
from skxent.kernels._jit import Twins

TWINS = [
    value
    for module in (_cpu, _sigmoid)
    for value in vars(module).values()
    if isinstance(value, Twins)
]


def test_twins_do_not_share_a_cache_entry():
    # numba names cache files by qualified name and line: equal names would serve the
    # machine code of the wrong twin
    names = [twin.py_func.__qualname__ for twins in TWINS for twin in twins]
    assert len(names) == len(set(names)) == 2 * len(TWINS) > 0


def test_second_process_compiles_nothing(tmp_path):
    code = """
import numpy as np
from skxent.losses import cross_entropy
from skxent.kernels._cpu import short_rows_loss
cross_entropy(np.zeros((4, 3)), np.zeros(4, dtype=int))
cross_entropy(np.zeros((9000, 3)), np.zeros(9000, dtype=int))
print(sum(twin.stats.cache_misses.total() for twin in short_rows_loss))
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    misses = []
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | _inherited(),
            check=True,
            capture_output=True,
            text=True,
        )
        misses.append(int(result.stdout))
    assert misses == [2, 0]


def _inherited() -> dict[str, str]:
    """Return the environment without the cache folder of this process."""
    return {key: v for key, v in os.environ.items() if key != "NUMBA_CACHE_DIR"}
