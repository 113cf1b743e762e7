"""No public function changes what it is given, or holds on to it."""

import gc
import pickle
import weakref

import numpy as np
import pytest
import scipy.sparse

from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV
from skxent.losses import CrossEntropyLoss, cross_entropy_grad, cross_entropy_hvp
from skxent.metrics import get_scorer
from tests.trust.more_surfaces import TRAIN_Q, TRAIN_S, TRAIN_X, TRAIN_Y
from tests.trust.surfaces import Q, Y, Z
from tests.trust.test_bad_input import SURFACES


def fresh(arguments):
    """Return the arguments with copies of the arrays, and those of them."""
    given = {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }
    return given, [v for v in given.values() if isinstance(v, np.ndarray)]


def assert_gone(references):
    if any(ref() is not None for ref in references):  # else for nothing, slowly
        gc.collect()
    held = [ref() for ref in references if ref() is not None]
    assert not held, [gc.get_referrers(array) for array in held]


@pytest.mark.parametrize("surface", SURFACES, ids=lambda s: s.name)
def test_arguments_stay_as_they_are_and_are_let_go(surface):
    given, arrays = fresh(surface.arguments)
    before = [pickle.dumps(array) for array in arrays]
    result = surface.call(**given)
    assert [pickle.dumps(array) for array in arrays] == before
    references = [weakref.ref(array) for array in arrays]
    del given, arrays
    assert_gone(references)
    assert result is not None


@pytest.mark.parametrize("layout", ["C", "F", "strided", "read-only"])
@pytest.mark.parametrize("target", [Y, Q], ids=["indices", "probabilities"])
def test_arrays_of_every_layout_stay_as_they_are(layout, target):
    z = np.array(Z, order="F" if layout == "F" else "C")
    if layout == "strided":
        z = np.repeat(z, 2, axis=1)[:, ::2]
    z.setflags(write=layout != "read-only")
    before, other = z.copy(), target.copy()
    cross_entropy_grad(z, target)
    cross_entropy_hvp(z, target, z)
    np.testing.assert_array_equal(z, before)
    np.testing.assert_array_equal(target, other)


DATA = {
    "dense": np.asarray,
    "Fortran order": np.asfortranarray,
    "CSR": scipy.sparse.csr_array,
    "CSC": scipy.sparse.csc_array,
}
MODELS = {
    "auto": SoftmaxRegression(),
    "lbfgs": SoftmaxRegression(solver="lbfgs"),
    "newton-cg": SoftmaxRegression(solver="newton-cg"),
    "newton-cholesky": SoftmaxRegression(solver="newton-cholesky"),
    "elastic net": SoftmaxRegression(l1_ratio=0.5),
    "early stopping": SoftmaxRegression(early_stopping=True, random_state=0),
    "cross-validated": SoftmaxRegressionCV(Cs=[1.0], cv=2),
}


def parts(X):
    """Return the arrays that make up dense or sparse data."""
    return [X] if isinstance(X, np.ndarray) else [X.data, X.indices, X.indptr]


@pytest.mark.parametrize("layout", DATA)
@pytest.mark.parametrize("name", MODELS)
def test_a_fitted_estimator_holds_no_data(name, layout):
    model = pickle.loads(pickle.dumps(MODELS[name]))
    X = DATA[layout](TRAIN_X.copy())
    y, s, q = TRAIN_Y.copy(), TRAIN_S.copy(), TRAIN_Q.copy()
    arrays = [*parts(X), y, s, q]
    before = [pickle.dumps(array) for array in arrays]
    model.fit(X, y, sample_weight=s, soft_labels=q)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        getattr(model, method)(X)
    get_scorer("neg_cross_entropy")(model, X, y)
    assert [pickle.dumps(array) for array in arrays] == before
    references = [weakref.ref(array) for array in arrays]
    if hasattr(model, "partial_fit"):
        model.partial_fit(X, y)
        assert [pickle.dumps(array) for array in arrays] == before
    del X, y, s, q, arrays
    assert_gone(references)


def test_a_loss_holds_a_copy_of_its_weight():
    weight = np.ones(3)
    loss = CrossEntropyLoss(weight)
    weight[:] = 7.0
    assert (loss.weight == 1.0).all()
    reference = weakref.ref(weight)
    del weight
    assert_gone([reference])


def test_an_output_that_is_the_input_is_the_only_one_that_changes():
    z, target = Z.copy(), Y.copy()
    expected = cross_entropy_grad(z, target)
    assert cross_entropy_grad(z, target, out=z) is z
    np.testing.assert_array_equal(z, expected)
    np.testing.assert_array_equal(target, Y)
