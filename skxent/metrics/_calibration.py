"""Calibration of the predicted class: how often it is right, by its probability.

Conventions
-----------
n samples, K classes, B bins that hold samples. The confidence of a sample is its
largest probability, and its correctness the mass of its target on that class: 1 or 0
for a label. Bin m of the uniform strategy is ``((m - 1) / n_bins, m / n_bins]``.
"""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxent._array_api import like, on_host
from skxent.losses._validation import (
    NO_NUMBERS,
    check_option,
    check_same_length,
    check_weights_of_samples,
)
from skxent.metrics._blocks import two_columns
from skxent.metrics._encoding import (
    check_scores,
    encode_labels,
    warn_unless_normalised,
)

__all__ = ["expected_calibration_error", "reliability_curve"]

MOST_BINS = 1 << 20
STRATEGIES = ("uniform", "quantile")


def _check_n_bins(value: Any) -> int:
    """Return the number of bins."""
    if isinstance(value, NO_NUMBERS) or not isinstance(value, Integral):
        raise TypeError(
            f"n_bins must be an integer; got {value!r} of type {type(value).__name__}. "
            "Pass how many bins there are, not their edges."
        )
    n_bins = int(value)
    if not 1 <= n_bins <= MOST_BINS:
        raise ValueError(
            f"n_bins must be at least 1 and at most {MOST_BINS}; got {n_bins}. Pass "
            "15, say."
        )
    return n_bins


def _top_label(
    y_true: ArrayLike, y_proba: ArrayLike, labels: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n,) correctness and (n,) confidence."""
    remedy = "Pass the output of predict_proba, not that of decision_function."
    proba, is_normalised = check_scores(
        y_proba, "y_proba", from_logits=False, remedy=remedy
    )
    proba = two_columns(proba, from_logits=False)
    remedy = "drop such rows, or pass all labels."
    target = encode_labels(
        y_true, labels, proba.shape[1], None, name="y_proba", remedy=remedy
    ).target
    if not is_normalised:
        warn_unless_normalised(proba, "y_proba", y_proba, stacklevel=5)
    predicted = proba.argmax(axis=1)
    rows = np.arange(len(proba))
    right = target == predicted if target.ndim == 1 else target[rows, predicted]
    return right.astype(np.float64), proba[rows, predicted].astype(np.float64)


def _inner_edges(
    confidence: NDArray[np.float64],
    weight: NDArray[np.float64],
    n_bins: int,
    strategy: str,
) -> NDArray[np.float64]:
    """Return the upper edges of all bins but the last."""
    ranks = np.arange(1, n_bins) / n_bins
    if strategy == "uniform":
        return ranks
    order = confidence.argsort()
    mass = weight[order].cumsum()
    # what rounding can add up to in the sum must not carry an edge to the next sample
    rounding = len(mass) * np.finfo(mass.dtype).eps
    wanted = (ranks - rounding) * mass[-1]
    return np.asarray(confidence[order[mass.searchsorted(wanted)]])


def _curve(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    n_bins: int,
    strategy: str,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return accuracy, mean confidence and share of the bins that hold samples."""
    n_bins = _check_n_bins(n_bins)
    check_option(strategy, "strategy", STRATEGIES)
    y_true, y_proba, labels, sample_weight = on_host(
        y_true=y_true, y_proba=y_proba, labels=labels, sample_weight=sample_weight
    )
    check_same_length(y_true=y_true, y_proba=y_proba)
    right, confidence = _top_label(y_true, y_proba, labels)
    weight = check_weights_of_samples(sample_weight, len(right))
    if weight is None:
        weight = np.ones(len(right))
    with np.errstate(over="ignore"):
        overflows = not np.isfinite(weight.sum())
    if overflows:
        weight = weight / weight.max() / len(weight)
    edges = _inner_edges(confidence, weight, n_bins, strategy)
    bins = edges.searchsorted(confidence)
    masses, hits, sums = (
        np.bincount(bins, values, n_bins)
        for values in (weight, weight * right, weight * confidence)
    )
    held = masses > 0
    mass = masses[held]
    return hits[held] / mass, sums[held] / mass, mass / mass.sum()


