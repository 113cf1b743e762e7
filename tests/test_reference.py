"""The oracle against torch in float64, and against mpmath and itself beyond torch."""

import math

import mpmath
import numpy as np
import pytest

from tests import reference, torch_oracle
from tests.losses import cases

SMALL_SHAPES = [shape for shape in cases.SHAPES if math.prod(shape) <= 400]


@pytest.mark.parametrize("shape", SMALL_SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_agrees_with_torch_over_the_product_of_options(form, shape):
    rng = np.random.default_rng(20)
    z = cases.make_logits(rng, shape)
    vector = rng.normal(size=shape)
    target = cases.make_target(rng, form, shape)
    weight = cases.make_weight(rng, shape[-1])
    failures = []
    for t, options in cases.option_grid(form, shape, target, weight):
        with_options = cases.describe(options)
        size = reference.mass_scale(z, t, **options)
        failures += cases.value_mismatch(
            f"value, {with_options}",
            reference.cross_entropy(z, t, **options),
            torch_oracle.cross_entropy(z, t, **options),
            # torch takes the difference of two numbers of size 1 for a loss of
            # 1e-4: the missing digits are torch's, see the test against mpmath.
            rtol=1e-12,
        )
        failures += cases.gradient_mismatch(
            f"gradient, {with_options}",
            reference.cross_entropy_grad(z, t, **options),
            torch_oracle.cross_entropy_grad(z, t, **options),
            size,
            rtol=1e-14,
        )
        failures += cases.gradient_mismatch(
            f"hvp, {with_options}",
            reference.cross_entropy_hvp(z, t, vector, **options),
            torch_oracle.cross_entropy_hvp(z, t, vector, **options),
            size * np.abs(vector).max(),
            rtol=1e-14,
        )
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("smoothing", cases.SMOOTHINGS)
def test_total_weight_zero_and_ignored_nan_row_are_as_torch_has_them(smoothing):
    z = np.random.default_rng(21).normal(size=(3, 4))
    target, weight = np.array([0, 0, -100]), np.array([0.0, 1.0, 1.0, 1.0])
    options = {"weight": weight, "label_smoothing": smoothing}
    assert math.isnan(torch_oracle.cross_entropy(z, target, **options))
    assert math.isnan(reference.cross_entropy(z, target, **options))
    ours = reference.cross_entropy_grad(z, target, **options)
    assert np.isnan(ours[:2]).all()
    assert (ours[2] == 0).all()
    np.testing.assert_array_equal(
        ours, torch_oracle.cross_entropy_grad(z, target, **options)
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("form", cases.FORMS)
def test_undefined_row_is_nan_as_in_torch(form, bad):
    rng = np.random.default_rng(22)
    z = rng.normal(size=(3, 4))
    z[1, 2] = bad
    target = cases.make_target(rng, form, z.shape)
    ours = reference.cross_entropy(z, target, reduction="none")
    theirs = torch_oracle.cross_entropy(z, target, reduction="none")
    np.testing.assert_array_equal(np.isnan(ours), [False, True, False])
    np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    gradient = reference.cross_entropy_grad(z, target, reduction="sum")
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), [0, 1, 0])


def test_logit_of_minus_infinity_is_as_torch_has_it():
    # Row 0 has its target there, row 1 elsewhere.
    z = np.array([[-np.inf, 1.0, 2.0], [-np.inf, 1.0, 2.0]])
    target = np.array([0, 2])
    ours = reference.cross_entropy(z, target, reduction="none")
    assert ours[0] == math.inf
    assert math.isclose(ours[1], math.log1p(math.exp(-1)), rel_tol=1e-15)
    np.testing.assert_allclose(
        ours, torch_oracle.cross_entropy(z, target, reduction="none"), rtol=1e-15
    )
    np.testing.assert_allclose(
        reference.cross_entropy_grad(z, target),
        torch_oracle.cross_entropy_grad(z, target),
        rtol=1e-14,
    )


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("form", cases.FORMS)
def test_sample_weight_counts_repeated_rows(form, reduction):
    # torch has no sample_weight: the oracle leans on torch's rows repeated.
    rng = np.random.default_rng(23)
    z = rng.normal(size=(6, 5))
    target = cases.make_target(rng, form, z.shape)
    counts = np.array([1, 3, 0, 2, 1, 4])
    options = {
        "weight": cases.make_weight(rng, 5),
        "label_smoothing": 0.2,
        "reduction": reduction,
    }
    ours = reference.cross_entropy(z, target, sample_weight=counts, **options)
    repeated = np.repeat(z, counts, axis=0), np.repeat(target, counts, axis=0)
    theirs = torch_oracle.cross_entropy(*repeated, **options)
    np.testing.assert_allclose(ours, theirs, rtol=1e-14)
    # The gradients of the copies of a row add up to the gradient of the row.
    gradient = reference.cross_entropy_grad(z, target, sample_weight=counts, **options)
    summed = np.zeros_like(z)
    np.add.at(
        summed,
        np.repeat(np.arange(6), counts),
        torch_oracle.cross_entropy_grad(*repeated, **options),
    )
    np.testing.assert_allclose(gradient, summed, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("form", cases.FORMS)
def test_probabilities_are_logits_of_their_logarithm(form):
    # log p is a valid row of logits with lse = 0, so torch serves once more; the
    # gradient in z = log p chains as dp = p dz, up to the part along p.
    rng = np.random.default_rng(24)
    p = cases.make_probabilities(rng, (6, 5))
    target = cases.make_target(rng, form, p.shape)
    options = {"weight": cases.make_weight(rng, 5), "label_smoothing": 0.1}
    np.testing.assert_allclose(
        reference.cross_entropy(p, target, from_logits=False, **options),
        torch_oracle.cross_entropy(np.log(p), target, **options),
        rtol=1e-13,
    )
    dp = reference.cross_entropy_grad(p, target, from_logits=False, **options)
    dz = p * (dp - np.sum(p * dp, axis=1, keepdims=True))
    np.testing.assert_allclose(
        dz,
        torch_oracle.cross_entropy_grad(np.log(p), target, **options),
        rtol=1e-12,
        atol=1e-16,
    )


def test_row_loss_mp_agrees_with_the_oracle_on_any_scale():
    rng = np.random.default_rng(25)
    for scale in (0.1, 3.0, 50.0, 1000.0):
        z = rng.normal(scale=scale, size=9)
        for y in range(z.size):
            exact = float(reference.row_loss_mp(z, y))
            ours = reference.cross_entropy(z, y)
            assert math.isclose(ours, exact, rel_tol=4e-15, abs_tol=1e-320)


def test_row_loss_mp_keeps_the_digits_of_a_tiny_loss():
    # log(1 + e**-700) is e**-700 up to a relative 1e-304.
    loss = reference.row_loss_mp([700.0, 0.0], 0)
    with mpmath.workdps(60):
        assert mpmath.almosteq(loss, mpmath.exp(-700), rel_eps=mpmath.mpf(10) ** -55)
