"""Probabilities and labels checked as scikit-learn 1.9 checks them.

The messages are scikit-learn's, word for word, so that what is caught or filtered by
them still is; whatever version is installed, the behaviour is that of 1.9.

Conventions
-----------
n samples, K classes in sorted order. Probabilities are (n, K), or (n,) or (n, 1) for
the second of two classes.

Right arguments are recognised by one pass over the probabilities and the labels. Where
that leaves a doubt, scikit-learn's own checks decide, and say what is wrong.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

from skxent.losses._validation import naming
from skxent.metrics._blocks import holds_distributions, n_columns_of, two_columns
from skxent.metrics._codes import find_codes
from skxent.metrics._encoding import (
    fractions_among,
    is_plain,
    refuse_nat,
    warn_unless_normalised,
)

__all__ = [
    "InvalidParameterError",
    "Prediction",
    "check_parameters",
    "check_prediction",
    "n_samples",
    "reading",
    "renamed",
    "total_weight",
]

DTYPES = [np.float64, np.float32, np.float16]


class InvalidParameterError(ValueError, TypeError):
    """A parameter of the wrong type; scikit-learn's has no public name."""


class Prediction(NamedTuple):
    """The checked arguments of a metric of probabilities."""

    probabilities: NDArray[Any]  # (n, K) float64, float32 or float16
    target: NDArray[Any]  # (n,) class indices, or (n, K) label indicators
    sample_weight: NDArray[np.float64] | None  # (n,)


def _is_array_like(value: Any) -> bool:
    """Return whether scikit-learn takes the value for an array-like."""
    if issparse(value) or np.isscalar(value):
        return False
    return any(hasattr(value, name) for name in ("__len__", "shape", "__array__"))


def _is_optional(value: Any) -> bool:
    return value is None or _is_array_like(value)


def check_parameters(
    caller: str,
    y_true: Any,
    y_proba: Any,
    normalize: Any,
    sample_weight: Any,
    labels: Any,
    y_pred: Any,
) -> None:
    """Raise unless every parameter is of a type that scikit-learn takes."""
    one = "an array-like"
    boolean = f"an instance of 'bool' or an instance of 'numpy.{np.bool_.__name__}'"
    maybe = f"{one} or None"
    old = f"{one} or an instance of 'str'"
    rules = (
        ("y_true", y_true, _is_array_like(y_true), one),
        ("y_proba", y_proba, _is_optional(y_proba), one),
        ("normalize", normalize, isinstance(normalize, bool | np.bool_), boolean),
        ("sample_weight", sample_weight, _is_optional(sample_weight), maybe),
        ("labels", labels, _is_optional(labels), maybe),
        ("y_pred", y_pred, isinstance(y_pred, str) or _is_array_like(y_pred), old),
    )
    for name, value, fits, rule in rules:
        if not fits:
            raise InvalidParameterError(
                f"The {name!r} parameter of {caller} must be {rule}. Got "
                f"{value!r} instead."
            )


def renamed(y_proba: Any, y_pred: Any) -> Any:
    """Return the probabilities from whichever of the two names they came by."""
    if isinstance(y_pred, str) and y_pred == "deprecated":
        return y_proba
    if y_proba is not None:
        raise ValueError(
            "Cannot use both `y_pred` and `y_proba`. `y_pred` is deprecated, use "
            "`y_proba` instead."
        )
    warnings.warn(
        "`y_pred` was renamed to `y_proba` in version 1.9 and will be removed in 1.11. "
        "Use `y_proba` instead.",
        FutureWarning,
        stacklevel=3,
    )
    return y_pred


@contextmanager
def reading() -> Iterator[None]:
    """Let scikit-learn's errors pass; others, of a conversion, become one of its."""
    try:
        yield
    except (TypeError, ValueError, ZeroDivisionError, Warning, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            "y_true, y_proba, sample_weight and labels must be array-likes that numpy "
            f"can read; got {error!r} from one of them."
        ) from error


def n_samples(value: Any) -> int:
    """Return the length of an array-like without making an array of it."""
    return int(value.shape[0]) if hasattr(value, "shape") else len(value)


