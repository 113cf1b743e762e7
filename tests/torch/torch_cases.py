"""Problems of torch's layout, and the comparison with torch in float64."""

import itertools
from typing import NamedTuple

import torch

from skxent.torch import CrossEntropyLoss

REDUCTIONS = ("none", "sum", "mean")
# Unbatched, rows, more classes than a tile takes, images, and one axis more.
SHAPES = ((7,), (1, 4), (33, 10), (6, 70), (3, 5, 4, 6), (2, 3, 2, 2, 3))
FORMS = ("index", "probabilities")
OPTIONS = [
    {"label_smoothing": smoothing, "reduction": reduction}
    for smoothing, reduction in itertools.product((0.0, 0.1, 1.0), REDUCTIONS)
]


class Problem(NamedTuple):
    """An input, a target of one form and class weights, in float64."""

    input: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


def class_axis(shape):
    return min(1, len(shape) - 1)


def row_shape(shape):
    axis = class_axis(shape)
    return shape[:axis] + shape[axis + 1 :]


def make_problem(shape, form, seed=0):
    """Indices have every fourth row ignored, by -100."""
    rng = torch.Generator().manual_seed(seed)
    axis = class_axis(shape)
    n_classes = shape[axis]
    input = 2 * torch.randn(shape, generator=rng, dtype=torch.float64)
    weight = 0.25 + torch.rand(n_classes, generator=rng, dtype=torch.float64)
    if form == "index":
        target = torch.randint(n_classes, row_shape(shape), generator=rng)
        target.view(-1)[1::4] = -100
    else:
        target = torch.randn(shape, generator=rng, dtype=torch.float64).softmax(axis)
    return Problem(input, target, weight)


def leaf(tensor):
    """A copy that requires a gradient, in the same memory layout."""
    return tensor.detach().clone().requires_grad_()


def run(loss_class, problem, inflow=None, *, with_weight=True, **options):
    """The loss, and the gradients of the input and of probabilities or None."""
    input = leaf(problem.input)
    target = problem.target
    if target.is_floating_point():
        target = leaf(target)
    weight = problem.weight if with_weight else None
    loss = loss_class(weight, **options)(input, target)
    loss.backward(torch.ones_like(loss) if inflow is None else inflow)
    return loss.detach(), input.grad, target.grad


def assert_agrees(problem, inflow=None, *, rtol=1e-12, **options):
    """Value, gradient and the target's gradient are those of torch."""
    ours = run(CrossEntropyLoss, problem, inflow, **options)
    theirs = run(torch.nn.CrossEntropyLoss, problem, inflow, **options)
    for name, got, expected in zip(
        ("value", "gradient", "gradient of target"), ours, theirs, strict=True
    ):
        if expected is None:
            assert got is None
            continue
        size = expected.nan_to_num().abs().max() if expected.numel() else 0.0
        torch.testing.assert_close(
            got,
            expected,
            rtol=rtol,
            atol=float(rtol * size),
            equal_nan=True,
            msg=lambda text, name=name: f"{name}, {options}: {text}",
        )
