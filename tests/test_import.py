"""Importing the package, in a process of its own."""

import os
import subprocess
import sys


def run(code, cache_dir):
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache_dir)},
        check=True,
    )


def test_import_compiles_nothing(tmp_path):
    # the backend is imported on first use, and imports every kernel
    code = """
import gc
import skxent, skxent.losses, skxent.metrics, skxent.linear_model
import skxent.backends._numpy
from numba.core.dispatcher import Dispatcher
kernels = [
    each
    for each in gc.get_objects()
    if isinstance(each, Dispatcher) and each.py_func.__module__.startswith("skxent.")
]
assert kernels
compiled = [each for each in kernels if each.signatures]
assert not compiled, compiled
"""
    run(code, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_forbidden_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    code = """
from skxent.losses import cross_entropy
try:
    cross_entropy([0.0, 1.0], 1)
except RuntimeError as error:
    assert "NUMBA_DISABLE_JIT" in str(error), error
else:
    raise SystemExit("computed")
"""
    run(code, tmp_path)


def test_import_loads_no_optional_package(tmp_path):
    code = """
import sys
import numba, scipy.optimize, sklearn.linear_model, sklearn.metrics, threadpoolctl
before = set(sys.modules)
import skxent.losses, skxent.metrics, skxent.linear_model, skxent.backends._numpy
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
optional = {"torch", "dask", "matplotlib", "cupy", "pandas", "xgboost", "lightgbm"}
assert not optional & loaded, optional & loaded
"""
    run(code, tmp_path)


def test_rooms_bring_no_kernel(tmp_path):
    # decorating them takes 0.1 s, which the first call that needs one has to spare
    code = """
import sys
import skxent.losses, skxent.metrics, skxent.linear_model
kernels = [name for name in sys.modules if name.startswith("skxent.kernels.")]
assert kernels == [], kernels
"""
    run(code, tmp_path)


def test_torch_room_without_torch_names_the_remedy(tmp_path):
    code = """
import sys
sys.modules["torch"] = None  # what makes an import of it fail
try:
    import skxent.torch
except ImportError as error:
    assert "pip install torch" in str(error), error
else:
    raise SystemExit("imported")
"""
    run(code, tmp_path)


def test_torch_room_compiles_nothing(tmp_path):
    # nor does it bring scikit-learn, which has no part in it, or torch's compiler,
    # which takes 2 s
    code = """
import sys
import torch
others = {"sklearn", "torch._dynamo"} - set(sys.modules)
import skxent.torch
assert not others & set(sys.modules), others & set(sys.modules)
"""
    run(code, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
