"""SoftmaxRegression: the classifier that trains on the package's loss and gradient."""

import functools
import warnings
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

from skxent.backends import EncodedTargets
from skxent.linear_model._checks import balanced_weights, check_number, check_targets
from skxent.linear_model._linear_loss import LinearCrossEntropy
from skxent.linear_model._probabilities import log_softmax, softmax
from skxent.linear_model._ridge_solver import SOLVERS
from skxent.linear_model._solvers import Settings, SolverStatus
from skxent.losses._targets import encode_targets
from skxent.losses._validation import (
    check_label_smoothing,
    check_weights_of_samples,
)

__all__ = ["SoftmaxRegression"]

FLOATS = (np.float64, np.float32)

# Finding the libraries takes 4 ms, as long as a small fit.
_thread_pools = functools.cache(ThreadpoolController)


class SoftmaxRegression(ClassifierMixin, BaseEstimator):
    """Softmax regression, also known as multinomial logistic regression.

    Minimises ``C * sum_i s_i l_i + ||W||^2 / 2``, where ``l_i`` is the cross-entropy of
    sample i: the objective of :class:`sklearn.linear_model.LogisticRegression`, so that
    the same `C` gives the same `coef_`. Soft labels and label smoothing come on top.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the L2 penalty; ``numpy.inf`` for none. The intercept is
        not penalised.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over all classes.
    solver : {"auto", "lbfgs", "newton-cg", "newton-cholesky"}, default="auto"
        How the objective is minimised. "auto" starts on samples of the rows and
        preconditions L-BFGS with the curvature of a sample, so that columns of any
        scale and correlation are solved in few passes over the data; wide data are
        solved in the space of their rows. The others are the textbook's methods: L-BFGS
        without a preconditioner, Newton's method with conjugate gradients, and with a
        factored Hessian.
    tol : float, default=1e-4
        The solver stops when the objective f is within ``tol**2`` of the least value,
        ``(f - f*) / f <= tol**2``, as far as the curvature tells. The logits are then
        off by about `tol` of their spread.
    max_iter : int, default=1000
        Largest number of iterations over all data.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; 0, 1, ... if `y` held soft labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, one row for two classes, in the dtype of X.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    n_iter_ : ndarray of shape (1,)
        Number of iterations over all data.
    history_ : dict of str to ndarray of shape (n_iter + 1,)
        ``"loss"``, the objective divided by ``C * sum_i s_i``, and ``"suboptimality"``,
        the estimate that is compared with ``tol**2``, at the start and after each
        iteration.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same model without soft labels.

    Notes
    -----
    The loss and its gradient are evaluated over blocks of rows, in the dtype of X, by
    the kernels of :mod:`skxent.losses`. Floating-point X is not copied, and beyond the
    soft labels no array of shape (n_samples, n_classes) is made.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skxent.linear_model import SoftmaxRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegression().fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> float(model.score(X, y))
    0.97...
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int = 1000,
        warm_start: bool = False,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        soft_labels: ArrayLike | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data, float32 or float64.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels of any type; or soft labels, float rows that sum to 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative.
        soft_labels : array-like of shape (n_samples, n_classes), default=None
            Class probabilities of each sample, in the sorted order of the labels in
            `y`. They are trained on, and `y` gives the labels and whatever a splitter
            stratifies by. Every class must occur in `y`.

        Returns
        -------
        self : SoftmaxRegression
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of its range, data are not finite or do not fit, or
            there are fewer than two classes.

        Warns
        -----
        ConvergenceWarning
            If the solver stopped before it reached `tol`.
        """
        self._check_parameters()
        data, labels = validate_data(self, X, y, dtype=FLOATS, multi_output=True)
        weights = check_weights_of_samples(sample_weight, len(data))
        classes, target = check_targets(labels, soft_labels)
        targets = self._encode(target, classes, weights, data.dtype)
        if not targets.denominator > 0:
            raise ValueError(
                "sample_weight times class_weight must be positive for some sample; "
                "got zero for all of them. Drop the argument to weigh all alike."
            )
        objective = LinearCrossEntropy(
            data,
            targets,
            n_classes=len(classes),
            fit_intercept=self.fit_intercept,
            l2=1.0 / (self.C * targets.denominator),
        )
        # The products of one block are too small for several BLAS threads, which would
        # also fight with those of the kernels: 20 times slower on a busy machine.
        with _thread_pools().limit(limits=1, user_api="blas"):
            result = SOLVERS[self.solver](
                objective,
                self._starting_point(objective.shape),
                Settings(tol=self.tol, max_iter=self.max_iter),
            )
        if result.status is not SolverStatus.CONVERGED:
            warnings.warn(
                f"The solver stopped after {result.n_iter} iterations at an estimated "
                f"relative suboptimality of {result.history['suboptimality'][-1]:.3g}, "
                f"above tol**2={self.tol**2:.3g}. {result.status.value}",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.classes_ = classes
        self._set_coefficients(result.coef, data.dtype)
        self.n_iter_ = np.array([result.n_iter], dtype=np.int32)
        self.history_ = result.history
        return self

    def _check_parameters(self) -> None:
        """Raise unless every parameter is in its range."""
        check_number("C", self.C, Real, "positive", lambda C: C > 0)
        check_number("tol", self.tol, Real, "positive", lambda tol: tol > 0)
        check_number(
            "max_iter", self.max_iter, Integral, "at least 1", lambda n: n >= 1
        )
        check_label_smoothing(self.label_smoothing)
        if self.solver not in SOLVERS:
            raise ValueError(
                f"solver must be one of {', '.join(map(repr, SOLVERS))}; got "
                f"{self.solver!r}."
            )

    def _encode(
        self,
        target: NDArray[Any],
        classes: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        dtype: np.dtype[Any],
    ) -> EncodedTargets:
        """Fold targets, weights and smoothing into the record of the kernels."""
        weight = None
        if self.class_weight is not None:
            weight = self._class_weights(target, classes, sample_weight)
        targets = encode_targets(
            target,
            len(classes),
            dtype=dtype,
            weight=weight,
            label_smoothing=self.label_smoothing,
            sample_weight=sample_weight,
        )
        if weight is not None and target.ndim == 2:
            # C multiplies the sum of weighted losses, for soft labels as for labels
            mass = target @ weight
            total = mass.sum() if sample_weight is None else mass @ sample_weight
            targets = targets._replace(denominator=float(total))
        return targets

    def _class_weights(
        self,
        target: NDArray[Any],
        classes: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:
        """Return one weight per class; "balanced" counts samples by their weight."""
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            return balanced_weights(target, classes, sample_weight)
        weights = compute_class_weight(
            self.class_weight,
            classes=classes,
            y=classes[target] if target.ndim == 1 else classes,
        )
        return np.asarray(weights, dtype=np.float64)

    def _starting_point(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return zeros, or the coefficients of the previous fit for a warm start."""
        start = np.zeros(shape)
        if self.warm_start and hasattr(self, "coef_"):
            columns = [self.coef_]
            if self.fit_intercept:
                columns.append(self.intercept_[:, np.newaxis])
            previous = np.hstack(columns)
            if len(previous) > 1:
                previous = previous[1:] - previous[0]
            if previous.shape == shape:
                start[...] = previous
        return start

    def _set_coefficients(
        self, coef: NDArray[np.float64], dtype: np.dtype[Any]
    ) -> None:
        """Split the coefficients of classes relative to the first one.

        A constant over all classes changes nothing but the ridge, which is least where
        their mean is 0.
        """
        if len(coef) > 1:
            coef = np.vstack([np.zeros_like(coef[:1]), coef])
            coef -= coef.mean(axis=0)
        n_features = self.n_features_in_
        intercept = coef[:, n_features] if self.fit_intercept else np.zeros(len(coef))
        self.coef_ = coef[:, :n_features].astype(dtype)
        self.intercept_ = intercept.astype(dtype)

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return the logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes) or (n_samples,)
            For two classes, the log-odds of the second one alone.
        """
        check_is_fitted(self)
        data = validate_data(self, X, reset=False, dtype=FLOATS)
        logits: NDArray[Any] = data @ self.coef_.T + self.intercept_
        return logits.ravel() if len(self.coef_) == 1 else logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable label of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
        X : array-like of shape (n_samples, n_features)
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
        X : array-like of shape (n_samples, n_features)
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
