"""The scorer of SoftmaxRegressionCV where none is named, and its metadata."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import UNUSED

from skxent._array_api import on_host, to_host
from skxent.linear_model._checks import check_known_targets
from skxent.losses import cross_entropy
from skxent.losses._validation import check_weights_of_samples, naming, to_array

__all__ = ["NegativeCrossEntropy", "accepted", "indexed", "scorer_of"]

NAME = "neg_cross_entropy"


class NegativeCrossEntropy(BaseEstimator):
    """The negative cross-entropy of a linear classifier's logits, exact and in nats.

    It asks for the weights and the soft labels of the samples it is given.
    """

    __metadata_request__score: ClassVar = {
        "estimator": UNUSED,
        "y_true": UNUSED,
        "sample_weight": True,
        "soft_labels": True,
    }

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
        """Score the estimator's predictions for X."""
        logits = to_host("logits", estimator.decision_function(X))
        y_true, sample_weight, soft_labels = on_host(
            y_true=y_true, sample_weight=sample_weight, soft_labels=soft_labels
        )
        if logits.ndim == 1:
            logits = np.column_stack([np.zeros_like(logits), logits])
        target = check_known_targets(
            to_array(y_true, "y"), soft_labels, estimator.classes_
        )
        weights = check_weights_of_samples(sample_weight, len(logits))
        return -float(cross_entropy(logits, target, sample_weight=weights))


def scorer_of(scoring: Any) -> Any:
    """Return the scorer that a parameter ``scoring`` names, or is."""
    if scoring is None or (isinstance(scoring, str) and scoring == NAME):
        return NegativeCrossEntropy()
    with naming("scoring"):
        return get_scorer(scoring)


def accepted(scorer: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a scorer has an argument for, where nothing is routed."""
    with naming("scoring"):
        parameters = inspect.signature(scorer).parameters
    kinds = [parameter.kind for parameter in parameters.values()]
    # ** of scikit-learn's scorers is for what is routed
    is_routed = hasattr(scorer, "get_metadata_routing")
    if inspect.Parameter.VAR_KEYWORD in kinds and not is_routed:
        return dict(metadata)
    return {name: value for name, value in metadata.items() if name in parameters}


def indexed(
    metadata: Mapping[str, Any], rows: NDArray[np.intp], n_samples: int
) -> dict[str, Any]:
    """Return the metadata of some rows; what is not one entry per sample is kept."""
    return {
        name: np.asarray(value)[rows]
        if np.ndim(value) and len(value) == n_samples
        else value
        for name, value in metadata.items()
    }
