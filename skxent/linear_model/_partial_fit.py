"""The minibatch training of SoftmaxRegression."""

from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from skxent._array_api import Home, home_of, to_host
from skxent.backends._entries import check_entries
from skxent.linear_model._checks import check_known_targets
from skxent.linear_model._guard import guarded
from skxent.linear_model._homes import as_numpy, read_samples, refuse_on_device
from skxent.losses._validation import (
    check_weights_of_samples,
    naming,
    refuse_masked,
)

if TYPE_CHECKING:
    from skxent.linear_model._minibatch import MinibatchState

__all__ = ["PartialFitMixin"]


def _learns_from_batches(model: Any) -> bool:
    """Raise where ``partial_fit`` is absent, and say why."""
    if model.early_stopping is True:
        raise ValueError(
            "early_stopping must be False for partial_fit, which holds no samples out; "
            "got True. Score batches before they are learnt from."
        )
    if isinstance(model.l1_ratio, Real) and float(model.l1_ratio) > 0:
        raise ValueError(
            "l1_ratio must be 0 for partial_fit, which knows no L1 penalty; got "
            f"{model.l1_ratio!r}. Set l1_ratio=0, or call fit."
        )
    if isinstance(model.class_weight, str):
        raise ValueError(
            "class_weight must be a dict or None for partial_fit, since a batch does "
            f"not show how often a class occurs; got {model.class_weight!r}. Compute "
            "the weights from a larger sample with "
            "sklearn.utils.class_weight.compute_class_weight, and pass a dict."
        )
    return True


def _unique_labels(classes: ArrayLike) -> NDArray[Any]:
    """Return the classes, ascending."""
    refuse_masked(classes, "classes")
    with naming("classes"), np.errstate(invalid="ignore"):
        if np.size(classes) == 0:
            raise ValueError("classes must hold at least two labels; got none.")
        return np.asarray(unique_labels(classes))


