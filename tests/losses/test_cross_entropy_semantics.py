"""Each row of the contract's table of special cases, by its name.

A target out of range stands with the other refusals in `test_cross_entropy_refusals`.

The special rows stand among ordinary ones, at several widths and in two dtypes, so
that they reach every path of the kernels.  That no call warns is part of every test:
the suite turns warnings into errors.
"""

import math

import numpy as np
import pytest

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests import reference
from tests.losses import cases

RTOL = {"float64": 1e-12, "float32": 1e-6}
SPECIAL = [7, 8, 23]

every_form = pytest.mark.parametrize("form", cases.FORMS)
every_size = pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        (shape, dtype)
        for shape in [(25, 3), (25, 40), (25, 1000), (1001, 37)]
        for dtype in RTOL
    ],
    ids=str,
)


def make_problem(form, shape, dtype="float64", seed=30):
    rng = np.random.default_rng(seed)
    z = cases.make_logits(rng, shape, dtype)
    return z, cases.make_target(rng, form, shape, dtype)


def evaluate(z, target, **options):
    """The value and the gradient, asked for alone and both at once."""
    value = cross_entropy(z, target, **options)
    gradient = cross_entropy_grad(z, target, **options)
    value_too, gradient_too = cross_entropy_value_and_grad(z, target, **options)
    np.testing.assert_allclose(value_too, value, rtol=1e-6)
    np.testing.assert_allclose(gradient_too, gradient, rtol=1e-6, atol=1e-6)
    return value, gradient


def assert_matches_oracle(z, target, **options):
    """Value, gradient and curvature product, nan and inf at the same places."""
    rtol = RTOL[str(z.dtype)]
    value, gradient = evaluate(z, target, **options)
    np.testing.assert_allclose(
        value, reference.cross_entropy(z, target, **options), rtol=rtol
    )
    np.testing.assert_allclose(
        gradient,
        reference.cross_entropy_grad(z, target, **options),
        rtol=rtol,
        atol=rtol,
    )
    if options.pop("from_logits", True):
        vector = np.cos(np.arange(z.size)).reshape(z.shape).astype(z.dtype)
        np.testing.assert_allclose(
            cross_entropy_hvp(z, target, vector, **options),
            reference.cross_entropy_hvp(z, target, vector, **options),
            rtol=rtol,
            atol=rtol,
        )


# mean, index targets


@pytest.mark.parametrize("smoothing", cases.SMOOTHINGS)
def test_mean_over_indices_divides_by_the_class_weights_of_the_kept_rows(smoothing):
    z, target = make_problem("index", (25, 5))
    target[3:9] = -1
    rng = np.random.default_rng(31)
    w, s = cases.make_weight(rng, 5), cases.make_sample_weight(rng, 25)
    options = {"weight": w, "ignore_index": -1, "label_smoothing": smoothing}
    options["sample_weight"] = s
    weighted = cross_entropy(z, target, reduction="none", **options)
    kept = target != -1
    mean = math.fsum(weighted) / math.fsum(w[target[kept]] * s[kept])
    assert math.isclose(cross_entropy(z, target, **options), mean, rel_tol=1e-14)


# mean, probability targets


@pytest.mark.parametrize("smoothing", cases.SMOOTHINGS)
def test_mean_over_probabilities_is_never_divided_by_class_weights(smoothing):
    z, target = make_problem("probabilities", (25, 5))
    rng = np.random.default_rng(32)
    w, s = cases.make_weight(rng, 5), cases.make_sample_weight(rng, 25)
    options = {"weight": w, "label_smoothing": smoothing}
    plain = cross_entropy(z, target, reduction="none", **options)
    mean = cross_entropy(z, target, **options)
    assert math.isclose(mean, math.fsum(plain) / 25, rel_tol=1e-14)
    weighted_mean = cross_entropy(z, target, sample_weight=s, **options)
    expected = math.fsum(s * plain) / math.fsum(s)
    assert math.isclose(weighted_mean, expected, rel_tol=1e-14)


# ignored row


@every_size
@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf])
def test_row_with_ignore_index_adds_nothing_even_if_undefined(
    shape, dtype, reduction, fill
):
    z, target = make_problem("index", shape, dtype)
    target[SPECIAL] = -100
    z[SPECIAL] = fill
    assert_matches_oracle(z, target, reduction=reduction, label_smoothing=0.1)
    value, gradient = evaluate(z, target, reduction=reduction)
    assert np.isfinite(value).all()
    assert (gradient[SPECIAL] == 0).all()


