"""Metrics of probabilistic classifiers: ``y_true`` first, any labels."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxent._array_api import on_host, to_host
from skxent._class_weights import weights_by_label
from skxent.backends._device_arrays import is_on_device
from skxent.losses._validation import (
    check_class_weight,
    check_flag,
    check_same_length,
    naming,
    refuse_negative,
    to_array,
)
from skxent.metrics._blocks import (
    class_totals,
    n_columns_of,
    sums_of_losses,
    two_columns,
)
from skxent.metrics._device import dtype_on_device, sums_on_device
from skxent.metrics._encoding import (
    EncodedLabels,
    check_scores,
    encode_labels,
    warn_unless_normalised,
)
from skxent.metrics._straight import straight_sums

__all__ = ["cross_entropy_loss"]


def _weights_of_classes(
    class_weight: Any, encoded: EncodedLabels, n_classes: int, sample_weight: Any
) -> NDArray[np.float64] | None:
    """Return one weight per column for None, a dict, "balanced" or an array."""
    if class_weight is None:
        return None
    target, classes = encoded
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                'class_weight must be None, a dict, an array or "balanced"; got '
                f"{class_weight!r}."
            )
        if target.ndim == 2:
            raise ValueError(
                "class_weight must be None, a dict or an array beside soft labels; got "
                f"{class_weight!r}. Pass the weights that you mean."
            )
        return _balanced_weights(target, n_classes, sample_weight)
    if isinstance(class_weight, dict):
        if classes is None:  # soft labels of columns without names
            classes = np.arange(n_classes)
        with naming("class_weight"):
            class_weight = weights_by_label(class_weight, classes)
    weights = check_class_weight(class_weight, n_classes, "class_weight")
    refuse_negative(
        weights, "class_weight", lambda k: f"for column {k}. Leave a class out"
    )
    return weights


def _balanced_weights(
    target: NDArray[Any], n_classes: int, sample_weight: Any
) -> NDArray[np.float64]:
    """Return weights that give the classes that occur the same total."""
    totals = class_totals(target, n_classes, sample_weight)
    occurs = totals > 0
    weights = np.ones(n_classes)
    weights[occurs] = totals.sum() / (occurs.sum() * totals[occurs])
    return weights


def _checked_weights(sample_weight: Any) -> NDArray[Any] | None:
    """Return sample weights as a vector of finite numbers."""
    if sample_weight is None:
        return None
    weights = to_array(sample_weight, "sample_weight")
    if weights.ndim != 1:
        raise ValueError(
            f"sample_weight must have shape ({len(weights)},), one entry per sample; "
            f"got shape {weights.shape}. Pass a vector."
        )
    if weights.dtype.kind == "f" and not np.isfinite(weights).all():
        raise ValueError(
            "sample_weight must hold finite numbers; got "
            f"{weights[~np.isfinite(weights)].tolist()[0]}. Leave samples out with a "
            "weight of 0."
        )
    return weights


def _check_two(labels: Any, scores: NDArray[Any]) -> None:
    """Raise unless scores of one column are those of the second of two classes."""
    if np.size(labels) != 2:
        raise ValueError(
            "y_score of one column must be the scores of the second of two classes; "
            f"got shape {scores.shape} beside {np.size(labels)} labels. Pass one "
            "column per class."
        )


def _sums_where_scores_are(
    y_true: Any,
    y_score: Any,
    labels: Any,
    ignore_label: Any,
    sample_weight: Any,
    class_weight: Any,
    **options: Any,
) -> tuple[float, float] | None:
    """Return what `sums_on_device` does for labels of any type."""
    n_columns = y_score.shape[1]
    encoded = encode_labels(y_true, labels, n_columns, ignore_label, name="y_score")
    weights = _weights_of_classes(class_weight, encoded, n_columns, sample_weight)
    return sums_on_device(
        y_score, encoded.target, sample_weight, class_weight=weights, **options
    )


def cross_entropy_loss(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    from_logits: bool = False,
    sample_weight: ArrayLike | None = None,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_label: Any = None,
    normalize: bool = True,
) -> float:
    """Cross-entropy of predicted probabilities or logits, in nats.

    Unlike :func:`log_loss` it clips nothing: a class of probability 0 that comes true
    gives inf. It takes soft labels and logits as well.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_classes)
        Labels of any type. With two dimensions and a float dtype, soft labels: rows of
        non-negative numbers that sum to 1.
    y_score : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities, or logits with ``from_logits=True``. One dimension holds the
        scores of the second of two classes.
    labels : array-like of shape (n_classes,), default=None
        The label of each column, such as ``estimator.classes_``. None stands for the
        sorted labels found in `y_true`.
    from_logits : bool, default=False
        Whether `y_score` holds logits, as the ``decision_function`` of a softmax or
        logistic regression does. That of other classifiers need not.
    sample_weight : array-like of shape (n_samples,), default=None
        Sample weights.
    class_weight : dict, "balanced" or array-like of shape (n_classes,), default=None
        Weight of each class, a dict by label (for soft labels without `labels` by
        column). "balanced" gives the classes that occur the same total weight, that of
        their samples counted, and others a weight of 1. The mean is divided by the
        weights of the labels that occur.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over all classes.
    ignore_label : object, default=None
        Samples with this label are left out. Not for soft labels, which have
        `sample_weight` for that.
    normalize : bool, default=True
        Whether to return the mean over the samples instead of the sum.

    Returns
    -------
    loss : float
        The cross-entropy; lower is better.

    Raises
    ------
    ValueError
        If lengths or columns do not fit, a label has no column, a probability lies
        outside [0, 1], soft labels are no distributions, or there are soft labels
        beside an `ignore_label` or a `class_weight` of "balanced".

    Warns
    -----
    UserWarning
        If rows of probabilities do not sum to 1.

    See Also
    --------
    log_loss : Clipped, the same number as scikit-learn's.
    make_cross_entropy_scorer : A scorer that knows the estimator's classes.
    skxent.losses.cross_entropy : The loss on arrays, with torch's conventions.

    Notes
    -----
    Memory as for :func:`log_loss`; 8 bytes per sample more for `class_weight` or
    `ignore_label`.

    Arrays of other libraries are taken as by :func:`log_loss`.

    Examples
    --------
    >>> from skxent.metrics import cross_entropy_loss
    >>> proba = [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]
    >>> print(f"{cross_entropy_loss(['spam', 'ham', 'ham', 'spam'], proba):.5f}")
    0.21616
    >>> soft = [[0.2, 0.8], [0.9, 0.1], [0.7, 0.3], [0.4, 0.6]]
    >>> print(f"{cross_entropy_loss(soft, proba):.5f}")
    0.54683
    """
    y_true, labels, sample_weight, class_weight = on_host(
        y_true=y_true,
        labels=labels,
        sample_weight=sample_weight,
        class_weight=class_weight,
    )
    if not is_on_device(y_score):
        y_score = to_host("y_score", y_score)
    from_logits = check_flag(from_logits, "from_logits")
    normalize = check_flag(normalize, "normalize")
    has_options = not (
        class_weight is ignore_label is None
        and type(label_smoothing) in (int, float)
        and label_smoothing == 0
    )
    if not (from_logits or has_options):
        sums = straight_sums(y_true, y_score, sample_weight, labels, clips=False)
        if sums is not None:
            return sums.loss / sums.weight if normalize else sums.loss
    check_same_length(y_true=y_true, y_score=y_score, sample_weight=sample_weight)
    sample_weight = _checked_weights(sample_weight)
    if is_on_device(y_score) and dtype_on_device(y_score) is not None:
        found = _sums_where_scores_are(
            y_true,
            y_score,
            labels,
            ignore_label,
            sample_weight,
            class_weight,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )
        if found is not None:
            return _reduced(*found, normalize)
    y_score = to_host("y_score", y_score)
    scores, is_normalised = check_scores(y_score, "y_score", from_logits)
    if scores[:1].size == 1 and labels is not None:
        _check_two(labels, scores)
    n_columns = n_columns_of(scores)
    encoded = encode_labels(y_true, labels, n_columns, ignore_label, name="y_score")
    if not (from_logits or is_normalised):
        warn_unless_normalised(two_columns(scores, False), "y_score", y_score)
    total, denominator = sums_of_losses(
        scores,
        encoded.target,
        sample_weight,
        class_weight=_weights_of_classes(
            class_weight, encoded, n_columns, sample_weight
        ),
        label_smoothing=label_smoothing,
        from_logits=from_logits,
    )
    return _reduced(total, denominator, normalize)


def _reduced(total: float, denominator: float, normalize: bool) -> float:
    """Return the sum or the mean of the losses."""
    if not normalize:
        return total
    return total / denominator if denominator else math.nan
