"""What the fuzz found, one plain test for each, so that it stays mended."""

import re
from fractions import Fraction

import numpy as np
import pytest

from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV
from skxent.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits_grad,
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    nll_loss,
    nll_loss_value_and_grad,
)
from skxent.metrics import (
    cross_entropy_loss,
    expected_calibration_error,
    log_loss,
    reliability_curve,
)

HUGE = 10**400  # no float holds it
DURATION = np.timedelta64(1, "s")  # an integer to Python
RNG = np.random.default_rng(72)
Z = RNG.normal(size=(6, 3))
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
Y = np.array([0, 1, 2, 0, 1, 2])
X = RNG.normal(size=(6, 2))
MASKED = np.ma.masked_equal(Y, 1)
NOT_HERE = np.ma.masked_greater(P, 0.5)


def model(**parameters):
    return SoftmaxRegression(**parameters).fit(X, Y)


# the error, what it names, and the call
REFUSED = [
    (ValueError, "label_smoothing", lambda: cross_entropy(Z, Y, label_smoothing=HUGE)),
    (
        ValueError,
        "label_smoothing",
        lambda: cross_entropy(Z, Y, label_smoothing=Fraction(HUGE)),
    ),
    (
        TypeError,
        "label_smoothing",
        lambda: cross_entropy(Z, Y, label_smoothing=DURATION),
    ),
    (TypeError, "class_axis", lambda: cross_entropy(Z, Y, class_axis=DURATION)),
    (TypeError, "ignore_index", lambda: cross_entropy(Z, Y, ignore_index=DURATION)),
    (TypeError, "size_average", lambda: CrossEntropyLoss(size_average="no")),
    (TypeError, "reduce", lambda: CrossEntropyLoss(reduce=np.ones(2))),
    (
        ValueError,
        "input",
        lambda: BinaryCrossEntropyLoss(input_shape=(3,))(np, Y),  # numpy.shape exists
    ),
    # found wrong by its shape, not after looking at 2**40 probabilities
    (
        ValueError,
        "target",
        lambda: binary_cross_entropy(np.broadcast_to(0.5, 2**40), [1.0]),
    ),
    (
        ValueError,
        "y_score",
        lambda: cross_entropy_loss(Y, np.broadcast_to(P[:1], (2**40, 3))),
    ),
    (TypeError, "normalize", lambda: cross_entropy_loss(Y, P, normalize="no")),
    (TypeError, "y_true", lambda: cross_entropy_loss(MASKED, P)),
    (TypeError, "y_score", lambda: cross_entropy_loss(Y, NOT_HERE)),
    (TypeError, "y_proba", lambda: log_loss(Y, NOT_HERE)),
    (TypeError, "y_true", lambda: log_loss(MASKED, P)),
    (TypeError, "y_proba", lambda: reliability_curve(Y, NOT_HERE)),
    (TypeError, "y_proba", lambda: log_loss(Y, P.astype("m8[s]"))),
    (TypeError, "y_score", lambda: cross_entropy_loss(Y, P.astype("M8[s]"))),
    (ValueError, "n_bins", lambda: expected_calibration_error(Y, P, n_bins=2**40)),
    (TypeError, "n_bins", lambda: expected_calibration_error(Y, P, n_bins=DURATION)),
    (TypeError, "ignore_label", lambda: cross_entropy_loss(Y, P, ignore_label={})),
    (TypeError, "X", lambda: SoftmaxRegression().fit(np.ma.masked_less(X, 0), Y)),
    (TypeError, "X", lambda: SoftmaxRegression().fit(X.astype("m8[s]"), Y)),
    (TypeError, "y", lambda: SoftmaxRegression().fit(X, MASKED)),
    (TypeError, "X", lambda: model().predict(np.ma.masked_less(X, 0))),
    (TypeError, "fit_intercept", lambda: model(fit_intercept="no")),
    (TypeError, "warm_start", lambda: model(warm_start="no")),
    (TypeError, "early_stopping", lambda: model(early_stopping="no")),
    (ValueError, "verbose", lambda: model(verbose="no")),
    (ValueError, "random_state", lambda: model(random_state=-1)),
    (ValueError, "validation_fraction", lambda: model(validation_fraction=2)),
    (ValueError, "C", lambda: model(C=HUGE)),
    (ValueError, "C", lambda: model(C=DURATION)),
    (ValueError, "tol", lambda: model(tol=1e300)),
    (ValueError, "tol", lambda: model(tol=Fraction(HUGE))),
    (ValueError, "classes", lambda: SoftmaxRegression().partial_fit(X, Y, classes=[])),
    (
        ValueError,
        "X",
        lambda: SoftmaxRegression().partial_fit(1e300 * X, Y, classes=[0, 1, 2]),
    ),
    (ValueError, "n_jobs", lambda: SoftmaxRegressionCV(n_jobs=2**70, cv=2).fit(X, Y)),
    (ValueError, "cv", lambda: SoftmaxRegressionCV(cv={}).fit(X, Y)),
    (ValueError, "scoring", lambda: SoftmaxRegressionCV(scoring=int, cv=2).fit(X, Y)),
    (TypeError, "Cs", lambda: SoftmaxRegressionCV(MASKED).fit(X, Y)),
]


