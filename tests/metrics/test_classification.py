"""cross_entropy_loss beside the oracle."""

import numpy as np
import pandas as pd
import pytest

from skxent.linear_model import SoftmaxRegression
from skxent.metrics import cross_entropy_loss, d2_log_loss_score, log_loss
from tests import reference


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), size=50)
    return rng.integers(0, 4, 50), proba, rng.uniform(0.1, 2.0, 50)


NAMES = {
    "integers": np.array([3, 5, 8, 11]),
    "strings": np.array(["a", "bb", "c", "dd"]),
    "objects": np.array(["a", "bb", "c", "dd"], dtype=object),
    "floats": np.array([-1.0, 0.0, 1.0, 2.0]),
}


def test_cross_entropy_loss_is_exact_where_log_loss_clips():
    proba = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert cross_entropy_loss([0, 0], proba, labels=[0, 1]) == 0.0
    assert cross_entropy_loss([0, 1], proba) == np.inf
    assert log_loss([0, 1], proba) == pytest.approx(36.04 / 2, rel=1e-3)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("normalize", [False, True])
def test_cross_entropy_loss_beside_the_oracle(data, from_logits, smoothing, normalize):
    y, proba, weight = data
    class_weight = np.array([0.5, 1.0, 2.0, 3.0])
    expected = reference.cross_entropy(
        np.log(proba) if from_logits else proba,
        y,
        weight=class_weight,
        sample_weight=weight,
        label_smoothing=smoothing,
        reduction="mean" if normalize else "sum",
        from_logits=from_logits,
    )
    names = NAMES["strings"]
    for weights in (class_weight, dict(zip(names, class_weight, strict=True))):
        got = cross_entropy_loss(
            names[y],
            np.log(proba) if from_logits else proba,
            labels=names,
            class_weight=weights,
            sample_weight=weight,
            label_smoothing=smoothing,
            normalize=normalize,
            from_logits=from_logits,
        )
        assert got == pytest.approx(expected, rel=1e-12)


def test_columns_follow_the_order_of_labels(data):
    y, proba, _ = data
    names, order = NAMES["strings"], [2, 0, 3, 1]
    expected = cross_entropy_loss(names[y], proba)
    got = cross_entropy_loss(names[y], proba[:, order], labels=names[order])
    assert got == pytest.approx(expected, rel=1e-14)


def test_soft_labels_beside_one_hot_rows(data):
    y, proba, weight = data
    expected = cross_entropy_loss(y, proba, sample_weight=weight)
    got = cross_entropy_loss(np.eye(4)[y], proba, sample_weight=weight)
    assert got == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
def test_class_weight_of_soft_labels_is_by_label_where_there_are_labels(data, names):
    y, proba, weight = data
    options = {"labels": names, "sample_weight": weight}
    of_class = [2.0, 1.0, 0.5, 3.0]
    soft = np.eye(4)[y] * 0.9 + 0.025
    by_label = dict(zip(names.tolist(), of_class, strict=True))
    got = cross_entropy_loss(soft, proba, class_weight=by_label, **options)
    expected = cross_entropy_loss(soft, proba, class_weight=of_class, **options)
    assert got == expected
    by_column = dict(enumerate(of_class))
    del options["labels"]
    assert cross_entropy_loss(soft, proba, class_weight=by_column, **options) == got


def test_binary_logits_are_the_log_odds_of_the_second_class(data):
    y, proba, _ = data
    x = np.log(proba[:, 0]) - np.log(proba[:, 1])
    p = 1 / (1 + np.exp(-x))
    got = cross_entropy_loss(y % 2, x, from_logits=True)
    assert got == pytest.approx(cross_entropy_loss(y % 2, p), rel=1e-12)


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
def test_rows_with_the_ignored_label_are_left_out(data, names):
    y, proba, _ = data
    kept = y != 1
    got = cross_entropy_loss(names[y], proba, labels=names, ignore_label=names[1])
    expected = cross_entropy_loss(names[y[kept]], proba[kept], labels=names)
    assert got == pytest.approx(expected, rel=1e-14)


def test_an_ignored_label_without_a_column(data):
    y, proba, _ = data
    y = np.where(np.arange(50) < 10, -1, y)
    got = cross_entropy_loss(y, proba, ignore_label=-1)
    assert got == pytest.approx(cross_entropy_loss(y[10:], proba[10:]), rel=1e-14)


