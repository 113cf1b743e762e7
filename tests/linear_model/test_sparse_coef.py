"""Coefficients in sparse form and back."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from skxent.linear_model import SoftmaxRegression
from skxent.linear_model._partial_fit import PartialFitMixin
from skxent.linear_model._sparse_coef import SparseCoefMixin


class Model(SoftmaxRegression, PartialFitMixin, SparseCoefMixin):
    pass


@pytest.mark.parametrize("n_classes", [2, 3])
def test_there_and_back(n_classes):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < n_classes], y[y < n_classes]
    model = Model(C=0.1).fit(X, y)
    dense = model.coef_.copy()
    dense[0, 1] = model.coef_[0, 1] = 0.0
    assert model.sparsify() is model
    assert scipy.sparse.issparse(model.coef_)
    assert model.coef_.nnz == dense.size - 1
    assert model.sparsify().densify() is model
    assert isinstance(model.densify().coef_, np.ndarray)
    np.testing.assert_array_equal(model.coef_, dense)


def test_learning_goes_on_from_sparse_coefficients():
    X, y = load_iris(return_X_y=True)
    models = [Model().partial_fit(X, y, classes=[0, 1, 2]) for _ in range(2)]
    models[0].sparsify()
    first, second = (model.partial_fit(X, y).coef_ for model in models)
    assert isinstance(first, np.ndarray)
    np.testing.assert_array_equal(first, second)


def test_there_must_be_coefficients():
    for change in ("sparsify", "densify"):
        with pytest.raises(NotFittedError):
            getattr(Model(), change)()
