"""SoftmaxRegression: the classifier that trains on the package's loss and gradient."""

import functools
import warnings
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight

from skxent._array_api import Home, home_of, to_host
from skxent._class_weights import weights_by_label
from skxent.backends import EncodedTargets
from skxent.backends._device_matrix import DeviceMatrix
from skxent.linear_model._callbacks import (
    FRAMES_OF_WITH_CALLBACKS,
    CallbackSupportMixin,
    FitCallbacks,
    with_callbacks,
)
from skxent.linear_model._checks import (
    balanced_weights,
    check_number,
    check_shared,
    check_targets,
)
from skxent.linear_model._early_stopping import check_early_stopping, split_validation
from skxent.linear_model._guard import FRAMES_OF_GUARDED, guarded
from skxent.linear_model._homes import (
    as_numpy,
    check_finite,
    read_samples,
    refuse_on_device,
)
from skxent.linear_model._partial_fit import PartialFitMixin
from skxent.linear_model._pickling import VersionedMixin
from skxent.linear_model._prediction import PredictionMixin
from skxent.linear_model._row_masses import row_masses
from skxent.linear_model._solvers import Settings, SolverResult, SolverStatus
from skxent.linear_model._sparse_coef import SparseCoefMixin
from skxent.linear_model._training import Problem, train, train_with_early_stopping
from skxent.losses._targets import encode_targets
from skxent.losses._validation import (
    check_flag,
    check_weights_of_samples,
    refuse_negative,
)

__all__ = ["SoftmaxRegression"]


