"""Log loss and the score made of it, drop-in replacements of scikit-learn's."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_consistent_length

from skxent._array_api import on_host, to_host
from skxent.backends._blas import one_blas_thread
from skxent.backends._device_arrays import is_on_device
from skxent.metrics._blocks import (
    class_totals,
    eps_of,
    n_columns_of,
    sums_of_losses,
)
from skxent.metrics._predictions import (
    Prediction,
    check_parameters,
    check_prediction,
    n_samples,
    reading,
    renamed,
    total_weight,
)
from skxent.metrics._straight import class_weights, straight_sums

__all__ = ["d2_log_loss_score", "log_loss"]


def _total_log_loss(prediction: Prediction) -> float:
    """Return the weighted sum of the losses, probabilities clipped."""
    eps = eps_of(prediction.probabilities.dtype)
    total, _ = sums_of_losses(*prediction, low=eps, high=1.0 - eps)
    return total


def log_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike | None = None,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    y_pred: Any = "deprecated",
) -> float:
    """Log loss, a drop-in replacement of scikit-learn's, its clipping included.

    Signature, number, errors and warnings are those of scikit-learn 1.9, whatever
    version is installed. It needs a fraction of the memory: no one-hot matrix is made
    of the labels, and the probabilities are not copied.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or indicator (n_samples, n_classes)
        Labels of any type.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; the columns belong to the labels in sorted order. One dimension
        holds the probabilities of the second of two classes.
    normalize : bool, default=True
        Whether to return the mean over the samples instead of the sum.
    sample_weight : array-like of shape (n_samples,), default=None
        Sample weights.
    labels : array-like of shape (n_classes,), default=None
        All labels, sorted; None stands for those found in `y_true`.
    y_pred : array-like, default="deprecated"
        The name of `y_proba` before scikit-learn 1.9.

    Returns
    -------
    loss : float
        The log loss in nats; lower is better.

    Raises
    ------
    ValueError
        If lengths or columns do not fit, there is only one label, a label is not among
        `labels`, a probability lies outside [0, 1], the sample weights are all 0, an
        argument is of the wrong type, or both `y_proba` and `y_pred` came in.
    ZeroDivisionError
        If the sample weights of a mean sum to 0.

    Warns
    -----
    UserWarning
        If rows of probabilities do not sum to 1, or `labels` are not sorted.
    FutureWarning
        If probabilities came in as `y_pred`.

    See Also
    --------
    cross_entropy_loss : Exact, and with more options.
    sklearn.metrics.log_loss : The function that this one replaces.

    Notes
    -----
    Probabilities are clipped to ``[eps, 1 - eps]``, where ``eps`` is the machine
    precision of their dtype, so that a surely wrong prediction costs 36.04 in float64
    and 15.94 in float32. The sum is accumulated in float64 whatever comes in.

    Memory beside the arguments: some 5 KB, and for integer labels in a narrow range 8
    bytes for a 48th of the samples, for other labels a byte per sample. Probabilities
    with gaps between their entries, in float16 or of one column are copied in blocks of
    a 48th, or of a 16th.

    Tensors and other arrays in host memory are read where they are, as the numpy arrays
    that share their memory. ``sklearn.set_config(array_api_dispatch=True)`` lets in
    what numpy cannot read: tensors that require a gradient, which are detached, and
    arrays on other devices, which are copied. The result is a Python float always.

    Examples
    --------
    >>> from skxent.metrics import log_loss
    >>> proba = [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]
    >>> print(f"{log_loss(['spam', 'ham', 'ham', 'spam'], proba):.5f}")
    0.21616
    """
    check_parameters(
        "log_loss", y_true, y_proba, normalize, sample_weight, labels, y_pred
    )
    y_proba = renamed(y_proba, y_pred)
    y_true, sample_weight, labels = on_host(
        y_true=y_true, sample_weight=sample_weight, labels=labels
    )
    if not is_on_device(y_proba):
        y_proba = to_host("y_proba", y_proba)
    with reading():
        sums = straight_sums(y_true, y_proba, sample_weight, labels, clips=True)
        if sums is not None:
            return sums.loss / sums.weight if normalize else sums.loss
        y_proba = to_host("y_proba", y_proba)
        prediction = check_prediction(y_true, y_proba, sample_weight, labels)
    total = _total_log_loss(prediction)
    return total / total_weight(prediction) if normalize else total


def _total_null_loss(prediction: Prediction) -> float:
    """Return the log loss, in total, of predicting the share of each class."""
    probabilities, target, sample_weight = prediction
    if target.ndim == 1:
        n_classes = n_columns_of(probabilities)
        counts = class_totals(target, n_classes, sample_weight)
    else:
        weight = np.ones(len(target)) if sample_weight is None else sample_weight
        with one_blas_thread():
            counts = weight @ target
    return _null_loss(counts, total_weight(prediction))


def _null_loss(counts: NDArray[Any], total: float) -> float:
    """Return the log loss, in total, of classes that weigh so much."""
    share = counts / total
    eps = np.finfo(np.float64).eps
    return float(-counts @ np.log(share.clip(eps, 1 - eps)))


def d2_log_loss_score(
    y_true: ArrayLike,
    y_proba: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    y_pred: Any = "deprecated",
) -> float:
    """Share of the log loss that is explained, as scikit-learn's function.

    1 is best, 0 is what predicting the frequency of each class achieves, and worse
    predictions get a negative score. Signature, number, errors and warnings are those
    of scikit-learn 1.9, whatever version is installed.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or indicator (n_samples, n_classes)
        Labels of any type.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; the columns belong to the labels in sorted order. One dimension
        holds the probabilities of the second of two classes.
    sample_weight : array-like of shape (n_samples,), default=None
        Sample weights.
    labels : array-like of shape (n_classes,), default=None
        All labels, sorted; None stands for those found in `y_true`.
    y_pred : array-like, default="deprecated"
        The name of `y_proba` before scikit-learn 1.9.

    Returns
    -------
    score : float
        One minus the ratio of two losses; higher is better. nan for a single sample.

    Raises
    ------
    ValueError
        As :func:`log_loss`.
    ZeroDivisionError
        If the sample weights sum to 0.

    Warns
    -----
    UserWarning
        If rows of probabilities do not sum to 1, or `labels` are not sorted.
    UndefinedMetricWarning
        If there are fewer than two samples.
    FutureWarning
        If probabilities came in as `y_pred`.

    See Also
    --------
    log_loss : The loss that is compared.
    sklearn.metrics.d2_log_loss_score : The function that this one replaces.

    Notes
    -----
    The predictions of the null model are clipped as those of a float64 array, whatever
    the dtype of `y_proba`. Arrays of other libraries are taken as by :func:`log_loss`.

    Examples
    --------
    >>> from skxent.metrics import d2_log_loss_score
    >>> proba = [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]
    >>> print(f"{d2_log_loss_score(['spam', 'ham', 'ham', 'spam'], proba):.5f}")
    0.68814
    """
    check_parameters(
        "d2_log_loss_score", y_true, y_proba, True, sample_weight, labels, y_pred
    )
    y_proba = renamed(y_proba, y_pred)
    y_true, sample_weight, labels = on_host(
        y_true=y_true, sample_weight=sample_weight, labels=labels
    )
    if not is_on_device(y_proba):
        y_proba = to_host("y_proba", y_proba)
    with reading():
        check_consistent_length(y_proba, y_true, sample_weight)
    if y_proba is None:
        raise TypeError(f"Expected sequence or array-like, got {type(y_proba)}")
    if n_samples(y_proba) < 2:
        warnings.warn(
            "D^2 score is not well-defined with less than two samples.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return math.nan
    with reading():
        sums = straight_sums(y_true, y_proba, sample_weight, labels, clips=True)
        if sums is not None:
            return 1.0 - sums.loss / _null_loss(class_weights(sums), sums.weight)
        y_proba = to_host("y_proba", y_proba)
        prediction = check_prediction(y_true, y_proba, sample_weight, labels)
    null = _total_null_loss(prediction)
    return 1.0 - _total_log_loss(prediction) / null
