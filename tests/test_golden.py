"""The published numbers: two articles, the documentation of brainpy and of Wolfram.

`golden.json` has one entry per line: what is called with which arguments, the number
as it was printed or derived with its tolerance, and `exact`, the same in float64 where
fewer digits were printed. A string "nan" stands for nan.
"""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from skxent import losses
from skxent.linear_model import SoftmaxRegression
from skxent.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from skxent.metrics import log_loss

ENTRIES = json.loads(Path(__file__).with_name("golden.json").read_text("utf-8"))
BY_ID = {entry["id"]: entry for entry in ENTRIES}


def arguments_of(entry):
    """The input, the target and the options of an entry."""
    target = entry["target"]
    if isinstance(target, dict):
        target = softmax(target["softmax"], axis=1)
    return np.array(entry["input"]), np.array(target), entry.get("options", {})


def check(got, entry):
    """Compare with the number as printed and, in float64, with all of its digits."""
    expected = np.array(entry["expected"], dtype=np.float64)
    tolerance = {"rtol": entry.get("rtol", 0), "atol": entry.get("atol", 0)}
    assert np.shape(got) == expected.shape
    np.testing.assert_allclose(got, expected, **tolerance)
    exact = np.array(entry.get("exact", entry["expected"]), dtype=np.float64)
    np.testing.assert_allclose(got, exact, rtol=1e-13, atol=1e-15)


# One function per kind of call; each yields the ways to get the number.


def cross_entropy(entry):
    input, target, options = arguments_of(entry)
    yield losses.cross_entropy(input, target, **options)
    yield losses.cross_entropy_value_and_grad(input, target, **options)[0]
    yield CrossEntropyLoss(**options)(input, target)


def cross_entropy_grad(entry):
    input, target, options = arguments_of(entry)
    yield losses.cross_entropy_grad(input, target, **options)
    yield losses.cross_entropy_value_and_grad(input, target, **options)[1]
    yield CrossEntropyLoss(**options).grad(input, target)


def class_losses(z):
    """The loss that each class of each row would have as the target."""
    columns = [np.full(len(z), k) for k in range(z.shape[1])]
    columns = [losses.cross_entropy(z, k, reduction="none") for k in columns]
    return np.stack(columns, axis=1)


def softmax_probabilities(entry):
    z = np.array(entry["input"])
    yield np.exp(-class_losses(z))
    # The gradient is p - q: the first class is the target of one, the second of two.
    first, second = (
        losses.cross_entropy_grad(z, np.full(len(z), k), reduction="sum")
        for k in (0, 1)
    )
    yield np.column_stack([second[:, 0], first[:, 1:]])


def terms(entry):
    input, target, _ = arguments_of(entry)
    yield -target * class_losses(input)


def binary_cross_entropy(entry):
    input, target, options = arguments_of(entry)
    yield losses.binary_cross_entropy(input, target, **options)
    yield BinaryCrossEntropyLoss(from_logits=False, **options)(input, target)
    yield CrossEntropyLoss(form="binary", from_logits=False, **options)(input, target)


def binary_cross_entropy_with_logits(entry):
    input, target, options = arguments_of(entry)
    yield losses.binary_cross_entropy_with_logits(input, target, **options)
    yield BinaryCrossEntropyLoss(**options)(input, target)


def sigmoid(entry):
    x = np.array(entry["input"])
    yield losses.binary_cross_entropy_with_logits_grad(
        x, np.zeros_like(x), reduction="sum"
    )
    ones = np.ones_like(x)
    yield np.exp(-losses.binary_cross_entropy_with_logits(x, ones, reduction="none"))


def log_loss_of_labels(entry):
    p, y = entry["input"], entry["target"]
    yield log_loss(y, p)
    yield log_loss(y, np.column_stack([np.subtract(1, p), p]))


def wolfram(entry):
    input, target, _ = arguments_of(entry)
    if entry["form"] == "Binary":
        yield losses.binary_cross_entropy(input, target)
        loss = CrossEntropyLoss(form="binary", from_logits=False)
    else:
        if entry["form"] == "Index":
            target = target - 1  # indices count from 1 there
        yield losses.cross_entropy(input, target, class_axis=-1, from_logits=False)
        form = entry["form"].lower()
        loss = CrossEntropyLoss(form=form, class_axis=-1, from_logits=False)
    yield loss(input, target)


def legacy_points(entry):
    rng = np.random.RandomState(entry["seed"])
    x0, y0 = rng.normal(5, 2, 3), rng.normal(5, 2, 3)
    x1, y1 = rng.normal(3, 2, 3), rng.normal(3, 2, 3)
    yield np.column_stack([np.r_[x0, x1], np.r_[y0, y1], np.ones(6)])


def linear_model(coef):
    """A classifier that was given its coefficients; the last is the intercept."""
    model = SoftmaxRegression()
    model.coef_, model.intercept_ = np.array([coef[:-1]]), np.array(coef[-1:])
    model.classes_, model.n_features_in_ = np.array([0, 1]), len(coef) - 1
    return model


def linear(entry):
    X = np.array(entry["input"])
    yield linear_model(entry["coef"]).decision_function(X[:, :-1])


RUN = {
    "cross_entropy": cross_entropy,
    "cross_entropy_grad": cross_entropy_grad,
    "softmax": softmax_probabilities,
    "terms": terms,
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "sigmoid": sigmoid,
    "log_loss": log_loss_of_labels,
    "wolfram": wolfram,
    "points": legacy_points,
    "linear": linear,
}