class PartialFitMixin:
    """``partial_fit`` for a linear classifier that has ``coef_`` and ``intercept_``.

    The class also has the parameters ``C``, ``l1_ratio``, ``class_weight``,
    ``fit_intercept`` and ``early_stopping``, the methods ``_check_parameters()`` and
    ``_encode(target, classes, weights, dtype)``. A fit calls ``_forget_batches`` with
    the weight of its samples.
    """

    C: float
    class_weight: Any
    fit_intercept: bool
    coef_: Any
    intercept_: NDArray[Any]
    _check_parameters: Any
    _encode: Any

    @available_if(_learns_from_batches)  # type: ignore[untyped-decorator]
    @guarded
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        soft_labels: ArrayLike | None = None,
    ) -> Self:
        r"""Learn from one more batch of samples.

        A batch has any number of samples. Larger ones are gone through once, in
        minibatches and in an order of their own, which is the same on every run.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The batch, float32 or float64.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            Labels among `classes`; or soft labels, float rows that sum to 1.
        classes : array-like of shape (n_classes,), default=None
            Every label that will ever occur. Needed in the first call, unless there
            was a fit or `y` holds soft labels, whose columns are then 0, 1, ....
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, not negative. A sample of weight 2 counts as two.
        soft_labels : array-like of shape (n_samples, n_classes), default=None
            Class probabilities of each sample, in the sorted order of `classes`. They
            are trained on; `y` is only checked.

        Returns
        -------
        self : SoftmaxRegression
            The estimator, with `n_samples_seen_`, the number of samples of all calls
            since the last fit.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or has changed, a label is not
            among them, a parameter is out of its range, or data are not finite or do
            not fit.
        AttributeError
            If `class_weight` is "balanced": a batch does not show how often a class
            occurs. Pass a dict. And if `l1_ratio` is positive or `early_stopping` set.

        Notes
        -----
        Each minibatch of weight :math:`b`, which brings the weight of all samples to
        :math:`t`, moves the coefficients of class k by an online Newton step [1]_,

        .. math::
            W_k \leftarrow W_k
            - \frac{2 b}{t + b} (u_k H + \lambda I)^{-1} (g_k + \lambda W_k),
            \quad \lambda = \frac{1}{C t},

        where :math:`g` is the mean gradient of the loss over the minibatch, :math:`H`
        the mean of :math:`\sum_k p_k (1 - p_k) x x^T` over all samples so far, each in
        proportion to :math:`t`, and :math:`u_k` the share of class k in it. A step that
        moves a logit of the minibatch by more than 4 is shortened to that. There is no
        step size to tune, and the scale and the mean of a column hardly matter. Above
        1024 columns, the intercept's among them, only the diagonal of :math:`H` is
        kept. Sparse and dense batches of the same numbers are then learnt from
        differently: minibatches of dense ones are smaller, and a sparse one moves only
        the columns that occur in it, the penalty of the others being made up for when
        they do.

        `C` means what it means in ``fit`` for all samples that have been seen: it
        multiplies the sum of their losses, so that the ridge weighs less and less in a
        long stream. Further passes over the same samples count them again; for m
        passes, `C` divided by m gives the objective of ``fit``.

        After ``fit`` the first call goes on from its coefficients, and the samples of
        the fit count in :math:`t`.

        References
        ----------
        .. [1] B. Bercu, A. Godichon, B. Portier, "An Efficient Stochastic Newton
           Algorithm for Parameter Estimation in Logistic Regressions", SIAM Journal on
           Control and Optimization 58, 2020.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skxent.linear_model import SoftmaxRegression
        >>> X, y = load_digits(return_X_y=True)
        >>> model = SoftmaxRegression()
        >>> for rows in range(0, 1500, 100):
        ...     batch = slice(rows, rows + 100)
        ...     model = model.partial_fit(X[batch], y[batch], classes=range(10))
        >>> float(model.score(X[1500:], y[1500:]))
        0.88...
        """
        self._check_parameters()
        first = getattr(self, "classes_", None) is None
        home = home_of(X)
        refuse_on_device(X, "X", "live on the host", type(X).__name__)
        data, labels = read_samples(self, X, y, reset=first, accept_sparse="csr")
        if issparse(data):
            check_entries(data)
        weights = check_weights_of_samples(
            to_host("sample_weight", sample_weight), data.shape[0]
        )
        known = self._known_classes(classes, labels)
        target = check_known_targets(labels, to_host("soft_labels", soft_labels), known)
        # batches are gathered in float64
        targets = self._encode(target, known, weights, np.dtype(np.float64))
        self.classes_ = known
        self._learn(data, targets, first, home)
        return self

    def _forget_batches(self, total: float) -> None:
        """Begin anew after a fit to samples of a total weight."""
        self._fitted_weight = total
        self._minibatch: MinibatchState | None = None
        self.__dict__.pop("n_samples_seen_", None)

    def _known_classes(
        self, classes: ArrayLike | None, y: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the classes of the first call, or of this one if it is the first."""
        known: NDArray[Any] | None = getattr(self, "classes_", None)
        given = None if classes is None else _unique_labels(classes)
        if known is None:
            if given is not None:
                known = given
            elif y.ndim == 2 and y.shape[1] > 1:
                known = np.arange(y.shape[1])
            else:
                raise ValueError(
                    "classes must be passed on the first call to partial_fit; got "
                    "None. Pass every label that will ever occur, or call fit first."
                )
            if len(known) < 2:
                raise ValueError(
                    "classes must hold at least two labels; got only one class: "
                    f"{known.tolist()}."
                )
        elif given is not None and not np.array_equal(known, given):
            raise ValueError(
                f"classes must be those of the first call, {known.tolist()}; got "
                f"`classes={classes!r}`, which is not the same as on last call to "
                "partial_fit. Begin with a clone of the estimator for other classes."
            )
        return known

    def _learn(self, data: Any, targets: Any, first: bool, home: Home) -> None:
        """Move the coefficients, and remember what the next call needs."""
        from skxent.linear_model._minibatch import learn, start

        n_outputs = 1 if len(targets.on_value) == 2 else len(targets.on_value)
        p = data.shape[1]
        coef = np.zeros((n_outputs, p + bool(self.fit_intercept)))
        if not first:
            coef[:, :p] = as_numpy(self.coef_)
            if self.fit_intercept:
                coef[:, p] = as_numpy(self.intercept_)
        state: MinibatchState | None = getattr(self, "_minibatch", None)
        if first or state is None:
            fitted = 0.0 if first else getattr(self, "_fitted_weight", 0.0)
            has_intercept = bool(self.fit_intercept)
            state = start(coef.shape, fit_intercept=has_intercept, total=fitted)
        elif state.fit_intercept != bool(self.fit_intercept):
            raise ValueError(
                "fit_intercept must stay what it was in the first call to partial_fit, "
                f"{state.fit_intercept}; got {self.fit_intercept!r}. Begin with a "
                "clone of the estimator."
            )
        with naming("X, sample_weight or C"), np.errstate(all="ignore"):
            state = learn(state, coef, data, targets, C=float(self.C))
        if not np.isfinite(coef).all():
            raise ValueError(
                "X and sample_weight must be of sizes whose products are finite; got "
                "coefficients that are not. Scale the features, and begin anew."
            )
        self._minibatch = state
        self.n_samples_seen_ = state.n_rows
        intercept = np.zeros(n_outputs, data.dtype)
        if self.fit_intercept:
            intercept[...] = coef[:, p]
        self.coef_ = home.bring(coef[:, :p].astype(data.dtype))
        self.intercept_ = home.bring(intercept)
