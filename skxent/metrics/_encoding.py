"""Labels and scores as users have them, brought into the form of ``skxent.losses``.

Conventions
-----------
n samples, K classes. Scores are (n, K), or (n,) for the second of two classes.
"""

import warnings
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, column_or_1d

from skxent.losses._validation import check_distributions, naming
from skxent.metrics._blocks import IGNORED, eps_of, holds_distributions
from skxent.metrics._codes import find_codes, plain_labels

__all__ = [
    "EncodedLabels",
    "check_scores",
    "encode_labels",
    "fractions_among",
    "is_plain",
    "refuse_nat",
    "warn_unless_normalised",
]

DTYPES = [np.float64, np.float32]
USE_LOGITS = (
    "Pass from_logits=True for the output of a decision_function that holds log-odds."
)
USE_IGNORE_LABEL = "drop such rows with ignore_label, or pass all labels."


class EncodedLabels(NamedTuple):
    """The targets of a metric."""

    target: NDArray[Any]  # (n,) class indices of any integer dtype, or probabilities
    classes: NDArray[Any] | None  # (K,), None if soft labels came without names


def is_plain(scores: Any, dtypes: list[Any]) -> bool:
    """Return whether `check_array` would return the scores as they are if finite."""
    return (
        type(scores) in (np.ndarray, np.memmap)
        and scores.dtype in dtypes
        and scores.ndim in (1, 2)
        and scores.size > 0
    )


def check_scores(
    y_score: ArrayLike, name: str, from_logits: bool, *, remedy: str = USE_LOGITS
) -> tuple[NDArray[Any], bool]:
    """Return scores of shape (n,) or (n, K), float32 or float64, checked for range.

    And whether they are probabilities whose rows are known to sum to 1.
    """
    scores: Any = y_score
    if not is_plain(y_score, DTYPES):
        scores = _checked_array(y_score, name, from_logits)
    if from_logits:
        if np.isnan(scores.min()):
            raise ValueError(f"{name} must not contain NaN.")
        return scores, False
    most = 1 + eps_of(scores.dtype) ** 0.5
    if holds_distributions(scores, most):
        return scores, True
    _checked_array(scores, name, from_logits)
    if scores.min() < 0 or scores.max() > most:
        raise ValueError(
            f"{name} must hold probabilities, all in [0, 1]; got values in "
            f"[{scores.min()}, {scores.max()}]. {remedy}"
        )
    return scores, False


def _checked_array(y_score: ArrayLike, name: str, from_logits: bool) -> NDArray[Any]:
    """Return scores as an array of at most two dimensions."""
    with naming(name):
        array: NDArray[Any] = check_array(
            y_score,
            ensure_2d=False,
            dtype=DTYPES,
            ensure_all_finite=not from_logits,
            input_name=name,
        )
    return array


def warn_unless_normalised(
    probabilities: NDArray[Any], name: str, given: Any, *, stacklevel: int = 3
) -> None:
    """Warn as scikit-learn does if the rows do not sum to 1.

    To the precision of what was given, which may be float16.
    """
    eps = eps_of(probabilities.dtype)
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        eps = max(eps, eps_of(given.dtype))
    tolerance = eps**0.5
    if not np.allclose(probabilities.sum(axis=1), 1, rtol=tolerance):
        warnings.warn(
            f"The {name} values do not sum to one. Make sure to pass probabilities.",
            UserWarning,
            stacklevel=stacklevel,
        )


def encode_labels(
    y_true: ArrayLike,
    labels: ArrayLike | None,
    n_columns: int,
    ignore_label: Any,
    *,
    name: str,
    remedy: str = USE_IGNORE_LABEL,
) -> EncodedLabels:
    """Return class indices for labels of any type, or checked soft labels.

    ``name`` is what the caller's signature calls the scores, and ``remedy`` what it
    offers against a label without a column.
    """
    if not isinstance(ignore_label, Hashable):
        raise TypeError(
            f"ignore_label must be one label; got {ignore_label!r}. Drop the samples "
            "of others beforehand."
        )
    if _is_missing(ignore_label):
        raise ValueError(
            f"ignore_label must equal the labels that it stands for; got "
            f"{ignore_label!r}. Give missing labels a name beforehand, such as -1."
        )
    with naming("y_true, labels or ignore_label"):
        found = _found_labels(y_true, labels, ignore_label, n_columns)
    if found is not None:
        if found.classes is not None:
            _refuse_fractions(found.classes)
        return found
    y: Any = y_true
    named: Any = labels
    is_right = is_plain(y, DTYPES) and y.ndim == 2 and holds_distributions(y)
    if not is_right:
        with naming("y_true"):
            y = _as_array_or_list(y_true)
            y = check_array(y, ensure_2d=False, dtype=None, input_name="y_true")
    if labels is not None:
        with naming("labels"):
            named = column_or_1d(_as_array_or_list(labels))
            _check_one_kind(named, "labels")
            _check_distinct(named)
    if y.ndim == 2 and y.shape[1] > 1:
        if labels is not None:
            _check_count(named, n_columns, name, "labels")
        if not (is_right and y.shape[1] == n_columns):
            y = check_distributions(y, "y_true", n_columns)
        if ignore_label is not None:
            raise ValueError(
                "ignore_label must be None beside soft labels, which have none; got "
                f"{ignore_label!r}. Leave samples out with sample_weight=0."
            )
        return EncodedLabels(y, named)
    with naming("y_true"):
        y = column_or_1d(y)
        refuse_nat(y, "y_true")
        rows = np.flatnonzero(~_is_ignored(y, ignore_label))
        kept = y[rows]
        _check_one_kind(kept, "y_true")
        classes = np.unique(kept) if labels is None else named
    _refuse_fractions(classes)
    _check_count(classes, n_columns, name, "y_true" if labels is None else "labels")
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    with naming("y_true beside labels"):  # types that have to compare
        place = np.searchsorted(ordered, kept).clip(max=len(classes) - 1)
        unknown = np.flatnonzero(ordered[place] != kept)
    if unknown.size:
        _refuse_fractions(kept[unknown])
        label = kept[unknown].tolist()[0]
        raise ValueError(
            f"y_true must hold labels in {classes.tolist()}; got {label!r} at row "
            f"{rows[unknown[0]]}. A class that the classifier has never seen has no "
            f"probability: {remedy}"
        )
    target = np.full(len(y), IGNORED)
    target[rows] = order[place]
    return EncodedLabels(target, classes)


