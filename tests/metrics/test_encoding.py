"""The quick way from labels and scores to what the losses take beside the slow one."""

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from skxent.metrics import (
    _blocks,
    _encoding,
    _predictions,
    cross_entropy_loss,
    d2_log_loss_score,
    log_loss,
)

N = 30_000
INDICES = np.random.default_rng(0).integers(0, 4, N)
NAMES = {
    "classes": np.arange(4),
    "integers": np.array([3, 5, 8, 11]),
    "strings": np.array(["a", "bb", "c", "dd"]),
    "objects": np.array(["a", "bb", "c", "dd"], dtype=object),
    "floats": np.array([-1.0, 0.0, 1.0, 3.0]),
}
every_name = pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())


def probabilities(n_classes=4, dtype=np.float64):
    proba = np.random.default_rng(1).random((N, n_classes)) + 0.01
    return (proba / proba.sum(axis=1, keepdims=True)).astype(dtype)


def encoded(y, labels, ignore_label, n_columns=4):
    return _encoding.encode_labels(y, labels, n_columns, ignore_label, name="y_score")


@every_name
@pytest.mark.parametrize("order", [None, [0, 1, 2, 3], [2, 0, 3, 1]])
@pytest.mark.parametrize("ignored", [None, 0, 2, "another"])
def test_both_ways_lead_to_the_same_classes(monkeypatch, names, order, ignored):
    y, labels = names[INDICES], None if order is None else names[order]
    if isinstance(ignored, int):
        ignored = names.tolist()[ignored]
    n_columns = 3 if labels is None and ignored in names.tolist() else 4
    got = encoded(y, labels, ignored, n_columns)
    monkeypatch.setattr(_encoding, "find_codes", lambda *_: None)
    expected = encoded(y, labels, ignored, n_columns)
    np.testing.assert_array_equal(got.target, expected.target)
    np.testing.assert_array_equal(got.classes, expected.classes)


def test_an_ignored_label_beside_those_with_a_column(monkeypatch):
    y = np.append(INDICES, [-1, 7])
    got = encoded(y[:-1], [0, 1, 2, 3], -1)
    assert got.target[-1] == _blocks.IGNORED
    np.testing.assert_array_equal(got.target[:-1], INDICES)
    with pytest.raises(ValueError, match=f"got 7 at row {N + 1}"):
        encoded(y, [0, 1, 2, 3], -1)


def give_up(*args, **options):
    raise AssertionError("the slow way")


@every_name
@pytest.mark.parametrize("container", [np.asarray, list, pd.Series])
def test_usual_arguments_take_the_quick_way(monkeypatch, names, container):
    monkeypatch.setattr(_predictions, "check_array", give_up)
    monkeypatch.setattr(_predictions, "type_of_target", give_up)
    monkeypatch.setattr(_predictions, "LabelBinarizer", give_up)
    monkeypatch.setattr(_encoding, "check_array", give_up)
    y, labels = container(names[INDICES]), container(names)
    for proba in (probabilities(), np.asfortranarray(probabilities(4, np.float32))):
        for options in ({}, {"labels": labels}):
            cross_entropy_loss(y, proba, **options)
            if names.dtype.kind != "f":
                log_loss(y, proba, **options)
                d2_log_loss_score(y, proba, **options)
    cross_entropy_loss(probabilities(), probabilities())
    cross_entropy_loss(names[INDICES % 2], probabilities(2)[:, 0])


SHAPES = {
    "rows": lambda dtype: probabilities(dtype=dtype),
    "columns": lambda dtype: np.asfortranarray(probabilities(dtype=dtype)),
    "every other": lambda dtype: np.repeat(probabilities(dtype=dtype), 2, axis=0)[::2],
    "one column": lambda dtype: probabilities(2, dtype)[:, 1:],
    "one dimension": lambda dtype: probabilities(2, dtype)[:, 1].copy(),
}


@pytest.mark.parametrize("metric", [log_loss, cross_entropy_loss])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [np.int64, np.uint8, str])
def test_blocks_add_up_to_the_whole(metric, shape, kind):
    proba = SHAPES[shape](np.float64)
    y = (INDICES % _blocks.n_columns_of(proba)).astype(kind)
    weight = np.random.default_rng(2).random(N)
    both = _blocks.two_columns(proba, from_logits=False)
    at_target = both[np.arange(N), y.astype(int)]
    expected = -(weight @ np.log(at_target)) / weight.sum()
    got = metric(y, proba, sample_weight=weight)
    assert got == pytest.approx(expected, rel=1e-12)


