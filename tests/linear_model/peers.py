"""scikit-learn's estimators, spelt for its version."""

import sklearn
from sklearn.linear_model import LogisticRegression

__all__ = ["elastic_net"]


def elastic_net(**options):
    """Return scikit-learn's logistic regression with an elastic net."""
    # from 1.8 on `l1_ratio` alone says so
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8):
        options["penalty"] = "elasticnet"
    return LogisticRegression(solver="saga", max_iter=10**5, **options)
