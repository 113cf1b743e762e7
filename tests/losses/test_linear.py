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
@pytest.mark.parametrize("linear_block", [3, None], indirect=True)  # it is long
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


def float32_layer(shape, seed):
    rng = np.random.default_rng(seed)
    n_rows, n_features, n_classes = shape
    X = rng.normal(size=(n_rows, n_features)).astype("f4")
    W = rng.normal(size=(n_classes, n_features)) / n_features**0.5
    b = rng.normal(size=n_classes).astype("f4")
    return X, W.astype("f4"), b, rng.integers(n_classes, size=n_rows)


def errors_in_ulp(results, exact):
    """Errors of the value and of each gradient in ulp of its largest entry."""
    pairs = zip((results[0], *results[1]), (exact[0], *exact[1]), strict=True)
    return [
        np.ravel(np.asarray(a, float) - e) / np.spacing(np.float32(np.abs(e).max()))
        for a, e in pairs
    ]


@pytest.mark.parametrize(
    "shape",
    [(50, 40, 1500), (400, 40, 1500), (1000, 64, 300), (2000, 100, 10), (500, 64, 3)],
)
def test_float32_is_no_worse_than_torch(shape):
    """Of many seeds, the largest error and the root of the mean square.

    An entry by itself says nothing: it is a sum of hundreds of products, which the two
    libraries add up in another order, so that either one is 1.4 times closer by luck,
    as is the largest of one seed.
    """
    ours, theirs = [], []
    options = {"weight": None, "label_smoothing": 0.1}
    options |= {"reduction": "mean", "ignore_index": -100}
    for seed in range(10):
        X, W, b, target = float32_layer(shape, seed)
        options["linear_bias"] = b
        exact = torch_loss(X, W, target, **options)
        by_torch = torch_loss(X, W, target, dtype=torch.float32, **options)
        result = linear_cross_entropy_value_and_grad(X, W, target, **options)
        assert result[0].dtype == np.float32
        ours.append(errors_in_ulp(result, exact))
        theirs.append(errors_in_ulp(by_torch, exact))
    for a, b in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        a, b = np.concatenate(a), np.concatenate(b)
        assert np.abs(a).max() <= np.abs(b).max() + 1
        # 1.04 for torch's products without AVX
        assert np.sqrt(np.mean(a**2)) <= 1.1 * np.sqrt(np.mean(b**2))


def test_float32_gradient_of_the_bias_has_no_error_common_to_all_rows():
    # frequent classes: the sums of p and of t over the rows nearly cancel
    X, W, _, _ = float32_layer((1000, 64, 300), 0)
    b = -np.log(np.arange(1, 301)).astype("f4")
    for seed in range(10):
        draws = np.random.default_rng(seed).pareto(1.0, size=1000)
        target = np.minimum(5 * draws, 299).astype(int)
        _, _, got = linear_cross_entropy_grad(X, W, target, linear_bias=b)
        scores = X.astype(float) @ W.T.astype(float) + b
        exact = cross_entropy_grad(scores, target).sum(axis=0)
        ulp = np.spacing(np.float32(np.abs(exact).max()))
        assert np.abs(got - exact).max() <= ulp
