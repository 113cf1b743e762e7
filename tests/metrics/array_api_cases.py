"""The metrics on arrays of other libraries, beside numpy's and scikit-learn's answers.

Run by test_array_api.py in a process of its own: SCIPY_ARRAY_API must be set before
scipy is imported.
"""

import itertools
import tracemalloc
import warnings

import array_api_strict
import numpy as np
import pytest
import sklearn
import sklearn.metrics
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score

import skxent.metrics
from skxent._array_api import on_host
from skxent.metrics import get_scorer, get_scorer_names, reliability_curve
from tests.metrics.sklearn_oracle import OURS_IS_THEIRS

NAMES = [
    "cross_entropy_loss",
    "d2_log_loss_score",
    "expected_calibration_error",
    "log_loss",
    "reliability_curve",
]
THEIRS = ["d2_log_loss_score", "log_loss"]
LIBRARIES = {
    "numpy": np.asarray,
    "torch": torch.from_numpy,
    "strict": array_api_strict.asarray,
    "list": np.ndarray.tolist,
}
KINDS = {"torch": torch.Tensor, "strict": type(array_api_strict.asarray(0))}
ELSEWHERE = array_api_strict.Device("device1")

P = np.array([[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.6, 0.1, 0.3], [0.0, 1.0, 0.0]])
Y = np.array([1, 0, 2, 0])
W = np.array([1.0, 2.0, 3.0, 0.5])


@pytest.fixture(params=[False, True], ids=["off", "on"])
def dispatch(request):
    try:
        with sklearn.config_context(array_api_dispatch=request.param):
            yield request.param
    except ImportError as error:  # versions before 1.9 need newer or further packages
        pytest.skip(str(error))


@pytest.fixture
def dispatching():
    try:
        with sklearn.config_context(array_api_dispatch=True):
            yield
    except ImportError as error:
        pytest.skip(str(error))


def combinations(dispatch):
    """Yield the library of each of y_true, y_proba and sample_weight."""
    older = dispatch and not OURS_IS_THEIRS  # LabelBinarizer refuses lists there
    known = [name for name in LIBRARIES if not (older and name == "list")]
    return itertools.product(known, repeat=3)


@pytest.mark.parametrize("name", NAMES)
def test_any_mixture_of_libraries(name, dispatch):
    metric = getattr(skxent.metrics, name)
    expected = metric(Y, P, sample_weight=W, labels=np.arange(3))
    for y, p, w in combinations(dispatch):
        options = {
            "sample_weight": LIBRARIES[w](W),
            "labels": LIBRARIES[y](np.arange(3)),
        }
        got = metric(LIBRARIES[y](Y), LIBRARIES[p](P), **options)
        if name == "reliability_curve":
            kind = KINDS.get(p, np.ndarray) if dispatch else np.ndarray
            assert all(type(array) is kind for array in got)
            got = tuple(map(np.asarray, got))
            np.testing.assert_array_equal(got, expected)
            assert got[0].dtype == np.float64
        else:
            assert type(got) is float
            assert got == expected


@pytest.mark.parametrize("library", ["torch", "strict"])
def test_soft_labels_class_weights_and_logits(library, dispatch):
    convert = LIBRARIES[library]
    for args, options in [
        ((P[::-1].copy(), P + 0.0), {"labels": np.arange(3)}),
        ((Y, np.sin(W[:, None] * Y[:3])), {"from_logits": True}),
        ((Y, P), {"class_weight": W[:3], "ignore_label": 0, "labels": np.arange(3)}),
    ]:
        expected = skxent.metrics.cross_entropy_loss(*args, **options)
        for key in {"labels", "class_weight"} & set(options):
            options[key] = convert(options[key])
        got = skxent.metrics.cross_entropy_loss(*map(convert, args), **options)
        assert got == expected


def strict(values, **options):
    return array_api_strict.asarray(values, **options)


tensor = torch.from_numpy
EYE = np.eye(3)[Y]
WARNS = pytest.mark.filterwarnings("ignore::UserWarning")

