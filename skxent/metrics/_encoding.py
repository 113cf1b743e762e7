"""Labels and scores as users have them, brought into the form of ``skxent.losses``.

Conventions
-----------
n samples, K classes. Scores are (n, K), or (n,) for the second of two classes.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, column_or_1d

from skxent.losses._validation import check_distributions

__all__ = [
    "IGNORED",
    "EncodedLabels",
    "check_scores",
    "encode_labels",
    "two_columns",
    "warn_unless_normalised",
]

IGNORED = -100  # the class index of rows that are left out

USE_LOGITS = (
    "Pass from_logits=True for the output of a decision_function that holds log-odds."
)
USE_IGNORE_LABEL = "drop such rows with ignore_label, or pass all labels."


class EncodedLabels(NamedTuple):
    """The targets of a metric."""

    target: NDArray[Any]  # (n,) class indices, or (n, K) probabilities
    classes: NDArray[Any] | None  # (K,), None if soft labels came without names


def check_scores(
    y_score: ArrayLike, name: str, from_logits: bool, *, remedy: str = USE_LOGITS
) -> NDArray[Any]:
    """Return scores of shape (n,) or (n, K), float32 or float64, checked for range."""
    scores: NDArray[Any] = check_array(
        y_score,
        ensure_2d=False,
        dtype=[np.float64, np.float32],
        ensure_all_finite=not from_logits,
        input_name=name,
    )
    if from_logits:
        if np.isnan(scores).any():
            raise ValueError(f"{name} must not contain NaN.")
    elif scores.min() < 0 or scores.max() > 1 + np.sqrt(np.finfo(scores.dtype).eps):
        raise ValueError(
            f"{name} must hold probabilities, all in [0, 1]; got values in "
            f"[{scores.min()}, {scores.max()}]. {remedy}"
        )
    return scores


def two_columns(scores: NDArray[Any], from_logits: bool) -> NDArray[Any]:
    """Return (n, 2) scores for those of the second class alone, (n,) or (n, 1)."""
    if scores.ndim == 2 and scores.shape[1] != 1:
        return scores
    scores = scores.reshape(-1, 1)
    return np.hstack([np.zeros_like(scores) if from_logits else 1 - scores, scores])


def warn_unless_normalised(
    probabilities: NDArray[Any], name: str, *, stacklevel: int = 3
) -> None:
    """Warn as scikit-learn does if the rows do not sum to 1."""
    tolerance = np.sqrt(np.finfo(probabilities.dtype).eps)
    if not np.allclose(probabilities.sum(axis=1), 1, rtol=tolerance):
        warnings.warn(
            f"The {name} values do not sum to one. Make sure to pass probabilities.",
            UserWarning,
            stacklevel=stacklevel,
        )


def encode_labels(
    y_true: ArrayLike,
    labels: ArrayLike | None,
    scores: NDArray[Any],
    ignore_label: Any,
    *,
    name: str,
    remedy: str = USE_IGNORE_LABEL,
) -> EncodedLabels:
    """Return class indices for labels of any type, or checked soft labels.

    ``name`` is what the caller's signature calls the scores, and ``remedy`` what it
    offers against a label without a column.
    """
    n_columns = scores.shape[1]
    y = check_array(y_true, ensure_2d=False, dtype=None, input_name="y_true")
    if y.ndim == 2 and y.shape[1] > 1:
        if labels is not None:
            _check_count(column_or_1d(labels), n_columns, name, "labels")
        return EncodedLabels(check_distributions(y, "y_true", n_columns), None)
    y = column_or_1d(y)
    ignored = _is_ignored(y, ignore_label)
    classes = np.unique(y[~ignored]) if labels is None else column_or_1d(labels)
    _check_count(classes, n_columns, name, "y_true" if labels is None else "labels")
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError(f"labels must not repeat; got {classes.tolist()}.")
    place = np.searchsorted(ordered, y).clip(max=len(classes) - 1)
    unknown = (ordered[place] != y) & ~ignored
    if unknown.any():
        row = int(unknown.argmax())
        label = y.tolist()[row]
        raise ValueError(
            f"y_true must hold labels in {classes.tolist()}; got {label!r} at row "
            f"{row}. A class that the classifier has never seen has no probability: "
            f"{remedy}"
        )
    return EncodedLabels(np.where(ignored, IGNORED, order[place]), classes)


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
