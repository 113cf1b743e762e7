"""Problems, oracles and option grids that the tests of the binary losses share.

The oracles are torch in float64 and the formulas of the contract in plain numpy.
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as F

from skxent.losses import (
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_value_and_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_value_and_grad,
)

REDUCTIONS = ("none", "sum", "mean")
# A number, one element, less than a block, blocks and a rest, four axes, chunks for
# two threads with a rest, and nothing.
SHAPES = ((), (1,), (5,), (33, 10), (4, 3, 5, 6), (200_000,), (0,), (3, 0), (0, 4))

LOGITS = (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_value_and_grad,
    F.binary_cross_entropy_with_logits,
)
PROBABILITIES = (
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_value_and_grad,
    F.binary_cross_entropy,
)
FORMS = {"logits": LOGITS, "probabilities": PROBABILITIES}


def make_input(rng, form, shape, dtype=np.float64):
    if form == "logits":
        return np.asarray(rng.normal(scale=3.0, size=shape)).astype(dtype)
    return np.asarray(rng.uniform(0.02, 0.98, size=shape)).astype(dtype)


def make_target(rng, shape, dtype=np.float64):
    """Half labels, half probabilities."""
    soft = rng.random(shape)
    return np.asarray(np.where(rng.random(shape) < 0.5, soft > 0.5, soft)).astype(dtype)


def make_weights(rng, shape):
    """None, one entry, one per class, one per sample, spread in the middle, all."""
    shapes = [None]
    if shape:
        shapes += [(1,), shape[-1:], (1,) * len(shape), shape]
    if len(shape) > 1:
        shapes.append((shape[0],) + (1,) * (len(shape) - 1))
        shapes.append((shape[1],) + (1,) * (len(shape) - 2))
    return [None if s is None else rng.uniform(0.25, 4.0, size=s) for s in shapes]


def option_grid(rng, form, shape):
    """Every combination of torch's options; weights may be absent."""
    pos_weights = [None]
    if form == "logits":
        pos_weights = make_weights(rng, shape)
    weights = make_weights(rng, shape)
    for weight, pos_weight, reduction in itertools.product(
        weights, pos_weights, REDUCTIONS
    ):
        options = {"weight": weight, "reduction": reduction}
        if form == "logits":
            options["pos_weight"] = pos_weight
        yield options


def tensor(array):
    return torch.tensor(np.asarray(array, dtype=np.float64))


def torch_loss(form, input, target, options):
    """Torch's loss; label smoothing, which it lacks, goes into the target."""
    options = dict(options)
    smoothing = options.pop("label_smoothing", 0.0)
    for name in ("weight", "pos_weight"):
        if options.get(name) is not None:
            options[name] = tensor(options[name])
    target = (1 - smoothing) * tensor(target) + smoothing / 2
    return FORMS[form][3](input, target, **options)


def torch_value_and_grad(form, input, target, grad_output=None, **options):
    z = tensor(input).requires_grad_()
    loss = torch_loss(form, z, target, options)
    inflow = torch.ones_like(loss) if grad_output is None else tensor(grad_output)
    loss.backward(inflow)
    return loss.detach().numpy(), z.grad.numpy()


def torch_hvp(input, target, vector, **options):
    def total(z):
        return torch_loss("logits", z, target, options).sum()

    _, product = torch.autograd.functional.hvp(total, tensor(input), tensor(vector))
    return product.numpy()


def masses(target, weight=None, pos_weight=None, label_smoothing=0.0):
    """``t0`` and ``t1`` of the contract."""
    q = (1 - label_smoothing) * np.asarray(target, dtype=np.float64)
    q = q + label_smoothing / 2
    w = 1.0 if weight is None else np.asarray(weight)
    c = 1.0 if pos_weight is None else np.asarray(pos_weight)
    return w * (1 - q), w * c * q


def mass_scale(target, *, reduction="mean", **options):
    """The size of the terms of a gradient entry, by which its error is measured."""
    t0, t1 = masses(target, **options)
    return (np.abs(t0) + np.abs(t1)) / (np.size(target) if reduction == "mean" else 1)


def torch_error(input, target, *, reduction="mean", **options):
    """What torch's own rounding may add to a small loss, where ``(1 - q) x`` cancels.

    In a sum of losses it is lost among the large ones.
    """
    if reduction != "none":
        return 0.0
    size = mass_scale(target, reduction="none", **options) * np.abs(input)
    return 2 * np.finfo(np.float64).eps * size.astype(np.float64)
