"""The share held out, its targets, and when to stop."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_digits

from skxent.linear_model import SoftmaxRegression, _training
from skxent.linear_model._early_stopping import (
    Monitor,
    check_early_stopping,
    hold_out,
    split_validation,
)
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.losses._targets import encode_targets


def split(target, mass=None, fraction=0.1, seed=0):
    mass = np.ones(len(target)) if mass is None else mass
    return split_validation(
        target, mass, validation_fraction=fraction, random_state=seed
    )


def test_every_class_gives_its_share():
    target = np.repeat([0, 1, 2], [500, 300, 100])
    held = split(target)
    counts = np.bincount(target[held], minlength=3)
    assert counts.sum() == 90
    assert np.abs(counts - [50, 30, 10]).max() <= 1
    assert (np.diff(held) > 0).all()
    np.testing.assert_array_equal(held, split(target))
    assert not np.array_equal(held, split(target, seed=1))
    np.testing.assert_array_equal(held, split(np.eye(3)[target]))


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_no_class_is_held_out_as_a_whole(fraction):
    target = np.r_[np.zeros(20, int), np.ones(2, int), 2, 3]
    held = split(target, fraction=fraction)
    assert 1 <= len(held) <= 20
    left = np.delete(target, held)
    assert set(left.tolist()) == {0, 1, 2, 3}


def test_rows_without_weight_are_not_held_out():
    target = np.arange(300) % 3
    weight = np.where(np.arange(300) < 200, 0.0, 2.0)
    held = split(target, weight, fraction=0.5)
    assert len(held) == 50
    assert (held >= 200).all()
    # the one row of class 0 that has a weight stays behind
    weight[np.flatnonzero(target == 0)[1:]] = 0.0
    weight[0] = 1.0
    assert 0 not in split(target, weight, fraction=0.9)


def test_nothing_to_hold_out():
    with pytest.raises(ValueError, match="second sample of some class"):
        split(np.arange(3))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_parts_are_objectives_of_their_own(soft, weighted):
    rng = np.random.default_rng(0)
    n, n_classes = 60, 3
    X = rng.normal(size=(n, 2))
    target = rng.integers(0, n_classes, n)
    if soft:
        target = rng.dirichlet(np.ones(n_classes), n)
    weight = rng.uniform(0.5, 2, n) if weighted else None
    coef = rng.normal(size=(n_classes, 2))
    held = split(target, weight, fraction=0.3)
    kept = np.setdiff1d(np.arange(n), held)

    def objective(data, targets):
        return LinearCrossEntropy(
            data, targets, n_classes=n_classes, fit_intercept=False, l2=0.0
        )

    def encoded(rows):
        return encode_targets(
            target[rows],
            n_classes,
            dtype=X.dtype,
            sample_weight=weight[rows] if weighted else None,
        )

    training, validation = hold_out(encoded(slice(None)), held)
    for got, expected in (
        (objective(X, training), objective(X[kept], encoded(kept))),
        (objective(X[held], validation), objective(X[held], encoded(held))),
    ):
        assert got.targets.denominator == pytest.approx(expected.targets.denominator)
        # shapes of coefficients are the objective's own
        at = coef[: expected.shape[0]]
        value, gradient = got.value_and_gradient(at)
        wanted, wanted_gradient = expected.value_and_gradient(at)
        assert value == pytest.approx(wanted, rel=1e-12)
        np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-9, atol=1e-13)


def calls_until_stop(losses, n_iter_no_change):
    """Call a monitor with coefficients that are the number of the call."""
    monitor = Monitor(lambda coef: losses[int(coef[0])], n_iter_no_change)
    monitor.begin(np.zeros(1))
    for number in range(1, len(losses)):
        if monitor(np.array([float(number)])):
            return number, monitor
    return None, monitor


@pytest.mark.parametrize(
    ("losses", "n_iter_no_change", "stop", "best"),
    [
        ([5, 4, 3, 2, 1], 1, None, 4),
        ([5, 4, 4, 3, 3, 3], 2, 5, 3),
        ([5, 6, 4, 5, 4.5, 4.2, 1], 3, 5, 2),
        ([5, 6, 6], 1, 2, 1),  # zeros are no model
        ([5, 7, 6, 4, 4, 4], 2, 5, 3),
        ([np.nan, np.nan, 3, 4], 5, None, 2),
        ([5, np.nan, np.nan, 1], 2, 2, 0),
        ([np.inf, np.inf, 2, 3], 3, None, 2),
    ],
)
def test_stops_after_so_many_iterations_without_a_new_best(
    losses, n_iter_no_change, stop, best
):
    stopped, monitor = calls_until_stop(losses, n_iter_no_change)
    assert stopped == stop
    assert monitor.best_coef == [best]
    np.testing.assert_array_equal(
        monitor.losses, losses[: len(losses) if stop is None else stop + 1]
    )


def test_the_best_coefficients_are_a_copy():
    monitor = Monitor(lambda coef: coef[0], 3)
    coef = np.array([1.0])
    monitor.begin(coef)
    coef[0] = 2.0
    assert not monitor(coef)
    assert monitor.best_coef == [1.0]  # a start that is a model counts
    coef[0] = 0.5
    monitor(coef)
    coef[0] = 3.0
    assert monitor.best_coef == [0.5]


@pytest.mark.parametrize(
    ("fraction", "n_iter", "message"),
    [
        (0.0, 5, "validation_fraction must be between 0 and 1, both excluded"),
        (1, 5, "validation_fraction must be between 0 and 1"),
        (np.nan, 5, "validation_fraction"),
        ("0.1", 5, "of type Real; got '0.1'"),
        (0.1, 0, "n_iter_no_change must be at least 1"),
        (0.1, 2.5, "of type Integral; got 2.5"),
    ],
)
def test_parameters_out_of_range(fraction, n_iter, message):
    check_early_stopping(0.1, 5)
    with pytest.raises(ValueError, match=message):
        check_early_stopping(fraction, n_iter)


FORMS = {
    "dense": np.asarray,
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_array,
}


@pytest.fixture(scope="module")
def wide():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 200)) * (rng.uniform(size=(2000, 200)) < 0.1)
    logits = X @ (2 * rng.normal(size=(200, 3)))
    return X, (logits + rng.gumbel(size=(2000, 3))).argmax(axis=1)


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("form", FORMS)
def test_the_start_is_not_an_iteration(wide, form, C, monkeypatch):
    monkeypatch.setattr(_training, "DENSE_SIZE", 0)
    X, y = wide
    model = SoftmaxRegression(
        C=C, early_stopping=True, n_iter_no_change=1, random_state=0
    ).fit(FORMS[form](X), y)
    assert model.n_iter_[0] > 1
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("max_iter", [0, 3])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_loss_held_out_for_each_entry_of_the_history(
    wide, form, max_iter, monkeypatch
):
    monkeypatch.setattr(_training, "DENSE_SIZE", 0)
    X, y = wide
    model = SoftmaxRegression(
        C=10.0, early_stopping=True, max_iter=max_iter, random_state=0
    ).fit(FORMS[form](X), y)
    lengths = {len(values) for values in model.history_.values()}
    assert lengths == {model.n_iter_[0] + 1}


@pytest.mark.parametrize("seed", range(8))
def test_first_steps_that_lead_away_are_gone_on_from(seed):
    X, y = load_digits(return_X_y=True)
    model = SoftmaxRegression(
        C=np.inf, solver="lbfgs", early_stopping=True, random_state=seed
    ).fit(X / 16, y)
    assert model.score(X / 16, y) > 0.5


def test_rows_of_classes_that_weigh_nothing_are_not_held_out():
    X = np.random.default_rng(0).normal(size=(20, 3))
    y = np.repeat([0, 1, 2], [9, 9, 2])
    model = SoftmaxRegression(
        class_weight={0: 0.0, 1: 0.0}, early_stopping=True, random_state=0
    ).fit(X, y)
    assert np.isfinite(model.history_["validation_loss"]).all()
