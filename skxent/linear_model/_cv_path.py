"""Fits along a path of penalties, each from where the last one ended.

Conventions
-----------
``y`` holds labels (n,) or probabilities (n, K). Every fit sees all classes: a row of
each class that the training rows lack is added with weight 0.
"""

import inspect
import warnings
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from skxent.linear_model._checks import balanced_weights, check_number
from skxent.linear_model._softmax_regression import SoftmaxRegression
from skxent.losses._validation import naming, refuse_masked, refuse_times

__all__ = [
    "Path",
    "Samples",
    "check_grid",
    "fit_path",
    "joined",
    "penalised",
    "shared_parameters",
]

WIDEST = (-4, 4)  # decimal logarithms of the ends of scikit-learn's grid of C


class Samples(NamedTuple):
    """What a fit takes, of all samples."""

    X: Any
    y: NDArray[Any]
    sample_weight: NDArray[np.float64] | None
    soft_labels: NDArray[Any] | None

    def take(self, rows: NDArray[np.intp]) -> "Samples":
        """Return some of the samples."""
        weight, soft = self.sample_weight, self.soft_labels
        return Samples(
            self.X[rows],
            self.y[rows],
            None if weight is None else weight[rows],
            None if soft is None else soft[rows],
        )


class Path(NamedTuple):
    """One fit per C, in the order of ``Cs``."""

    coefs: NDArray[Any]  # (n_Cs, R, p), or p + 1 with the intercept in the last column
    scores: NDArray[np.float64]
    n_iter: NDArray[np.int32]
    n_failed: int  # fits that stopped before their tolerance


def check_grid(
    Cs: Any, l1_ratios: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of C and of the share of the L1 penalty to try."""
    if isinstance(Cs, Integral):
        check_number("Cs", Cs, Integral, "at least 1", lambda n: n >= 1)
        values = np.logspace(*WIDEST, int(Cs))
    else:
        refuse_masked(Cs, "Cs")
        refuse_times(Cs, "Cs")
        with naming("Cs"):
            values = np.asarray(Cs, dtype=np.float64)
    if values.ndim != 1 or not values.size or not (values > 0).all():
        raise ValueError(
            f"Cs must be a number of values, or a vector of positive ones; got {Cs!r}."
        )
    refuse_masked(l1_ratios, "l1_ratios")
    refuse_times(l1_ratios, "l1_ratios")
    with naming("l1_ratios"):
        ratios = np.asarray([0.0] if l1_ratios is None else l1_ratios, dtype=np.float64)
    inside = (ratios >= 0) & (ratios <= 1)
    if ratios.ndim != 1 or not ratios.size or not inside.all():
        raise ValueError(
            "l1_ratios must be None or a vector of numbers between 0 and 1; got "
            f"{l1_ratios!r}."
        )
    return values, ratios


def shared_parameters(
    chooser: Any,
    target: NDArray[Any],
    classes: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
) -> dict[str, Any]:
    """Return the parameters of every fit but the penalty, from those of the chooser.

    Balanced weights are those of all samples.
    """
    known = set(inspect.signature(SoftmaxRegression).parameters) - {"verbose"}
    mine = chooser.get_params(deep=False)
    shared = {name: mine[name] for name in known & set(mine)}
    class_weight = shared["class_weight"]
    if isinstance(class_weight, str) and class_weight == "balanced":
        balanced = balanced_weights(target, classes, sample_weight)
        shared["class_weight"] = dict(zip(classes.tolist(), balanced, strict=True))
    return shared


def penalised(
    parameters: dict[str, Any], C: float, l1_ratio: float
) -> SoftmaxRegression:
    """Return an estimator with a penalty, whose fits start where the last one ended."""
    return SoftmaxRegression(**parameters, C=C, l1_ratio=l1_ratio, warm_start=True)


def fit_path(
    parameters: dict[str, Any],
    samples: Samples,
    train: Any,
    test: Any,
    Cs: NDArray[np.float64],
    l1_ratio: float,
    scorer: Any,
    metadata: dict[str, Any],
) -> Path:
    """Fit every C, the smallest first, and score it on the rows ``test``.

    Rows are numbers or a mask. ``metadata`` goes to the scorer.
    """
    n = len(samples.y)
    rows = _numbers_of(train, n)
    _check_weights(samples.sample_weight, rows, "train")
    _check_weights(metadata.get("sample_weight"), slice(None), "test")
    training = _with_every_class(samples, rows)
    testing = samples.take(_numbers_of(test, n))
    model = penalised(parameters, 1.0, l1_ratio)
    coefs: list[NDArray[Any]] = [np.empty(0)] * len(Cs)
    scores = np.empty(len(Cs))
    n_iter = np.empty(len(Cs), dtype=np.int32)
    n_failed = 0
    for place in np.argsort(Cs, kind="stable"):
        model.set_params(C=float(Cs[place]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(*training)
        for warning in caught:
            if issubclass(warning.category, ConvergenceWarning):
                n_failed += 1
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        coefs[place] = joined(model)
        n_iter[place] = model.n_iter_[0]
        score = scorer(model, testing.X, testing.y, **metadata)
        with naming("scoring"):  # its result, if that is no number
            scores[place] = np.asarray(score).item()
    return Path(np.stack(coefs), scores, n_iter, n_failed)


def _check_weights(weight: Any, rows: Any, purpose: str) -> None:
    """Raise if the weights of a part of a split are all zero."""
    if weight is not None and not np.any(weight[rows]):
        raise ValueError(
            "sample_weight must be positive for some sample of every part of cv; got "
            f"zero for all of a part to {purpose} on. Choose other folds."
        )


def _numbers_of(rows: Any, n: int) -> NDArray[np.intp]:
    """Return the numbers of rows of n, which a splitter may give as a mask."""
    with naming("cv"):
        given = np.asarray(rows)
    is_mask = given.dtype == bool and given.shape == (n,)
    numbers: NDArray[Any] = np.flatnonzero(given) if is_mask else given
    is_right = numbers.ndim == 1 and numbers.size > 0 and numbers.dtype.kind in "iu"
    if not (is_right and -n <= numbers.min() and numbers.max() < n):
        raise ValueError(
            "cv must give, for each part of a split, row numbers below the number of "
            f"samples, {n}, or a mask of as many entries, and at least one row; got "
            f"{np.array2string(given, threshold=5)} of the shape {given.shape}."
        )
    return numbers


def _with_every_class(samples: Samples, rows: NDArray[np.intp]) -> Samples:
    """Return the samples of some rows, and of weight 0 one of each class they lack."""
    if samples.y.ndim == 2:
        return samples.take(rows)
    classes, first = np.unique(samples.y, return_index=True)
    lacking = first[~np.isin(classes, samples.y[rows])]
    taken = samples.take(np.append(rows, lacking))
    if not lacking.size:
        return taken
    weight = np.ones(len(taken.y))
    if taken.sample_weight is not None:
        weight[...] = taken.sample_weight
    weight[len(rows) :] = 0.0
    return taken._replace(sample_weight=weight)


def joined(model: SoftmaxRegression) -> NDArray[Any]:
    """Return the coefficients with the intercept, if there is one, as last column."""
    if not model.fit_intercept:
        return np.asarray(model.coef_)
    return np.hstack([model.coef_, model.intercept_[:, np.newaxis]])
