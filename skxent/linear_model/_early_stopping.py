"""Early stopping: a share of the samples is held out, and says when to stop."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skxent.backends import EncodedTargets
from skxent.linear_model._checks import check_number
from skxent.linear_model._row_masses import row_masses

__all__ = ["Monitor", "check_early_stopping", "hold_out", "split_validation"]


def check_early_stopping(validation_fraction: Any, n_iter_no_change: Any) -> None:
    """Raise unless both parameters are in their range."""
    check_number(
        "validation_fraction",
        validation_fraction,
        Real,
        "between 0 and 1, both excluded,",
        lambda fraction: 0 < fraction < 1,
    )
    check_number(
        "n_iter_no_change", n_iter_no_change, Integral, "at least 1", lambda n: n >= 1
    )


def split_validation(
    target: NDArray[Any],
    mass: NDArray[np.float64],
    *,
    validation_fraction: float,
    random_state: Any,
) -> NDArray[np.intp]:
    """Return the rows to hold out, in ascending order, drawn evenly from the classes.

    ``target`` holds class indices or probabilities, whose largest counts as the class.
    Rows of no mass are not drawn, nor is the last row left of a class.
    """
    classes = target if target.ndim == 1 else target.argmax(axis=1)
    rng = check_random_state(random_state)
    order = rng.permutation(len(classes))
    order = order[mass[order] > 0]
    order = order[np.argsort(classes[order], kind="stable")]
    # one of each class stays behind
    drawn_from = order[1:][np.diff(classes[order]) == 0]
    if not drawn_from.size:
        raise ValueError(
            "early_stopping needs a second sample of some class to hold out; got "
            f"{len(order)} samples with a positive weight, each of a class of its own. "
            "Set early_stopping=False."
        )
    n_held = round(validation_fraction * len(order))
    n_held = min(max(1, n_held), len(drawn_from))
    # every so many-th of the rows sorted by class takes its share from each of them
    places = (np.arange(n_held) + rng.uniform()) * (len(drawn_from) / n_held)
    return np.sort(drawn_from[places.astype(np.intp)])


def hold_out(
    targets: EncodedTargets, rows: NDArray[np.intp]
) -> tuple[EncodedTargets, EncodedTargets]:
    """Return the targets to train on, in which some rows weigh 0, and those rows' own.

    X need not be copied for training. Both have denominators of their own.
    """
    masses = row_masses(targets)
    held = float(masses[rows].sum())
    row_weight = targets.row_weight
    weights = np.array(row_weight) if row_weight.size else np.ones(len(masses))
    weights[rows] = 0.0
    masses[rows] = 0.0
    training = targets._replace(row_weight=weights, denominator=float(masses.sum()))
    return training, targets.rows(rows)._replace(denominator=held)


class Monitor:
    """Says when the loss of the samples held out has stopped falling.

    Called with the coefficients after each iteration of a solver.

    Parameters
    ----------
    loss : callable ``(coef) -> float``
        The loss of the samples held out, without a penalty.
    n_iter_no_change : int
        After so many calls in a row without a new least loss it says stop.

    Attributes
    ----------
    best_coef : ndarray
        The coefficients of the least loss so far, a copy; empty before the start.
    losses : list of float
        The loss of the start and of each call.
    """

    def __init__(
        self, loss: Callable[[NDArray[np.float64]], float], n_iter_no_change: int
    ) -> None:
        self.loss = loss
        self.n_iter_no_change = n_iter_no_change
        self.best_coef: NDArray[np.float64] = np.empty(0)
        self.losses: list[float] = []
        self._best = np.inf
        self._n_worse = 0

    def begin(self, coef: NDArray[np.float64]) -> None:
        """Look at the start.

        Zeros are no model: a first step may lead to worse, and later ones to better.
        """
        value = float(self.loss(coef))
        self.losses.append(value)
        self.best_coef = coef.copy()
        if coef.any() and value < np.inf:  # nan is improved upon by any number
            self._best = value

    def __call__(self, coef: NDArray[np.float64]) -> bool:
        """Return whether to stop."""
        value = float(self.loss(coef))
        self.losses.append(value)
        if value < self._best:
            self._best = value
            self.best_coef = coef.copy()
            self._n_worse = 0
        else:
            self._n_worse += 1
        return self._n_worse >= self.n_iter_no_change
