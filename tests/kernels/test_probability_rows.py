"""Rows of probabilities beside plain float64, and what no public call lets through."""

import math

import numpy as np
import pytest

from skxent.backends import NO_INDEX, EncodedTargets, _numpy
from skxent.kernels import _cpu

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
BOUND = 4.0  # ulp
# lanes, tiles, rows along; a last group that is not full
SHAPES = [(37, 1), (37, 2), (50, 10), (33, 65), (19, 300), (5, 5000)]


def make_rows(rng, shape, dtype):
    """Probabilities of every size, 0 and 1 among them."""
    p = 10.0 ** -rng.exponential(2.0, size=shape)
    p[rng.random(shape) < 0.05] = 1.0
    return p.astype(dtype)


def encode(target, n_classes, smoothing=0.0, weight=None, row_weight=()):
    weight = np.ones(n_classes) if weight is None else weight
    on_value, off_value = weight * (1 - smoothing), weight * smoothing / n_classes
    row_weight = np.array(row_weight, dtype=np.float64)
    return EncodedTargets(target, on_value, off_value, row_weight, NO_INDEX, 1.0)


def run(p, targets, low=-math.inf, high=math.inf, scale=1.0, out=None):
    """The sum, the losses and the gradient of the kernel."""
    n_rows = p.size // p.shape[1]
    losses = np.full(n_rows, -9.0, dtype=p.dtype)
    gradient = np.full(p.shape, -9.0, dtype=p.dtype) if out is None else out
    total = _numpy.probability_loss(p, targets, low, high, losses, gradient, scale)
    return total, losses, gradient


def masses(target, targets, dtype):
    """``t`` of each row (n, K), float64."""
    q = np.eye(len(targets.on_value))[target] if target.ndim == 1 else target
    return targets.on_value * q.astype(np.float64) + targets.off_value


def problem(rng, kind, shape, dtype):
    n_rows, n_classes = shape
    p = make_rows(rng, shape, dtype)
    target = rng.integers(n_classes, size=n_rows)
    if kind == "probabilities":
        target = rng.dirichlet(np.ones(n_classes), size=n_rows).astype(dtype)
        target[rng.random(shape) < 0.2] = 0.0
    options = {}
    if kind != "index":
        options["smoothing"] = 0.125 * (kind != "probabilities")
        options["weight"] = rng.integers(1, 9, size=n_classes) / 4
    return p, target, encode(target, n_classes, **options)


KINDS = ["index", "weighted, smoothed index", "probabilities"]


@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_right_to_the_last_digits(kind, shape, dtype):
    rng = np.random.default_rng(0)
    p, target, targets = problem(rng, kind, shape, dtype)
    total, losses, gradient = run(p, targets, scale=0.5)
    t = masses(target, targets, dtype)
    exact = -(t * np.log(p.astype(np.longdouble))).sum(axis=1)
    ulp = np.spacing(np.abs(exact).astype(dtype)).astype(np.float64)
    assert np.all(np.abs(losses - exact) <= BOUND * ulp)
    assert total == pytest.approx(
        float(exact.sum()), rel=4 * float(np.finfo(dtype).eps)
    )
    slopes = -0.5 * t / p.astype(np.float64)
    ulp = np.spacing(np.abs(slopes).astype(dtype)).astype(np.float64)
    assert np.all(np.abs(gradient - slopes) <= BOUND * ulp)


@every_dtype
@pytest.mark.parametrize("n_classes", [2, 10, 300])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inner", [3, 16, 50])
def test_planes_and_rows_give_the_same_bits(kind, n_classes, inner, dtype):
    rng = np.random.default_rng(1)
    p, target, targets = problem(rng, kind, (5 * inner, n_classes), dtype)
    targets = targets._replace(row_weight=np.arange(5.0 * inner) % 3)

    def planes(rows):
        rows = rows.reshape(5, inner, n_classes)
        return np.ascontiguousarray(np.moveaxis(rows, 2, 1))

    total, losses, gradient = run(p, targets)
    if target.ndim > 1:
        targets = targets._replace(target=planes(target))
    total_too, losses_too, gradient_too = run(planes(p), targets)
    assert total_too == pytest.approx(total, rel=1e-15)  # chunks are others
    np.testing.assert_array_equal(losses_too, losses)
    np.testing.assert_array_equal(gradient_too, planes(gradient))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(700, 10), (40, 300)], ids=str)
