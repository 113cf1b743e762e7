"""Log loss and the score made of it, drop-in replacements of scikit-learn's."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skxent.losses._call import prepare, value
from skxent.metrics._encoding import IGNORED
from skxent.metrics._predictions import (
    Prediction,
    check_parameters,
    check_prediction,
    renamed,
    total_weight,
)

__all__ = ["log_loss"]


def _total_log_loss(prediction: Prediction) -> float:
    """Return the weighted sum of the losses, probabilities clipped."""
    probabilities, target, sample_weight = prediction
    if target.ndim == 2:
        target = target.astype(probabilities.dtype)
    call = prepare(
        probabilities, target, None, IGNORED, "sum", 0.0, False, None, sample_weight
    )
    eps = np.finfo(probabilities.dtype).eps
    exact = call._replace(dtype=np.dtype(np.float64))
    return float(value(exact, low=float(eps), high=float(1 - eps)))


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
    prediction = check_prediction(y_true, y_proba, sample_weight, labels)
    total = _total_log_loss(prediction)
    return total / total_weight(prediction) if normalize else total
