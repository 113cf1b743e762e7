"""Agreement of the loss with torch, the oracle, mpmath, differences and itself."""

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests import reference, torch_oracle
from tests.losses import cases

RTOL = {"float64": 1e-12, "float32": 5e-7, "float16": 1e-3}


def check_everything(z, t, options, rtol, expected_value, expected_gradient):
    """The value, the gradient and both at once, as a list of what is off."""
    with_options = cases.describe(options)
    size = reference.mass_scale(z, t, **options)
    value, gradient = cross_entropy_value_and_grad(z, t, **options)
    failures = []
    for what, got in [("value", cross_entropy(z, t, **options)), ("both", value)]:
        what = f"{what}, {with_options}"
        failures += cases.value_mismatch(what, got, expected_value, rtol)
    for what, got in [
        ("gradient", cross_entropy_grad(z, t, **options)),
        ("gradient of both", gradient),
    ]:
        what = f"{what}, {with_options}"
        failures += cases.gradient_mismatch(what, got, expected_gradient, size, rtol)
    return failures


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", cases.SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_agrees_with_torch_over_the_product_of_options(form, shape, dtype):
    rng = np.random.default_rng(1)
    z = cases.make_logits(rng, shape, dtype)
    target = cases.make_target(rng, form, shape, dtype)
    weight = cases.make_weight(rng, shape[-1])
    failures = []
    for t, options in cases.option_grid(form, shape, target, weight):
        failures += check_everything(
            z,
            t,
            options,
            RTOL[dtype],
            torch_oracle.cross_entropy(z, t, **options),
            torch_oracle.cross_entropy_grad(z, t, **options),
        )
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(1, 5), (64, 2), (300, 37), (9, 300)], ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_sample_weight_agrees_with_the_oracle(form, shape, dtype):
    rng = np.random.default_rng(2)
    z = cases.make_logits(rng, shape, dtype)
    target = cases.make_target(rng, form, shape, dtype)
    weight = cases.make_weight(rng, shape[-1])
    sample_weight = cases.make_sample_weight(rng, shape[0])
    failures = []
    for t, options in cases.option_grid(form, shape, target, weight):
        options["sample_weight"] = sample_weight
        failures += check_everything(
            z,
            t,
            options,
            RTOL[dtype],
            reference.cross_entropy(z, t, **options),
            reference.cross_entropy_grad(z, t, **options),
        )
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("form", cases.FORMS)
def test_sample_weight_counts_repeated_rows(form, reduction):
    rng = np.random.default_rng(3)
    z = cases.make_logits(rng, (40, 6))
    target = cases.make_target(rng, form, z.shape)
    counts = rng.integers(4, size=40)
    options = {
        "weight": cases.make_weight(rng, 6),
        "label_smoothing": 0.1,
        "reduction": reduction,
    }
    value, gradient = cross_entropy_value_and_grad(
        z, target, sample_weight=counts, **options
    )
    owner = np.repeat(np.arange(40), counts)
    repeated = cross_entropy_value_and_grad(z[owner], target[owner], **options)
    np.testing.assert_allclose(value, repeated[0], rtol=1e-13)
    summed = np.zeros_like(z)
    np.add.at(summed, owner, repeated[1])
    np.testing.assert_allclose(gradient, summed, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", cases.SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_curvature_product_agrees_with_torch(form, shape, dtype):
    rng = np.random.default_rng(4)
    z = cases.make_logits(rng, shape, dtype)
    vector = rng.normal(size=shape).astype(dtype)
    target = cases.make_target(rng, form, shape, dtype)
    weight = cases.make_weight(rng, shape[-1])
    failures = []
    for t, options in cases.option_grid(form, shape, target, weight):
        # p * (v - <p, v>) cancels as the gradient does, at the size of v.
        size = reference.mass_scale(z, t, **options) * np.abs(vector).max()
        failures += cases.gradient_mismatch(
            f"hvp, {cases.describe(options)}",
            cross_entropy_hvp(z, t, vector, **options),
            torch_oracle.cross_entropy_hvp(z, t, vector, **options),
            size,
            RTOL[dtype],
        )
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_curvature_product_with_sample_weight_agrees_with_the_oracle(form, reduction):
    rng = np.random.default_rng(5)
    z = cases.make_logits(rng, (33, 10))
    target = cases.make_target(rng, form, z.shape)
    vector = rng.normal(size=z.shape)
    options = {
        "weight": cases.make_weight(rng, 10),
        "label_smoothing": 0.1,
        "reduction": reduction,
        "sample_weight": cases.make_sample_weight(rng, 33),
    }
    np.testing.assert_allclose(
        cross_entropy_hvp(z, target, vector, **options),
        reference.cross_entropy_hvp(z, target, vector, **options),
        rtol=1e-12,
        atol=1e-14,
    )


DIFFERENCE_OPTIONS = [
    {},
    {"reduction": "sum", "label_smoothing": 0.1},
    {"weight": [0.5, 2.0, 1.0, 3.0], "ignore_index": -1},
    {"sample_weight": [0.5, 2.0, 0.0, 1.0, 3.0], "label_smoothing": 1.0},
]


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("options", DIFFERENCE_OPTIONS, ids=cases.describe)
@pytest.mark.parametrize("form", cases.FORMS)
def test_gradient_is_the_central_difference_of_the_value(form, options, from_logits):
    rng = np.random.default_rng(6)
    shape = (5, 4)
    make = cases.make_logits if from_logits else cases.make_probabilities
    z = make(rng, shape)
    target = cases.make_target(rng, form, shape)
    if form == "index" and "ignore_index" in options:
        target[3] = -1
    options = {**options, "from_logits": from_logits}
    gradient = cross_entropy_grad(z, target, **options)
    # Step and relative error of h**2 balance against eps / h for logits; dividing
    # by a probability of 0.02 makes third derivatives larger.
    step = 1e-5 if from_logits else 1e-6
    for at in np.ndindex(*shape):
        above, below = z.copy(), z.copy()
        above[at] += step
        below[at] -= step
        rise = cross_entropy(above, target, **options)
        rise -= cross_entropy(below, target, **options)
        difference = rise / (above[at] - below[at])
        assert math.isclose(gradient[at], difference, rel_tol=1e-6, abs_tol=1e-8), at


@pytest.mark.parametrize("options", DIFFERENCE_OPTIONS, ids=cases.describe)
@pytest.mark.parametrize("form", cases.FORMS)
def test_curvature_product_is_the_difference_of_the_gradient(form, options):
    rng = np.random.default_rng(7)
    z = cases.make_logits(rng, (5, 4))
    target = cases.make_target(rng, form, z.shape)
    if form == "index" and "ignore_index" in options:
        target[3] = -1
    vector = rng.normal(size=z.shape)
    step = 1e-5
    rise = cross_entropy_grad(z + step * vector, target, **options)
    rise -= cross_entropy_grad(z - step * vector, target, **options)
    np.testing.assert_allclose(
        cross_entropy_hvp(z, target, vector, **options),
        rise / (2 * step),
        rtol=1e-6,
        atol=1e-9,
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_row_losses_from_tiny_to_huge_agree_with_mpmath(dtype):
    # Losses from 1e-30 to 60: a confident row keeps its digits only where the
    # logarithm is taken near 1 as a log1p.
    gaps = np.array([0.0, 1e-3, 0.5, 3.0, 10.0, 17.0, 25.0, 40.0, 60.0])
    rows = [[gap, 0.25, 0.0] for gap in gaps] + [[1e4 + gap, 1e4] for gap in gaps]
    failures = []
    for row in rows:
        z = np.array(row, dtype=dtype)
        for y in range(z.size):
            exact = float(reference.row_loss_mp(z, y))
            value = cross_entropy(z, y)
            both, _ = cross_entropy_value_and_grad(z, y)
            rtol = {"float64": 1e-14, "float32": 5e-7}[dtype]
            failures += cases.value_mismatch(f"{row}[{y}]", value, exact, rtol)
            failures += cases.value_mismatch(f"both {row}[{y}]", both, exact, rtol)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_classes", [2, 3, 10, 100, 1000])
def test_many_confident_rows_agree_with_the_oracle(n_classes, dtype):
    # Enough rows for every kernel path, all of them predicted right.
    rng = np.random.default_rng(8)
    z = rng.normal(size=(200, n_classes))
    target = rng.integers(n_classes, size=200)
    z[np.arange(200), target] += rng.uniform(5, 30, size=200)
    z = z.astype(dtype)
    for reduction in cases.REDUCTIONS:
        got = cross_entropy(z, target, reduction=reduction)
        exact = reference.cross_entropy(z, target, reduction=reduction)
        failures = cases.value_mismatch(reduction, got, exact, RTOL[dtype])
        assert not failures, failures[0]


@pytest.mark.parametrize("form", cases.FORMS)
def test_float16_agrees_with_the_oracle(form):
    rng = np.random.default_rng(9)
    z = cases.make_logits(rng, (33, 10), np.float16)
    target = cases.make_target(rng, form, z.shape, np.float16)
    for reduction in cases.REDUCTIONS:
        options = {"reduction": reduction, "label_smoothing": 0.1}
        failures = check_everything(
            z,
            target,
            options,
            RTOL["float16"],
            reference.cross_entropy(z, target, **options),
            reference.cross_entropy_grad(z, target, **options),
        )
        assert not failures, "\n".join(failures)


def test_float16_mean_survives_a_sum_beyond_the_largest_float16():
    # 20,000 rows of a loss of about 9 add up to 180,000; float16 ends at 65,504.
    z = np.tile(np.array([-4.0, 5.0], dtype=np.float16), (20_000, 1))
    target = np.zeros(20_000, dtype=np.int64)
    value = cross_entropy(z, target)
    assert math.isclose(value, math.log1p(math.exp(9)), rel_tol=1e-3)


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_grad_output_multiplies_the_gradient(form, reduction):
    rng = np.random.default_rng(10)
    z = cases.make_logits(rng, (33, 10))
    target = cases.make_target(rng, form, z.shape)
    grad_output = rng.normal(size=33) if reduction == "none" else -2.5
    options = {"reduction": reduction, "label_smoothing": 0.1}
    got = cross_entropy_grad(z, target, grad_output=grad_output, **options)
    expected = reference.cross_entropy_grad(
        z, target, grad_output=grad_output, **options
    )
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_grad_output_of_one_unbatched_row_is_a_scalar():
    z = np.array([0.5, 1.0, -2.0])
    got = cross_entropy_grad(z, 1, reduction="none", grad_output=np.float64(3.0))
    np.testing.assert_allclose(got, 3 * cross_entropy_grad(z, 1), rtol=1e-15)


def every_result(z, target, vector, options):
    """What the four functions return, flat, to be compared bit by bit."""
    return (
        cross_entropy(z, target, **options),
        cross_entropy_grad(z, target, **options),
        *cross_entropy_value_and_grad(z, target, **options),
        cross_entropy_hvp(z, target, vector, **options),
    )


def large_problem(form, dtype):
    rng = np.random.default_rng(11)
    z = cases.make_logits(rng, (9001, 50), dtype)
    target = cases.make_target(rng, form, z.shape, dtype)
    vector = rng.normal(size=z.shape).astype(dtype)
    options = {
        "weight": cases.make_weight(rng, 50),
        "label_smoothing": 0.1,
        "sample_weight": cases.make_sample_weight(rng, 9001),
    }
    return z, target, vector, options


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", cases.FORMS)
def test_same_bits_with_one_and_two_threads_and_on_a_second_call(
    form, dtype, reduction
):
    *problem, options = large_problem(form, dtype)
    options["reduction"] = reduction
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(2)
        first = every_result(*problem, options)
        second = every_result(*problem, options)
        numba.set_num_threads(1)
        alone = every_result(*problem, options)
    finally:
        numba.set_num_threads(before)
    for a, b, c in zip(first, second, alone, strict=True):
        assert cases.same_bits(a, b)
        assert cases.same_bits(a, c)


def test_many_python_threads_at_once_get_the_same_bits():
    problems = [large_problem(form, "float32") for form in cases.FORMS]
    expected = [every_result(*problem) for problem in problems]
    with ThreadPoolExecutor(max_workers=4) as pool:
        jobs = [pool.submit(every_result, *problems[i % 2]) for i in range(16)]
        results = [job.result(timeout=60) for job in jobs]
    for i, result in enumerate(results):
        for got, alone in zip(result, expected[i % 2], strict=True):
            assert cases.same_bits(got, alone), f"job {i}"


# Kernels that are compiled in seconds: sums of losses, rows of few and more classes.
SMALL_CALLS = """
import numpy as np
from skxent.losses import binary_cross_entropy, cross_entropy_hvp
z = np.zeros((4, 3))
binary_cross_entropy(z + 0.5, z)
cross_entropy_hvp(z, [0, 1, 2, 0], z)
"""
LARGE_CALLS = """
import hashlib, numba, numpy as np
from skxent.losses import binary_cross_entropy, cross_entropy_hvp
for n_threads in (2, 1):
    numba.set_num_threads(n_threads)
    digest = hashlib.sha256()
    for n_classes in (10, 100):
        z, vector = np.random.default_rng(0).normal(size=(2, 5000, n_classes))
        target = np.arange(5000) % n_classes
        digest.update(cross_entropy_hvp(z, target, vector).tobytes())
        value = binary_cross_entropy(1 / (1 + np.exp(z)), np.ones_like(z))
        digest.update(np.float64(value).tobytes())
    print(digest.hexdigest())
"""


def test_same_bits_from_kernels_compiled_by_different_processes(tmp_path):
    # A script on small arrays leaves the sequential kernel in the cache, a later one
    # compiles the parallel kernel beside it, and the last one reads both.
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    digests = []
    for script in (SMALL_CALLS, LARGE_CALLS, LARGE_CALLS):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        digests += done.stdout.split()
    assert len(digests) == 4
    assert len(set(digests)) == 1
