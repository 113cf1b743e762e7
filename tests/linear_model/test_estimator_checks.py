"""scikit-learn's own checks of an estimator; none is expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skxent.linear_model import SoftmaxRegression

ESTIMATORS = [
    SoftmaxRegression(),
    SoftmaxRegression(C=0.1, warm_start=True),
    SoftmaxRegression(class_weight="balanced", label_smoothing=0.1),
    SoftmaxRegression(l1_ratio=0.5),
    SoftmaxRegression(solver="newton-cg"),
]


# scikit-learn skips its array API checks unless SCIPY_ARRAY_API is set, and says so
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_check(estimator, check):
    check(estimator)
