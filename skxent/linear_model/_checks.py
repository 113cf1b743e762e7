"""Parameters and targets of a classifier, checked before it is fitted."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from skxent.losses._validation import (
    FLAGS,
    NO_NUMBERS,
    check_distributions,
    check_flag,
    check_label_smoothing,
    check_same_length,
    naming,
    refuse_masked,
    refuse_times,
)

__all__ = [
    "balanced_weights",
    "check_known_targets",
    "check_labels",
    "check_number",
    "check_samples",
    "check_shared",
    "check_targets",
    "read_X",
]

# Integers up to so far apart are looked up in a table.
LARGEST_RANGE = 1 << 16


def check_number(
    name: str, value: Any, kind: type, rule: str, holds: Callable[[Any], bool]
) -> None:
    """Raise unless a parameter is a number for which the rule holds."""
    number = value
    is_number = isinstance(value, kind) and not isinstance(value, NO_NUMBERS)
    if is_number and kind is Real:
        try:  # float16 does not compare with what it cannot hold
            number = float(value)
        except OverflowError:  # of an integer or a fraction
            is_number = False
    if not is_number or not holds(number):
        raise ValueError(
            f"{name} must be {rule} and of type {kind.__name__}; got {value!r}."
        )


def check_shared(estimator: Any) -> None:
    """Raise unless the parameters that all estimators have are in their range."""
    rule = "positive, at most 1e100"  # it is squared
    check_number("tol", estimator.tol, Real, rule, lambda tol: 0 < tol <= 1e100)
    check_number(
        "max_iter", estimator.max_iter, Integral, "at least 0", lambda n: n >= 0
    )
    check_label_smoothing(estimator.label_smoothing)
    check_flag(estimator.fit_intercept, "fit_intercept")
    with naming("random_state"):
        check_random_state(estimator.random_state)
    if not isinstance(estimator.verbose, FLAGS):
        check_number(
            "verbose", estimator.verbose, Integral, "at least 0", lambda n: n >= 0
        )


def read_X(estimator: Any, X: Any, **options: Any) -> Any:
    """Return X as scikit-learn's `validate_data` does."""
    refuse_masked(X, "X")
    refuse_times(X, "X")
    with naming("X"):
        return validate_data(estimator, X, **options)


def check_samples(
    estimator: Any, X: Any, y: Any, **options: Any
) -> tuple[Any, NDArray[Any]]:
    """Return X and the labels or soft labels y as arrays of one length."""
    data = read_X(estimator, X, **options)
    labels = check_labels(estimator, y)
    check_same_length(X=data, y=labels)
    return data, labels


def check_labels(estimator: Any, y: Any) -> NDArray[Any]:
    """Return the labels or soft labels y as an array."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None"
        )
    refuse_masked(y, "y")
    with naming("y"):
        labels: NDArray[Any] = check_array(
            y, ensure_2d=False, dtype=None, input_name="y", estimator=estimator
        )
    return labels


def balanced_weights(
    target: NDArray[Any],
    classes: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return weights that give every class the same total."""
    if target.ndim == 1:
        counts = np.bincount(target, sample_weight, minlength=len(classes))
    else:
        target = np.ascontiguousarray(target)  # one order of adding up
        counts = target.sum(axis=0) if sample_weight is None else sample_weight @ target
    if (counts == 0).any():
        empty = classes[counts == 0].tolist()
        raise ValueError(
            "class_weight='balanced' needs a positive total weight in every class; got "
            f"zero for the classes {empty}. Drop their samples, or give the weights as "
            "a dict."
        )
    return np.asarray(counts.sum() / (len(classes) * counts), dtype=np.float64)


def check_targets(
    y: NDArray[Any], soft_labels: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the classes and the target: class indices or probabilities."""
    if y.ndim == 2 and y.shape[1] > 1:
        _refuse_both_doors(y, soft_labels)
        target = check_distributions(y, "y", None)
        return np.arange(target.shape[1]), target
    classes, indices = _encode_labels(y)
    if soft_labels is not None:
        check_same_length(y=y, soft_labels=soft_labels)
        return classes, check_distributions(soft_labels, "soft_labels", len(classes))
    if len(classes) < 2:
        raise ValueError(
            "y must hold at least two classes; got only one class: "
            f"{classes.tolist()[0]!r}."
        )
    return classes, indices


def _encode_labels(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the classes, ascending, and the index of each label.

    Integers of a small range are counted, which takes a fiftieth of sorting them, and
    strings are looked up: 0.24 s for a million that are objects of Python, which
    scikit-learn checks and sorts in 9 s.
    """
    with naming("y"):
        y = column_or_1d(y, warn=True)
    if y.size and y.dtype.kind in "iu":
        least, largest = int(y.min()), int(y.max())
        if largest - least < LARGEST_RANGE:
            wide = np.dtype(np.int64 if y.dtype.kind == "i" else np.uint64).type
            places = (y.astype(wide, copy=False) - wide(least)).astype(np.intp)
            found = np.flatnonzero(np.bincount(places))
            if len(found) <= largest - least:
                table = np.zeros(largest - least + 1, dtype=np.intp)
                table[found] = np.arange(len(found))
                places = table[places]
            return (found.astype(wide) + wide(least)).astype(y.dtype), places
    if y.dtype.kind in "UO":
        labels = y.tolist()
        try:
            distinct: set[Any] = set(labels)
        except TypeError:  # a list among them
            distinct = {None}
        if all(isinstance(label, str) for label in distinct):
            ordered = sorted(distinct)
            index_of = {label: index for index, label in enumerate(ordered)}
            indices_of = map(index_of.__getitem__, labels)
            return np.array(ordered, y.dtype), np.fromiter(
                indices_of, np.intp, len(labels)
            )
    with naming("y"):
        check_classification_targets(y)
        classes, indices = np.unique(y, return_inverse=True)
    return classes, indices


def check_known_targets(
    y: NDArray[Any], soft_labels: ArrayLike | None, classes: NDArray[Any]
) -> NDArray[Any]:
    """Return the target, as :func:`check_targets`, where the classes are known."""
    if y.ndim == 2 and y.shape[1] > 1:
        _refuse_both_doors(y, soft_labels)
        return check_distributions(y, "y", len(classes))
    labels, places = _encode_labels(y)
    with naming("y"):
        unknown = ~np.isin(labels, classes)
    if unknown.any():
        raise ValueError(
            f"y must hold labels among the classes {classes.tolist()}; got "
            f"{labels[unknown].tolist()}. Train with every label: partial_fit takes "
            "them as classes in its first call."
        )
    if soft_labels is not None:
        check_same_length(y=y, soft_labels=soft_labels)
        return check_distributions(soft_labels, "soft_labels", len(classes))
    return np.asarray(np.searchsorted(classes, labels)[places])


def _refuse_both_doors(y: NDArray[Any], soft_labels: ArrayLike | None) -> None:
    """Raise if soft labels came in by both arguments."""
    if soft_labels is not None:
        raise ValueError(
            "y must hold labels of shape (n_samples,) beside soft_labels; got shape "
            f"{y.shape}. Pass the soft labels by one of the two only."
        )