# Entries that are no number but a property.


def check_defaults(entry):
    loss = CrossEntropyLoss()
    for name, default in entry["expected"].items():
        got = getattr(loss, name)
        assert got == default
        assert type(got) is type(default)


def check_minimum_at_the_target(entry):
    """Over p, the binary loss is least at the target, and falls towards target 1."""
    p = np.linspace(0.01, 0.99, 99)
    for t in p[:-1]:
        loss = losses.binary_cross_entropy(p, np.full(99, t), reduction="none")
        slope = losses.binary_cross_entropy_grad(p, np.full(99, t), reduction="none")
        assert p[np.argmin(loss)] == t
        np.testing.assert_array_equal(np.sign(slope), np.sign(p - t))
    certain = losses.binary_cross_entropy(p, np.ones(99), reduction="none")
    assert (np.diff(certain) < 0).all()


def check_double_softmax(entry):
    """A loss whose input is a softmax already can be neither small nor large."""
    low, high = math.log(math.e + 2) - 1, math.log(math.e + 2)
    np.testing.assert_allclose([low, high], entry["expected"], atol=5e-5)
    for seed, scale in [(0, 1.0), (1, 10.0), (2, 1000.0)]:
        rng = np.random.default_rng(seed)
        z, y = scale * rng.random((32, 3)), rng.integers(3, size=32)
        twice = losses.cross_entropy(softmax(z, axis=1), y, reduction="none")
        assert (twice >= low - 1e-15).all()
        assert (twice <= high + 1e-15).all()
    # The last ones are so sure that they reach both bounds. Once is enough: 0 and more.
    np.testing.assert_allclose([twice.min(), twice.max()], [low, high], rtol=1e-6)
    once = losses.cross_entropy(z, y, reduction="none")
    assert once.min() < 1e-3
    assert once.max() > 100


def check_binary_formula(entry):
    rng = np.random.default_rng(3)
    p, y = rng.uniform(0.01, 0.99, size=200), rng.integers(2, size=200)
    total = math.fsum(-math.log(a if b else 1 - a) for a, b in zip(p, y, strict=True))
    got = losses.binary_cross_entropy(p, y)
    assert math.isclose(got, total / 200, rel_tol=1e-14)
    logits = np.log(p / (1 - p))
    got = losses.binary_cross_entropy_with_logits(logits, y)
    assert math.isclose(got, total / 200, rel_tol=1e-13)


def check_formulas_of_torch(entry):
    """Both forms as sums written out, on the shapes of the documented examples."""
    rng = np.random.default_rng(4)
    z, w = rng.normal(size=(3, 5)), rng.uniform(0.5, 2, size=5)
    log_p = np.log(softmax(z, axis=1))
    y, ignored = np.array([1, 0, 4]), 0
    rows = [0.0 if k == ignored else -w[k] * log_p[n, k] for n, k in enumerate(y)]
    options = {"weight": w, "ignore_index": ignored}
    of_rows = losses.cross_entropy(z, y, reduction="none", **options)
    np.testing.assert_allclose(of_rows, rows, rtol=1e-13)
    mean = sum(rows) / (w[1] + w[4])
    assert math.isclose(losses.cross_entropy(z, y, **options), mean, rel_tol=1e-13)
    q = softmax(rng.normal(size=(3, 5)), axis=1)
    rows = -(w * q * log_p).sum(axis=1)
    of_rows = losses.cross_entropy(z, q, reduction="none", weight=w)
    np.testing.assert_allclose(of_rows, rows, rtol=1e-13)
    mean = rows.sum() / 3
    assert math.isclose(losses.cross_entropy(z, q, weight=w), mean, rel_tol=1e-13)


PROPERTIES = {
    "devto_defaults": check_defaults,
    "wl_min_at_target": check_minimum_at_the_target,
    "art_double_softmax_bounds": check_double_softmax,
    "art_binary_formula": check_binary_formula,
    "bp_formulas": check_formulas_of_torch,
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["id"])
def test_published_number(entry):
    if entry["id"] in PROPERTIES:
        PROPERTIES[entry["id"]](entry)
        return
    results = list(RUN[entry["call"]](entry))
    assert results
    for got in results:
        check(got, entry)


def test_none_of_the_47_is_missing():
    assert len(BY_ID) == len(ENTRIES) == 47
    sources = Counter(name.split("_")[0] for name in BY_ID)
    assert sources == {"devto": 21, "tut": 14, "wl": 9, "art": 2, "bp": 1}
    kinds = {entry["call"] for entry in ENTRIES if entry["id"] not in PROPERTIES}
    assert kinds == RUN.keys()
    assert PROPERTIES.keys() <= BY_ID.keys()


def test_the_tutorial_from_its_seed_to_its_loss():
    (X,) = legacy_points(BY_ID["tut_np_points"])
    model = linear_model(BY_ID["tut_np_linear"]["coef"])
    y = BY_ID["tut_np_bce_logits"]["target"]
    logits = model.decision_function(X[:, :2])
    loss = losses.binary_cross_entropy_with_logits(logits, y)
    assert loss == pytest.approx(BY_ID["tut_np_bce_logits"]["expected"], abs=1.2e-8)
    p = model.predict_proba(X[:, :2])
    assert log_loss(y, p) == pytest.approx(loss, rel=1e-13)
    printed = BY_ID["tut_np_sigmoid"]["expected"]
    np.testing.assert_allclose(p[:, 1], printed, rtol=0, atol=6e-9)
