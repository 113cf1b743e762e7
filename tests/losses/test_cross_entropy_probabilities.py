"""`from_logits=False`: the input holds probabilities, and none of them is clipped."""

import math

import numpy as np
import pytest

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_value_and_grad,
)
from tests import reference
from tests.losses import cases

RTOL = {"float64": 1e-12, "float32": 5e-7}


def evaluate(p, target, **options):
    """The value and the gradient, asked for alone and both at once."""
    options["from_logits"] = False
    value = cross_entropy(p, target, **options)
    gradient = cross_entropy_grad(p, target, **options)
    value_too, gradient_too = cross_entropy_value_and_grad(p, target, **options)
    np.testing.assert_allclose(value_too, value, rtol=1e-6)
    np.testing.assert_allclose(gradient_too, gradient, rtol=1e-6)
    return value, gradient


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", cases.SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_agrees_with_the_oracle_over_the_product_of_options(form, shape, dtype):
    rng = np.random.default_rng(40)
    p = cases.make_probabilities(rng, shape, dtype)
    target = cases.make_target(rng, form, shape, dtype)
    weight = cases.make_weight(rng, shape[-1])
    failures = []
    for t, options in cases.option_grid(form, shape, target, weight):
        what = cases.describe(options)
        options["from_logits"] = False
        value, gradient = evaluate(p, t, **options)
        expected = reference.cross_entropy(p, t, **options)
        failures += cases.value_mismatch(f"value, {what}", value, expected, RTOL[dtype])
        # -t / p does not cancel: every entry to its own last digits.
        expected = reference.cross_entropy_grad(p, t, **options)
        failures += cases.value_mismatch(
            f"gradient, {what}", gradient, expected, RTOL[dtype]
        )
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("form", cases.FORMS)
def test_sample_weight_agrees_with_the_oracle(form, reduction):
    rng = np.random.default_rng(41)
    p = cases.make_probabilities(rng, (33, 10))
    target = cases.make_target(rng, form, p.shape)
    options = {
        "sample_weight": cases.make_sample_weight(rng, 33),
        "weight": cases.make_weight(rng, 10),
        "reduction": reduction,
    }
    value, gradient = evaluate(p, target, **options)
    options["from_logits"] = False
    np.testing.assert_allclose(
        value, reference.cross_entropy(p, target, **options), rtol=1e-13
    )
    np.testing.assert_allclose(
        gradient, reference.cross_entropy_grad(p, target, **options), rtol=1e-13
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("form", cases.FORMS)
def test_exactly_right_predictions_are_exactly_zero(form, dtype):
    labels = np.arange(12) % 5
    p = np.eye(5, dtype=dtype)[labels]
    target = labels if form == "index" else p.copy()
    for reduction in cases.REDUCTIONS:
        value, _ = evaluate(p, target, reduction=reduction)
        assert (np.asarray(value) == 0).all()
    _, gradient = evaluate(p, target, reduction="sum")
    # 0 log 0 is 0, and so is its share of the gradient.
    np.testing.assert_array_equal(gradient, -p)


@pytest.mark.parametrize("form", cases.FORMS)
def test_probability_zero_under_target_mass_is_an_infinite_loss(form):
    p = np.array([[0.0, 1.0], [0.5, 0.5]])
    target = np.array([0, 1]) if form == "index" else np.array([[1.0, 0], [0, 1]])
    losses, gradient = evaluate(p, target, reduction="none")
    np.testing.assert_array_equal(losses, [math.inf, math.log(2)])
    np.testing.assert_array_equal(gradient, [[-math.inf, 0.0], [0.0, -2.0]])
    assert evaluate(p, target)[0] == math.inf


def test_smoothing_puts_target_mass_on_a_probability_of_zero():
    value, _ = evaluate(np.array([[1.0, 0.0]]), np.array([0]), label_smoothing=0.1)
    assert value == math.inf


def test_class_weight_zero_on_a_probability_of_zero_is_zero():
    p = np.array([[0.0, 1.0], [0.5, 0.5]])
    options = {"weight": [0.0, 1.0], "reduction": "none"}
    losses, gradient = evaluate(p, np.array([0, 1]), **options)
    np.testing.assert_array_equal(losses, [0.0, math.log(2)])
    np.testing.assert_array_equal(gradient, [[0.0, 0.0], [0.0, -2.0]])


def test_nothing_is_clipped():
    # 5e-324 is the smallest positive number: scikit-learn would make it 2e-16.
    p = np.array([[5e-324, 1.0]])
    value, _ = evaluate(p, np.array([0]))
    assert math.isclose(value, -math.log(5e-324), rel_tol=1e-15)


def test_nothing_is_renormalised():
    p = np.array([[0.5, 2.0], [3.0, 4.0]])
    losses, gradient = evaluate(p, np.array([0, 1]), reduction="none")
    np.testing.assert_allclose(losses, [math.log(2), -math.log(4)], rtol=1e-15)
    np.testing.assert_allclose(gradient, [[-2.0, 0], [0, -0.25]], rtol=1e-15)


@pytest.mark.parametrize("form", cases.FORMS)
def test_nan_under_target_mass_is_nan(form):
    p = np.array([[math.nan, 1.0], [0.5, 0.5]])
    target = np.array([0, 1]) if form == "index" else np.array([[1.0, 0], [0, 1]])
    losses, gradient = evaluate(p, target, reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [True, False])
    assert math.isnan(gradient[0, 0])
    assert np.isfinite(gradient[1]).all()
    assert math.isnan(evaluate(p, target)[0])
