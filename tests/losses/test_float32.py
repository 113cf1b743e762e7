"""float32 beside torch's float32: no further from float64, but for one ulp.

Both see the same float32 numbers; torch's float64 result for them is the reference. An
ulp is that of the largest entry of a result.
"""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skxent.losses import (
    binary_cross_entropy_value_and_grad,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy_value_and_grad,
    nll_loss_value_and_grad,
)
from tests.losses import cases


def torchs(function, input, target, options, dtype):
    """Value and gradient of torch, computed in a dtype."""

    def tensor(array):
        array = torch.tensor(array)
        return array.to(dtype) if array.is_floating_point() else array

    options = {
        name: tensor(value) if isinstance(value, np.ndarray) else value
        for name, value in options.items()
    }
    x = tensor(input).requires_grad_()
    loss = function(x, tensor(target), **options)
    loss.sum().backward()
    return loss.detach().double().numpy(), x.grad.double().numpy()


def further_off(ours, function, input, target, options):
    """What is further from float64 than torch's float32 and one ulp."""
    exact = torchs(function, input, target, options, torch.float64)
    narrow = torchs(function, input, target, options, torch.float32)
    failures = []
    for name, got, reference, peer in zip(
        ("value", "gradient"), ours, exact, narrow, strict=True
    ):
        ulp = np.spacing(np.abs(reference).max(initial=0.0).astype(np.float32))
        theirs = np.abs(peer - reference).max(initial=0.0)
        error = np.abs(got.astype(np.float64) - reference).max(initial=0.0)
        if not error <= theirs + ulp:
            failures.append(f"{name}: {error / ulp:.3g} ulp, torch {theirs / ulp:.3g}")
    return failures


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("shape", [(7, 3), (40, 65), (3, 1000), (2, 9, 4, 5)], ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_cross_entropy(form, shape, scale):
    rng = np.random.default_rng(110)
    n_classes = shape[1]
    last = (shape[0], *shape[2:], n_classes)
    z = cases.make_logits(rng, shape, np.float32) * np.float32(scale)
    target = cases.make_target(rng, form, last, np.float32)
    if form == "probabilities":
        target = np.ascontiguousarray(np.moveaxis(target, -1, 1))
    weight = cases.make_weight(rng, n_classes).astype(np.float32)
    failures = []
    for w, smoothing, reduction in itertools.product(
        (None, weight), cases.SMOOTHINGS, cases.REDUCTIONS
    ):
        options = {"weight": w, "label_smoothing": smoothing, "reduction": reduction}
        ours = cross_entropy_value_and_grad(z, target, **options)
        off = further_off(ours, F.cross_entropy, z, target, options)
        failures += [f"{line} ({cases.describe(options)})" for line in off]
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
def test_nll_loss(reduction):
    rng = np.random.default_rng(111)
    x = -rng.exponential(size=(300, 7)).astype(np.float32)
    target = rng.integers(7, size=300)
    weight = cases.make_weight(rng, 7).astype(np.float32)
    options = {"weight": weight, "reduction": reduction}
    ours = nll_loss_value_and_grad(x, target, **options)
    assert not further_off(ours, F.nll_loss, x, target, options)


@pytest.mark.parametrize("reduction", cases.REDUCTIONS)
@pytest.mark.parametrize("labels", [True, False])
def test_binary_losses(labels, reduction):
    rng = np.random.default_rng(112)
    x = rng.normal(scale=5.0, size=(500, 3)).astype(np.float32)
    q = rng.random(size=x.shape).astype(np.float32)
    q = np.round(q) if labels else q
    weight = cases.make_weight(rng, 3).astype(np.float32)
    options = {"weight": weight, "reduction": reduction}
    p = (1 / (1 + np.exp(-x))).astype(np.float32)
    ours = binary_cross_entropy_value_and_grad(p, q, **options)
    failures = further_off(ours, F.binary_cross_entropy, p, q, options)
    options["pos_weight"] = weight[::-1].copy()
    ours = binary_cross_entropy_with_logits_value_and_grad(x, q, **options)
    failures += further_off(ours, F.binary_cross_entropy_with_logits, x, q, options)
    assert not failures, "\n".join(failures)
