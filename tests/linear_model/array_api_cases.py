"""The estimators on arrays of other libraries, with scikit-learn's dispatch on.

Run by test_array_api.py in a process of its own: SCIPY_ARRAY_API must be set before
scipy is imported.
"""

import array_api_strict
import numpy as np
import pytest
import sklearn
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV

# scikit-learn asks this before it takes a GPU; torch may be built for one without any
torch.backends.cuda.is_built = torch.cuda.is_available

ESTIMATORS = [
    SoftmaxRegression(),
    SoftmaxRegression(l1_ratio=0.5),
    SoftmaxRegression(solver="newton-cholesky", early_stopping=True),
    SoftmaxRegressionCV(Cs=3),
]
LIBRARIES = {"torch": torch.from_numpy, "strict": array_api_strict.asarray}
METHODS = ["decision_function", "predict", "predict_proba", "predict_log_proba"]


@pytest.fixture
def dispatch():
    try:
        with sklearn.config_context(array_api_dispatch=True):
            yield
    except ImportError as error:  # versions before 1.9 need newer or further packages
        pytest.skip(str(error))


# those of libraries and devices that are not there
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_check(estimator, check):
    if "array_api" in getattr(check, "func", check).__name__:
        check(estimator)


def drawn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4))
    return X, (X @ rng.normal(size=(4, 3))).argmax(axis=1)


def assert_same(model, host, X, of_library):
    for name in ("coef_", "intercept_", "n_iter_"):
        if hasattr(host, name):
            got = getattr(model, name)
            assert type(got) is type(of_library)
            assert np.array_equal(np.asarray(got), getattr(host, name))
    for method in METHODS:
        got = getattr(model, method)(of_library)
        assert type(got) is type(of_library)
        assert np.array_equal(np.asarray(got), getattr(host, method)(X))


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize("library", LIBRARIES)
def test_same_numbers_at_home(library):
    X, y = drawn()
    bring = LIBRARIES[library]
    P = np.random.default_rng(1).dirichlet(np.ones(3), len(X))
    weights = np.linspace(0.5, 2.0, len(X))
    for options in ({}, {"sample_weight": weights}, {"soft_labels": P}):
        host = SoftmaxRegression().fit(X, y, **options)
        brought = {name: bring(value) for name, value in options.items()}
        model = SoftmaxRegression().fit(bring(X), bring(y), **brought)
        assert_same(model, host, X, bring(X))
        assert model.score(bring(X), bring(y)) == host.score(X, y)


@pytest.mark.usefixtures("dispatch")
def test_batches_and_warm_starts_begin_at_home():
    X, y = drawn()
    tensor, labels = torch.from_numpy(X), torch.from_numpy(y)
    host = SoftmaxRegression().fit(X, y).partial_fit(X, y)
    model = SoftmaxRegression().fit(tensor, labels).partial_fit(tensor, labels)
    assert_same(model, host, X, tensor)
    warm = SoftmaxRegression(warm_start=True).fit(tensor, labels)
    assert_same(
        warm.set_params(C=2.0).fit(tensor, labels),
        SoftmaxRegression(warm_start=True).fit(X, y).set_params(C=2.0).fit(X, y),
        X,
        tensor,
    )


@pytest.mark.usefixtures("dispatch")
def test_labels_that_are_strings_stay_numpys():
    X, y = drawn()
    names = np.array(["a", "b", "c"])[y]
    model = SoftmaxRegression().fit(torch.from_numpy(X), names)
    assert isinstance(model.predict(torch.from_numpy(X)), np.ndarray)


def test_without_dispatch_tensors_are_read_as_arrays():
    X, y = drawn()
    model = SoftmaxRegression().fit(torch.from_numpy(X), torch.from_numpy(y))
    assert isinstance(model.coef_, np.ndarray)
    assert isinstance(model.predict(torch.from_numpy(X)), np.ndarray)


def test_a_negated_view_is_read_as_such(dispatch):
    pairs = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 2, 2)))
    negated = torch.view_as_complex(pairs).conj().imag
    assert negated.is_neg()
    y = (negated[:, 0] > 0).numpy().astype(int)
    model = SoftmaxRegression().fit(negated, y)
    expected = SoftmaxRegression().fit(negated.resolve_neg(), y)
    assert np.array_equal(np.asarray(model.coef_), np.asarray(expected.coef_))
    assert model.score(negated, y) > 0.9
