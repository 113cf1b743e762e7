"""The loss of a linear layer in each row of the contract's table of special cases."""

import math

import numpy as np
import pytest

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    linear_cross_entropy,
    linear_cross_entropy_grad,
    linear_cross_entropy_value_and_grad,
)
from tests.losses import cases
from tests.losses.linear_cases import REDUCTIONS, SHAPES, make_problem


@pytest.mark.parametrize("fill", [math.nan, math.inf])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shapes", SHAPES[2:], ids=str)
def test_ignored_row_adds_nothing_whatever_it_holds(
    shapes, reduction, fill, linear_block
):
    X, W, b, target, weight = make_problem(shapes, "index")
    target[[1, 4]] = -100
    options = {"linear_bias": b, "weight": weight, "reduction": reduction}
    expected = linear_cross_entropy_value_and_grad(X, W, target, **options)
    X[[1, 4]] = fill
    value, slopes = linear_cross_entropy_value_and_grad(X, W, target, **options)
    assert cases.same_bits(value, expected[0])
    for got, plain in zip(slopes, expected[1], strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_array_equal(got, plain)
    assert (slopes[0][[1, 4]] == 0).all()
    assert cases.same_bits(value, linear_cross_entropy(X, W, target, **options))


@pytest.mark.parametrize("form", cases.FORMS)
def test_sample_of_weight_zero_adds_nothing_even_if_nan(form, linear_block):
    X, W, b, target, _ = make_problem(SHAPES[3], form)
    keep = np.arange(10) % 3 > 0
    X[~keep] = math.nan
    got = linear_cross_entropy_value_and_grad(
        X, W, target, linear_bias=b, sample_weight=keep
    )
    value, slopes = linear_cross_entropy_value_and_grad(
        X[keep], W, target[keep], linear_bias=b
    )
    np.testing.assert_allclose(got[0], value, rtol=1e-14)
    np.testing.assert_allclose(got[1][0][keep], slopes[0], rtol=1e-12, atol=1e-15)
    assert (got[1][0][~keep] == 0).all()
    for a, b in zip(got[1][1:], slopes[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_ignored_row_gets_zeros_even_if_the_weights_are_infinite():
    W = np.array([[math.inf], [1.0]])
    slopes = linear_cross_entropy_grad(np.ones((2, 1)), W, np.array([-100, 0]))
    np.testing.assert_array_equal(slopes[0], [[0.0], [math.nan]])


@pytest.mark.parametrize(
    ("x_shape", "w_shape"),
    [
        ((4,), (5, 4)),
        ((6, 4), (5, 4)),
        ((0, 4), (5, 4)),
        ((0, 4), (5, 3, 4)),
        ((6, 4), (5, 0, 4)),
        ((6, 4), (0, 4)),
        ((6, 0), (5, 0)),
    ],
)
def test_nothing_to_average(x_shape, w_shape):
    X, W, b = np.ones(x_shape), np.ones(w_shape), np.ones(w_shape[:-1])
    target = np.full(x_shape[:-1] + w_shape[1:-1], -100)
    for reduction in REDUCTIONS:
        value, slopes = linear_cross_entropy_value_and_grad(
            X, W, target, linear_bias=b, reduction=reduction
        )
        expected = cross_entropy(
            np.ones(x_shape[:-1] + w_shape[:-1]), target, reduction=reduction
        )
        assert cases.same_bits(value, expected)
        for slope, operand in zip(slopes, (X, W, b), strict=True):
            assert slope.shape == operand.shape
            assert (slope == 0).all()


def test_no_features_leave_the_bias():
    b = np.array([0.5, -1.0, 2.0])
    target = np.array([0, 2, 2])
    value, slopes = linear_cross_entropy_value_and_grad(
        np.ones((3, 0)), np.ones((3, 0)), target, linear_bias=b
    )
    scores = np.tile(b, (3, 1))
    assert math.isclose(value, cross_entropy(scores, target), rel_tol=1e-15)
    expected = cross_entropy_grad(scores, target).sum(axis=0)
    np.testing.assert_allclose(slopes[2], expected, rtol=1e-14)


def test_total_weight_zero_with_rows_kept_is_nan_in_value_and_gradients():
    X, W, b, _, _ = make_problem(((4, 3), (3, 3)), "index")
    target = np.array([0, 0, -100, 0])
    value, slopes = linear_cross_entropy_value_and_grad(
        X, W, target, linear_bias=b, weight=[0.0, 1.0, 2.0]
    )
    assert math.isnan(value)
    assert np.isnan(slopes[0][[0, 1, 3]]).all()
    assert (slopes[0][2] == 0).all()
    assert np.isnan(slopes[1]).all()
    assert np.isnan(slopes[2]).all()


def test_bias_of_minus_infinity_takes_a_class_out():
    X, W, b, target, _ = make_problem(SHAPES[2], "index")
    target[target == 1] = 0
    b[1] = -math.inf
    value, slopes = linear_cross_entropy_value_and_grad(X, W, target, linear_bias=b)
    fewer = linear_cross_entropy_value_and_grad(
        X, np.delete(W, 1, 0), target - (target > 1), linear_bias=np.delete(b, 1)
    )
    np.testing.assert_allclose(value, fewer[0], rtol=1e-14)
    np.testing.assert_allclose(slopes[0], fewer[1][0], rtol=1e-12, atol=1e-15)
    assert (slopes[1][1] == 0).all()
    assert slopes[2][1] == 0
    target[0] = 1
    losses = linear_cross_entropy(X, W, target, linear_bias=b, reduction="none")
    np.testing.assert_array_equal(np.flatnonzero(losses == math.inf), [0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_undefined_row_is_nan_and_no_other(bad, linear_block):
    X, W, _, target, _ = make_problem(SHAPES[2], "index")
    X[3] = bad
    losses = linear_cross_entropy(X, W, target, reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), np.arange(10) == 3)
    d_input, d_weight = linear_cross_entropy_grad(X, W, target)
    np.testing.assert_array_equal(np.isnan(d_input).all(axis=1), np.arange(10) == 3)
    np.testing.assert_array_equal(np.isnan(d_input).any(axis=1), np.arange(10) == 3)
    assert np.isnan(d_weight).all()


def test_class_without_weight_against_an_infinite_loss_is_zero():
    b = np.array([-math.inf, 0.0])
    losses = linear_cross_entropy(
        np.ones((2, 1)),
        np.ones((2, 1)),
        np.array([0, 1]),
        linear_bias=b,
        weight=[0.0, 1.0],
        reduction="none",
    )
    np.testing.assert_array_equal(losses, [0.0, 0.0])
