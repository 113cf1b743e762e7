"""Binary losses on a device, in the simulator."""

import numpy as np
import pytest
from numba import cuda
from numba.core.types import float64

from skxent.kernels import _cuda as kernels
from skxent.losses import (
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_hvp,
    binary_cross_entropy_with_logits_value_and_grad,
)
from tests.cuda.scheduler import in_every_order, use_device_math
from tests.cuda.simulated.arrays import on_host

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks")

RNG = np.random.default_rng(0)
TOLERANCES = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-14}
CASES = {
    "one element": ((1,), {}, "float64"),
    "a vector": ((37,), {"reduction": "none"}, "float32"),
    "smoothed": ((5, 3), {"label_smoothing": 0.2}, "float64"),
    "weighted": (
        (6, 5),
        {"weight": RNG.uniform(0.5, 2, (6, 1)), "pos_weight": RNG.uniform(0.5, 2, 5)},
        "float32",
    ),
    "sum": ((9, 4), {"reduction": "sum", "weight": RNG.uniform(0, 2, 4)}, "float64"),
    "half precision": ((40,), {}, "float16"),
}


def expected(x, q, v, options):
    """Return loss, gradient and product of the definition, in float64."""
    x, q = np.float64(x), np.float64(q)
    smoothing = options.get("label_smoothing", 0.0)
    weight, pos_weight = options.get("weight", 1.0), options.get("pos_weight", 1.0)
    t1 = weight * pos_weight * ((1 - smoothing) * q + smoothing / 2)
    t0 = weight * ((1 - smoothing) * (1 - q) + smoothing / 2)
    losses = t0 * np.logaddexp(0, x) + t1 * np.logaddexp(0, -x)
    p = 1 / (1 + np.exp(-x))
    gradient, product = t0 * p - t1 * (1 - p), (t0 + t1) * p * (1 - p) * np.float64(v)
    if options.get("reduction", "mean") == "mean":
        return losses.mean(), gradient / x.size, product / x.size
    total = losses.sum() if options["reduction"] == "sum" else losses
    return total, gradient, product


@pytest.mark.parametrize("name", CASES)
def test_what_the_definition_says(name):
    shape, options, dtype = CASES[name]
    x = (3 * RNG.standard_normal(shape)).astype(dtype)
    q = RNG.uniform(size=shape).astype(dtype)
    v = RNG.standard_normal(shape).astype(dtype)
    loss, gradient, product = expected(x, q, v, options)
    near = {"rtol": TOLERANCES[dtype], "atol": TOLERANCES[dtype]}
    there = cuda.to_device(x)

    got, got_gradient = binary_cross_entropy_with_logits_value_and_grad(
        there, q, **options
    )
    np.testing.assert_allclose(on_host(got), loss, **near)
    np.testing.assert_allclose(on_host(got_gradient), gradient, **near)
    assert str(got_gradient.dtype) == dtype
    assert isinstance(got, float) or options.get("reduction") == "none"
    got_product = binary_cross_entropy_with_logits_hvp(there, q, v, **options)
    np.testing.assert_allclose(on_host(got_product), product, **near)
    inflow = np.full(np.shape(loss), 0.5)
    got_gradient = binary_cross_entropy_with_logits_grad(
        there, q, grad_output=inflow, **options
    )
    np.testing.assert_allclose(on_host(got_gradient), 0.5 * gradient, **near)


def test_no_elements():
    empty = cuda.to_device(np.zeros(0))
    assert np.isnan(binary_cross_entropy_with_logits(empty, np.zeros(0)))
    total = binary_cross_entropy_with_logits(empty, np.zeros(0), reduction="sum")
    assert total == 0.0


def test_shapes_that_do_not_fit_are_refused():
    there = cuda.to_device(np.zeros(3))
    with pytest.raises(ValueError, match="target must have the shape of input"):
        binary_cross_entropy_with_logits(there, np.zeros(2))
    with pytest.raises(ValueError, match="weight must broadcast"):
        binary_cross_entropy_with_logits(there, np.zeros(3), weight=np.ones(2))
    with pytest.raises(TypeError, match="out must be an array of the library"):
        binary_cross_entropy_with_logits_grad(there, np.zeros(3), out=np.zeros(3))


def test_probabilities():
    """Losses of probabilities are those of torch's BCELoss: log p at least -100."""
    p = np.array([0.0, 0.25, 1.0, 0.5, 1e-30])
    q = np.array([0.0, 1.0, 0.0, 0.5, 1.0])
    options, one = np.array([1.0, 1.0, 0.0]), np.ones(1)
    kind = kernels.PROBABILITIES
    kernel = cuda.jit(kernels.elements_loss(float64, float64, 1, 32, kind, True))

    def run():
        losses, gradient, partial = np.zeros(5), np.zeros(5), np.zeros(2)
        args = p, q, one, one, p, options, losses, partial, gradient
        kernel[1, 32](*args, 5, 1, 1, 1)
        return losses, gradient, partial

    losses, gradient, partial = in_every_order(run)
    wanted = [0.0, -np.log(0.25), 100.0, np.log(2), -np.log(1e-30)]
    np.testing.assert_allclose(losses, wanted, rtol=1e-15)
    np.testing.assert_allclose(gradient[[1, 3]], [-4.0, 0.0], rtol=1e-15)
    assert gradient[2] == pytest.approx(1e12)
    np.testing.assert_allclose(partial, [sum(wanted), 0.0])


def test_losses_of_probabilities():
    p = RNG.uniform(size=(5, 4))
    q, weight = RNG.uniform(size=(5, 4)), RNG.uniform(0.5, 2, 4)
    losses = -weight * (q * np.log(p) + (1 - q) * np.log1p(-p))
    gradient = weight * (p - q) / (p * (1 - p))
    there = cuda.to_device(p)
    got = binary_cross_entropy(there, q, weight=weight)
    assert got == pytest.approx(losses.mean(), rel=1e-14)
    got = on_host(binary_cross_entropy_grad(there, q, weight=weight))
    np.testing.assert_allclose(got, gradient / p.size, rtol=1e-13)
    got = on_host(binary_cross_entropy(there, q, weight=weight, reduction="none"))
    np.testing.assert_allclose(got, losses, rtol=1e-14)


@pytest.mark.parametrize("bad", [-0.1, 1.5])
def test_numbers_that_are_no_probabilities_are_refused(bad):
    p = np.full((40, 3), 0.5)
    p[37, 1] = bad
    with pytest.raises(ValueError, match=rf"got {bad} at index \(37, 1\)"):
        binary_cross_entropy(cuda.to_device(p), np.ones((40, 3)))
    with pytest.raises(ValueError, match="probabilities in"):
        binary_cross_entropy_grad(cuda.to_device(p), np.ones((40, 3)))
