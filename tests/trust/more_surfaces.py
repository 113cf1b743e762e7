"""The public functions of the metrics and the classifiers, as in `surfaces`."""

import numpy as np
import sklearn.metrics
from sklearn.linear_model import LogisticRegression

from skxent import metrics
from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV
from tests import reference
from tests.trust.surfaces import C, P, Q, S, Surface, W, Y, Z

LABELS = np.arange(C)
ARRAYS = {"y_true": "labels", "y_score": "floats", "y_proba": "floats"}
ARRAYS |= {"sample_weight": "floats", "class_weight": "floats", "labels": "labels"}
ARRAYS |= {
    "label_smoothing": "number",
    "n_bins": "integer",
    "ignore_label": "one label",
}


def _cross_entropy_oracle(y_true, y_score, **options):
    """The naive oracle."""
    scores, y = np.asarray(y_score, float), np.asarray(y_true)
    weight, s = options["class_weight"], options["sample_weight"]
    labels = options["labels"]
    if labels is None:
        assert y.ndim == 2 or len(np.unique(y)) == C
    else:
        assert np.array_equal(labels, LABELS)
    y = y.astype(int) if y.dtype == bool else y
    assert scores.shape == (len(y), C)
    assert weight is None or np.shape(weight) == (C,)
    assert s is None or np.shape(s) == (len(y),)
    assert 0 <= options["label_smoothing"] <= 1
    if not options["from_logits"]:
        assert ((scores >= 0) & (scores <= 1 + 1e-7)).all()
    assert not np.isnan(scores).any()
    if y.ndim == 1:
        y = np.where(y == options["ignore_label"], -100, y)
    else:
        assert (y >= 0).all()
        assert np.allclose(y.sum(axis=1), 1, atol=1e-7)
    return reference.cross_entropy(
        scores,
        y,
        weight=weight,
        sample_weight=s,
        label_smoothing=options["label_smoothing"],
        from_logits=options["from_logits"],
        reduction="mean" if options["normalize"] else "sum",
    )


def _calibration_oracle(y_true, y_proba, *, n_bins, strategy, labels, sample_weight):
    """The mean distance in bins, one after another."""
    p, y = np.asarray(y_proba, float), np.asarray(y_true)
    s = np.asarray(sample_weight, float)
    s = np.full(len(y), s) if s.ndim == 0 else s
    assert labels is None or np.array_equal(labels, LABELS)
    assert strategy == "uniform"
    assert 1 <= n_bins <= 2**20
    assert p.shape == (len(y), C)
    assert s.shape == y.shape[:1]
    assert (s >= 0).all()
    assert np.isfinite(s).all()
    assert s.any()
    assert ((p >= 0) & (p <= 1 + 1e-7)).all()
    top = p.argmax(axis=1)
    right = (y == top) if y.ndim == 1 else y[np.arange(len(y)), top]
    if y.ndim == 2:
        assert (y >= 0).all()
        assert np.allclose(y.sum(axis=1), 1, atol=1e-7)
    confidence = p.max(axis=1)
    points = []
    for i in range(n_bins):
        held = (confidence > (i / n_bins if i else -1)) & (
            confidence <= (i + 1) / n_bins
        )
        mass = s[held].sum()
        if mass > 0:
            hits = (s * right)[held].sum() / mass
            points.append((hits, (s * confidence)[held].sum() / mass, mass / s.sum()))
    return tuple(np.array(points).T)


def _error_oracle(*args, **options):
    right, confidence, share = _calibration_oracle(*args, **options)
    return share @ np.abs(right - confidence)


def _theirs(function):
    """Return scikit-learn's function, by the names that it has from 1.9 on."""

    def call(y_true, y_proba, **options):
        return function(y_true, y_proba, **options)

    return call


def _scored(y_true, y_score, sample_weight, **options):
    """Call a scorer made from options, for an estimator that says ``y_score``."""

    class Fitted:
        classes_ = LABELS

        def predict_proba(self, X):
            return y_score

    scorer = metrics.make_cross_entropy_scorer(**options)
    return -scorer(Fitted(), None, y_true, sample_weight=sample_weight)