def test_rows_of_float16_may_be_off_by_its_precision():
    proba = probabilities(dtype=np.float16)
    at_target = proba[np.arange(N), INDICES].astype(np.float64)
    got = log_loss(INDICES, proba)
    assert got == pytest.approx(-np.log(at_target).mean(), rel=1e-12)
    proba[7] *= np.float16(0.9)
    with pytest.warns(UserWarning, match="do not sum to one"):
        log_loss(INDICES, proba)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s != "one column"])
@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_a_single_bad_probability_is_found(shape, bad):
    proba = SHAPES[shape](np.float64)
    proba[N - 5] = bad
    y = INDICES % _blocks.n_columns_of(proba)
    for metric in (log_loss, cross_entropy_loss):
        with pytest.raises(ValueError, match=r"NaN|y_prob contains|probabilities, all"):
            metric(y, proba)


@pytest.mark.parametrize("shape", ["rows", "columns", "every other"])
@pytest.mark.parametrize("factor", [0.9, 1 + 1e-7])
def test_a_single_row_off_1_is_warned_about(shape, factor):
    proba = SHAPES[shape](np.float64)
    proba[N - 5] *= factor
    for metric in (log_loss, cross_entropy_loss):
        with pytest.warns(UserWarning, match="do not sum to one"):
            metric(INDICES, proba)


def test_minus_zero_is_a_probability():
    proba = np.array([[1.0, -0.0], [0.5, 0.5]])
    assert log_loss([0, 1], proba) == pytest.approx(math.log(2) / 2, rel=1e-12)
    assert cross_entropy_loss([0, 1], proba) == pytest.approx(math.log(2) / 2)


MEMORY = {
    "indices": (INDICES, "rows"),
    "short integers": (INDICES.astype(np.int16), "rows"),
    "strings": (INDICES.astype(str), "rows"),
    "objects": (INDICES.astype(str).astype(object), "rows"),
    "a list": (INDICES.astype(str).tolist(), "rows"),
    "far apart": (INDICES * 10**9, "rows"),
    "columns": (INDICES, "columns"),
    "strides": (INDICES, "every other"),
}


@pytest.mark.parametrize("metric", [log_loss, cross_entropy_loss, d2_log_loss_score])
@pytest.mark.parametrize(("y", "shape"), MEMORY.values(), ids=MEMORY.keys())
def test_memory_is_below_a_tenth_of_the_probabilities(metric, y, shape):
    y = np.tile(y, 10) if isinstance(y, np.ndarray) else y * 10
    proba = np.tile(SHAPES[shape](np.float64), (10, 1))
    if shape == "columns":
        proba = np.asfortranarray(proba)
    elif shape == "every other":
        proba = np.repeat(proba, 2, axis=0)[::2]
    metric(y, proba)  # compiled by now
    tracemalloc.start()
    metric(y, proba)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * proba.nbytes


MIXED = {
    "a missing name": ["a", np.nan, "a"],
    "numbers and names": [1, "a", 1],
    "truth and names": [True, "a", True],
    "no name": ["a", None, "a"],
}


@pytest.mark.parametrize("form", [list, tuple, lambda y: np.array(y, dtype=object)])
@pytest.mark.parametrize("y", MIXED.values(), ids=MIXED.keys())
def test_no_label_becomes_a_string(y, form):
    with pytest.raises(ValueError, match=r"y_true .*(NaN|one kind)"):
        encoded(form(y), None, None, 2)


@pytest.mark.parametrize("form", [list, pd.Series, lambda y: np.array(y, object)])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("y", "ignored"), [(["a", "b", -1, "b"], -1), ([0, 1, "?", 1], "?")]
)
def test_an_ignored_label_of_another_type(y, ignored, named, form):
    found = encoded(form(y), [y[0], y[1]] if named else None, ignored, 2)
    np.testing.assert_array_equal(found.target, [0, 1, _blocks.IGNORED, 1])
    assert found.classes.tolist() == y[:2]


@pytest.mark.parametrize("missing", [np.nan, np.float32("nan"), pd.NA, pd.NaT])
def test_what_equals_nothing_cannot_be_ignored(missing):
    with pytest.raises(ValueError, match="ignore_label must equal"):
        encoded(np.array([0, 1]), None, missing, 2)


def test_a_date_that_is_missing_is_refused():
    dates = np.array(["2020", "2021", "NaT"], dtype="M8[D]")
    for metric in (cross_entropy_loss, log_loss, d2_log_loss_score):
        with pytest.raises(ValueError, match=r"y_true must not contain NaT; .* row 2"):
            metric(dates, probabilities(3)[:3])


def test_labels_do_not_repeat_beside_soft_labels_either():
    proba = probabilities(2)
    with pytest.raises(ValueError, match="labels must not repeat"):
        cross_entropy_loss(proba, proba, labels=["b", "b"])