def test_twins_and_a_gradient_in_place_give_the_same_bits(kind, shape):
    rng = np.random.default_rng(2)
    p, target, targets = problem(rng, kind, shape, "float32")
    expected = run(p, targets)
    operands = (p[..., None], target if target.ndim == 1 else target[..., None])
    rest = (targets.on_value, targets.off_value, targets.row_weight)
    rest += (NO_INDEX, -math.inf, math.inf, 1.0, 16)
    n_chunks = -(-len(p) // 16)
    results = []
    for twin in _cpu.probability_loss:
        losses = np.empty(len(p), dtype=p.dtype)
        partial, gradient = np.empty(n_chunks), np.empty_like(p)
        twin(0, n_chunks, *operands, *rest, losses, partial, gradient[..., None])
        results.append((partial, losses, gradient))
    for parallel, sequential in zip(*results, strict=True):
        np.testing.assert_array_equal(parallel, sequential)
    np.testing.assert_array_equal(results[0][2], expected[2])
    total, losses, gradient = run(p, targets, out=p)
    assert (total, gradient is p) == (expected[0], True)
    np.testing.assert_array_equal(losses, expected[1])
    np.testing.assert_array_equal(gradient, expected[2])


@every_dtype
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("n_classes", [2, 10, 300, 5000])
@pytest.mark.parametrize("inner", [1, 7])
def test_an_index_that_is_no_class_is_nan_in_its_row_alone(
    inner, n_classes, smoothing, dtype
):
    rng = np.random.default_rng(3)
    p = make_rows(rng, (3, n_classes, inner), dtype)
    p = p[..., 0] if inner == 1 else p
    n_rows = 3 * inner
    for place in (0, n_rows // 2, n_rows - 1):
        target = np.arange(n_rows) % n_classes
        right = run(p, encode(target, n_classes, smoothing))
        for wrong in (-1, n_classes, 2**40, -(2**63)):
            target[place] = wrong
            total, losses, gradient = run(p, encode(target, n_classes, smoothing))
            assert math.isnan(total)
            kept = np.arange(n_rows) != place
            assert math.isnan(losses[place])
            np.testing.assert_array_equal(losses[kept], right[1][kept])
            rows, right_rows = (
                np.moveaxis(g, 1, -1).reshape(n_rows, n_classes)
                for g in (gradient, right[2])
            )
            assert np.isnan(rows[place]).all()
            np.testing.assert_array_equal(rows[kept], right_rows[kept])
            ignored = encode(target, n_classes, smoothing, row_weight=1.0 * kept)
            total, losses, gradient = run(p, ignored)
            assert losses[place] == 0
            rows = np.moveaxis(gradient, 1, -1).reshape(n_rows, n_classes)
            assert not rows[place].any()
            assert math.isfinite(total)


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 10, 300])
def test_rows_of_weight_0_may_hold_anything(n_classes, kind, dtype):
    rng = np.random.default_rng(4)
    p, _, targets = problem(rng, kind, (40, n_classes), dtype)
    weight = np.arange(40.0) % 4
    p[weight == 0] = rng.choice([math.nan, math.inf, 0.0, -1.0], (10, n_classes))
    total, losses, gradient = run(p, targets._replace(row_weight=weight))
    assert math.isfinite(total)
    assert not losses[weight == 0].any()
    assert not gradient[weight == 0].any()
    assert np.count_nonzero(losses) > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 10, 300])
def test_limits_clip_the_loss_but_not_nan(n_classes, kind):
    rng = np.random.default_rng(5)
    p, target, targets = problem(rng, kind, (20, n_classes), "float64")
    p[:4] = 0.0
    p[4:8] = 3.0
    _, losses, _ = run(p, targets, 0.01, 0.5)
    t = masses(target, targets, "float64")
    expected = -(t * np.log(p.clip(0.01, 0.5))).sum(axis=1)
    np.testing.assert_allclose(losses, expected, rtol=1e-14)
    p[9] = math.nan
    assert math.isnan(run(p, targets, 0.01, 0.5)[1][9])
