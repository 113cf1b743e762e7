"""What a fitted linear classifier says about new samples."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from skxent._array_api import Home, on_host
from skxent.backends._device_arrays import arrays_like
from skxent.backends._device_matrix import DeviceMatrix
from skxent.backends._entries import check_entries
from skxent.linear_model import _probabilities
from skxent.linear_model._homes import as_numpy, check_same_home, read_matrix
from skxent.linear_model._products import product_of_rows
from skxent.losses._validation import naming

__all__ = ["PredictionMixin"]


class PredictionMixin:
    """Predictions of a linear classifier that has `coef_` and `intercept_`."""

    coef_: Any
    intercept_: NDArray[Any]
    classes_: NDArray[Any]

    def __sklearn_tags__(self) -> Any:
        """Return the tags of scikit-learn."""
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def decision_function(self, X: Any) -> Any:
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
        logits, home = self._logits(X, "decision_function")
        return home.bring(logits)

    def predict(self, X: Any) -> Any:
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
        logits, home = self._logits(X, "predict")
        best = as_numpy(logits > 0 if logits.ndim == 1 else logits.argmax(1))
        labels = self.classes_[best.astype(np.intp)]
        return home.bring(labels) if labels.dtype.kind in "biuf" else labels

    def predict_proba(self, X: Any) -> Any:
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
        logits, home = self._two_sided_logits(X, "predict_proba")
        return home.bring(self._probabilities_of(logits).softmax(logits))

    def predict_log_proba(self, X: Any) -> Any:
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
        logits, home = self._two_sided_logits(X, "predict_log_proba")
        return home.bring(self._probabilities_of(logits).log_softmax(logits))

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the share of samples whose label is predicted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data.
        y : array-like of shape (n_samples,)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            The accuracy.

        Raises
        ------
        ValueError
            If `y` holds soft labels.
        """
        with naming("y"):
            shape = np.shape(y)
        if len(shape) == 2 and shape[1] > 1:
            raise ValueError(
                "y must hold labels, of which accuracy counts those that are right; "
                f"got the shape {shape}. Score soft labels with "
                "skxent.metrics.make_cross_entropy_scorer(), or take y.argmax(axis=1)."
            )
        y, weight, predicted = on_host(
            y=y, sample_weight=sample_weight, labels=self.predict(X)
        )
        return float(accuracy_score(y, predicted, sample_weight=weight))

    def _logits(self, X: Any, method: str) -> tuple[Any, Home]:
        """Return the logits where they are computed, and where they go to."""
        check_is_fitted(self)
        home = check_same_home(self, X, method)
        data = read_matrix(self, X)
        if isinstance(data, DeviceMatrix):
            logits = data.logits(self.coef_, self.intercept_)
        else:
            logits = self._product(data)
            if scipy.sparse.issparse(logits):  # both were
                logits = logits.toarray()
            logits = np.asarray(logits + as_numpy(self.intercept_))
        return (logits[:, 0] if logits.shape[1] == 1 else logits), home

    def _product(self, data: Any) -> Any:
        """Return the logits without the intercepts."""
        is_sparse = scipy.sparse.issparse(data)
        if is_sparse:
            check_entries(data)
        if scipy.sparse.issparse(self.coef_):
            return data @ self.coef_.T
        coef = as_numpy(self.coef_)
        return data @ coef.T if is_sparse else product_of_rows(data, coef.T)

    def _two_sided_logits(self, X: Any, method: str) -> tuple[Any, Home]:
        """Return one logit per class, 0 for the first of two."""
        logits, home = self._logits(X, method)
        if logits.ndim == 1 and isinstance(logits, np.ndarray):
            logits = np.column_stack([np.zeros_like(logits), logits])
        elif logits.ndim == 1:
            arrays = arrays_like(logits)
            logits = arrays.spread(logits[:, None], (len(logits), 2))
            logits[:, 0] = 0.0
        return logits, home

    @staticmethod
    def _probabilities_of(logits: Any) -> Any:
        """Return the module that makes probabilities of these logits."""
        if isinstance(logits, np.ndarray):
            return _probabilities
        from skxent.linear_model import _device_probabilities

        return _device_probabilities