class SoftmaxRegression(
    CallbackSupportMixin,
    PartialFitMixin,
    SparseCoefMixin,
    PredictionMixin,
    VersionedMixin,
    ClassifierMixin,
    BaseEstimator,
):
    """Softmax regression, also known as multinomial logistic regression.

    Minimises ``C * sum_i s_i l_i + (1 - r) ||W||_2^2 / 2 + r ||W||_1``, where ``l_i``
    is the cross-entropy of sample i and r is `l1_ratio`: the objective of
    :class:`sklearn.linear_model.LogisticRegression`, so that the same `C` gives the
    same `coef_`. Soft labels and label smoothing come on top.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty; ``numpy.inf`` for none. The intercept is not
        penalised.
    l1_ratio : float in [0, 1], default=0.0
        Share of the L1 norm in the penalty: 0 for ridge, 1 for the lasso, between them
        the elastic net, by proximal Newton steps.
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
        solved in the space of their rows, sparse data by dual coordinate ascent and
        Newton steps. Where a curvature would cost dozens of passes, L-BFGS with its
        diagonal goes first. The others are the textbook's methods for a ridge: L-BFGS
        and Newton's method with conjugate gradients, both preconditioned by the
        diagonal of the Hessian of centred columns, and Newton's method with a factored
        Hessian.
    tol : float, default=1e-4
        The solver stops when the objective f is within ``tol**2`` of the least value,
        ``(f - f*) / f <= tol**2``, as far as the curvature tells. The logits are then
        off by about `tol` of their spread. An f below 1e-6 per unit of sample weight
        counts as that: without a penalty, separable classes let it fall without end.
    max_iter : int, default=1000
        Largest number of iterations over all data.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit, unless the objective
        is larger there than at zeros.
    early_stopping : bool, default=False
        Whether to hold out a share of the samples, stop when their loss has not
        improved for `n_iter_no_change` iterations, and keep the best coefficients; the
        zeros that a cold fit starts from are none.
        "auto" takes few iterations, each of which gets far; "lbfgs" takes many.
    validation_fraction : float in (0, 1), default=0.1
        The share that is held out, drawn evenly from the classes.
    n_iter_no_change : int, default=5
        Iterations without improvement after which to stop.
    random_state : int, RandomState instance or None, default=None
        Draws the samples that are held out. Nothing else in ``fit`` is random.
    verbose : int, default=0
        Whether to print the loss and the suboptimality of each iteration, when it has
        been reached.

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
        iteration. With `early_stopping` also ``"validation_loss"``.
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
    the kernels of :mod:`skxent.losses`. Floating-point X is not copied, but for the
    columns that an elastic net of sparse or wide data works on, and CSR for it whole.
    Beyond the soft labels dense data need no array of shape (n_samples, n_classes).
    Measured with 64 features and 10 classes, memory beside the arguments: a fit of
    dense data 15 MB for samples and blocks of rows, of sparse data 35 bytes per sample
    and class, and predictions three times the size of the logits at the most.

    Callbacks of scikit-learn (from its version 1.9 on, by ``set_callbacks``) see one
    task for each iteration over all data.

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
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int = 1000,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.verbose = verbose

    @guarded
    @with_callbacks
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
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, float32 or float64; sparse data in CSR or CSC form, of either
            index dtype. Neither is copied. A tensor of torch or an array of cupy on a
            CUDA device is trained on there, and attributes come back as its like.
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
        home = home_of(X)
        if self.l1_ratio > 0:
            refuse_on_device(X, "l1_ratio", "be 0", repr(self.l1_ratio))
        data, labels = read_samples(self, X, y, ensure_all_finite=False)
        weights = check_weights_of_samples(
            to_host("sample_weight", sample_weight), data.shape[0]
        )
        classes, target = check_targets(labels, to_host("soft_labels", soft_labels))
        asked = self._problem(data, target, classes, weights)
        problem = asked.in_range()
        held = None
        if self.early_stopping:
            held = split_validation(
                target,
                row_masses(problem.targets),
                validation_fraction=self.validation_fraction,
                random_state=self.random_state,
            )
        checks_late = problem.shows_non_finite and held is None
        if not checks_late:
            check_finite(self, data)
        self.classes_ = classes
        callbacks = FitCallbacks(
            self,
            functools.partial(self._attributes, problem, home),
            X=X if isinstance(data, DeviceMatrix) else data,
            y=labels,
            metadata=None if weights is None else {"sample_weight": weights},
        )
        settings = Settings(
            float(self.tol),
            int(self.max_iter),
            stop=callbacks if callbacks.is_heard else None,
            report=_print_iterate if self.verbose else None,
        )
        start = self._starting_point(problem)
        # Numbers that overflow end the search, which is warned about.
        with np.errstate(all="ignore"):
            if held is None:
                result = train(problem, start, settings)
            else:
                result = train_with_early_stopping(
                    problem, start, settings, held, self.n_iter_no_change
                )
        if checks_late and result.status is not SolverStatus.CONVERGED:
            check_finite(self, data)
        self._warn_unless_converged(result)
        for name, value in self._attributes(problem, home, result.coef).items():
            setattr(self, name, value)
        self.n_iter_ = home.bring(np.array([result.n_iter], dtype=np.int32))
        self.history_ = result.history
        self._forget_batches(asked.targets.denominator)
        callbacks.close()
        return self

    @property
    def penalty(self) -> str:
        """The penalty by the name that LogisticRegression had for it.

        SelectFromModel asks for it.
        """
        names = {0.0: "l2", 1.0: "l1"}
        return names.get(self.l1_ratio, "elasticnet")

    def _problem(
        self,
        X: Any,
        target: NDArray[Any],
        classes: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
    ) -> Problem:
        """Return what is minimised."""
        targets = self._encode(target, classes, sample_weight, X.dtype)
        if not targets.denominator > 0:
            raise ValueError(
                "sample_weight times class_weight must be positive for some sample; "
                "got zero for all of them. Drop the argument to weigh all alike."
            )
        return Problem(
            X,
            targets,
            float(self.C),
            float(self.l1_ratio),
            bool(self.fit_intercept),
            self.solver,
        )

    def _attributes(
        self, problem: Problem, home: Home, coef: NDArray[np.float64]
    ) -> dict[str, Any]:
        """Return ``coef_`` and ``intercept_``, whose mean over classes is 0."""
        p, dtype = problem.X.shape[1], problem.X.dtype
        intercept = np.zeros(len(coef), dtype=dtype)
        if problem.fit_intercept:
            several = len(coef) > 1
            intercept[...] = coef[:, p] - (coef[:, p].mean() if several else 0.0)
        return {
            "coef_": home.bring(coef[:, :p].astype(dtype)),
            "intercept_": home.bring(intercept),
        }

    def _warn_unless_converged(self, result: SolverResult) -> None:
        """Warn if the solver did not finish."""
        if result.status is not SolverStatus.CONVERGED:
            estimate = result.history["suboptimality"][-1]
            # an iteration more would have shown if that can be believed
            which = "above" if estimate > self.tol**2 else "not yet sure to be below"
            warnings.warn(
                f"The solver stopped after {result.n_iter} iterations at an estimated "
                f"relative suboptimality of {estimate:.3g}, {which} "
                f"tol**2={self.tol**2:.3g}. {result.status.value}",
                ConvergenceWarning,
                stacklevel=3 + FRAMES_OF_GUARDED + FRAMES_OF_WITH_CALLBACKS,
            )

    def _check_parameters(self) -> None:
        """Raise unless every parameter is in its range."""
        from skxent.linear_model._ridge_solver import SOLVERS

        check_number("C", self.C, Real, "positive", lambda C: C > 0)
        check_number(
            "l1_ratio", self.l1_ratio, Real, "in [0, 1]", lambda r: 0 <= r <= 1
        )
        check_shared(self)
        check_flag(self.warm_start, "warm_start")
        check_flag(self.early_stopping, "early_stopping")
        check_early_stopping(self.validation_fraction, self.n_iter_no_change)
        if not isinstance(self.solver, str) or self.solver not in SOLVERS:
            raise ValueError(
                f"solver must be one of {', '.join(map(repr, SOLVERS))}; got "
                f"{self.solver!r}."
            )
        if self.l1_ratio > 0 and self.solver != "auto":
            raise ValueError(
                "solver must be 'auto' where l1_ratio is positive; got "
                f"{self.solver!r} with l1_ratio={self.l1_ratio!r}. Leave solver out, "
                "or use the ridge alone."
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
        if not isinstance(self.class_weight, dict):  # which scikit-learn refuses
            compute_class_weight(self.class_weight, classes=classes, y=classes)
        weights = weights_by_label(self.class_weight, classes)
        names = classes.tolist()
        refuse_negative(
            weights,
            "class_weight",
            lambda k: f"for the class {names[k]!r}. Leave a class out",
        )
        return weights

    def _starting_point(self, problem: Problem) -> NDArray[np.float64]:
        """Return zeros, or the coefficients of the previous fit for a warm start."""
        n_rows = 1 if problem.n_classes == 2 else problem.n_classes
        p = problem.X.shape[1]
        shape = n_rows, p + problem.fit_intercept
        if not (self.warm_start and hasattr(self, "coef_")):
            return np.broadcast_to(0.0, shape)  # one number: nobody writes to it
        start = np.zeros(shape)
        if tuple(self.coef_.shape) == (n_rows, p):
            start[:, :p] = as_numpy(self.coef_)
            if problem.fit_intercept:
                start[:, p] = as_numpy(self.intercept_)
        return start


def _print_iterate(i: int, loss: float, suboptimality: float) -> None:
    print(f"iteration {i}: loss {loss:.9g}, suboptimality {suboptimality:.2g}")
