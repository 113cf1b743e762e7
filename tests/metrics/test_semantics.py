"""The contract's table of special cases, for the metrics.

That `log_loss` clips and is scikit-learn's number has tests of its own.
"""

import math

import numpy as np
import pytest

from skxent.metrics import (
    cross_entropy_loss,
    expected_calibration_error,
    log_loss,
    reliability_curve,
)
from tests import reference

N, C, SPECIAL = 8, 3, 4
LABELS = np.arange(N) % C
LOGITS = np.random.default_rng(95).normal(size=(N, C))
PROBA = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
SOFT = PROBA[::-1].copy()
ALL = {"labels": range(C)}

every_input = pytest.mark.parametrize("from_logits", [True, False])


def scores(from_logits, changed=None):
    """Logits or probabilities; `changed` is a class of the special row set to p = 0."""
    y_score = (LOGITS if from_logits else PROBA).copy()
    if changed is not None:
        y_score[SPECIAL, changed] = -math.inf if from_logits else 0.0
        if not from_logits:
            y_score[SPECIAL] /= y_score[SPECIAL].sum()
    return y_score


@every_input
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mean_divides_by_class_weights_for_labels_alone(from_logits, smoothing):
    weight, s = np.array([0.5, 1.0, 3.0]), np.linspace(0, 2, N)
    options = {"label_smoothing": smoothing, "sample_weight": s}
    y_score = scores(from_logits)
    sums = {"reduction": "sum", "weight": weight, "from_logits": from_logits} | options
    for y, divisor in [(LABELS, (weight[LABELS] * s).sum()), (SOFT, s.sum())]:
        total = reference.cross_entropy(y_score, y, **sums)
        got = cross_entropy_loss(
            y, y_score, class_weight=weight, from_logits=from_logits, **options
        )
        assert got == pytest.approx(total / divisor, rel=1e-13)


@every_input
def test_every_row_ignored_is_nan_and_the_sum_is_0(from_logits):
    nothing = [
        (np.full(N, -1), {"ignore_label": -1}),
        (LABELS, {"sample_weight": np.zeros(N)}),
    ]
    for y, options in nothing:
        options |= {"from_logits": from_logits, **ALL}
        assert math.isnan(cross_entropy_loss(y, scores(from_logits), **options))
        options["normalize"] = False
        assert cross_entropy_loss(y, scores(from_logits), **options) == 0


@every_input
def test_total_weight_0_is_nan_and_the_sum_is_0(from_logits):
    options = {"class_weight": np.zeros(C), "from_logits": from_logits}
    y_score = scores(from_logits)
    assert math.isnan(cross_entropy_loss(LABELS, y_score, **options))
    assert cross_entropy_loss(LABELS, y_score, normalize=False, **options) == 0


@every_input
def test_weight_or_mass_0_against_an_infinite_loss_is_0(from_logits):
    y = LABELS[SPECIAL]
    y_score, options = scores(from_logits, changed=y), {"from_logits": from_logits}
    assert cross_entropy_loss(LABELS, y_score, **options) == math.inf
    for name, weight, kept in [
        ("sample_weight", np.arange(N) != SPECIAL, np.arange(N) != SPECIAL),
        ("class_weight", np.arange(C) != y, y != LABELS),
    ]:
        got = cross_entropy_loss(LABELS, y_score, **{name: 1.0 * weight}, **options)
        alone = cross_entropy_loss(LABELS[kept], y_score[kept], **options, **ALL)
        assert got == pytest.approx(alone, rel=1e-14)
    soft = SOFT.copy()
    soft[SPECIAL] = np.arange(C) == (y + 1) % C
    got = cross_entropy_loss(soft, y_score, **options)
    expected = reference.cross_entropy(y_score, soft, **options)
    assert math.isfinite(got)
    assert got == pytest.approx(expected, rel=1e-13)


def test_logit_of_minus_infinity_elsewhere_is_a_class_of_probability_0():
    y_score = scores(True, changed=(LABELS[SPECIAL] + 1) % C)
    got = cross_entropy_loss(LABELS, y_score, from_logits=True)
    expected = reference.cross_entropy(y_score, LABELS)
    assert math.isfinite(got)
    assert got == pytest.approx(expected, rel=1e-13)
    smoothed = {"from_logits": True, "label_smoothing": 0.1}
    assert cross_entropy_loss(LABELS, y_score, **smoothed) == math.inf


@pytest.mark.parametrize(("at", "bad"), [(0, math.inf), (slice(None), -math.inf)])
def test_logit_of_infinity_and_a_row_of_minus_infinity_are_nan(at, bad):
    y_score = scores(True)
    y_score[SPECIAL, at] = bad
    assert math.isnan(cross_entropy_loss(LABELS, y_score, from_logits=True))


@pytest.mark.parametrize("row", [[1.5, -0.5, 0.0], [0.5, 0.5, 0.5]], ids=str)
@pytest.mark.parametrize(
    "metric", [cross_entropy_loss, expected_calibration_error, reliability_curve]
)
def test_soft_labels_negative_or_off_1_are_refused_with_their_row(metric, row):
    soft = SOFT.copy()
    soft[SPECIAL] = row
    with pytest.raises(ValueError, match=rf"^y_true must .* at row {SPECIAL}\b"):
        metric(soft, PROBA)


@pytest.mark.parametrize("metric", [cross_entropy_loss, log_loss])
def test_labels_of_no_class_are_refused(metric):
    y = LABELS.copy()
    y[SPECIAL] = 7
    with pytest.raises(ValueError, match=r"^y_true .*\b7\b"):
        metric(y, PROBA, **ALL)


@every_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1.01}, r"^label_smoothing must .*\[0, 1\]; got 1\.01"),
        ({"label_smoothing": -0.01}, r"^label_smoothing must .*; got -0\.01"),
        (
            {"class_weight": np.ones(C + 1)},
            r"^class_weight must have shape \(3,\).*got .*4",
        ),
        ({"sample_weight": np.ones((N, 2))}, r"^sample_weight must .*got .*\(8, 2\)"),
    ],
    ids=["above", "below", "classes", "rows"],
)
def test_options_out_of_their_range_are_named(from_logits, options, message):
    options["from_logits"] = from_logits
    with pytest.raises(ValueError, match=message):
        cross_entropy_loss(LABELS, scores(from_logits), **options)