def of_metrics():
    """Yield the surfaces of `skxent.metrics`."""
    maybe = ("labels", "sample_weight", "class_weight", "ignore_label", "y_pred")
    options = {
        "labels": None,
        "from_logits": False,
        "sample_weight": S,
        "class_weight": W,
        "label_smoothing": 0.1,
        "ignore_label": None,
        "normalize": True,
    }

    def surface(name, call, arguments, oracle, **more):
        roles = {key: ARRAYS.get(key, "choice") for key in arguments}
        for key in ("labels", "class_weight"):
            if arguments.get(key, 0) is None:
                roles[key] = "nothing"
        if np.ndim(arguments["y_true"]) == 2:  # labels are a number of columns
            roles |= {"y_true": "floats", "labels": "nothing"}
        return Surface(name, call, arguments, oracle, roles, maybe, **more)

    calls = {
        "labels": {"y_true": Y, "y_score": P},
        "logits": {"y_true": Y, "y_score": Z, "from_logits": True},
        "soft": {"y_true": Q, "y_score": P},
        "named": {"y_true": Y, "y_score": P, "labels": LABELS},
        "ignored": {"y_true": Y, "y_score": P, "labels": LABELS, "ignore_label": 7},
        "plain": {"y_true": Y, "y_score": P, "class_weight": None}
        | {"label_smoothing": 0.0},
    }
    for name, given in calls.items():
        yield surface(
            f"cross_entropy_loss-{name}",
            metrics.cross_entropy_loss,
            options | given,
            _cross_entropy_oracle,
        )
    given = options | {"y_true": Y, "y_score": P}
    del given["labels"], given["from_logits"]
    yield surface(
        "make_cross_entropy_scorer",
        _scored,
        given,
        lambda **k: _cross_entropy_oracle(**k, labels=LABELS, from_logits=False),
    )
    given = {"y_true": Y, "y_proba": P, "sample_weight": S, "labels": LABELS}
    for name in ("log_loss", "d2_log_loss_score"):
        more = {"normalize": True} if name == "log_loss" else {}
        yield surface(
            name,
            getattr(metrics, name),
            given | more,
            _theirs(getattr(sklearn.metrics, name)),
            word_for_word=True,
        )
    given |= {"n_bins": 4, "strategy": "uniform"}
    for label, y in (("", Y), ("-soft", Q)):
        yield surface(
            "reliability_curve" + label,
            metrics.reliability_curve,
            given | {"y_true": y},
            _calibration_oracle,
        )
        yield surface(
            "expected_calibration_error" + label,
            metrics.expected_calibration_error,
            given | {"y_true": y},
            _error_oracle,
        )


RNG = np.random.default_rng(71)
ROWS = 30
TRAIN_X = RNG.normal(size=(ROWS, 2))
TRAIN_Y = RNG.integers(3, size=ROWS)
TRAIN_Y[:3] = [0, 1, 2]
TRAIN_S = RNG.uniform(0.5, 2.0, size=ROWS)
TRAIN_Q = RNG.dirichlet(np.ones(3), size=ROWS)
PARAMETERS = {
    "C": 2.0,
    "l1_ratio": 0.0,
    "fit_intercept": True,
    "class_weight": None,
    "label_smoothing": 0.0,
    "solver": "auto",
    "tol": 1e-6,
    "max_iter": 1000,
    "warm_start": False,
    "early_stopping": False,
    "validation_fraction": 0.1,
    "n_iter_no_change": 5,
    "random_state": 0,
    "verbose": 0,
}


def _fit(kind, **arguments):
    """Fit an estimator, its parameters and data together."""
    parameters = {k: arguments.pop(k) for k in list(arguments) if k in PARAMETERS}
    model = SoftmaxRegression(**parameters)
    getattr(model, kind)(**arguments)
    return np.column_stack([model.coef_, model.intercept_])


def _fit_oracle(X, y, sample_weight=None, soft_labels=None, **parameters):
    """scikit-learn's classifier; soft labels as rows of every label."""
    for name, value in PARAMETERS.items():
        if name not in ("C", "label_smoothing", "tol", "random_state", "max_iter"):
            assert parameters[name] == value
    X = np.asarray(X, float)
    n = len(X)
    s = np.asarray(1.0 if sample_weight is None else sample_weight, float)
    s = np.full(n, s) if s.ndim == 0 else s
    assert np.isfinite(X).all()
    assert np.isfinite(s).all()
    assert (s >= 0).all()
    y = np.asarray(y)
    if y.ndim == 2:
        q = y
    else:
        classes, places = np.unique(y, return_inverse=True)
        q = np.eye(len(classes))[places]
    K = q.shape[1]
    assert K > 2
    if soft_labels is not None:
        q = np.asarray(soft_labels, float)
    assert (q >= 0).all()
    assert np.allclose(q.sum(axis=1), 1, atol=1e-3)
    e = parameters["label_smoothing"]
    assert 0 <= e <= 1
    q = (1 - e) * q + e / K
    model = LogisticRegression(C=float(parameters["C"]), tol=1e-12, max_iter=10**4)
    rows, classes = np.divmod(np.arange(K * n), K)
    model.fit(X[rows], classes, q.ravel() * s[rows])
    intercept = model.intercept_ - model.intercept_.mean()
    return np.column_stack([model.coef_, intercept])


