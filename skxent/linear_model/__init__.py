"""Linear classifiers trained on the package's own loss and gradient."""

from skxent.linear_model._softmax_regression import SoftmaxRegression

__all__ = ["SoftmaxRegression"]
