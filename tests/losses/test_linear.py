"""The loss of a linear layer against torch and against the loss of its scores."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_value_and_grad,
    linear_cross_entropy,
    linear_cross_entropy_grad,
    linear_cross_entropy_value_and_grad,
)
from tests.losses import cases
from tests.losses.linear_cases import (
    REDUCTIONS,
    RTOL,
    SHAPES,
    make_problem,
    mismatches,
)


def option_grid(form, problem):
    """Every second (target, options) that torch knows, the bias among them.

    The last two axes of the grid have three values, so that each still meets all.
    """
    targets = [(problem.target, -100)]
    if form == "index":
        marked = np.array(problem.target)
        marked.reshape(-1)[1::4] = -100
        targets = [(marked, -100), (problem.target, len(problem.weight) // 2)]
    grid = itertools.product(
        targets,
        (None, problem.b),
        (None, problem.weight),
        cases.SMOOTHINGS,
        cases.REDUCTIONS,
    )
    for (t, ignore_index), b, w, smoothing, reduction in itertools.islice(
        grid, 0, None, 2
    ):
        yield (
            t,
            {
                "linear_bias": b,
                "weight": w,
                "ignore_index": ignore_index,
                "label_smoothing": smoothing,
                "reduction": reduction,
            },
        )


def torch_loss(X, W, target, dtype=torch.float64, **options):
    """torch's value and the gradients of its sum."""
    operands = [X, W]
    if options["linear_bias"] is not None:
        operands.append(options["linear_bias"])
    leaves = [torch.tensor(array).to(dtype).requires_grad_() for array in operands]
    options["linear_bias"] = leaves[2] if len(leaves) > 2 else None
    if options["weight"] is not None:
        options["weight"] = torch.tensor(options["weight"]).to(dtype)
    target = torch.tensor(target)
    if target.is_floating_point():
        target = target.to(dtype)
        del options["ignore_index"]
    loss = F.linear_cross_entropy(*leaves[:2], target, **options)
    slopes = torch.autograd.grad(loss.sum(), leaves)
    return loss.detach().numpy(), [slope.numpy() for slope in slopes]


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_agrees_with_torch_over_the_product_of_options(
    form, shapes, dtype, linear_block
):
    problem = make_problem(shapes, form, dtype)
    X, W = problem.X, problem.W
    failures = []
    for t, options in option_grid(form, problem):
        text = cases.describe(options)
        expected = torch_loss(X, W, t, **options)
        both = linear_cross_entropy_value_and_grad(X, W, t, **options)
        apart = (
            linear_cross_entropy(X, W, t, **options),
            linear_cross_entropy_grad(X, W, t, **options),
        )
        for array in (both[0], apart[0], *both[1], *apart[1]):
            assert array.dtype == dtype
        failures += mismatches(text, both, expected, RTOL[dtype])
        for a, b in zip((both[0], *both[1]), (apart[0], *apart[1]), strict=True):
            assert cases.same_bits(a, b), text
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shapes", SHAPES[1:], ids=str)
@pytest.mark.parametrize("form", cases.FORMS)
def test_is_the_cross_entropy_of_the_scores(form, shapes, reduction, linear_block):
    problem = make_problem(shapes, form)
    rng = np.random.default_rng(81)
    n_samples, row_shape = shapes[0][0], shapes[0][:-1] + shapes[1][1:-1]
    options = {"weight": problem.weight, "reduction": reduction}
    options["label_smoothing"] = 0.1
    for sample_shape in ((n_samples,), row_shape):
        options["sample_weight"] = cases.make_sample_weight(rng, sample_shape)
        value, slopes = cross_entropy_value_and_grad(
            problem.scores, problem.target, **options
        )
        got = linear_cross_entropy_value_and_grad(
            problem.X, problem.W, problem.target, linear_bias=problem.b, **options
        )
        expected = value, problem.gradients(slopes)
        failures = mismatches(str(sample_shape), got, expected, 1e-13)
        assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_grad_output_multiplies_the_gradients(shapes, reduction, linear_block):
    problem = make_problem(shapes, "index")
    options = {"weight": problem.weight, "reduction": reduction}
    shape = np.shape(cross_entropy(problem.scores, problem.target, **options))
    inflow = np.random.default_rng(82).normal(size=shape)
    slopes = cross_entropy_grad(
        problem.scores, problem.target, grad_output=inflow, **options
    )
    got = linear_cross_entropy_grad(
        problem.X,
        problem.W,
        problem.target,
        linear_bias=problem.b,
        grad_output=inflow,
        **options,
    )
    for a, b in zip(got, problem.gradients(slopes), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("n_rows", [50, 400])
def test_float32_is_no_worse_than_torch_or_plain_products(n_rows):
    rng = np.random.default_rng(83)
    X = rng.normal(size=(n_rows, 40)).astype(np.float32)
    W = (rng.normal(size=(1500, 40)) / 6).astype(np.float32)
    b = rng.normal(size=1500).astype(np.float32)
    target = rng.integers(1500, size=n_rows)
    options = {"linear_bias": b, "weight": None, "reduction": "mean"}
    options |= {"ignore_index": -100, "label_smoothing": 0.1}
    exact = torch_loss(X, W, target, **options)
    theirs = torch_loss(X, W, target, dtype=torch.float32, **options)
    ours = linear_cross_entropy_value_and_grad(X, W, target, **options)
    assert ours[0].dtype == np.float32
    assert abs(ours[0] - exact[0]) <= abs(theirs[0] - exact[0]) + np.spacing(ours[0])
    # numpy's BLAS is not torch's: the rounding of its products is not ours to choose.
    scores = X.astype(float) @ W.T.astype(float) + b
    slopes = cross_entropy_grad(scores, target, label_smoothing=0.1).astype(np.float32)
    by_blas = (slopes @ W, slopes.T @ X, slopes.sum(axis=0))
    for results in zip(ours[1], theirs[1], by_blas, exact[1], strict=True):
        true = results[-1]
        error, *allowed = (np.sqrt(np.mean((a - true) ** 2)) for a in results[:-1])
        ulp = np.sqrt(np.mean(np.spacing(np.abs(true).astype(np.float32)) ** 2))
        assert error <= max(allowed) + ulp
