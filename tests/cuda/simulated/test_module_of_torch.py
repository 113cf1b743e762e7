"""``skxent.torch.CrossEntropyLoss`` of tensors on a device, in the simulator."""

import pytest
import torch
from torch.nn import functional as F

from skxent.torch import CrossEntropyLoss, _autograd
from tests.cuda.scheduler import use_device_math
from tests.cuda.simulated.tensors import on_device, use_host_memory

use_device_math("skxent.kernels._cuda")
pytestmark = pytest.mark.usefixtures("small_blocks", "tensors_on_device")

DTYPES = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.fixture
def tensors_on_device(monkeypatch):
    use_host_memory(monkeypatch)
    monkeypatch.setattr(_autograd, "is_on_host", lambda tensor: False)
    as_array = _autograd.as_array

    def as_array_there(tensor, **options):
        # torch saves, and differentiates, what it stands for
        return on_device(as_array(tensor, **options))

    monkeypatch.setattr(_autograd, "as_array", as_array_there)


@pytest.fixture
def read(monkeypatch):
    """The dtypes of what the loss was handed."""
    dtypes = []
    whole = _autograd.cross_entropy_value_and_grad

    def noted(input, target, **options):
        dtypes.append((input.dtype, target.dtype))
        return whole(input, target, **options)

    monkeypatch.setattr(_autograd, "cross_entropy_value_and_grad", noted)
    return dtypes


def drawn(dtype, soft):
    generator = torch.Generator().manual_seed(0)
    input = 3 * torch.randn(6, 5, generator=generator)
    target = torch.randint(5, (6,), generator=generator)
    if soft is not None:
        target = torch.randn(6, 5, generator=generator).softmax(1).to(soft)
    return input.to(dtype), target


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("soft", [None, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_same_as_torch(dtype, soft, reduction, read):
    input, target = drawn(dtype, soft)
    wide = input.double().requires_grad_()
    wanted_target = target if soft is None else target.double()
    wanted = F.cross_entropy(wide, wanted_target, reduction=reduction)
    inflow = torch.full_like(wanted, 0.75)
    wanted.backward(inflow)
    leaf = on_device(input).requires_grad_()
    loss = CrossEntropyLoss(reduction=reduction)(leaf, on_device(target))
    assert loss.dtype == dtype
    loss.backward(on_device(inflow.to(dtype)))
    near = {"rtol": DTYPES[dtype], "atol": DTYPES[dtype]}
    torch.testing.assert_close(loss.detach().double(), on_device(wanted), **near)
    torch.testing.assert_close(leaf.grad.double(), on_device(wide.grad), **near)
    is_rounded = soft is not None and soft != dtype
    expected = torch.float32 if dtype == torch.bfloat16 and is_rounded else dtype
    assert [came for came, _ in read] == [expected]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_second_derivative(dtype):
    input, target = drawn(dtype, None)
    found = []
    for module, x, y in (
        (CrossEntropyLoss(), on_device(input), on_device(target)),
        (torch.nn.CrossEntropyLoss(), input.double(), target),
    ):
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(module(leaf, y), leaf, create_graph=True)
        (product,) = torch.autograd.grad((slope * slope.detach()).sum(), leaf)
        found.append(product.double().as_subclass(torch.Tensor))
    near = {"rtol": DTYPES[dtype], "atol": DTYPES[dtype]}
    torch.testing.assert_close(*found, **near)
