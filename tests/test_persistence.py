"""What is saved and loaded again: pickle, joblib, skops, torch.save."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import skops.io
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import InconsistentVersionWarning

import skxent
import skxent.torch
from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV
from skxent.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from skxent.metrics import get_scorer, make_cross_entropy_scorer

X, Y = load_iris(return_X_y=True)
BATCHES = np.array_split(np.random.default_rng(0).permutation(len(Y)), 3)


def begun():
    model = SoftmaxRegression(random_state=0)
    return model.partial_fit(X[BATCHES[0]], Y[BATCHES[0]], classes=[0, 1, 2])


ESTIMATORS = {
    "fitted": lambda: SoftmaxRegression().fit(X, Y),
    "begun": begun,
    "warm": lambda: SoftmaxRegression(warm_start=True, max_iter=100).fit(X, Y),
    "cv": lambda: SoftmaxRegressionCV(Cs=2, cv=2).fit(X, Y),
}


def by_pickle(saved):
    return pickle.loads(pickle.dumps(saved))


def by_joblib(saved):
    file = io.BytesIO()
    joblib.dump(saved, file)
    file.seek(0)
    return joblib.load(file)


def by_skops(saved):
    data = skops.io.dumps(saved)
    theirs = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skxent.") for name in theirs)
    return skops.io.loads(data, trusted=theirs)


WAYS = [by_pickle, by_joblib, by_skops]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_estimator_predicts_the_same(kind, way):
    model = ESTIMATORS[kind]()
    loaded = way(model)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert vars(loaded).keys() == vars(model).keys()
    assert loaded.get_params() == model.get_params()


@pytest.mark.parametrize("way", WAYS)
def test_learning_goes_on_where_it_was(way):
    ours, loaded = begun(), way(begun())
    for rows in BATCHES[1:]:
        for model in (ours, loaded):
            model.partial_fit(X[rows], Y[rows])
    np.testing.assert_array_equal(loaded.coef_, ours.coef_)
    warm = ESTIMATORS["warm"]()
    loaded = way(warm)
    assert loaded.fit(X, Y).n_iter_ == warm.fit(X, Y).n_iter_
    np.testing.assert_array_equal(loaded.coef_, warm.coef_)


@pytest.mark.parametrize("way", WAYS)
def test_scorers_and_losses_give_the_same(way):
    model = SoftmaxRegression().fit(X, Y)
    for scorer in (
        get_scorer("neg_log_loss"),
        make_cross_entropy_scorer(labels=[0, 1, 2]),
    ):
        assert way(scorer)(model, X, Y) == scorer(model, X, Y)
    loss = CrossEntropyLoss([1.0, 2.0, 3.0], input_shape=(None, 3))
    assert way(loss) == loss
    assert way(loss)(X[:, :3], Y) == loss(X[:, :3], Y)
    binary = BinaryCrossEntropyLoss(pos_weight=[2.0])
    assert way(binary) == binary


def test_torch_module_is_saved_as_torch_saves():
    module = skxent.torch.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    input, target = torch.from_numpy(X[:, :3]).float(), torch.from_numpy(Y)
    for loaded in (torch.load(file, weights_only=False), by_pickle(module)):
        assert loaded(input, target) == module(input, target)
    state = by_pickle(module.state_dict())
    other = skxent.torch.CrossEntropyLoss(weight=torch.ones(3))
    other.load_state_dict(state)
    assert other(input, target) == module(input, target)


@pytest.mark.parametrize("kind", ["fitted", "cv"])
@pytest.mark.parametrize("version", ["0.0.9", None])
def test_estimator_of_another_version_says_so(kind, version):
    model = ESTIMATORS[kind]()
    state = model.__getstate__()
    assert state["_skxent_version"] == skxent.__version__
    state.pop("_skxent_version")
    if version is not None:
        state["_skxent_version"] = version
    loaded = type(model)()
    pattern = (
        f"{type(model).__name__} was pickled by version {version or 'unknown'} of "
        f"skxent and is loaded by version {skxent.__version__}"
    )
    with pytest.warns(InconsistentVersionWarning, match=pattern) as caught:
        loaded.__setstate__(state)
    assert len(caught) == 1
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_copies_carry_no_version():
    model = SoftmaxRegression().fit(X, Y)
    for other in (
        copy.copy(model),
        copy.deepcopy(model),
        clone(model),
        by_pickle(model),
    ):
        assert "_skxent_version" not in vars(other)
    assert "_skxent_version" not in vars(model)