@every_size
@every_form
@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
def test_row_of_sample_weight_zero_adds_nothing_even_if_nan(
    form, shape, dtype, reduction
):
    z, target = make_problem(form, shape, dtype)
    sample_weight = np.ones(shape[0])
    sample_weight[SPECIAL] = 0
    z[SPECIAL] = math.nan
    options = {"reduction": reduction, "sample_weight": sample_weight}
    assert_matches_oracle(z, target, label_smoothing=0.1, **options)
    value, gradient = evaluate(z, target, **options)
    assert np.isfinite(value).all()
    assert (gradient[SPECIAL] == 0).all()


def test_ignored_row_of_nan_probabilities_adds_nothing():
    p = np.full((3, 4), 0.25)
    p[1] = math.nan
    value, gradient = evaluate(p, np.array([0, -100, 2]), from_logits=False)
    assert math.isclose(value, math.log(4), rel_tol=1e-15)
    assert (gradient[1] == 0).all()


# every row ignored, or no rows


def check_nothing_to_average(z, target, **options):
    """The mean of no row is nan with zero gradient; sum and none are zero."""
    vector = np.ones_like(z)
    for reduction in cases.REDUCTIONS:
        options["reduction"] = reduction
        value, gradient = evaluate(z, target, **options)
        product = cross_entropy_hvp(z, target, vector, **options)
        assert gradient.shape == product.shape == z.shape
        assert (gradient == 0).all()
        assert (product == 0).all()
        if reduction == "mean":
            assert math.isnan(value)
        else:
            assert np.shape(value) == (z.shape[:-1] if reduction == "none" else ())
            assert (np.asarray(value) == 0).all()


@pytest.mark.parametrize("shape", [(5,), (6, 5), (1001, 37)], ids=str)
def test_every_row_has_ignore_index(shape):
    z, target = make_problem("index", shape)
    check_nothing_to_average(z, np.full_like(target, -100))


@pytest.mark.parametrize("shape", [(6, 5), (1001, 37)], ids=str)
@every_form
def test_every_row_has_sample_weight_zero(form, shape):
    z, target = make_problem(form, shape)
    check_nothing_to_average(z, target, sample_weight=np.zeros(shape[0]))


@every_form
def test_no_rows(form):
    z, target = make_problem(form, (0, 5))
    check_nothing_to_average(z, target)
    check_nothing_to_average(z, target, weight=np.ones(5), sample_weight=np.ones(0))


# total weight 0 with rows kept, mean


@pytest.mark.parametrize("smoothing", cases.SMOOTHINGS)
def test_total_weight_zero_with_rows_kept_is_nan_in_value_and_gradient(smoothing):
    z, _ = make_problem("index", (4, 3))
    target = np.array([0, 0, -100, 0])
    options = {"weight": [0.0, 1.0, 2.0], "label_smoothing": smoothing}
    value, gradient = evaluate(z, target, **options)
    assert math.isnan(value)
    assert np.isnan(gradient[[0, 1, 3]]).all()
    # The ignored row stays out of it, as in torch.
    assert (gradient[2] == 0).all()
    assert_matches_oracle(z, target, **options)


def test_total_weight_zero_is_zero_in_the_sum():
    z, target = make_problem("index", (4, 3))
    value, gradient = evaluate(z, target, weight=[0.0] * 3, reduction="sum")
    assert value == 0
    assert (gradient == 0).all()


# weight 0 or target mass 0 against an infinite loss


@every_size
@every_form
@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weight_zero_against_an_infinite_loss_is_zero(
    form, shape, dtype, reduction, smoothing
):
    z, target = make_problem(form, shape, dtype)
    z[SPECIAL, 1] = -math.inf
    if form == "index":
        target[SPECIAL[:2]] = 1
    weight = np.ones(shape[1])
    weight[1] = 0
    options = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
    assert np.isfinite(cross_entropy(z, target, **options)).all()
    assert_matches_oracle(z, target, **options)


@every_size
def test_target_mass_zero_against_an_infinite_loss_is_zero(shape, dtype):
    z, target = make_problem("probabilities", shape, dtype)
    z[SPECIAL, 1] = -math.inf
    target[SPECIAL, 1] = 0
    value, gradient = evaluate(z, target, reduction="none")
    assert np.isfinite(value).all()
    assert (gradient[SPECIAL, 1] == 0).all()
    assert_matches_oracle(z, target)


# logit -inf


@every_size
@every_form
def test_logit_of_minus_infinity_under_the_target_is_an_infinite_loss(
    form, shape, dtype
):
    z, target = make_problem(form, shape, dtype)
    z[SPECIAL, 1] = -math.inf
    if form == "index":
        target[SPECIAL] = 1
    losses, gradient = evaluate(z, target, reduction="none")
    assert (np.flatnonzero(losses == math.inf) == SPECIAL).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(
        gradient[SPECIAL, 1], -(1 if form == "index" else target[SPECIAL, 1])
    )
    for reduction in cases.REDUCTIONS:
        assert_matches_oracle(z, target, reduction=reduction)


