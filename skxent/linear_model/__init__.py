"""Linear classifiers trained on the package's own loss and gradient."""

from skxent.linear_model._softmax_regression import SoftmaxRegression
from skxent.linear_model._softmax_regression_cv import SoftmaxRegressionCV

__all__ = ["SoftmaxRegression", "SoftmaxRegressionCV"]
