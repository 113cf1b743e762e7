"""Weights of events that are spread over the elements a piece at a time."""

import tracemalloc

import numpy as np
import pytest

from skxent.losses import (
    _binary_call,
    binary_cross_entropy_grad,
    binary_cross_entropy_value_and_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    binary_cross_entropy_with_logits_hvp,
    binary_cross_entropy_with_logits_value_and_grad,
)
from tests.losses import cases

SHAPES = [(7, 3), (5, 2, 3), (23,), (1, 9)]


def weights_of(rng, shape):
    """Weights that vary along the first axis, in shapes and layouts of all kinds."""
    full = rng.uniform(0.5, 2.0, shape)
    yield full.astype(np.float32)
    yield np.asfortranarray(full)
    yield full[..., ::-1][..., ::-1]
    if len(shape) > 1:
        yield rng.uniform(0.5, 2.0, (shape[0],) + (1,) * (len(shape) - 1))
    if len(shape) > 2:
        yield rng.uniform(0.5, 2.0, (shape[0], 1, shape[2]))


@pytest.fixture(params=[1, 8], ids=lambda size: f"piece-{size}")
def small_pieces(request, monkeypatch):
    monkeypatch.setattr(_binary_call, "PIECE_SIZE", request.param)


def spread(weight, shape):
    return np.ascontiguousarray(np.broadcast_to(weight, shape), dtype=np.float64)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "sample"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pieces_give_what_weights_of_all_elements_give(shape, reduction, small_pieces):
    rng = np.random.default_rng(120)
    x, q, vector = rng.normal(size=shape), rng.random(shape), rng.normal(size=shape)
    p = 1 / (1 + np.exp(-x))
    common = {"reduction": reduction, "label_smoothing": 0.1}
    of_class = rng.uniform(0.5, 2.0, shape[-1])
    flow = rng.normal(size=binary_cross_entropy_with_logits(x, q, **common).shape)
    for weight in weights_of(rng, shape):
        results = []
        for w in (weight, spread(weight, shape)):
            with_w = common | {"weight": w}
            both = with_w | {"pos_weight": of_class}
            positive = common | {"weight": of_class, "pos_weight": w}
            logits = binary_cross_entropy_with_logits_value_and_grad
            results.append(
                [
                    *binary_cross_entropy_value_and_grad(p, q, **with_w),
                    *logits(x, q, **both),
                    *logits(x, q, **positive),
                    binary_cross_entropy_grad(p, q, grad_output=flow, **with_w),
                    binary_cross_entropy_with_logits_grad(
                        x, q, grad_output=flow, **both
                    ),
                    binary_cross_entropy_with_logits_hvp(x, q, vector, **both),
                ]
            )
        for got, expected in zip(*results, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_pieces_of_a_list(small_pieces):
    rng = np.random.default_rng(121)
    x, q, w = ([rng.random((n, 3)) for n in (4, 0, 7)] for _ in range(3))
    narrow = [entry.astype(np.float32) for entry in w]
    for reduction in ("none", "sample"):
        options = {"reduction": reduction, "weight": narrow}
        value, slopes = binary_cross_entropy_with_logits_value_and_grad(x, q, **options)
        options["weight"] = [entry.astype(float) for entry in narrow]
        again, expected = binary_cross_entropy_with_logits_value_and_grad(
            x, q, **options
        )
        for a, b in zip((value, slopes), (again, expected), strict=True):
            a, b = (np.hstack([np.ravel(entry) for entry in r]) for r in (a, b))
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_gradient_may_be_written_over_the_weights(small_pieces):
    rng = np.random.default_rng(122)
    x, q, w = (rng.random((7, 3)).astype(np.float32) for _ in range(3))
    expected = binary_cross_entropy_with_logits_grad(x, q, weight=w)
    assert binary_cross_entropy_with_logits_grad(x, q, weight=w, out=w) is w
    assert cases.same_bits(w, expected)


@pytest.mark.parametrize("kind", ["column", "float32"])
def test_weights_are_never_spread_over_all_elements(kind):
    shape = (8000, 1000)
    x, q, out = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    weight = np.ones((8000, 1)) if kind == "column" else np.ones(shape, np.float32)

    def call(n):
        binary_cross_entropy_with_logits_grad(
            x[:n], q[:n], weight=weight[:n], pos_weight=weight[:n], out=out[:n]
        )

    call(8)
    tracemalloc.start()
    try:
        call(8000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # four pieces of float64 at most; 128 MB would be two weights of all elements
    assert peak < 5 * 8 * _binary_call.PIECE_SIZE