# calls that scikit-learn answers or refuses: y_true, y_proba, options
SAME = {
    "tensors": (tensor(Y), tensor(P), {}),
    "weights": (tensor(Y), tensor(P), {"sample_weight": tensor(W)}),
    "integer weights": (tensor(Y), tensor(P), {"sample_weight": tensor(Y + 1)}),
    "float32": (tensor(Y), tensor(P).float(), {}),
    "bfloat16": (tensor(Y), tensor(P).bfloat16(), {}),
    "a transposed tensor": (tensor(Y), tensor(P.T.copy()).T, {}),
    "integers as probabilities": (tensor(Y), tensor(EYE.astype(int)), {}),
    "indicators": (tensor(EYE.astype(int)), tensor(P), {}),
    "float indicators": (tensor(EYE), tensor(P), {}),
    "soft labels": (tensor(EYE / 2), tensor(P), {}),
    "strings": (np.array(list("bacb")), tensor(P), {}),
    "a list of strings": (list("bacb"), tensor(P), {}),
    "one dimension": (tensor(Y % 2), tensor(P[:, 0].copy()), {}),
    "one column": (tensor(Y % 2), tensor(P[:, :1].copy()), {}),
    "labels": (tensor(Y), tensor(P), {"labels": tensor(np.arange(3))}),
    "bytes": (tensor(Y.astype(np.uint8)), tensor(P), {}),
    "floats as labels": (tensor(Y.astype(float)), tensor(P), {}),
    "a column of labels": (tensor(Y[:, None]), tensor(P), {}),
    "rows off one": (tensor(Y), tensor(P * 0.9), {}),
    "a parameter": (tensor(Y), torch.nn.Parameter(tensor(P)), {}),
    "a strict array": (strict(Y), strict(P), {}),
    "strict weights": (strict(Y), strict(P), {"sample_weight": strict(W)}),
    "strict indicators": (strict(EYE.astype(int)), strict(P), {}),
    "strict float32": (strict(Y), strict(P, dtype=array_api_strict.float32), {}),
    "another device": (strict(Y), strict(P, device=ELSEWHERE), {}),
    "labels from there": (strict(Y, device=ELSEWHERE), strict(P), {}),
    "one sample": (tensor(Y[:1]), tensor(P[:1]), {}),
    "lengths": (tensor(Y[:2]), tensor(P), {}),
    "above one": (tensor(Y), tensor(P + 0.5), {}),
    "negative": (strict(Y), strict(P - 0.3), {}),
    "nan": (strict(Y), strict(P * np.nan), {}),
    "one label": (tensor(Y * 0), tensor(P), {}),
    "fewer classes": (strict(Y % 2), strict(P), {}),
    "few weights": (tensor(Y), tensor(P), {"sample_weight": tensor(W[:2])}),
    "rows of weights": (strict(Y), strict(P), {"sample_weight": strict(P)}),
    "weights of zero": (strict(Y), strict(P), {"sample_weight": strict(W * 0)}),
    "three dimensions": (tensor(Y), tensor(P[None]), {}),
}


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="older versions fail on such arrays")
@WARNS  # scikit-learn's own, of torch's conversions
@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("case", SAME)
def test_what_scikit_learn_answers(case, name, dispatching):
    y, p, options = SAME[case]
    ours, theirs = (getattr(m, name) for m in (skxent.metrics, sklearn.metrics))
    try:
        expected = theirs(y, p, **options)
    except (TypeError, ValueError) as error:
        # up to what an array looks like in print
        words = str(error).split("Array(")[0].split("tensor(")[0]
        with pytest.raises(type(error)) as caught:
            ours(y, p, **options)
        assert str(caught.value).startswith(words[:40])
    else:
        got = ours(y, p, **options)
        assert type(got) is type(expected) is float
        # scikit-learn computes d2's shares in float32 for tensors of integers
        assert got == pytest.approx(expected, rel=2e-6, nan_ok=True)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_detached_by_the_dispatch_alone(name, dispatch):
    metric = getattr(skxent.metrics, name)
    p = tensor(P).requires_grad_()
    if dispatch:
        got = metric(Y, p, labels=np.arange(3))
        np.testing.assert_array_equal(got, metric(Y, P, labels=np.arange(3)))
    else:  # scikit-learn hands on torch's RuntimeError
        with pytest.raises(ValueError, match=r"^y_\w+ .*requires grad.*detach\(\)"):
            metric(Y, p)


def test_curves_stay_on_their_device(dispatching):
    curve = reliability_curve(Y, strict(P, device=ELSEWHERE))
    assert all(array.device == ELSEWHERE for array in curve)


@pytest.mark.parametrize("library", ["torch", "strict"])
def test_memory_is_shared(library, dispatch):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(500), size=2000)
    y, p = np.arange(2000) % 500, LIBRARIES[library](proba)
    assert np.shares_memory(on_host(p=p)[0], on_host(p=p)[0])
    for name in ("cross_entropy_loss", "log_loss"):
        metric = getattr(skxent.metrics, name)
        metric(y, p)  # compiled by now
        tracemalloc.start()
        metric(y, p)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size < 0.1 * proba.nbytes


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="older versions fail on such arrays")
@pytest.mark.parametrize("name", get_scorer_names())
@pytest.mark.parametrize("library", ["torch", "strict"])
def test_scorers_of_estimators_that_return_such_arrays(name, library, dispatching):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4)) + y[:, None]
    weight = rng.uniform(0.5, 2.0, 90)
    scorer, convert = get_scorer(name), LIBRARIES[library]
    expected = scorer(LinearDiscriminantAnalysis().fit(X, y), X, y, weight)
    model = LinearDiscriminantAnalysis().fit(convert(X), convert(y))
    assert type(model.classes_) is type(convert(y))
    got = scorer(model, convert(X), convert(y), convert(weight))
    assert type(got) is float
    assert got == pytest.approx(expected, rel=1e-9)
    keep = np.flatnonzero(y < 2)  # a fold without the last class
    few = scorer(model, convert(X[keep]), convert(y[keep]))
    assert np.isfinite(few)
    if name == "neg_cross_entropy":
        one_hot = convert(np.eye(3)[y])
        soft = scorer(model, convert(X), convert(y), convert(weight), one_hot)
        assert soft == pytest.approx(got, rel=1e-14)


@pytest.mark.skipif(not OURS_IS_THEIRS, reason="older versions fail on such arrays")
def test_cross_validation_of_tensors(dispatching):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 4)) + y[:, None]
    model = LinearDiscriminantAnalysis()
    scorer = get_scorer("neg_cross_entropy")
    expected = cross_val_score(model, X, y, scoring=scorer)
    with warnings.catch_warnings():  # scikit-learn's indexing, in older torch's terms
        warnings.simplefilter("ignore")
        got = cross_val_score(model, tensor(X), tensor(y), scoring=scorer)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
