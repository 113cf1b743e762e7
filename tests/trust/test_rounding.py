"""Bounds by the size of terms let rounding pass, and nothing else."""

from functools import partial

import numpy as np
import pytest

from skxent.losses import linear_cross_entropy_grad
from tests.trust import surfaces
from tests.trust.rounding import is_within, of_linear
from tests.trust.test_bad_input import flat

SURFACES = [
    s
    for s in (
        *surfaces.of_losses(),
        *surfaces.of_ragged_losses(),
        *surfaces.of_loss_classes(),
        *surfaces.of_torch(),
    )
    if s.bounds
]


def bounds_of(surface, numbers, **options):
    return flat(surface.bounds(of=numbers, **(surface.arguments | options)))


@pytest.mark.parametrize("surface", SURFACES, ids=lambda s: s.name)
def test_each_entry_must_be_right(surface):
    bounds = partial(bounds_of, surface)
    right = flat(surface.oracle(**surface.arguments))
    assert is_within(flat(surface.call(**surface.arguments)), right, bounds)
    for array in range(len(right)):
        for wrong in (1e-11, np.nan, np.inf):
            got = [part.copy() for part in right]
            got[array].flat[-1] += wrong
            assert not is_within(got, right, bounds), (array, wrong)
            assert not is_within(right, got, bounds), (array, wrong)


def test_a_large_weight_is_no_excuse_for_other_rows():
    surface = next(s for s in SURFACES if s.name == "cross_entropy_grad-indices")
    options = {"sample_weight": np.array([1.0, 1e300, 1, 1, 1]), "reduction": "sum"}
    right = surface.oracle(**(surface.arguments | options))
    bounds = partial(bounds_of, surface, **options)
    for row, is_fine in ((0, False), (1, True)):
        got = right.copy()
        got[row] += 1e-11
        assert is_within([got], [right], bounds) == is_fine


def test_what_cancels_may_be_beyond_float16():
    # a p - t is off by the rounding of 2**40 / 2 in float32, times 60
    X, W = np.array([[40.0]]), np.array([[60.0], [-60.0]])
    options = {"weight": np.array([2.0**40, 0.9]), "label_smoothing": 1.0}
    options |= {"reduction": "sum", "target": np.array([0])}
    right = surfaces.linear_oracle("grad", X, W, ignore_index=-100, **options)
    got = linear_cross_entropy_grad(*(a.astype("f2") for a in (X, W)), **options)

    def bounds(numbers):
        return of_linear("grad", of=numbers, input=X, linear_weight=W, **options)

    assert is_within(flat(got), flat(right), bounds)
    beyond = [np.full((1, 1), -np.inf, np.float16), flat(got)[1]]
    assert abs(right[0]).item() < 100
    assert is_within(beyond, flat(right), bounds)
    options["weight"] = np.array([2.0, 0.9])
    assert not is_within(beyond, flat(right), bounds)
