"""Right arguments in one pass: which they are, and that nothing else is let through."""

import math
import tracemalloc

import numpy as np
import pytest
import sklearn.metrics

from skxent.metrics import (
    _classification,
    _log_loss,
    cross_entropy_loss,
    d2_log_loss_score,
    log_loss,
)
from skxent.metrics._straight import class_weights, straight_sums

N = 20_000  # several blocks, and several chunks
INDICES = np.random.default_rng(0).integers(0, 4, N)
NAMES = {
    "indices": np.arange(4),
    "integers": np.array([-7, 3, 4, 90]),
    "bytes": np.array([0, 1, 200, 255], dtype=np.uint8),
    "far apart": np.array([-7, 3, 4, 90]) * 10**12,
    "floats": np.array([-2.0, 1.0, 5.0, 6.0]),
    "strings": np.array(["a", "bb", "c", "dd"]),
    "objects": np.array(["a", "bb", "c", "dd"], dtype=object),
}
METRICS = [log_loss, d2_log_loss_score, cross_entropy_loss]
every_name = pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())


@pytest.fixture
def proba():
    rows = np.random.default_rng(1).dirichlet(np.ones(4), size=N)
    rows[5] = np.eye(4)[INDICES[5]]
    return rows


@pytest.fixture
def weight():
    return np.random.default_rng(2).uniform(0.0, 2.0, N)


def sums_of(*args, **options):
    options = {"sample_weight": None, "labels": None, "clips": True} | options
    return straight_sums(*args, **options)


@every_name
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("clips", [True, False])
def test_right_arguments_take_one_pass(proba, weight, names, dtype, clips):
    y, proba = names[INDICES], proba.astype(dtype)
    share = proba[np.arange(N), INDICES].astype(np.float64)
    if clips:
        eps = float(np.finfo(dtype).eps)
        share = share.clip(eps, 1 - eps)
    for w, labels in [(None, None), (weight, None), (None, names), (weight, names)]:
        sums = sums_of(y, proba, sample_weight=w, labels=labels, clips=clips)
        ones = np.ones(N) if w is None else w
        assert sums.loss == pytest.approx(-(ones * np.log(share)).sum(), rel=1e-12)
        assert sums.weight == pytest.approx(ones.sum(), rel=1e-12)
        counts = np.bincount(INDICES, ones)
        np.testing.assert_allclose(class_weights(sums), counts, rtol=1e-12)


@every_name
@pytest.mark.parametrize("metric", METRICS)
def test_the_longer_way_leads_to_the_same_number(
    monkeypatch, proba, weight, names, metric
):
    y = names[INDICES]
    options = [{}, {"sample_weight": weight}, {"labels": names}]
    straight = [metric(y, proba, **o) for o in options]
    for module in (_log_loss, _classification):
        monkeypatch.setattr(module, "straight_sums", lambda *_, **__: None)
    longer = [metric(y, proba, **o) for o in options]
    np.testing.assert_allclose(straight, longer, rtol=1e-12)


def test_classes_that_do_not_occur_weigh_nothing(proba):
    names = NAMES["integers"]
    y = names[INDICES % 2 + 1]
    sums = sums_of(y, proba, labels=names)
    np.testing.assert_array_equal(
        class_weights(sums), np.bincount(INDICES % 2 + 1, minlength=4)
    )


@every_name
@pytest.mark.parametrize("place", [0, N // 2, N - 1])
def test_one_class_too_many_is_found_wherever_it_is(proba, names, place):
    y = names[INDICES]
    y[place] = {"i": 7, "u": 7, "f": 7.0, "U": "e", "O": "e"}[y.dtype.kind]
    assert sums_of(y, proba) is None
    assert sums_of(y, proba, labels=names) is None
    with pytest.raises(ValueError, match="different number of classes: 5 vs 4"):
        log_loss(y, proba)


DOUBTFUL = {
    "a row off 1": lambda p: p * np.linspace(1, 1 - 1e-6, N)[:, None],
    "above 1": lambda p: p + np.eye(4)[0] * 0.5,
    "negative": lambda p: p - 1e-3,
    "nan": lambda p: np.where(np.arange(N)[:, None] == 999, math.nan, p),
    "float16": lambda p: p.astype(np.float16),
    "Fortran order": np.asfortranarray,
    "a list": lambda p: p.tolist(),
    "too few": lambda p: p[:-1],
    "other columns": lambda p: np.ascontiguousarray(p[:, :3]),
}


@pytest.mark.parametrize("change", DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_what_needs_a_closer_look(proba, change):
    assert sums_of(INDICES, proba) is not None
    assert sums_of(INDICES, change(proba)) is None


@pytest.mark.parametrize(
    "weight",
    [
        np.zeros(N),
        np.ones(N - 1),
        np.ones((N, 1)),
        np.ones(N, dtype=int),
        np.full(N, math.nan),
        np.full(N, math.inf),
        np.arange(N) % 2 * 2.0 - 1.0,
    ],
)
def test_weights_that_need_a_closer_look(proba, weight):
    assert sums_of(INDICES, proba, sample_weight=weight) is None


@pytest.mark.parametrize("clips", [False, True])
def test_fractions_are_no_classes(proba, clips):
    y = np.array([0.5, 1.0, 2.0, 3.0])[INDICES]
    assert sums_of(y, proba, clips=clips) is None


@pytest.mark.parametrize("smoothing", [False, "0", None, [0.0]])
def test_no_option_of_a_wrong_type_is_let_through(proba, smoothing):
    with pytest.raises(TypeError):
        cross_entropy_loss(INDICES, proba, label_smoothing=smoothing)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("names", "n_classes"),
    [
        (np.arange(10), 10),
        (np.arange(2), 2),
        (np.array([-1, 1]), 2),
        (np.arange(10) * 10**12, 10),
        (np.array([f"c{k}" for k in range(10)]), 10),
        (np.array([f"c{k}" for k in range(10)], dtype=object), 10),
    ],
)
def test_memory_is_a_fraction_of_the_probabilities(names, n_classes, dtype):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(n_classes), size=200_000).astype(dtype)
    y = names[np.arange(200_000) % n_classes]
    log_loss(y, proba)  # compiled by now
    tracemalloc.start()
    loss = log_loss(y, proba)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loss == pytest.approx(sklearn.metrics.log_loss(y, proba), rel=1e-5)
    assert peak < 0.1 * proba.nbytes
