"""What a fitted linear classifier says about new samples."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from skxent.linear_model._probabilities import log_softmax, softmax
from skxent.linear_model._products import product_of_rows

__all__ = ["FLOATS", "SPARSE", "PredictionMixin"]

FLOATS = (np.float64, np.float32)
SPARSE = ("csr", "csc")


class PredictionMixin:
    """Predictions of a linear classifier that has `coef_` and `intercept_`."""

    coef_: Any
    intercept_: NDArray[Any]
    classes_: NDArray[Any]

    def __sklearn_tags__(self) -> Any:
        """Return the tags of scikit-learn."""
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return the logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes) or (n_samples,)
            For two classes, the log-odds of the second one alone.
        """
        check_is_fitted(self)
        data = validate_data(self, X, reset=False, accept_sparse=SPARSE, dtype=FLOATS)
        logits = self._product(data)
        if scipy.sparse.issparse(logits):  # both were
            logits = logits.toarray()
        logits = np.asarray(logits + self.intercept_)
        return logits.ravel() if logits.shape[1] == 1 else logits

    def _product(self, data: Any) -> Any:
        """Return the logits without the intercepts."""
        if scipy.sparse.issparse(data) or scipy.sparse.issparse(self.coef_):
            return data @ self.coef_.T
        return product_of_rows(data, self.coef_.T)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable label of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Labels as in `classes_`.
        """
        logits = self.decision_function(X)
        best = logits > 0 if logits.ndim == 1 else logits.argmax(axis=1)
        return np.asarray(self.classes_[best.astype(np.intp)])

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        return softmax(self._two_sided_logits(X))

    def predict_log_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Finite where :meth:`predict_proba` underflows to 0.
        """
        return log_softmax(self._two_sided_logits(X))

    def _two_sided_logits(self, X: ArrayLike) -> NDArray[Any]:
        """Return one logit per class, 0 for the first of two."""
        logits = self.decision_function(X)
        if logits.ndim == 2:
            return logits
        return np.column_stack([np.zeros_like(logits), logits])
