"""Calibration of the predicted class beside a loop over samples and scikit-learn."""

import math
from fractions import Fraction

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from skxent.metrics import expected_calibration_error, reliability_curve

METRICS = [reliability_curve, expected_calibration_error]
STRATEGIES = ["uniform", "quantile"]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4) / 2, size=600)
    return rng.integers(0, 4, 600), proba, rng.uniform(0.1, 2.0, 600)


def error_by_a_loop(right, confidence, weight, n_bins):
    """Return the error of uniform bins, as Guo et al. write it in equation 3."""
    error = 0.0
    for m in range(n_bins):
        inside = [
            i for i, c in enumerate(confidence) if m / n_bins < c <= (m + 1) / n_bins
        ]
        if inside:
            mass = math.fsum(weight[i] for i in inside)
            accuracy = math.fsum(weight[i] * right[i] for i in inside) / mass
            mean = math.fsum(weight[i] * confidence[i] for i in inside) / mass
            error += mass / math.fsum(weight) * abs(accuracy - mean)
    return error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_bins", [1, 2, 15, 1000])
@pytest.mark.parametrize("soft", [False, True])
def test_the_error_beside_a_loop(data, dtype, n_bins, soft):
    y, proba, weight = data
    proba = proba.astype(dtype)
    predicted = proba.argmax(axis=1)
    target = np.roll(proba, 1, axis=0).astype(float) if soft else y
    if soft:
        target /= target.sum(axis=1, keepdims=True)
        right = target[np.arange(600), predicted]
    else:
        right = y == predicted
    confidence = proba.max(axis=1).astype(float)
    expected = error_by_a_loop(right, confidence, weight, n_bins)
    got = expected_calibration_error(target, proba, n_bins=n_bins, sample_weight=weight)
    assert type(got) is float
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("n_bins", [1, 2, 15])
def test_the_curve_beside_scikit_learns(data, strategy, n_bins):
    y, proba, _ = data
    right, confidence = y == proba.argmax(axis=1), proba.max(axis=1)
    expected = calibration_curve(right, confidence, n_bins=n_bins, strategy=strategy)
    *curve, share = reliability_curve(y, proba, n_bins=n_bins, strategy=strategy)
    np.testing.assert_allclose(curve, expected, rtol=1e-12)
    assert share.sum() == pytest.approx(1, rel=1e-14)
    if strategy == "quantile":
        np.testing.assert_allclose(share, 1 / n_bins, rtol=1e-12)


def curve_by_exact_quantiles(right, confidence, weight, n_bins):
    """Return the curve whose edges are found with rational weights."""
    order = np.argsort(confidence, kind="stable")
    total = sum(weight)
    edges = []
    for k in range(1, n_bins):
        mass = Fraction(0)
        for i in order:
            mass += weight[i]
            if mass * n_bins >= k * total:
                edges.append(confidence[i])
                break
    bins = [sum(c > edge for edge in edges) for c in confidence]
    points = []
    for b in sorted({b for b, mass in zip(bins, weight, strict=True) if mass}):
        inside = [i for i, other in enumerate(bins) if other == b]
        mass = sum(weight[i] for i in inside)
        hits = sum(weight[i] * int(right[i]) for i in inside)
        sums = sum(weight[i] * Fraction(confidence[i]) for i in inside)
        points.append([hits / mass, sums / mass, mass / total])
    return np.array(points, dtype=float).T