def reliability_curve(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy and mean confidence of the predicted class, by bins of confidence.

    The points of a reliability diagram, for any number of classes and for soft labels.
    A calibrated classifier is right as often as it is confident.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_classes)
        Labels of any type. With two dimensions and a float dtype, soft labels: rows of
        non-negative numbers that sum to 1. The predicted class is then right to the
        degree of its mass.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities. One dimension holds those of the second of two classes.
    n_bins : int, default=15
        Number of bins. Bins without samples are left out of the result.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width in [0, 1], or of equal weight.
    labels : array-like of shape (n_classes,), default=None
        The label of each column, such as ``estimator.classes_``. None stands for the
        sorted labels found in `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Sample weights, none of them negative. A whole number counts as that many
        copies of the sample.

    Returns
    -------
    prob_true : ndarray of shape (n_filled_bins,)
        Share of each bin's samples whose predicted class is right, float64.
    prob_pred : ndarray of shape (n_filled_bins,)
        Mean confidence in each bin, ascending, float64.
    share : ndarray of shape (n_filled_bins,)
        Share of the total weight in each bin, float64; sums to 1.

    Raises
    ------
    TypeError
        If `n_bins` is no integer.
    ValueError
        If `n_bins` lies outside [1, 2**20], `strategy` is unknown, lengths or columns
        do not fit, a label has no column, a probability lies outside [0, 1], soft
        labels are no distributions, or weights are negative, not finite or all 0.

    Warns
    -----
    UserWarning
        If rows of probabilities do not sum to 1.

    See Also
    --------
    expected_calibration_error : The curve's distance from the diagonal.
    sklearn.calibration.calibration_curve : The curve of one class of two.

    Notes
    -----
    The curve is that of C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration
    of Modern Neural Networks", ICML 2017, section 2. The confidence is the largest
    probability of a row, so that it is never less than one over the number of classes.
    Of equal probabilities the first column is the prediction. A bin contains its upper
    edge and not its lower one.

    Quantiles are observed confidences (the inverse of the weighted distribution
    function), where scikit-learn interpolates between two of them. The bins are the
    same if `n_bins` divides the number of samples and confidences do not repeat.

    Memory beside the arguments: some 50 bytes per sample, whatever the number of
    classes, as nearly all of it holds a number for each sample.

    Arrays of other libraries are taken as by :func:`log_loss`. With
    ``sklearn.set_config(array_api_dispatch=True)`` the three arrays are of the library
    and on the device of `y_proba`, as those of :func:`sklearn.metrics.roc_curve` are.

    Examples
    --------
    >>> from skxent.metrics import reliability_curve
    >>> proba = [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]
    >>> y_true = ["spam", "ham", "spam", "spam"]
    >>> prob_true, prob_pred, share = reliability_curve(y_true, proba, n_bins=5)
    >>> prob_true.round(3)
    array([0.5, 1. ])
    >>> prob_pred.round(3)
    array([0.725, 0.9  ])
    >>> share
    array([0.5, 0.5])
    """
    curve = _curve(y_true, y_proba, n_bins, strategy, labels, sample_weight)
    prob_true, prob_pred, share = like(y_proba, curve)
    return prob_true, prob_pred, share


def expected_calibration_error(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean distance between confidence and accuracy of the predicted class.

    0 for predictions that are right as often as they claim to be, whatever that is: a
    calibrated classifier need not be a good one.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_classes)
        Labels of any type. With two dimensions and a float dtype, soft labels: rows of
        non-negative numbers that sum to 1. The predicted class is then right to the
        degree of its mass.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities. One dimension holds those of the second of two classes.
    n_bins : int, default=15
        Number of bins.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width in [0, 1], or of equal weight.
    labels : array-like of shape (n_classes,), default=None
        The label of each column, such as ``estimator.classes_``. None stands for the
        sorted labels found in `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Sample weights, none of them negative. A whole number counts as that many
        copies of the sample.

    Returns
    -------
    error : float
        In [0, 1]; lower is better.

    Raises
    ------
    TypeError
        If `n_bins` is no integer.
    ValueError
        As :func:`reliability_curve`.

    Warns
    -----
    UserWarning
        If rows of probabilities do not sum to 1.

    See Also
    --------
    reliability_curve : The bins themselves.
    cross_entropy_loss : A proper score, of calibration and sharpness together.

    Notes
    -----
    ``sum_b share_b |prob_true_b - prob_pred_b|`` over the bins of
    :func:`reliability_curve`. M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining
    Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015; for the predicted
    class of several, with 15 bins, C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger,
    "On Calibration of Modern Neural Networks", ICML 2017. The number depends on the
    bins, and is biased upwards where they hold few samples.

    Arrays of other libraries are taken as by :func:`log_loss`.

    Examples
    --------
    >>> from skxent.metrics import expected_calibration_error
    >>> proba = [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]
    >>> y_true = ["spam", "ham", "spam", "spam"]
    >>> print(f"{expected_calibration_error(y_true, proba, n_bins=5):.4f}")
    0.1625
    """
    prob_true, prob_pred, share = _curve(
        y_true, y_proba, n_bins, strategy, labels, sample_weight
    )
    return float(share @ np.abs(prob_true - prob_pred))
