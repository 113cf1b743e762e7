"""Class indices that are ignored or wrong, through every door that takes them."""

import math

import numpy as np
import pytest

from skxent.backends import _numpy
from skxent.kernels import _cpu
from skxent.losses import (
    _plain,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
    linear_cross_entropy_value_and_grad,
    nll_loss_value_and_grad,
)
from tests.losses import cases

LEAST = -(2**63)
N_ROWS = 38
SHAPES = [
    shape
    for n_classes in (2, 10, 300, 5000)
    for shape in [(N_ROWS, n_classes), (2, n_classes, N_ROWS // 2)]
]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def make_problem(shape, dtype="float64"):
    rng = np.random.default_rng(80)
    z = rng.normal(0, 3, shape).astype(dtype)
    return z, rng.integers(0, shape[1], (shape[0], *shape[2:]))


@every_shape
@every_dtype
@pytest.mark.parametrize("wrong", [-1, "K", 2**40, LEAST])
def test_wrong_index_is_refused_by_name(shape, dtype, wrong):
    z, target = make_problem(shape, dtype)
    index = shape[1] if wrong == "K" else wrong
    for row in (0, 17, N_ROWS - 1):
        y = target.copy()
        y.flat[row] = index
        for call in (
            lambda y=y: cross_entropy(z, y),
            lambda y=y: cross_entropy(z, y, reduction="none"),
            lambda y=y: cross_entropy(z, y, weight=np.ones(shape[1])),
            lambda y=y: cross_entropy_grad(z, y),
            lambda y=y: cross_entropy_value_and_grad(z, y),
            lambda y=y: cross_entropy_value_and_grad(z, y, out=np.empty_like(z)),
            lambda y=y: cross_entropy_hvp(z, y, z),
        ):
            with pytest.raises(ValueError, match=rf"got {index} at row {row}\b"):
                call()


@every_dtype
def test_first_wrong_index_is_named_among_undefined_and_ignored_rows(dtype):
    z, y = make_problem((N_ROWS, 10), dtype)
    z[3] = math.nan
    y[4], y[20], y[30] = -100, 11, LEAST
    with pytest.raises(ValueError, match="got 11 at row 20"):
        cross_entropy(z, y)
    y[20] = -100
    with pytest.raises(ValueError, match=f"got {LEAST} at row 30"):
        cross_entropy_value_and_grad(z, y)


@every_shape
@every_dtype
@pytest.mark.parametrize("ignored", [-100, 1, LEAST])
@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf])
def test_ignored_rows_are_as_good_as_absent(shape, dtype, ignored, fill):
    z, target = make_problem(shape, dtype)
    target[target == ignored] = 0
    y = target.copy()
    rows = [0, 5, 16, 17, N_ROWS - 1]
    y.flat[rows] = ignored
    weight = np.ones(N_ROWS)
    weight[rows] = 0
    weight = weight.reshape(y.shape)
    expected = cross_entropy_value_and_grad(z, target, sample_weight=weight)
    product = cross_entropy_hvp(z, target, z, sample_weight=weight)
    bad = np.moveaxis(z.copy(), 1, -1)
    bad[y == ignored] = fill
    bad = np.ascontiguousarray(np.moveaxis(bad, -1, 1))
    out = np.full_like(z, 7)
    ways = [{"ignore_index": ignored}, {"ignore_index": ignored, "out": out}]
    if ignored == -100:
        ways += [{}, {"out": out}]
        assert cross_entropy(bad, y) == expected[0]
    for options in ways:
        out.fill(7)
        got = cross_entropy_value_and_grad(bad, y, **options)
        assert got[0] == expected[0]
        np.testing.assert_array_equal(got[1], expected[1])
    np.testing.assert_array_equal(
        cross_entropy_hvp(bad, y, z, ignore_index=ignored), product
    )
    losses = cross_entropy(bad, y, ignore_index=ignored, reduction="none")
    assert not losses[y == ignored].any()
    assert (losses[y != ignored] > 0).all()


@pytest.mark.parametrize("reduction", [*cases.REDUCTIONS, "sample"])
@pytest.mark.parametrize("ignored", [-100, 1, LEAST])
def test_ignored_rows_stay_out_of_the_gradient_that_flows_in(reduction, ignored):
    z, target = make_problem((4, 3, 6))
    target[target == ignored] = 0
    y = target.copy()
    y[0, 2:], y[1] = ignored, ignored  # a sample in part, and one as a whole
    weight = np.where(y == ignored, 0.0, 1.0)
    options = {"reduction": reduction, "label_smoothing": 0.1}
    shape = np.shape(cross_entropy(z, target, reduction=reduction))
    inflow = np.random.default_rng(81).normal(size=shape)
    expected = cross_entropy_grad(
        z, target, sample_weight=weight, grad_output=inflow, **options
    )
    got = cross_entropy_grad(z, y, ignore_index=ignored, grad_output=inflow, **options)
    np.testing.assert_array_equal(got, expected)
    assert not np.moveaxis(got, 1, -1)[y == ignored].any()
    np.testing.assert_array_equal(
        cross_entropy(z, y, ignore_index=ignored, **options),
        cross_entropy(z, target, sample_weight=weight, **options),
    )


