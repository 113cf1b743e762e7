"""Scorers that take the order of the columns from the estimator's classes."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import UNUSED

from skxent.metrics._classification import cross_entropy_loss
from skxent.metrics._log_loss import log_loss

__all__ = [
    "CrossEntropyScorer",
    "get_scorer",
    "get_scorer_names",
    "make_cross_entropy_scorer",
]

RESPONSE_METHODS = ("predict_proba", "decision_function")


class CrossEntropyScorer(BaseEstimator):
    """A scorer ``(estimator, X, y_true) -> float``, greater is better.

    Made by :func:`make_cross_entropy_scorer`. scikit-learn's own scorers infer the
    classes from ``y_true``, so that a test fold without one of the classes fails; this
    one passes ``estimator.classes_`` on to the metric.

    Parameters
    ----------
    metric : callable
        A metric ``(y_true, y_score, *, labels, sample_weight, **options)``.
    response_method : {"predict_proba", "decision_function"}
        The method of the estimator whose output is scored.
    options : dict
        Keyword arguments for the metric.
    """

    # ``score`` is the method that scikit-learn routes metadata to; its two arguments
    # besides X are no metadata.
    __metadata_request__score: ClassVar = {"estimator": UNUSED, "y_true": UNUSED}

    def __init__(
        self,
        metric: Callable[..., float],
        response_method: str,
        options: dict[str, Any],
    ) -> None:
        self.metric = metric
        self.response_method = response_method
        self.options = options

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y_true: ArrayLike,
        sample_weight: ArrayLike | None = None,
        soft_labels: ArrayLike | None = None,
    ) -> float:
        """Score the estimator's predictions for X."""
        return self.score(estimator, X, y_true, sample_weight, soft_labels)

    def score(
        self,
        estimator: Any,
        X: Any,
        y_true: ArrayLike,
        sample_weight: ArrayLike | None = None,
        soft_labels: ArrayLike | None = None,
    ) -> float:
        """Score the estimator's predictions for X.

        Parameters
        ----------
        estimator : object
            A fitted classifier.
        X : array-like of shape (n_samples, n_features)
            Test data.
        y_true : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        soft_labels : array-like of shape (n_samples, n_classes), default=None
            True class probabilities, which take the place of `y_true`.

        Returns
        -------
        score : float
            The negative of the metric.
        """
        if soft_labels is not None and self.metric is log_loss:
            raise ValueError(
                "soft_labels must be None for 'neg_log_loss', which takes labels; got "
                f"an array of the shape {np.shape(soft_labels)}. Score them with "
                "'neg_cross_entropy'."
            )
        response = getattr(estimator, self.response_method)(X)
        options = dict(self.options)
        # rows of zeros and ones have the order of their columns
        has_rows = self.metric is log_loss and np.ndim(y_true) == 2
        if getattr(estimator, "classes_", None) is not None and not has_rows:
            options["labels"] = estimator.classes_  # the order of the columns
        return -self.metric(
            y_true if soft_labels is None else soft_labels,
            response,
            sample_weight=sample_weight,
            **options,
        )


def make_cross_entropy_scorer(
    *, response_method: str = "predict_proba", **options: Any
) -> CrossEntropyScorer:
    """Make a scorer from :func:`cross_entropy_loss`, greater is better.

    Parameters
    ----------
    response_method : {"predict_proba", "decision_function"}, default="predict_proba"
        The method of the estimator whose output is scored. ``"decision_function"``
        takes its output for logits, which those of a softmax or logistic regression
        are and those of, say, a support vector machine are not.
    **options : dict
        Further keyword arguments of :func:`cross_entropy_loss`, such as
        `label_smoothing`, `class_weight`, or `labels` for an estimator without
        ``classes_``.

    Returns
    -------
    scorer : callable ``(estimator, X, y_true, sample_weight=None, soft_labels=None)``
        For the `scoring` argument of scikit-learn. `sample_weight` and `soft_labels`
        can be requested by metadata routing.

    Raises
    ------
    ValueError
        If `response_method` is unknown.
    TypeError
        If :func:`cross_entropy_loss` does not take an option.

    See Also
    --------
    get_scorer : Ready-made scorers by name.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from skxent.metrics import make_cross_entropy_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> scores = cross_val_score(model, X, y, scoring=make_cross_entropy_scorer())
    >>> bool(scores.mean() > -0.2)
    True
    """
    if response_method not in RESPONSE_METHODS:
        raise ValueError(
            f"response_method must be one of {', '.join(RESPONSE_METHODS)}; got "
            f"{response_method!r}."
        )
    allowed = set(inspect.signature(cross_entropy_loss).parameters)
    allowed -= {"y_true", "y_score", "sample_weight", "from_logits"}
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise TypeError(
            f"options must be among {', '.join(sorted(allowed))}; got "
            f"{', '.join(unknown)}. Logits are scored with "
            "response_method='decision_function'."
        )
    from_logits = response_method == "decision_function"
    return CrossEntropyScorer(
        cross_entropy_loss, response_method, {"from_logits": from_logits, **options}
    )


def get_scorer_names() -> list[str]:
    """Return the names that :func:`get_scorer` knows.

    Returns
    -------
    names : list of str
        In alphabetical order.

    See Also
    --------
    get_scorer : The scorer of a name.

    Examples
    --------
    >>> from skxent.metrics import get_scorer_names
    >>> get_scorer_names()
    ['neg_cross_entropy', 'neg_log_loss']
    """
    return ["neg_cross_entropy", "neg_log_loss"]


def get_scorer(name: str) -> CrossEntropyScorer:
    """Return a ready-made scorer.

    Parameters
    ----------
    name : {"neg_cross_entropy", "neg_log_loss"}
        Which metric to negate: :func:`cross_entropy_loss`, exact, or :func:`log_loss`,
        clipped as scikit-learn's. It takes one-hot rows as `y_true`, no `soft_labels`.

    Returns
    -------
    scorer : callable ``(estimator, X, y_true, sample_weight=None, soft_labels=None)``
        A new object on every call.

    Raises
    ------
    ValueError
        If there is no scorer of that name.

    See Also
    --------
    make_cross_entropy_scorer : A scorer with options.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skxent.metrics import get_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> bool(get_scorer("neg_log_loss")(model, X, y) > -0.2)
    True
    """
    if name == "neg_cross_entropy":
        return make_cross_entropy_scorer()
    if name == "neg_log_loss":
        return CrossEntropyScorer(log_loss, "predict_proba", {})
    raise ValueError(
        f"name must be one of {', '.join(get_scorer_names())}; got {name!r}. Other "
        "scorers are those of sklearn.metrics.get_scorer."
    )
