"""How kernels are compiled and cached."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from skxent.kernels import _cpu, _half_rows, _sigmoid
from skxent.kernels._jit import Twins, inner, inner_with_memory, rule
from skxent.kernels._linked import is_known
from skxent.losses import cross_entropy_value_and_grad

TWINS = [
    value
    for module in (_cpu, _half_rows, _sigmoid)
    for value in vars(module).values()
    if isinstance(value, Twins)
]


def test_twins_do_not_share_a_cache_entry():
    # compiled kernels are kept under their names: equal ones would serve the machine
    # code of the wrong twin
    names = [twin.py_func.__qualname__ for twins in TWINS for twin in twins]
    assert len(names) == len(set(names)) == 2 * len(TWINS) > 0


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_options_compile_nothing_more(dtype):
    logits, target = np.zeros((40, 3), dtype), np.zeros(40, dtype=np.int64)
    cross_entropy_value_and_grad(logits, target)
    compiled = signatures()
    for options in (
        {"weight": np.ones(3)},
        {"weight": np.ones(3, dtype=np.float32)},
        {"label_smoothing": 0.1},
        {"ignore_index": 0},
        {"sample_weight": np.ones(40)},
        {"sample_weight": np.ones(40, dtype=np.int32)},
        {"reduction": "none"},
        {"reduction": "sample"},
        {"class_axis": -1},
        {"out": np.empty_like(logits)},
    ):
        cross_entropy_value_and_grad(logits, target, **options)
        assert signatures() == compiled, options
    for indices in (target.astype(np.int8), target.astype(np.uint64), target.tolist()):
        cross_entropy_value_and_grad(logits, indices)
        assert signatures() == compiled


def signatures():
    return {twin: tuple(twin.signatures) for twins in TWINS for twin in twins}


@rule
def halved(x):
    return x / 2


@inner
def halved_until_one(x):
    n = 0
    while x > 1:
        x = halved(x)
        n += 1
    return n


@numba.njit
def count_halvings(x):
    return halved_until_one(x)


def test_what_is_linked_is_no_machine_code():
    assert count_halvings(1000.0) == 10
    compiled = halved_until_one.overloads[(numba.float64,)]
    engine = compiled.target_context.codegen()._engine
    assert not engine.is_symbol_defined(compiled.fndesc.llvm_func_name)
    assert is_known(), "tests pass with this numba: let _linked.py know it"


@inner
def first_of(x):
    return x[0]


@inner_with_memory
def first_of_copy(x):
    return x.copy()[0]


@inner
def beside_first(x):
    return x[0], x


@numba.njit
def first_with(function, x):
    return function(x)


@numba.njit
def first_beside(x):
    return beside_first(x)[0]


@pytest.mark.parametrize("function", [first_of, first_of_copy])
def test_only_what_takes_memory_counts_references(function):
    assert first_with(function, np.array([3.0, 4.0])) == 3.0
    (compiled,) = function.overloads.values()
    counts = "NRT_incref" in compiled.library.get_llvm_str()
    assert counts == (function is first_of_copy)


@pytest.mark.skipif(not is_known(), reason="left to numba")
def test_inner_functions_return_no_arrays():
    with pytest.raises(TypeError, match="beside_first returns an array"):
        first_beside(np.array([3.0, 4.0]))


def test_unknown_numba_compiles_as_it_likes():
    assert not is_known((0, 60))
    assert not is_known((1, 0))
    code = """
import numba
numba.version_info = numba.version_info._replace(short=(1, 0))
from tests.kernels.test_jit import count_halvings, halved_until_one
assert count_halvings(1000.0) == 10
compiled = halved_until_one.overloads[(numba.float64,)]
engine = compiled.target_context.codegen()._engine
assert engine.is_symbol_defined(compiled.fndesc.llvm_func_name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_second_process_compiles_nothing(tmp_path):
    code = """
import numpy as np
from skxent.losses import binary_cross_entropy
from skxent.kernels._sigmoid import bernoulli_losses
for n in (4, 100_000):
    binary_cross_entropy(np.full(n, 0.5), np.zeros(n))
print(sum(twin.stats.cache_misses.total() for twin in bernoulli_losses))
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