@pytest.mark.parametrize("ignored", [-100, 1, LEAST])
def test_ignored_rows_of_the_other_losses(ignored):
    z, target = make_problem((N_ROWS, 10))
    target[target == ignored] = 0
    y = target.copy()
    rows = [0, 17, N_ROWS - 1]
    y[rows] = ignored
    weight = np.ones(N_ROWS)
    weight[rows] = 0
    bad = z.copy()
    bad[rows] = math.nan
    W = np.random.default_rng(82).normal(size=(10, 10))
    for expected, got in (
        (
            nll_loss_value_and_grad(z, target, sample_weight=weight),
            nll_loss_value_and_grad(bad, y, ignore_index=ignored),
        ),
        (
            linear_cross_entropy_value_and_grad(z, W, target, sample_weight=weight),
            linear_cross_entropy_value_and_grad(bad, W, y, ignore_index=ignored),
        ),
    ):
        assert got[0] == expected[0]
        slopes, of_weights = (
            pair[1] if isinstance(pair[1], tuple) else pair[1:]
            for pair in (got, expected)
        )
        for one, other in zip(slopes, of_weights, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("reduction", [*cases.REDUCTIONS, "sample"])
@pytest.mark.parametrize("ignored", [-100, 1, LEAST])
def test_ignored_rows_of_lists(reduction, ignored):
    z, target = make_problem((N_ROWS, 10))
    target[target == ignored] = 0
    y, weight = target.copy(), np.ones(N_ROWS)
    rows = [0, 17, N_ROWS - 1]
    y[rows], weight[rows] = ignored, 0
    z[rows] = math.nan
    options = {"reduction": reduction, "class_axis": -1}
    cut = [5]
    expected = cross_entropy_value_and_grad(
        np.split(z, cut),
        np.split(target, cut),
        sample_weight=np.split(weight, cut),
        **options,
    )
    got = cross_entropy_value_and_grad(
        np.split(z, cut), np.split(y, cut), ignore_index=ignored, **options
    )
    for pair in zip(got, expected, strict=True):
        one, other = (
            np.concatenate(v) if isinstance(v, list) else np.asarray(v) for v in pair
        )
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("n_ignored", "n_calls"), [(0, 1), (700, 1), (1, 2)])
def test_rows_are_computed_once_where_many_are_ignored(monkeypatch, n_ignored, n_calls):
    z, y = make_problem((7001, 10))
    y[np.random.default_rng(83).permutation(7001)[:n_ignored]] = -100
    kept = y != -100
    expected = cross_entropy(z[kept], y[kept], reduction="sum") / kept.sum()
    launcher, calls = _numpy.launcher, []

    def counting(kernel, *sizes):
        run = launcher(kernel, *sizes)

        def counted(*operands):
            calls.append(operands)
            return run(*operands)

        return counted if kernel is _cpu.short_rows_loss else run

    kept_plans = _numpy.bound_loss, _plain._plan
    monkeypatch.setattr(_numpy, "launcher", counting)
    try:
        for plan in kept_plans:
            plan.cache_clear()
        assert math.isclose(cross_entropy(z, y), expected, rel_tol=1e-14)
    finally:
        for plan in kept_plans:
            plan.cache_clear()
    assert len(calls) == n_calls


@pytest.mark.parametrize("ignore_index", [2**63, 2**64, -(2**64), -(2**63) - 1])
def test_ignore_index_beyond_int64_ignores_no_index_of_int64(ignore_index):
    z, y = make_problem((N_ROWS, 10))
    plain = cross_entropy(z, y)
    assert cross_entropy(z, y, ignore_index=ignore_index) == plain
    y[3] = LEAST
    with pytest.raises(ValueError, match=f"got {LEAST} at row 3"):
        cross_entropy(z, y, ignore_index=ignore_index)


@every_shape
@every_dtype
def test_infinite_loss_is_an_infinite_sum(shape, dtype):
    z, y = make_problem(shape, dtype)
    y.flat[5] = 1
    z[(5, 1) if len(shape) == 2 else (0, 1, 5)] = -math.inf
    for reduction in ("sum", "mean"):
        assert cross_entropy(z, y, reduction=reduction) == math.inf
        assert cross_entropy_value_and_grad(z, y, reduction=reduction)[0] == math.inf


@pytest.mark.parametrize("ignore_index", [2**63 - 1, 2**63, 2**64 - 1])
def test_ignore_index_beyond_int64_is_that_of_uint64_alone(ignore_index):
    z = np.random.default_rng(64).normal(size=(3, 4))
    target = np.array([1, ignore_index, 2], dtype=np.uint64)
    expected = cross_entropy(z, [1, -100, 2])
    assert cross_entropy(z, target, ignore_index=ignore_index) == expected
    # as int64 they would all be the same
    for other in {2**63 - 1, 2**63, 2**64 - 1} - {ignore_index}:
        with pytest.raises(
            ValueError, match=rf"target must .* {ignore_index} at row 1"
        ):
            cross_entropy(z, target, ignore_index=other)


@pytest.mark.parametrize("order", "<>")
def test_uint64_of_any_order_of_bytes(order):
    z = np.array([[1.0, 2.0], [3.0, 1.0]])
    target = np.array([0, 2**64 - 100], f"{order}u8")
    with pytest.raises(ValueError, match="got 18446744073709551516 at row 1"):
        cross_entropy(z, target)
    loss = cross_entropy(z, target, ignore_index=2**64 - 100)
    assert loss == pytest.approx(np.log1p(np.e))
