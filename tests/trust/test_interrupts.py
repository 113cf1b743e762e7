"""Ctrl-C and errors in a fit leave the estimator as it was."""

import copy
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager

import numpy as np
import pytest

from skxent.linear_model import SoftmaxRegression, SoftmaxRegressionCV
from tests.trust.children import blas_threads, run_child

CLASSES = range(5)
# Where each of the models spends its time.
LONG = "train", "_step", "fit_path"


def data(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 40))
    return X, (X @ rng.normal(size=(40, 5)) + rng.gumbel(size=(n, 5))).argmax(axis=1)


def partial_fit(model, X, y):
    return model.partial_fit(X, y, classes=CLASSES)


def models():
    """Yield estimators and how they learn, all fitted before."""
    X, y = data(300)
    yield SoftmaxRegression().fit(X, y), SoftmaxRegression.fit
    yield partial_fit(SoftmaxRegression(), X, y), partial_fit
    yield SoftmaxRegressionCV(2, cv=2).fit(X, y), SoftmaxRegressionCV.fit


@contextmanager
def ctrl_c_inside(function):
    """Send SIGINT a while after this thread has entered a function of that name."""
    thread, left = threading.get_ident(), threading.Event()

    def is_inside():
        frames = traceback.walk_stack(sys._current_frames()[thread])
        return any(frame.f_code.co_name == function for frame, _ in frames)

    def shoot():
        while not is_inside() and not left.wait(0.001):
            pass
        if not left.wait(0.02):
            os.kill(os.getpid(), signal.SIGINT)

    shooter = threading.Thread(target=shoot)
    shooter.start()
    try:
        yield
    finally:
        left.set()
        shooter.join()


def assert_same(found, expected):
    np.testing.assert_equal(vars_of(found), vars_of(expected))


def vars_of(model):
    """Return the attributes, those of the state of batches among them."""
    state = vars(model).get("_minibatch")
    return vars(model) | {"_minibatch": state and vars(state)}


def interrupted():
    """Learn from other data until Ctrl-C comes."""
    before = blas_threads()
    X, y = data(100_000, seed=1)
    for (model, learn), function in zip(models(), LONG, strict=True):
        model.tol = 1e-12
        expected, logits = copy.deepcopy(model), model.decision_function(X[:100])
        with pytest.raises(KeyboardInterrupt), ctrl_c_inside(function):
            learn(model, X, y)
        assert_same(model, expected)
        assert (model.decision_function(X[:100]) == logits).all()
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGINT is sent by POSIX's means")
def test_ctrl_c():
    run_child("test_interrupts.interrupted")


@pytest.mark.parametrize("which", range(3))
def test_refused_data(which):
    model, learn = list(models())[which]
    expected = copy.deepcopy(model)
    X, y = data(300, seed=1)
    X[-1, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        learn(model, X, y)
    if which != 1:  # batches have the features of the first
        with pytest.raises(ValueError, match="NaN"):
            learn(model, X[:, :7].copy() * np.nan, y)
    assert_same(model, expected)