def _check_sample_weight(value: Any, size: int) -> NDArray[np.float64]:
    """Return one finite weight per sample, not all of them 0."""
    # a dtype of None would let None and pandas' NA pass, as nan
    is_plain_array = isinstance(value, np.ndarray) and value.dtype != object
    dtype = None if is_plain_array else np.float64
    with naming("sample_weight"):
        weight = check_array(
            value, ensure_2d=False, dtype=dtype, order="C", input_name="sample_weight"
        )
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {weight.ndim}D array. "
            f"Expected either a scalar value or a 1D array of length {size}."
        )
    with naming("sample_weight"):
        weight = np.asarray(weight, dtype=np.float64)
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def total_weight(prediction: Prediction) -> float:
    """Return what a mean over the samples divides by."""
    if prediction.sample_weight is None:
        return float(len(prediction.target))
    total = float(prediction.sample_weight.sum())
    if total == 0:
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    return total


def _known_classes(y_true: Any, labels: Any) -> tuple[LabelBinarizer, NDArray[Any]]:
    """Return a fitted binarizer and its (K,) sorted classes, at least two."""
    binarizer = LabelBinarizer().fit(y_true if labels is None else labels)
    classes = binarizer.classes_
    if labels is not None:
        if not np.all(classes == labels):
            warnings.warn(
                f"Labels passed were {labels}. But this function assumes labels are "
                "ordered lexicographically. Pass the ordered "
                f"labels={classes.tolist()} and ensure that the columns of y_prob "
                "correspond to this ordering.",
                UserWarning,
                stacklevel=5,
            )
        if not np.isin(y_true, labels).all():
            unknown = set(y_true) - set(labels)
            raise ValueError(
                f"y_true contains values {unknown} not belonging to the passed labels "
                f"{labels}."
            )
    if len(classes) == 1:
        if labels is None:
            raise ValueError(
                f"y_true contains only one label ({classes[0]}). Please provide the "
                "list of all expected class labels explicitly through the labels "
                "argument."
            )
        raise ValueError(
            f"The labels array needs to contain at least two labels, got {classes}."
        )
    return binarizer, classes


def _encode(y_true: Any, labels: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return class indices or label indicators, and the (K,) sorted classes."""
    binarizer, classes = _known_classes(y_true, labels)
    kind = binarizer.y_type_ if labels is None else type_of_target(y_true)
    if kind not in ("binary", "multiclass") or binarizer.y_type_.startswith("multil"):
        return binarizer.transform(y_true), classes  # or raises what is wrong
    if not isinstance(y_true, list):
        y_true = check_array(y_true, ensure_2d=False, dtype=None, input_name="y")
    y = column_or_1d(y_true)
    refuse_nat(y, "y_true")
    return np.searchsorted(classes, y), classes


def _check_range(probabilities: NDArray[Any]) -> None:
    """Raise if a probability lies outside [0, 1]."""
    largest, least = probabilities.max(), probabilities.min()
    if largest > 1:
        raise ValueError(f"y_prob contains values greater than 1: {largest}")
    if least < 0:
        raise ValueError(f"y_prob contains values lower than 0: {least}")


def _check_count(classes: NDArray[Any], labels: Any, n_columns: int) -> None:
    """Raise unless there is one class per column."""
    if len(classes) == n_columns:
        return
    if labels is not None:
        raise ValueError(
            "The number of classes in labels is different from that in y_prob. "
            f"Classes found in labels: {classes}"
        )
    raise ValueError(
        "y_true and y_prob contain different number of classes: "
        f"{len(classes)} vs {n_columns}. Please provide the true labels explicitly "
        f"through the labels argument. Classes found in y_true: {classes}"
    )


def check_prediction(
    y_true: Any, y_proba: Any, sample_weight: Any, labels: Any
) -> Prediction:
    """Return the checked arguments; raise and warn in scikit-learn's order."""
    probabilities: NDArray[Any] = y_proba
    if not is_plain(y_proba, DTYPES):
        probabilities = check_array(y_proba, ensure_2d=False, dtype=DTYPES)
    is_right = holds_distributions(probabilities)
    if not is_right:
        check_array(probabilities, ensure_2d=False)  # raises for nan and infinity
        _check_range(probabilities)
    check_consistent_length(probabilities, y_true, sample_weight)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, len(probabilities))
    n_columns = n_columns_of(probabilities)
    found = find_codes(y_true, labels, n_columns)
    if found is None or fractions_among(found.classes):
        target, classes = _encode(y_true, labels)
    else:
        target, classes = found
    if not is_right:
        probabilities = two_columns(probabilities, from_logits=False)
        warn_unless_normalised(probabilities, "y_prob", probabilities, stacklevel=4)
    _check_count(classes, labels, n_columns)
    return Prediction(probabilities, target, sample_weight)
