"""The samples that torch's own test suite feeds its losses.

``OPS`` says what of ours stands for an op of torch; its samples come as torch makes
them, tensors and options included.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from skxent.losses import (
    binary_cross_entropy,
    binary_cross_entropy_grad,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    cross_entropy,
    cross_entropy_grad,
    linear_cross_entropy,
    linear_cross_entropy_grad,
    linear_cross_entropy_value_and_grad,
    nll_loss,
    nll_loss_grad,
)
from tests.losses import cases


class Op(NamedTuple):
    """Our value and gradient, and which arguments the gradient is for."""

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    arguments: tuple[int, ...] = (0,)
    keywords: tuple[str, ...] = ()  # those of them that a sample has


OPS = {
    "nn.functional.binary_cross_entropy": Op(
        binary_cross_entropy, binary_cross_entropy_grad
    ),
    "nn.functional.binary_cross_entropy_with_logits": Op(
        binary_cross_entropy_with_logits, binary_cross_entropy_with_logits_grad
    ),
    "nn.functional.cross_entropy": Op(cross_entropy, cross_entropy_grad),
    "nn.functional.linear_cross_entropy": Op(
        linear_cross_entropy,
        linear_cross_entropy_grad,
        arguments=(0, 1),
        keywords=("linear_bias",),
    ),
    "nn.functional.nll_loss": Op(nll_loss, nll_loss_grad),
}
RTOL = {torch.float64: 1e-12, torch.float32: 1e-6}
# What torch's float64 loses where it takes scores of a few tens from their log-sum-exp:
# all digits of a loss of 1e-14. Ours keeps them.
ATOL = 1e-14


@functools.cache
def torch_ops():
    """Every entry of torch's table; an op may have several."""
    # not at the top: building the table takes seconds
    from torch.testing._internal.common_methods_invocations import op_db

    return op_db


def samples(name, dtype):
    for op in (op for op in torch_ops() if op.name == name):
        for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
            # how torch cuts its work into chunks, not what it computes
            sample.kwargs.pop("options", None)
            yield op, sample


def detached(value):
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def in_float64(value, requires_grad=True):
    """A leaf in double precision: the reference for samples of either dtype."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.detach().double().requires_grad_(requires_grad)
    return value


def sample_mismatch(op, ours, sample, rtol):
    """Lines on how our value and gradients miss torch's in float64."""
    arguments = [in_float64(a) for a in (sample.input, *sample.args)]
    options = {
        name: in_float64(value, requires_grad=name in ours.keywords)
        for name, value in sample.kwargs.items()
    }
    expected = op.op(*arguments, **options)
    wanted = [arguments[i] for i in ours.arguments]
    wanted += [options[name] for name in ours.keywords if name in options]
    slopes = torch.autograd.grad(expected.sum(), wanted)

    plain = [detached(a) for a in (sample.input, *sample.args)]
    options = {name: detached(value) for name, value in sample.kwargs.items()}
    text = f"{[np.shape(a) for a in plain]}, {cases.describe(options)}"
    expected = expected.detach().numpy()
    failures = cases.mismatch(
        f"value, {text}",
        ours.value(*plain, **options),
        expected,
        rtol * np.abs(expected) + ATOL,
    )
    gradients = ours.gradient(*plain, **options)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    for got, slope in zip(gradients, slopes, strict=True):
        slope = slope.numpy()
        largest = np.abs(slope).max(initial=0.0)
        failures += cases.gradient_mismatch(
            f"gradient, {text}", got, slope, largest, rtol
        )
    return failures


@pytest.mark.parametrize("dtype", RTOL, ids=str)
@pytest.mark.parametrize("name", OPS)
def test_samples_of_torch(name, dtype):
    failures = []
    n_samples = 0
    for op, sample in samples(name, dtype):
        failures += sample_mismatch(op, OPS[name], sample, RTOL[dtype])
        n_samples += 1
    assert n_samples > 10
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    "function",
    [
        linear_cross_entropy,
        linear_cross_entropy_grad,
        linear_cross_entropy_value_and_grad,
    ],
)
def test_errors_of_torch(function):
    # the other ops have none for the CPU
    ops = [op for op in torch_ops() if op.name == "nn.functional.linear_cross_entropy"]
    n_errors = 0
    for error in (error for op in ops for error in op.error_inputs("cpu")):
        sample = error.sample_input
        plain = [detached(a) for a in (sample.input, *sample.args)]
        options = {name: detached(value) for name, value in sample.kwargs.items()}
        with pytest.raises((ValueError, TypeError)):
            function(*plain, **options)
        n_errors += 1
    assert n_errors > 5