@pytest.mark.parametrize("n_bins", [1, 3, 6, 10, 15])
@pytest.mark.parametrize("decimals", [1, 16])  # many ties, or none
@pytest.mark.parametrize("unit", [1, 0.1, 1 / 3, 7.3])
@pytest.mark.parametrize("even", [True, False])
def test_quantiles_beside_exact_ones(n_bins, decimals, unit, even):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 60), rng.uniform(0, 1, 60).round(decimals)
    copies = np.ones(60, dtype=int) if even else rng.integers(0, 4, 60)
    expected = curve_by_exact_quantiles(
        y == (p > 0.5), np.maximum(p, 1 - p), [Fraction(int(m)) for m in copies], n_bins
    )
    curve = reliability_curve(
        y, p, n_bins=n_bins, strategy="quantile", sample_weight=unit * copies
    )
    np.testing.assert_allclose(curve, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_weight_is_repetition(data, strategy):
    y, proba, _ = data
    weight = np.arange(600) % 4
    options = {"strategy": strategy, "n_bins": 7}
    curve = reliability_curve(y, proba, sample_weight=weight, **options)
    repeated = reliability_curve(y.repeat(weight), proba.repeat(weight, 0), **options)
    np.testing.assert_allclose(curve, repeated, rtol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_the_ratio_of_weights_counts(data, strategy):
    y, proba, weight = data
    curve = reliability_curve(y, proba, strategy=strategy, sample_weight=weight)
    for unit in (0.1, 1e300, 1e-300):
        scaled = reliability_curve(
            y, proba, strategy=strategy, sample_weight=unit * weight
        )
        np.testing.assert_allclose(curve, scaled, rtol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_weights_whose_sum_overflows_count_as_others_do(data, strategy):
    y, proba = data[0], data[1]
    got = reliability_curve(
        y, proba, strategy=strategy, sample_weight=np.full(len(y), 1.7e308)
    )
    for a, b in zip(got, reliability_curve(y, proba, strategy=strategy), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_perfect_predictions_have_no_error(data, strategy):
    y, proba, weight = data
    sure = np.eye(4)[y]
    options = {"strategy": strategy, "sample_weight": weight}
    assert expected_calibration_error(y, sure, **options) == 0
    assert expected_calibration_error(sure, sure, **options) == 0
    # soft labels that are met are calibrated, however unsure they are
    error = expected_calibration_error(proba, proba, **options)
    assert error == pytest.approx(0, abs=1e-15)


def test_sure_and_wrong_predictions_have_all_of_it(data):
    y, _, _ = data
    assert expected_calibration_error(y, np.eye(4)[(y + 1) % 4]) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_soft_labels_beside_one_hot_rows(data, strategy):
    y, proba, weight = data
    options = {"strategy": strategy, "sample_weight": weight}
    curve = reliability_curve(y, proba, **options)
    soft = reliability_curve(np.eye(4)[y], proba, **options)
    np.testing.assert_array_equal(curve, soft)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_the_second_of_two_classes(data, shape):
    y, proba, _ = data
    p = proba[:, 0]
    expected = reliability_curve(y % 2, np.column_stack([1 - p, p]))
    np.testing.assert_array_equal(reliability_curve(y % 2, p.reshape(shape)), expected)


@pytest.mark.parametrize("names", [[0, 1], [False, True], ["ham", "spam"]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_classes_beside_scikit_learn_folded_at_one_half(names, dtype):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 200), rng.uniform(0, 1, 200).astype(dtype)
    right, confidence = y == (p > 0.5), np.maximum(p, 1 - p)
    expected = calibration_curve(right, confidence, n_bins=15)
    *curve, _ = reliability_curve(np.array(names)[y], p)
    np.testing.assert_allclose(
        curve, expected, rtol=1e-6 if dtype == np.float32 else 1e-12
    )
    # with probabilities of 1/2 and more, the second class is the one predicted
    high = p > 0.5
    expected = calibration_curve(y[high], p[high], n_bins=15)
    *curve, _ = reliability_curve(np.array(names)[y[high]], p[high], labels=names)
    np.testing.assert_allclose(
        curve, expected, rtol=1e-6 if dtype == np.float32 else 1e-12
    )


def test_columns_follow_the_order_of_labels(data):
    y, proba, _ = data
    names, order = np.array(["a", "bb", "c", "dd"]), [2, 0, 3, 1]
    expected = expected_calibration_error(y, proba)
    assert expected_calibration_error(names[y], proba) == expected
    got = expected_calibration_error(names[y], proba[:, order], labels=names[order])
    assert got == expected
    few = y < 2
    curve = reliability_curve(names[y[few]], proba[few], labels=names)
    assert np.isfinite(curve).all()


def test_a_bin_contains_its_upper_edge():
    prob_true, prob_pred, share = reliability_curve(
        [1, 1, 0, 0], [0.75, 0.76, 0.75, 0.5], n_bins=4
    )
    np.testing.assert_array_equal(prob_true, [1.0, 0.5, 1.0])
    np.testing.assert_array_equal(prob_pred, [0.5, 0.75, 0.76])
    np.testing.assert_array_equal(share, [0.25, 0.5, 0.25])


def test_equal_confidences_share_a_quantile():
    y, p = [0, 1, 1, 1], [0.9, 0.9, 0.9, 0.9]
    curve = reliability_curve(y, p, n_bins=3, strategy="quantile")
    np.testing.assert_allclose(curve, [[0.75], [0.9], [1.0]])


def test_inputs_stay_as_they_are(data):
    y, proba, weight = data
    kept = y.copy(), proba.copy(), weight.copy()
    for array in data:
        array.flags.writeable = False
    expected_calibration_error(y, proba, sample_weight=weight, strategy="quantile")
    for before, after in zip(kept, data, strict=True):
        np.testing.assert_array_equal(before, after)


BAD = {
    "no bins": ({"n_bins": 0}, ValueError, "n_bins must be at least 1 .*; got 0"),
    "edges": ({"n_bins": [0, 1]}, TypeError, "n_bins must be an integer; got"),
    "true": ({"n_bins": True}, TypeError, "n_bins must be an integer; got True"),
    "strategy": ({"strategy": "width"}, ValueError, "strategy must be one of uniform"),
    "labels": ({"labels": range(3)}, ValueError, "y_proba must have one column per"),
    "repeated": ({"labels": [0, 1, 2, 2]}, ValueError, "labels must not repeat"),
    "soft and labels": (
        {"y_true": np.eye(4), "labels": range(3)},
        ValueError,
        r"got 4 columns beside the classes \[0, 1, 2\] of labels",
    ),
    "unknown": (
        {"labels": range(1, 5)},
        ValueError,
        "y_true must hold labels in .* got 0 at row .* drop such rows, or pass all",
    ),
    "lengths": ({"y_true": [0, 1]}, ValueError, "inconsistent numbers of samples"),
    "logits": ({"y_proba": np.eye(4) * 9}, ValueError, "got values .* predict_proba"),
    "nan": ({"y_proba": np.eye(4) * np.nan}, ValueError, "y_proba contains NaN"),
    "soft": ({"y_true": np.eye(4) * 1.1}, ValueError, "y_true must hold non-negative"),
    "few weights": ({"sample_weight": [1]}, ValueError, r"must have shape \(4,\)"),
    "negative": ({"sample_weight": [1, 1, -1, 1]}, ValueError, "got -1.0 at row 2"),
    "nan weight": ({"sample_weight": [1, np.nan, 1, 1]}, ValueError, "nan at row 1"),
    "zeros": ({"sample_weight": [0] * 4}, ValueError, "zero for all of them"),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("options", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(metric, options, error, message):
    arguments = {"y_true": [0, 1, 2, 3], "y_proba": np.eye(4)} | options
    with pytest.raises(error, match=message):
        metric(**arguments)


@pytest.mark.parametrize("metric", METRICS)
def test_the_warning_points_at_the_caller(data, metric):
    y, proba, _ = data
    with pytest.warns(UserWarning, match="y_proba values do not sum to one") as caught:
        metric(y, proba * 0.9)
    assert caught[0].filename == __file__