def _of_fitted(model, roles):
    """Yield the surfaces of the methods of a fitted classifier."""
    name = type(model).__name__

    def logits(X):
        X = np.asarray(X, float)
        assert X.ndim == 2
        assert X.shape[1] == 2
        assert len(X)
        assert np.isfinite(X).all()
        return X @ model.coef_.T + model.intercept_

    def log_proba(X):
        z = logits(X) - logits(X).max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    oracles = {
        "decision_function": logits,
        "predict": lambda X: logits(X).argmax(axis=1),
        "predict_proba": lambda X: np.exp(log_proba(X)),
        "predict_log_proba": log_proba,
    }
    for method, oracle in oracles.items():
        yield Surface(
            f"{name}.{method}",
            getattr(model, method),
            {"X": TRAIN_X},
            oracle,
            dict(roles),
        )
    if isinstance(model, SoftmaxRegressionCV):
        options = {"class_weight": None, "label_smoothing": 0.0, "ignore_label": None}
        options |= {"labels": LABELS, "from_logits": True, "normalize": True}

        def score(X, y, sample_weight):
            if sample_weight is not None and np.ndim(sample_weight) == 0:
                sample_weight = np.full(len(X), sample_weight)
            return -_cross_entropy_oracle(
                y, log_proba(X), sample_weight=sample_weight, **options
            )

        yield Surface(
            f"{name}.score",
            model.score,
            {"X": TRAIN_X, "y": TRAIN_Y, "sample_weight": TRAIN_S},
            score,
            roles | {"y": "labels"},
            ("sample_weight",),
        )
    else:
        yield Surface(
            f"{name}.score",
            model.score,
            {"X": TRAIN_X, "y": TRAIN_Y, "sample_weight": TRAIN_S},
            lambda X, y, sample_weight: sklearn.metrics.accuracy_score(
                y, logits(X).argmax(axis=1), sample_weight=sample_weight
            ),
            roles | {"y": "labels as they are"},
            ("sample_weight",),
            # what scikit-learn's own `score` lets through
            ("what fails as array", "a huge integer"),
            word_for_word=True,
        )


def of_estimators():
    """Yield the surfaces of `skxent.linear_model`."""
    roles = {"X": "floats or sparse", "y": "new labels", "sample_weight": "floats"}
    roles |= {"soft_labels": "floats", "C": "number", "l1_ratio": "limit"}
    roles |= {"label_smoothing": "number", "tol": "limit", "max_iter": "limit"}
    roles |= {"class_weight": "class weight", "verbose": "count"}
    roles |= {"validation_fraction": "limit", "n_iter_no_change": "limit"}
    # unscaled features and nearly no penalty: theirs does not converge, or to nothing
    but = ("2**40", "2**70", "1e300", "-1e300", "booleans")
    optional = ("sample_weight", "soft_labels", "class_weight", "random_state")
    data = {"X": TRAIN_X, "y": TRAIN_Y, "sample_weight": TRAIN_S}
    for label, more in (
        ("", {}),
        ("-soft", {"soft_labels": TRAIN_Q}),
        ("-soft y", {"y": TRAIN_Q}),
    ):
        given = data | more
        yield Surface(
            "SoftmaxRegression.fit" + label,
            lambda **k: _fit("fit", **k),
            (given if label else given | PARAMETERS),
            lambda **k: _fit_oracle(**(PARAMETERS | {"C": 1.0} | k)),
            roles | ({"y": "floats"} if label == "-soft y" else {}),
            optional,
            but,
            rtol=1e-3,
        )
    yield from _of_fitted(SoftmaxRegression().fit(TRAIN_X, TRAIN_Y), roles)
    chooser = SoftmaxRegressionCV(2, cv=2).fit(TRAIN_X, TRAIN_Y)
    yield from _of_fitted(chooser, roles)

    def partial_fit(**data):
        model = SoftmaxRegression().partial_fit(**data)
        return np.column_stack([model.coef_, model.intercept_])

    # its number is that of plain data, which tests of its own confirm
    given = data | {"classes": np.arange(3), "soft_labels": TRAIN_Q}
    yield Surface(
        "SoftmaxRegression.partial_fit",
        partial_fit,
        given,
        _on_plain_data(partial_fit),
        roles | {"y": "labels", "classes": "labels"},
        optional,
        ("booleans",),
    )

    def fit_cv(**parameters):
        chooser = SoftmaxRegressionCV(**parameters).fit(TRAIN_X, TRAIN_Y)
        return np.column_stack([chooser.coef_, chooser.intercept_])

    yield Surface(
        "SoftmaxRegressionCV.fit",
        fit_cv,
        {
            "Cs": np.array([0.1, 1.0]),
            "l1_ratios": np.array([0.0]),
            "cv": 2,
            "scoring": "neg_cross_entropy",
            "n_jobs": 1,
            "refit": True,
            "verbose": 0,
            "tol": 1e-4,
        },
        _on_plain_data(fit_cv),
        {"Cs": "floats", "l1_ratios": "floats", "tol": "limit", "verbose": "count"},
        ("l1_ratios", "scoring", "n_jobs", "cv"),
        ("1e300", "a subnormal"),
    )


def _on_plain_data(function):
    """Return the function for values of other types than numpy's plain arrays."""

    def call(**arguments):
        y = arguments.get("y")
        assert y is None or set(np.unique(y)) <= {0, 1, 2}
        return function(**arguments)

    return call
