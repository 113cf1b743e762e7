"""Rows without a softmax, ignored rows and infinite losses among ordinary rows.

For every way that a kernel takes: short and long rows, groups that are not whole.
"""

import numpy as np
import pytest

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_value_and_grad,
)
from tests import reference, torch_oracle

N = 53  # three groups of 16 and a part of one
RTOL = {"float32": 2e-6, "float64": 1e-12}
TARGETS = ["indices", "weighted", "smoothed", "probabilities", "smoothed probabilities"]

everything = [
    pytest.mark.parametrize("dtype", RTOL),
    pytest.mark.parametrize("n_classes", [3, 10, 37, 256, 257, 1000, 5000]),
    pytest.mark.parametrize("targets", TARGETS),
]


def in_every_way(test):
    """Run a test with every kind of target, number of classes and dtype."""
    for mark in everything:
        test = mark(test)
    return test


def make_rows(n_classes, dtype, targets):
    """Return ordinary rows, of which some are ignored, and options."""
    rng = np.random.default_rng(n_classes)
    z = rng.normal(0, 3, (N, n_classes)).astype(dtype)
    options = {"sample_weight": np.where(np.arange(N) % 9 == 4, 0.0, 1.5)}
    if targets == "weighted":
        options["weight"] = rng.random(n_classes) + 0.25
    if "smoothed" in targets:
        options["label_smoothing"] = 0.1
    if "probabilities" in targets:
        q = rng.random(z.shape)
        return z, (q / q.sum(axis=1, keepdims=True)).astype(dtype), options
    y = rng.integers(0, n_classes, N)
    y[[2, 20, 52]] = -100
    return z, y, options


def check(z, target, options):
    """Compare with the oracle: the same numbers, nan and infinite at the same places.

    And the loss alone with that of the call for both, to the last bit.
    """
    rtol = RTOL[z.dtype.name]
    losses = cross_entropy(z, target, reduction="none", **options)
    right = reference.cross_entropy(z, target, reduction="none", **options)
    np.testing.assert_allclose(losses, right, rtol=rtol)
    gradient = cross_entropy_grad(z, target, reduction="sum", **options)
    right = reference.cross_entropy_grad(z, target, reduction="sum", **options)
    np.testing.assert_allclose(gradient, right, rtol=rtol, atol=rtol)
    for reduction in ("none", "sum", "mean"):
        value = cross_entropy(z, target, reduction=reduction, **options)
        both = cross_entropy_value_and_grad(z, target, reduction=reduction, **options)
        assert np.asarray(both[0]).tobytes() == np.asarray(value).tobytes()
        alone = cross_entropy_grad(z, target, reduction=reduction, **options)
        assert both[1].tobytes() == alone.tobytes()
    return losses, gradient


@in_every_way
def test_ignored_rows_may_hold_anything(targets, n_classes, dtype):
    z, target, options = make_rows(n_classes, dtype, targets)
    ignored = options["sample_weight"] == 0
    if target.ndim == 1:
        ignored |= target == -100
    rows = np.flatnonzero(ignored)
    z[rows[::3]], z[rows[1::3], 0], z[rows[2::3]] = np.nan, np.inf, -np.inf
    losses, gradient = check(z, target, options)
    assert np.all(losses[rows] == 0)
    assert np.all(gradient[rows] == 0)
    assert np.isfinite(gradient).all()


@in_every_way
def test_classes_of_probability_zero(targets, n_classes, dtype):
    z, target, options = make_rows(n_classes, dtype, targets)
    some = np.random.default_rng(0).random(z.shape) < 0.2
    some[np.arange(N), np.arange(N) % n_classes] = False
    some[5], some[5, 1] = True, False  # all but one
    some[6:9] = False
    z[some] = -np.inf
    losses, gradient = check(z, target, options)
    assert not np.isnan(losses).any()
    assert np.isfinite(gradient).all()
    kept = losses != 0
    if target.ndim > 1 or "smoothed" in targets:
        assert np.all(np.isinf(losses[kept]) == some.any(axis=1)[kept])
    if target.ndim > 1:
        # where none of the mass is on such a class the loss is finite
        target = np.where(some, 0, target).astype(dtype)
        del options["sample_weight"]
        if not options:
            losses, _ = check(z, target, options)
            assert np.isfinite(losses).all()


@in_every_way
def test_losses_are_infinite_where_those_of_torch_are(targets, n_classes, dtype):
    z, target, options = make_rows(n_classes, dtype, targets)
    del options["sample_weight"]
    z[::3, n_classes // 2] = -np.inf
    z[7, 1:] = -np.inf
    losses = cross_entropy(z, target, reduction="none", **options)
    right = torch_oracle.cross_entropy(z, target, reduction="none", **options)
    np.testing.assert_allclose(losses, right, rtol=RTOL[dtype], atol=1e-14)
    value = cross_entropy(z, target, **options)
    right = torch_oracle.cross_entropy(z, target, **options)
    np.testing.assert_allclose(value, right, rtol=RTOL[dtype])


@in_every_way
def test_rows_without_a_softmax_are_nan(targets, n_classes, dtype):
    z, target, options = make_rows(n_classes, dtype, targets)
    z[1], z[17, n_classes - 1], z[33, 0], z[50] = -np.inf, np.inf, np.nan, np.inf
    z[34, n_classes // 2 :] = np.nan
    z[35], z[35, 1] = -np.inf, np.nan
    bad = np.zeros(N, bool)
    bad[[1, 17, 33, 34, 35, 50]] = True
    losses, gradient = check(z, target, options)
    kept = options["sample_weight"] != 0
    if target.ndim == 1:
        kept &= target != -100
    np.testing.assert_array_equal(np.isnan(losses), bad & kept)
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), bad & kept)
    np.testing.assert_array_equal(np.isnan(gradient).any(axis=1), bad & kept)


@in_every_way
def test_a_nan_logit_without_target_mass_is_nan(targets, n_classes, dtype):
    # few classes gave a number near 600 as a loss
    z, target, options = make_rows(n_classes, dtype, targets)
    kept = options["sample_weight"] != 0
    if target.ndim == 1:
        kept &= target != -100
    bad = np.arange(N) % 5 == 1
    at = np.arange(N) % n_classes
    z[bad, at[bad]] = np.nan
    if target.ndim > 1:
        target[bad, at[bad]] = 0
    losses, gradient = check(z, target, options)
    np.testing.assert_array_equal(np.isnan(losses), bad & kept)
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), bad & kept)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20, 1), (20, 1, 3)])
def test_ignored_rows_of_one_class_have_no_gradient(shape, dtype):
    z = np.zeros(shape, dtype)
    z[0], z[1], z[2] = np.inf, np.nan, -np.inf
    target = np.zeros(shape[:1] + shape[2:], int)
    target[:2] = -100
    loss, gradient = cross_entropy_value_and_grad(z, target, reduction="none")
    np.testing.assert_array_equal(gradient[:2], 0.0)
    np.testing.assert_array_equal(loss[:2], 0.0)
    assert np.isnan(gradient[2]).all()
    np.testing.assert_array_equal(gradient[3:], 0.0)
    weight = np.ones(20)
    weight[:2] = 0.0
    gradient = cross_entropy_grad(z, np.ones_like(z), sample_weight=weight)
    np.testing.assert_array_equal(gradient[:2], 0.0)
