"""What is counted of class indices, by both twins."""

import numpy as np
import pytest

from skxent.kernels import _survey

NONE = np.empty(0)


@pytest.mark.parametrize("twin", ["parallel", "sequential"])
@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_counts_are_those_of_numpy(n, twin, weighted):
    rng = np.random.default_rng(n)
    target = rng.integers(-2, 12, size=n)
    target[rng.random(n) < 0.2] = 5
    class_weight = rng.uniform(0.5, 2, 10) if weighted else NONE
    row_weight = rng.uniform(0, 2, n) if weighted else NONE
    counts = np.empty((-(-n // 400), _survey.N_COUNTS))
    survey = getattr(_survey.survey_indices, twin)
    survey(0, len(counts), target, 10, 5, class_weight, row_weight, 400, counts)
    wrong = ((target < 0) | (target >= 10)) & (target != 5)
    inside = ~wrong & (target != 5)
    assert counts[:, 0].sum() == wrong.sum()
    assert counts[:, 1].sum() == (target == 5).sum()
    if weighted:
        # what wrong indices weigh does not matter
        weights = np.where(wrong, class_weight[0], class_weight[target * inside])
        expected = (weights * row_weight)[target != 5].sum()
        assert counts[:, 2].sum() == pytest.approx(expected, rel=1e-13)
    else:
        assert counts[:, 2].sum() == (target != 5).sum()


def test_row_of_weight_0_weighs_nothing_whatever_its_class_weighs():
    counts = np.empty((1, _survey.N_COUNTS))
    weights, rows = np.array([1.0, np.inf]), np.array([2.0, 0.0])
    _survey.survey_indices.sequential(
        0, 1, np.array([0, 1]), 2, -100, weights, rows, 10, counts
    )
    assert counts.tolist() == [[0, 0, 2]]


@pytest.mark.parametrize("n", [1, 8, 1001])
@pytest.mark.parametrize("ignored", [-100, 1])
def test_where_nothing_is_wrong_rows_weigh_what_their_classes_do(n, ignored):
    rng = np.random.default_rng(n)
    survey = _survey.survey_indices.sequential
    counts = np.empty((1, _survey.N_COUNTS))
    for class_weight in (np.array([0.5, 3.0]), NONE):
        target = rng.integers(2, size=n)
        survey(0, 1, target, 2, ignored, class_weight, NONE, n, counts)
        kept = target[target != ignored]
        weights = class_weight[kept] if class_weight.size else np.ones(kept.size)
        expected = [0, n - kept.size, weights.sum()]
        assert counts[0].tolist() == pytest.approx(expected, rel=1e-13)


def test_class_without_rows_weighs_nothing():
    counts = np.empty((1, _survey.N_COUNTS))
    survey = _survey.survey_indices.sequential
    for y, weights in ((0, [2.0, np.inf]), (1, [np.inf, 2.0])):
        survey(0, 1, np.full(9, y), 2, -100, np.array(weights), NONE, 9, counts)
        assert counts.tolist() == [[0, 0, 18]]