@pytest.mark.parametrize(
    ("error", "name", "call"),
    REFUSED,
    ids=[f"{i}-{name}" for i, (_, name, _) in enumerate(REFUSED)],
)
def test_refusal_names_the_argument(error, name, call):
    with pytest.raises(error) as caught:
        call()
    assert re.search(rf"\b{name}\b", str(caught.value)), caught.value


def test_no_number_comes_of_infinite_weights():
    # a gradient of 0 came of 1 / inf
    weight = [np.inf, 1.0, 1.0]
    assert np.isnan(cross_entropy(Z, Y, weight=weight))
    assert np.isnan(cross_entropy_grad(Z, Y, weight=weight)).all()


def test_infinite_weights_raise_no_warning():
    weight = [np.inf, 1.0, 1.0]
    assert np.isnan(nll_loss(Z, Y, weight=weight))
    assert np.isnan(nll_loss_value_and_grad(Z, Y, weight=weight)[0])
    assert np.isnan(nll_loss(Z, Y, weight=weight, sample_weight=[0, 1, 1, 1, 1, 1]))
    assert cross_entropy(Z, Y, weight=weight, reduction="sum") == np.inf
    # a third of it is 0
    assert np.isnan(cross_entropy(Z, Y, weight=weight, label_smoothing=5e-324))
    heavy = {"sample_weight": [1e308] * 6, "grad_output": 9}
    assert np.isnan(cross_entropy_grad(Z, Y, **heavy)).all()


def test_what_float32_cannot_hold_raises_no_warning():
    z, huge = Z.astype(np.float32), np.full_like(Z, 1e300)
    assert not np.isfinite(cross_entropy(z, huge))
    assert not np.isfinite(cross_entropy_hvp(z, Y, huge)).any()


@pytest.mark.parametrize("kind", [np.float16, np.longdouble, Fraction])
def test_numbers_of_other_types_are_floats_to_the_solvers(kind):
    # numba knows neither; the last two raised its TypingError
    ours = model(l1_ratio=kind(0.5), C=kind(2.0), tol=kind(0.0078125))
    plain = model(l1_ratio=0.5, C=2.0, tol=0.0078125)
    np.testing.assert_array_equal(ours.coef_, plain.coef_)


def test_infinite_weight_times_an_output_of_no_slope_is_nan_without_a_warning():
    z, q = np.zeros((2, 3)), np.full((2, 3), 0.5)
    options = {"weight": np.array([np.inf, 1.0, 1.0]), "reduction": "sum"}
    got = binary_cross_entropy_with_logits_grad(z, q, grad_output=0.0, **options)
    assert np.isnan(got[:, 0]).all()
    assert not got[:, 1:].any()


def test_class_weight_by_name_beside_durations_is_named():
    durations = np.arange(3).astype("m8[s]")
    weights = {"a": 1.0, "b": 2.0, "c": 1.0}
    with pytest.raises(ValueError, match="class_weight"):
        cross_entropy_loss(durations[Y], P, labels=durations, class_weight=weights)
