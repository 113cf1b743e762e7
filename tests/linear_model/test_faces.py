"""Steps with given signs, and elastic nets where sweeps alone would take thousands."""

import numpy as np
import pytest
import scipy.sparse

from skxent.linear_model import SoftmaxRegression, _elastic_net, _training
from skxent.linear_model._faces import (
    FEW_SWEEPS,
    MOST_PRODUCTS,
    SLOW_SWEEPS,
    Face,
    Turns,
)


def quadratic(n, rank=None, seed=0, offset=0.0):
    """A curvature of a rank, and a slope in its range but for an offset."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, rank or 2 * n))
    hessian = root @ root.T / root.shape[1]
    return hessian, (hessian @ rng.normal(size=n) + offset)[:, np.newaxis]


def face_of(hessian, slope, l1=0.0, l2=0.0, n_intercepts=0, **limits):
    l1, l2 = np.full((2, len(slope), 1), [[[l1]], [[l2]]])
    if n_intercepts:
        l1[-n_intercepts:] = l2[-n_intercepts:] = 0.0
    diagonal = hessian.diagonal()[:, np.newaxis]
    return Face(hessian.__matmul__, slope, diagonal, l1, l2, n_intercepts, **limits)


def value_of(face, point, step):
    """Model and penalty after a step."""
    new = point + step
    penalty = (face.l1 * np.abs(new) + 0.5 * face.l2 * new**2).sum()
    return float(
        np.vdot(face.slope, step) + 0.5 * np.vdot(step, face.product(step)) + penalty
    )


def check_gain(face, point, step, gain):
    before = value_of(face, point, np.zeros_like(step))
    assert gain == pytest.approx(before - value_of(face, point, step), rel=1e-9)
    assert gain > 0


def test_a_face_that_holds_the_minimum():
    hessian, slope = quadratic(12)
    l1, l2 = 1e-4, 0.1
    free = np.arange(12) != 3
    curved = (hessian + l2 * np.eye(12))[np.ix_(free, free)]
    signs = -np.sign(np.linalg.solve(curved, slope[free]))
    least = np.zeros((12, 1))
    least[free] = -np.linalg.solve(curved, slope[free] + l1 * signs)
    assert (np.sign(least[free]) == signs).all()
    point = least + 2.0 * np.sign(least)  # goes back, and changes no sign
    face = face_of(hessian, slope + hessian @ point, l1, l2)
    step, gain = face.step(point)
    check_gain(face, point, step, gain)
    assert step[3] == 0
    way = least - point
    best = value_of(face, point, 0 * way) - value_of(face, point, way)
    assert 0.9 * best <= gain <= best * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_plateau_is_not_the_minimum(seed):
    # of curvatures from 1 to 1e-6, each direction has as much to gain
    n = 60
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.normal(size=(n, n)))
    curvatures = np.logspace(0, -6, n)
    hessian = (directions * curvatures) @ directions.T
    slope = directions @ np.sqrt(curvatures)
    face = face_of(hessian, slope[:, np.newaxis], 1e-30)
    _, gain = face.step(np.full((n, 1), 1e6))  # where no sign changes
    assert gain > 0.9 * n / 2


def test_little_beside_what_is_allowed_may_be_left():
    hessian, slope = quadratic(40, 20)
    l2, allowed, used = 0.1, 1.0, []

    def product(vector):
        used.append(1)
        return hessian @ vector

    face = face_of(hessian, slope, 1e-30, l2)._replace(product=product)
    point = np.full((40, 1), 1e3)
    face = face._replace(slope=slope - l2 * point)  # the ridge pulls by nothing else
    counts, gains = [], []
    for limit in (allowed, 0.0):
        used.clear()
        gains.append(face._replace(allowed=limit).step(point)[1])
        counts.append(len(used))
    assert gains[1] - 0.05 * allowed <= gains[0] < gains[1]
    assert counts[0] < counts[1]


def test_signs_stay_or_become_zero():
    hessian, slope = quadratic(20, seed=1)
    face = face_of(hessian, 3 * slope, 0.2)
    point = np.random.default_rng(2).normal(size=(20, 1))
    step, gain = face.step(point)
    check_gain(face, point, step, gain)
    end = point + step
    assert (end * point >= 0).all()
    assert (end == 0).any()
    assert (end != 0).any()


def test_many_signs_that_would_change_take_few_products():
    hessian, _ = quadratic(400)
    hessian += np.eye(400)
    point, least = np.random.default_rng(6).normal(size=(2, 400, 1))
    n_products = [0]

    def product(step):
        n_products[0] += 1
        return hessian @ step

    face = face_of(hessian, hessian @ (point - least), 0.1)
    face = face._replace(product=product)
    step, gain = face.step(point)
    assert n_products[0] < 40
    check_gain(face, point, step, gain)
    assert (point + step == 0).sum() > 100


def test_flat_directions_end_where_a_sign_would_change():
    # of rank 3, and the penalty pulls where nothing curves
    hessian, slope = quadratic(10, 3)
    face = face_of(hessian, slope, 0.5)
    point = np.random.default_rng(3).normal(size=(10, 1)) + 5
    step, gain = face.step(point)
    check_gain(face, point, step, gain)
    assert np.abs(step).max() < 100
    assert ((point + step) >= 0).all()


def test_limits_are_kept():
    hessian, slope = quadratic(10)
    point = np.full((10, 1), 5.0)
    face = face_of(hessian, 10 * slope, 0.1, low=point - 0.5, high=point + 0.25)
    step, gain = face.step(point)
    check_gain(face, point, step, gain)
    assert step.min() >= -0.5 - 1e-12
    assert step.max() <= 0.25 + 1e-12


def test_intercepts_are_not_shifted_alike():
    rng = np.random.default_rng(4)
    root = rng.normal(size=(8, 4))
    root[-3:] -= root[-3:].mean(axis=0)
    hessian = root @ root.T
    face = face_of(hessian, hessian @ rng.normal(size=(8, 1)), 0.01, 0, 3)
    point = np.ones((8, 1))
    step, gain = face.step(point)
    check_gain(face, point, step, gain)
    assert abs(step[-3:].sum()) < 1e-9 * np.abs(step).max()


def test_no_step_at_the_minimum():
    hessian, slope = quadratic(5)
    face = face_of(hessian, 0 * slope)
    step, gain = face.step(np.ones((5, 1)))
    assert gain == 0
    assert not step.any()


def test_turns_go_on_while_faces_gain():
    gains = iter([5.0, 3.0, 1.0, 0.01])
    asked, products = [], []

    def sweep(most, allowed):
        asked.append((most, allowed))
        return 1.0, most

    def step_on_face(most):
        products.append(most)
        return next(gains)

    turns = Turns()
    assert turns.solve(sweep, step_on_face, 0.5) == 4 + 9.01
    assert products == [SLOW_SWEEPS] + 3 * [MOST_PRODUCTS]
    assert [most for most, _ in asked] == [SLOW_SWEEPS] + 3 * [FEW_SWEEPS]
    assert [allowed for _, allowed in asked] == [0.5, 6.5, 10.5, 12.5]


def test_few_sweeps_that_gain_are_enough():
    def refuse(most):
        raise AssertionError

    assert Turns().solve(lambda *_: (1.0, 3), refuse, 0.5) == 1.0


def test_a_gain_that_ends_the_fit_is_not_believed():
    turns = Turns()
    gains = iter([7.0, 0.0])

    def step_on_face(most):
        assert most == MOST_PRODUCTS
        return next(gains)

    total = turns.solve(lambda *_: (0.1, 2), step_on_face, 0.5)
    assert total == pytest.approx(7.2)


def hard(kind, n=60, p=90):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(n, p))
    y = (X[:, :3] @ rng.normal(size=(3, 3)) + rng.gumbel(size=(n, 3))).argmax(axis=1)
    if kind == "far from zero":
        X += 30
    else:  # two directions and little else
        X = X[:, :2] @ rng.normal(size=(2, p)) + 1e-2 * X
    return X, y


@pytest.mark.parametrize(
    ("container", "n"), [("dense", 60), ("dense", 300), ("csc", 60), ("csc", 120)]
)
@pytest.mark.parametrize("kind", ["far from zero", "nearly low rank"])
def test_hard_data(kind, container, n, monkeypatch):
    monkeypatch.setattr(_training, "DENSE_SIZE", 0)
    X, y = hard(kind, n)
    data = scipy.sparse.csc_array(X) if container == "csc" else X
    C, l1_ratio = 10.0, 0.5
    model = SoftmaxRegression(C=C, l1_ratio=l1_ratio, tol=1e-3, max_iter=200)
    model.fit(data, y)
    # what no weight violates by much, and no other fit lowers by much
    gradient = (model.predict_proba(data) - np.eye(3)[y]).T @ X
    gradient += (1 - l1_ratio) / C * model.coef_
    slope = np.where(
        model.coef_ != 0,
        np.abs(gradient + l1_ratio / C * np.sign(model.coef_)),
        np.maximum(np.abs(gradient) - l1_ratio / C, 0.0),
    )
    assert slope.max() < 0.02 * np.abs((1 / 3 - np.eye(3)[y]).T @ X).max()
    tight = SoftmaxRegression(C=C, l1_ratio=l1_ratio, tol=1e-6, max_iter=3000)
    tight.fit(X, y)
    least = tight.history_["loss"][-1]
    assert model.history_["loss"][-1] / least - 1 < 1e-5


def test_columns_far_from_zero_with_hardly_any_penalty():
    # it ended 3e-4 from the minimum, and said nothing
    rng = np.random.default_rng(2)
    n, p = 15, 30
    X = rng.normal(size=(n, p)) + rng.normal(0, 30, p)
    y = rng.integers(0, 3, n)
    fit = SoftmaxRegression(C=4e3, l1_ratio=0.9, label_smoothing=0.01, max_iter=1000)
    loss = fit.set_params(tol=1e-3).fit(X, y).history_["loss"][-1]
    least = fit.set_params(tol=1e-5).fit(X, y).history_["loss"][-1]
    assert loss / least - 1 < 1e-6


def test_a_small_gain_is_checked_by_weights_outside_of_the_working_set():
    # it ended 1.6e-5 from the minimum: the last step had made one of them worth more
    rng = np.random.default_rng(87)
    X = rng.normal(size=(6, 8)) + rng.normal(0, 30, 8)
    y = np.array([0, 1, 0, 0, 0, 0])
    fit = SoftmaxRegression(C=20.0, l1_ratio=0.5, max_iter=1000)
    loss = fit.set_params(tol=1e-3).fit(X, y).history_["loss"][-1]
    least = fit.set_params(tol=1e-6).fit(X, y).history_["loss"][-1]
    assert loss / least - 1 < 2e-6


def test_moments_are_checked_by_the_exact_model(monkeypatch):
    X, y = hard("nearly low rank", 300)
    fit = SoftmaxRegression(C=10.0, l1_ratio=0.5, tol=1e-3, max_iter=500).fit
    checked = fit(X, y).history_
    monkeypatch.setattr(_elastic_net, "CHECKED_SIZE", 0)
    n_unchecked = len(fit(X, y).history_["loss"])
    assert len(checked["loss"]) > n_unchecked
    assert (np.diff(checked["loss"]) <= 0).all()
