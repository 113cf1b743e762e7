"""SoftmaxRegressionCV: the penalty is chosen by cross-validation."""

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.parallel import Parallel, delayed

from skxent._array_api import home_of, to_host
from skxent.linear_model._checks import (
    check_number,
    check_shared,
    check_targets,
)
from skxent.linear_model._cv_path import (
    Samples,
    check_grid,
    fit_path,
    joined,
    penalised,
    shared_parameters,
)
from skxent.linear_model._cv_scoring import (
    accepted,
    indexed,
    scorer_of,
)
from skxent.linear_model._guard import FRAMES_OF_GUARDED, guarded
from skxent.linear_model._homes import read_samples, refuse_on_device
from skxent.linear_model._pickling import VersionedMixin
from skxent.linear_model._prediction import PredictionMixin
from skxent.linear_model._sparse_coef import SparseCoefMixin
from skxent.losses._validation import (
    check_flag,
    check_same_length,
    check_weights_of_samples,
    naming,
    refuse_masked,
)

__all__ = ["SoftmaxRegressionCV"]

# Attributes that live where X does.
ARRAYS = (
    "Cs_",
    "coef_",
    "coefs_paths_",
    "intercept_",
    "l1_ratios_",
    "n_iter_",
    "scores_",
)


class SoftmaxRegressionCV(
    SparseCoefMixin, PredictionMixin, VersionedMixin, ClassifierMixin, BaseEstimator
):
    """Softmax regression with the strength of the penalty chosen by cross-validation.

    In every fold the model is fitted for each `C` in ascending order, each time from
    the coefficients of the one before, and scored on the rest of the samples. The best
    mean score over the folds wins.

    Parameters
    ----------
    Cs : int or array-like of shape (n_Cs,), default=10
        Inverse strengths of the penalty to try; or how many, evenly spaced in their
        logarithm between 1e-4 and 1e4.
    l1_ratios : array-like of shape (n_l1_ratios,), default=None
        Shares of the L1 penalty to try, as `l1_ratio` of :class:`SoftmaxRegression`;
        None for the L2 penalty alone, which is ``(0.0,)``.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    cv : int, cross-validation generator or iterable, default=None
        The folds: None for 5 and an int for so many, stratified by the labels, or by
        the most probable class where `y` holds soft labels. Anything else as
        :func:`sklearn.model_selection.check_cv` takes it.
    scoring : str or callable ``(estimator, X, y)``, default=None
        What to choose by, greater is better. None or ``"neg_cross_entropy"`` is the
        negative mean cross-entropy, not clipped, weighted as the fit is and of the soft
        labels if there are any. Other names are those of scikit-learn, among them
        ``"accuracy"``. The scorers of :mod:`skxent.metrics` are callables.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss; "balanced" counts all samples, not those of a
        fold.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over all classes in training.
    solver : str, default="auto"
        As `solver` of :class:`SoftmaxRegression`.
    tol : float, default=1e-4
        As `tol` of :class:`SoftmaxRegression`.
    max_iter : int, default=1000
        Largest number of iterations of each fit.
    n_jobs : int, default=None
        Number of processes, over which folds are spread; joblib gives each of them its
        share of the threads. None is 1, or what :func:`joblib.parallel_config` says.
    refit : bool, default=True
        Whether to fit all samples with the best parameters. Otherwise the coefficients
        are the mean of those that scored best in each fold.
    random_state : int, RandomState instance or None, default=None
        As `random_state` of :class:`SoftmaxRegression`; the folds do not depend on it.
    verbose : int, default=0
        How much joblib tells of its progress.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels; 0, 1, ... if `y` held soft labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, one row for two classes, in the dtype of X.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    Cs_ : ndarray of shape (n_Cs,)
        The values of `C` tried, in the order given.
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        The values of `l1_ratio` tried.
    C_ : float
        The best `C`; without `refit`, the mean of the best of each fold.
    l1_ratio_ : float
        The best `l1_ratio`; without `refit`, the mean of the best of each fold.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs)
        The score of each fit.
    coefs_paths_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs, n_classes, n_dof)
        The coefficients of each fit, `n_dof` being `n_features`, or one more with the
        intercept in the last column. One row for two classes.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_Cs)
        Number of iterations of each fit.
    history_ : dict of str to ndarray
        As `history_` of :class:`SoftmaxRegression`, of the last fit; with `refit`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.

    See Also
    --------
    SoftmaxRegression : The model for one `C`.
    sklearn.linear_model.LogisticRegressionCV : The same without soft labels.

    Notes
    -----
    Attributes have the shapes of scikit-learn's with ``use_legacy_attributes=False``,
    and the default scoring is what its ``"neg_log_loss"`` clips. A class that the
    training part of a fold lacks keeps its place in all of them: its intercept falls
    until the solver stops, and its samples in the test part are scored by that.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skxent.linear_model import SoftmaxRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxRegressionCV(Cs=[0.01, 1, 100]).fit(X, y)
    >>> model.C_
    100.0
    >>> model.scores_.shape
    (5, 1, 3)
    >>> round(model.score(X, y), 2)
    -0.04
    """

    def __init__(
        self,
        Cs: Any = 10,
        *,
        l1_ratios: ArrayLike | None = None,
        fit_intercept: bool = True,
        cv: Any = None,
        scoring: Any = None,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        solver: str = "auto",
        tol: float = 1e-4,
        max_iter: int = 1000,
        n_jobs: int | None = None,
        refit: bool = True,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.scoring = scoring
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.refit = refit
        self.random_state = random_state
        self.verbose = verbose

    @guarded
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        soft_labels: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        """Choose the penalty and fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, float32 or float64.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels of any type; or soft labels, float rows that sum to 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative, in the fits and in a scorer that
            takes them.
        soft_labels : array-like of shape (n_samples, n_classes), default=None
            Class probabilities of each sample, in the sorted order of the labels in
            `y`. They are trained on, and scored by a scorer that takes them.
        **params : dict
            With scikit-learn's metadata routing: what the scorer and the splitter
            request, such as ``groups``.

        Returns
        -------
        self : SoftmaxRegressionCV
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of its range, data are not finite or do not fit, there
            are fewer than two classes, or a score is nan.

        Warns
        -----
        ConvergenceWarning
            If a fit stopped before it reached `tol`; once for all fits of the folds.
        """
        Cs, l1_ratios = check_grid(self.Cs, self.l1_ratios)
        check_shared(self)
        check_flag(self.refit, "refit")
        if self.n_jobs is not None:
            rule = "not 0, of 32 bits"
            check_number(
                "n_jobs", self.n_jobs, Integral, rule, lambda n: 0 < abs(n) < 2**31
            )
        home = home_of(X)
        refuse_on_device(X, "X", "live on the host", type(X).__name__)
        data, labels = read_samples(self, X, y, accept_sparse="csr")
        n = data.shape[0]
        weights = check_weights_of_samples(to_host("sample_weight", sample_weight), n)
        classes, target = check_targets(labels, to_host("soft_labels", soft_labels))
        soft = labels.ndim == 2 and labels.shape[1] > 1
        samples = Samples(
            data,
            target if soft else np.ravel(labels),
            weights,
            None if soft_labels is None else target,
        )
        given = {"sample_weight": weights, "soft_labels": samples.soft_labels}
        given = {name: value for name, value in given.items() if value is not None}
        to_scorer, to_splitter = self._route("fit", given, params)
        strata = target.argmax(axis=1) if soft else samples.y
        with naming("cv"):
            splitter = check_cv(self.cv, strata, classifier=True)
            folds = list(splitter.split(data, strata, **to_splitter))
            if not folds:
                raise ValueError("cv must give at least one split; got none.")

        parameters = shared_parameters(self, target, classes, weights)
        scorer = scorer_of(self.scoring)
        run = delayed(fit_path)
        paths = Parallel(n_jobs=self.n_jobs, verbose=self.verbose)(
            run(
                parameters,
                samples,
                train,
                test,
                Cs,
                ratio,
                scorer,
                indexed(to_scorer, test, n),
            )
            for train, test in folds
            for ratio in l1_ratios
        )
        grid = (len(folds), len(l1_ratios), len(Cs))
        self.classes_, self.Cs_, self.l1_ratios_ = classes, Cs, l1_ratios
        self.scores_ = np.reshape([path.scores for path in paths], grid)
        self.n_iter_ = np.reshape([path.n_iter for path in paths], grid)
        coefs = np.stack([path.coefs for path in paths])
        self.coefs_paths_ = coefs.reshape(*grid, *coefs.shape[2:])
        self._warn_of_failures(sum(path.n_failed for path in paths))
        self._choose(parameters, samples)
        for name in ARRAYS:
            setattr(self, name, home.bring(getattr(self, name)))
        return self

    def _choose(self, parameters: dict[str, Any], samples: Samples) -> None:
        """Take the best penalty, and the coefficients of a last fit or of the folds."""
        if np.isnan(self.scores_).any():
            fold = int(np.argwhere(np.isnan(self.scores_))[0, 0])
            raise ValueError(
                f"scoring must give a number for every fit; got nan in fold {fold}. "
                "Take another scorer, or folds whose samples have a positive weight."
            )
        n_folds, _, n_Cs = self.scores_.shape
        if self.refit:
            best = np.array([self.scores_.sum(axis=0).argmax()])
        else:
            best = self.scores_.reshape(n_folds, -1).argmax(axis=1)
        ratio, place = np.divmod(best, n_Cs)
        self.C_ = float(self.Cs_[place].mean())
        self.l1_ratio_ = float(self.l1_ratios_[ratio].mean())
        # with a single best, the mean over all folds is where the last fit starts
        coef = self.coefs_paths_[np.arange(n_folds), ratio, place].mean(axis=0)
        self._take(coef)
        self.__dict__.pop("history_", None)  # of an earlier fit
        if self.refit:
            model = penalised(parameters, self.C_, self.l1_ratio_)
            model.coef_, model.intercept_ = self.coef_, self.intercept_
            model.fit(*samples)
            self._take(joined(model))
            self.history_ = model.history_

    def _take(self, coef: NDArray[Any]) -> None:
        """Split the coefficients."""
        p = self.n_features_in_
        self.coef_ = np.array(coef[:, :p])
        self.intercept_ = np.zeros(len(coef), dtype=coef.dtype)
        if self.fit_intercept:
            self.intercept_[...] = coef[:, p]

    def _warn_of_failures(self, n_failed: int) -> None:
        if n_failed:
            warnings.warn(
                f"{n_failed} of {self.n_iter_.size} fits stopped before they reached "
                f"tol={self.tol}. Increase max_iter, standardise the features "
                "(sklearn.preprocessing.StandardScaler), or try smaller Cs.",
                ConvergenceWarning,
                stacklevel=3 + FRAMES_OF_GUARDED,
            )

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        soft_labels: ArrayLike | None = None,
        **params: Any,
    ) -> float:
        """Score the predictions for X by `scoring`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels; or soft labels, float rows that sum to 1.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, for a scorer that takes them.
        soft_labels : array-like of shape (n_samples, n_classes), default=None
            Class probabilities of each sample, for a scorer that takes them.
        **params : dict
            With scikit-learn's metadata routing: what else the scorer requests.

        Returns
        -------
        score : float
            Greater is better.
        """
        refuse_masked(y, "y")
        check_same_length(X=X, y=y)  # scorers call them by other names
        given = {"sample_weight": sample_weight, "soft_labels": soft_labels}
        given = {name: value for name, value in given.items() if value is not None}
        to_scorer, _ = self._route("score", given, params)
        return float(scorer_of(self.scoring)(self, X, y, **to_scorer))

    def _route(
        self, caller: str, given: dict[str, Any], params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the metadata for the scorer and for the splitter."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, caller, **given, **params)
            splits = routed.splitter.split if caller == "fit" else {}
            return dict(routed.scorer.score), dict(splits)
        if params:
            raise ValueError(
                f"{caller} takes no metadata but sample_weight and soft_labels where "
                f"they are not routed; got {sorted(params)}. Call "
                "sklearn.set_config(enable_metadata_routing=True) first."
            )
        return accepted(scorer_of(self.scoring), given), {}

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where metadata go.

        Returns
        -------
        routing : MetadataRouter
            What the fit requests itself, the scorer's and the splitter's requests.
        """
        mapping = MethodMapping().add(caller="fit", callee="score")
        # cv may be a generator of splits: it is not used up here, nor is the estimator
        # the owner, which scikit-learn copied before 1.8
        return (
            MetadataRouter(owner=type(self).__name__)
            .add_self_request(self)
            .add(
                splitter=self.cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
            .add(
                scorer=scorer_of(self.scoring),
                method_mapping=mapping.add(caller="score", callee="score"),
            )
        )