def test_balanced_classes_count_alike(data):
    y, proba, _ = data
    per_class = [
        cross_entropy_loss(y[y == k], proba[y == k], labels=range(4)) for k in range(4)
    ]
    got = cross_entropy_loss(y, proba, class_weight="balanced")
    assert got == pytest.approx(np.mean(per_class), rel=1e-12)


def test_balanced_classes_are_counted_by_sample_weight(data):
    y, proba, _ = data
    w = np.arange(50) % 4
    got = cross_entropy_loss(y, proba, class_weight="balanced", sample_weight=w)
    rows = np.repeat(np.arange(50), w)
    expected = cross_entropy_loss(y[rows], proba[rows], class_weight="balanced")
    assert got == pytest.approx(expected, rel=1e-13)


def test_balanced_classes_need_not_all_occur(data):
    y, proba, _ = data
    some = y != 2
    got = cross_entropy_loss(
        y[some], proba[some], labels=range(4), class_weight="balanced"
    )
    per_class = [
        cross_entropy_loss(y[y == k], proba[y == k], labels=range(4)) for k in (0, 1, 3)
    ]
    assert got == pytest.approx(np.mean(per_class), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_second_of_two_classes_keeps_its_digits(dtype):
    p = np.array([1e-9, 1e-17, 1e-300, 0.25, 1.0, 0.0], dtype)
    y = np.array([0, 0, 0, 1, 1, 0])
    got = [
        cross_entropy_loss(y[i : i + 1], p[i : i + 1], labels=[0, 1]) for i in range(6)
    ]
    expected = [*-np.log1p(-p[:3].astype(float)), np.log(4), 0.0, 0.0]
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    assert cross_entropy_loss([1], p[-1:], labels=[0, 1]) == np.inf
    assert cross_entropy_loss([0], p[4:5], labels=[0, 1]) == np.inf
    soft = cross_entropy_loss([[0.3, 0.7]], [0.2])
    assert soft == pytest.approx(-0.3 * np.log(0.8) - 0.7 * np.log(0.2), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float16", ">f4", "Float32", "Float64"])
def test_probabilities_are_held_to_their_own_precision(dtype):
    P = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    given = pd.DataFrame(P).astype(dtype) if dtype[0] == "F" else P.astype(dtype)
    y = np.arange(20) % 3
    off = 1e-2 if dtype == "float16" else 1e-6
    exact = cross_entropy_loss(y, P)
    assert cross_entropy_loss(y, given) == pytest.approx(exact, rel=off)
    exact = cross_entropy_loss(P, P)
    assert cross_entropy_loss(given, P) == pytest.approx(exact, rel=off)
    assert cross_entropy_loss(P.round(6), P) == pytest.approx(exact, rel=1e-5)


BAD = {
    "a label without a column": (
        lambda y, p: cross_entropy_loss(y + 1, p, labels=range(4)),
        "y_true must hold labels in .* got .*4.* at row",
    ),
    "too few labels": (
        lambda y, p: cross_entropy_loss(y % 3, p),
        r"y_score must have .* got 4 columns beside the classes \[0, 1, 2\] of y_true",
    ),
    "repeated labels": (
        lambda y, p: cross_entropy_loss(y, p, labels=[0, 1, 2, 2]),
        "labels must not repeat",
    ),
    "lengths": (lambda y, p: cross_entropy_loss(y[1:], p), "inconsistent numbers"),
    "negative": (lambda y, p: cross_entropy_loss(y, p - 0.5), "probabilities, all in"),
    "logits": (lambda y, p: cross_entropy_loss(y, p * 9), "from_logits=True"),
    "nan": (lambda y, p: cross_entropy_loss(y, p * np.nan), "NaN"),
    "nan logits": (
        lambda y, p: cross_entropy_loss(y, p * np.nan, from_logits=True),
        "NaN",
    ),
    "integer rows": (
        lambda y, p: cross_entropy_loss(np.eye(4, dtype=int)[y], p),
        "soft labels in a float dtype",
    ),
    "rows off 1": (
        lambda y, p: cross_entropy_loss(np.eye(4)[y] * 1.1, p),
        "sum to 1; got .* at row 0",
    ),
    "negative soft labels": (
        lambda y, p: cross_entropy_loss(np.eye(4)[y] * 2 - 0.25, p),
        "non-negative rows",
    ),
    "ignored soft labels": (
        lambda y, p: cross_entropy_loss(np.eye(4)[y], p, ignore_label=1),
        "ignore_label must be None beside soft labels, .* got 1",
    ),
    "balanced soft labels": (
        lambda y, p: cross_entropy_loss(np.eye(4)[y], p, class_weight="balanced"),
        "class_weight must be",
    ),
    "no such weights": (
        lambda y, p: cross_entropy_loss(y, p, class_weight="uniform"),
        'class_weight must be None, a dict, an array or "balanced"; got .uniform',
    ),
    "a negative class weight": (
        lambda y, p: cross_entropy_loss(y, p, class_weight={2: -1}),
        "class_weight must hold .* none of them negative; got -1.0 for column 2",
    ),
    "weights that are nan": (
        lambda y, p: cross_entropy_loss(y, p, sample_weight=np.full(50, np.nan)),
        "sample_weight must hold finite numbers; got nan",
    ),
    "a single weight": (
        lambda y, p: cross_entropy_loss(y, p, sample_weight=np.array(2.0)),
        "sample_weight must have one entry for each sample",
    ),
    "nan to ignore": (
        lambda y, p: cross_entropy_loss(y, p, ignore_label=np.nan),
        "ignore_label must equal the labels",
    ),
    "one column of three": (
        lambda y, p: cross_entropy_loss(y, p[:, 0], labels=range(4)),
        r"second of two classes; got shape \(50,\) beside 4 labels",
    ),
    "weights": (
        lambda y, p: cross_entropy_loss(y, p, sample_weight=np.ones((50, 2))),
        "sample_weight must have shape",
    ),
    "empty": (lambda y, p: cross_entropy_loss([], np.empty((0, 4))), "0 sample"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(data, call, message):
    y, proba, _ = data
    with pytest.raises(ValueError, match=message):
        call(y, proba)


@pytest.mark.parametrize("metric", [cross_entropy_loss, log_loss])
def test_rows_that_do_not_sum_to_one_are_warned_about(data, metric):
    y, proba, _ = data
    with pytest.warns(UserWarning, match="do not sum to one"):
        metric(y, proba * 0.9)


@pytest.mark.parametrize(
    "labels", [[1.0, 2.0], [-1.0, 1.0], ["0", "1"], ["a", "b"], [False, True], [3, 7]]
)
def test_class_weights_by_label(labels):
    rng = np.random.default_rng(0)
    proba, y = rng.dirichlet(np.ones(2), 20), rng.integers(2, size=20)
    expected = cross_entropy_loss(y, proba, class_weight=[1.0, 5.0])
    names = np.array(labels)[y]
    of_label = dict(zip(labels, [1.0, 5.0], strict=True))
    assert cross_entropy_loss(names, proba, class_weight=of_label) == expected
    del of_label[labels[0]]  # which then weighs 1
    assert cross_entropy_loss(names, proba, class_weight=of_label) == expected
    model = SoftmaxRegression(class_weight=of_label).fit(proba, names)
    weight = np.where(y == 1, 5.0, 1.0)
    wanted = SoftmaxRegression().fit(proba, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, wanted.coef_, rtol=1e-4)


@pytest.mark.parametrize("metric", [cross_entropy_loss, d2_log_loss_score, log_loss])
@pytest.mark.parametrize("dtype", ["float32", "float64", object])
@pytest.mark.parametrize("labels", [None, [0.25, 1.0], [0, 1]])
def test_fractions_are_no_labels(metric, dtype, labels):
    proba = np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    y = np.array([0.25, 1.0, 0.25], dtype=dtype)
    with pytest.raises(ValueError, match=r"ontinuous|nknown label|not belonging"):
        metric(y, proba, labels=labels)


def test_class_weights_of_other_labels_are_refused():
    proba = np.array([[0.7, 0.3], [0.2, 0.8]])
    with pytest.raises(ValueError, match=r"class_weight, .* keys; got \[0, 1\]"):
        cross_entropy_loss(["0", "1"], proba, class_weight={0: 1.0, 1: 5.0})
    with pytest.raises(ValueError, match="class_weight"):
        SoftmaxRegression(class_weight={0: 1.0}).fit(proba, ["0", "1"])


def test_a_probability_that_rounding_has_lifted_above_1():
    loss = cross_entropy_loss([1, 1], np.array([1 + 1e-9, 0.5]), labels=[0, 1])
    assert loss == pytest.approx(np.log(2) / 2)
    assert cross_entropy_loss([0, 1], np.array([1 + 1e-9, 0.5])) == np.inf
