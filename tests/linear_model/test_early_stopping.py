"""The share held out, its targets, and when to stop."""

import numpy as np
import pytest

from skxent.linear_model._early_stopping import (
    Monitor,
    check_early_stopping,
    hold_out,
    split_validation,
)
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.losses._targets import encode_targets


def split(target, weight=None, fraction=0.1, seed=0):
    return split_validation(
        target, weight, validation_fraction=fraction, random_state=seed
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
    for number in range(len(losses)):
        if monitor(np.array([float(number)])):
            return number, monitor
    return None, monitor


@pytest.mark.parametrize(
    ("losses", "n_iter_no_change", "stop", "best"),
    [
        ([5, 4, 3, 2, 1], 1, None, 4),
        ([5, 4, 4, 3, 3, 3], 2, 5, 3),
        ([5, 6, 4, 5, 4.5, 4.2, 1], 3, 5, 2),
        ([5, 6], 1, 1, 0),
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
    monitor(coef)
    coef[0] = 2.0
    monitor(coef)
    assert monitor.best_coef == [1.0]


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