@every_size
def test_logit_of_minus_infinity_elsewhere_is_a_class_of_probability_zero(shape, dtype):
    z, target = make_problem("index", shape, dtype)
    target[target == 1] = 0
    z[:, 1] = -math.inf
    value, gradient = evaluate(z, target)
    assert (gradient[:, 1] == 0).all()
    # The problem without that class is the same problem.
    fewer = np.delete(z, 1, axis=1), target - (target > 1)
    np.testing.assert_allclose(value, cross_entropy(*fewer), rtol=RTOL[dtype])
    assert_matches_oracle(z, target)


def test_smoothing_puts_target_mass_under_every_logit_of_minus_infinity():
    z = np.array([[0.5, 1.0, -math.inf]])
    value, gradient = evaluate(z, np.array([0]), label_smoothing=0.3)
    assert value == math.inf
    assert math.isclose(gradient[0, 2], -0.1, rel_tol=1e-15)


# logit +inf, a row of only -inf, nan in a kept row


def undefined_rows(z):
    """+inf, a row of -inf, nan: one each in the special rows."""
    z[SPECIAL[0], 1] = math.inf
    z[SPECIAL[1]] = -math.inf
    z[SPECIAL[2], -1] = math.nan


@every_size
@every_form
@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
def test_undefined_kept_row_is_nan_and_nothing_else_is(form, shape, dtype, reduction):
    z, target = make_problem(form, shape, dtype)
    undefined_rows(z)
    if form == "index":
        # Neither may the class of +inf read as a sure answer.
        target[SPECIAL] = [1, 0, 0]
    value, gradient = evaluate(z, target, reduction=reduction)
    nan_rows = np.isin(np.arange(shape[0]), SPECIAL)
    np.testing.assert_array_equal(
        np.isnan(value), nan_rows if reduction == "none" else True
    )
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), nan_rows)
    np.testing.assert_array_equal(np.isnan(gradient).any(axis=1), nan_rows)
    assert_matches_oracle(z, target, reduction=reduction, label_smoothing=0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_undefined_unbatched_row_of_one_class_is_nan(bad):
    value, gradient = evaluate(np.array([bad]), 0)
    assert math.isnan(value)
    assert math.isnan(gradient[0])


# finite logits of any size are no special case


@pytest.mark.parametrize(
    ("dtype", "huge"), [("float64", 1e308), ("float32", 3e38), ("float16", 6e4)]
)
def test_finite_logits_of_any_size_do_not_overflow(dtype, huge):
    z = np.array([[huge, -huge, 0.0], [-huge, -huge, -huge]], dtype=dtype)
    value, gradient = evaluate(z, np.array([0, 2]), reduction="none")
    np.testing.assert_allclose(value, [0.0, math.log(3)], rtol=1e-3)
    thirds = [1 / 3, 1 / 3, -2 / 3]
    np.testing.assert_allclose(gradient, [[0.0, 0.0, 0.0], thirds], rtol=1e-3)


# soft targets: negative, or rows off 1


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
def test_soft_targets_negative_or_off_one_are_accepted(reduction):
    z, _ = make_problem("probabilities", (25, 5))
    target = np.random.default_rng(35).normal(size=(25, 5))
    target[7] = 0
    assert_matches_oracle(z, target, reduction=reduction, label_smoothing=0.1)
    value, gradient = evaluate(z, target, reduction="none")
    assert value[7] == 0
    assert (gradient[7] == 0).all()


# means of samples: by one rule with the mean over all


def test_the_mean_of_a_sample_of_infinite_weight_is_nan():
    z, target = np.zeros((2, 3, 2)), np.array([[0, 1], [1, 1]])
    options = {"sample_weight": [[math.inf, 1.0], [1.0, 1.0]], "reduction": "sample"}
    value, gradient = evaluate(z, target, **options)
    assert math.isnan(value[0])
    assert np.isnan(gradient[0]).all()
    assert value[1] == pytest.approx(math.log(3))


@pytest.mark.parametrize("reduction", ["none", "mean", "sample"])
def test_rows_without_classes(reduction):
    target, weight = np.full(2, -100), np.empty(0)
    z = np.empty((2, 0))
    value, gradient = evaluate(z, target, weight=weight, reduction=reduction)
    expected = {"none": [0.0, 0.0], "mean": math.nan, "sample": [math.nan] * 2}
    np.testing.assert_array_equal(value, expected[reduction])
    assert gradient.shape == (2, 0)