def _is_missing(label: Any) -> bool:
    """Return whether a label differs from itself, or cannot tell."""
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # pandas' NA
        return True


def _as_array_or_list(labels: Any) -> Any:
    """Return labels, those of a list with strings and others as an array of objects.

    numpy would make strings of all, and so a class of what stands for a missing label.
    """
    if not isinstance(labels, list | tuple):
        return labels
    if sum(isinstance(label, str) for label in labels) in (0, len(labels)):
        return labels
    array = np.empty(len(labels), dtype=object)
    array[:] = labels
    return array


def _check_one_kind(labels: NDArray[Any], name: str) -> None:
    """Raise if strings stand beside other labels."""
    if labels.dtype != object:
        return
    others = [label for label in labels.tolist() if not isinstance(label, str)]
    if 0 < len(others) < len(labels):
        raise ValueError(
            f"{name} must hold labels of one kind; got strings and {others[0]!r}. Make "
            "all of them strings, or pass the other one as ignore_label."
        )


def _check_distinct(labels: NDArray[Any]) -> None:
    """Raise if a class has two columns."""
    ordered = np.sort(labels)
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError(f"labels must not repeat; got {labels.tolist()}.")


def refuse_nat(labels: NDArray[Any], name: str) -> None:
    """Raise if a date is missing, which equals none and has no place in an order."""
    if labels.dtype.kind in "mM" and np.isnat(labels).any():
        raise ValueError(
            f"{name} must not contain NaT; got one at row "
            f"{np.isnat(labels).argmax()}. Drop such rows."
        )


def _found_labels(
    y_true: Any, labels: Any, ignore_label: Any, n_columns: int
) -> EncodedLabels | None:
    """Return class indices for labels of the usual types, if all of them are right."""
    left_out = [] if ignore_label is None else [ignore_label]
    if labels is None:
        found = find_codes(y_true, None, n_columns + len(left_out))
        if found is None and left_out:  # it need not occur
            found = find_codes(y_true, None, n_columns)
        if found is None:
            return None
        kept = [label not in left_out for label in found.classes.tolist()]
        classes = found.classes[kept]
        if len(classes) != n_columns:
            return None
        names = classes.tolist()
    else:
        if plain_labels(labels) is None:
            return None
        classes = np.asarray(labels)
        names = classes.tolist()
        if len(names) != n_columns:
            return None
        distinct = {*names, *left_out}
        if len({*map(type, distinct)}) != 1 or len({*names}) != n_columns:
            return None
        found = find_codes(y_true, sorted(distinct), len(distinct))
        if found is None:
            return None
    column_of = {name: column for column, name in enumerate(names)}
    column_of |= dict.fromkeys(left_out, IGNORED)
    columns = [column_of[label] for label in found.classes.tolist()]
    if columns == list(range(n_columns)):
        return EncodedLabels(found.codes, classes)
    narrowest = np.result_type(np.int8, np.min_scalar_type(n_columns))
    return EncodedLabels(np.array(columns, narrowest).take(found.codes), classes)


def fractions_among(labels: NDArray[Any]) -> list[float]:
    """Return the floats that scikit-learn takes for a quantity, not for a class."""
    if labels.dtype == object:
        floats = [label for label in labels if isinstance(label, float | np.floating)]
        return [label for label in map(float, floats) if not label.is_integer()]
    if labels.dtype.kind != "f":
        return []
    fractions: list[float] = labels[labels != np.floor(labels)].tolist()
    return fractions


def _refuse_fractions(labels: NDArray[Any]) -> None:
    """Raise if labels are fractions, which scikit-learn refuses as well."""
    fractions = fractions_among(labels)
    if fractions:
        raise ValueError(
            "y_true and labels must hold class labels, floats only if they are whole; "
            f"got {fractions[0]}, a continuous target. Soft labels have a column for "
            "each class, (n_samples, n_classes)."
        )


def _check_count(classes: NDArray[Any], n_columns: int, name: str, where: str) -> None:
    """Raise unless there is one class per column."""
    if len(classes) != n_columns:
        raise ValueError(
            f"{name} must have one column per class; got {n_columns} columns beside "
            f"the classes {classes.tolist()} of {where}. Pass the label of each column "
            "as labels, such as labels=estimator.classes_."
        )


def _is_ignored(y: NDArray[Any], ignore_label: Any) -> NDArray[np.bool_]:
    """Return the mask of rows that are left out."""
    if ignore_label is None:
        return np.zeros(len(y), dtype=bool)
    mask = y == ignore_label
    if np.ndim(mask) == 0:  # numpy's answer when the types cannot be equal
        return np.zeros(len(y), dtype=bool)
    return np.asarray(mask, dtype=bool)
