"""What the module refuses: a message that names the argument."""

import re

import numpy as np
import pytest
import torch

from skxent.torch import CrossEntropyLoss

Z = torch.zeros(5, 4)
Y = torch.zeros(5, dtype=torch.int64)
Q = torch.full((5, 4), 0.25)

# The error, the argument it names, and the options.
OPTIONS = [
    (TypeError, "weight", {"weight": [1.0, 2.0]}),
    (TypeError, "weight", {"weight": np.ones(4)}),
    (ValueError, "weight", {"weight": torch.ones(2, 2)}),
    (ValueError, "weight", {"weight": torch.ones(4, requires_grad=True)}),
    (ValueError, "reduction", {"reduction": "average"}),
    (ValueError, "reduction", {"reduction": "sample"}),
    (ValueError, "reduction", {"reduction": None}),
    (TypeError, "ignore_index", {"ignore_index": 1.0}),
    (TypeError, "label_smoothing", {"label_smoothing": "0.1"}),
    (ValueError, "label_smoothing", {"label_smoothing": 1.5}),
    (TypeError, "class_axis", {"class_axis": 1.0}),
]
# The error, the argument it names, what is said of it, and the call.
CALLS = [
    (TypeError, "input", "ndarray", np.zeros((5, 4)), Y, {}),
    (TypeError, "input", "int64", Z.long(), Y, {}),
    (TypeError, "input", "complex64", Z.to(torch.complex64), Y, {}),
    (ValueError, "input", "dense", Z.to_sparse(), Y, {}),
    (ValueError, "input", "axis", torch.tensor(1.0), torch.tensor(0), {}),
    (TypeError, "target", "list", Z, [0] * 5, {}),
    (TypeError, "target", "int32", Z, Y.int(), {}),
    (TypeError, "target", "bool", Z, Y.bool(), {}),
    (TypeError, "target", "float32", Z, Y.float(), {}),
    (TypeError, "target", "int64", Z, Q.long(), {}),
    (ValueError, "target", "dense", Z, Q.to_sparse(), {}),
    (ValueError, "target", "on the device", Z, Y.to("meta"), {}),
    (ValueError, "target", "shape", Z, Y[:-1], {}),
    (ValueError, "target", "4 at row 0", Z, Y + 4, {}),
    (ValueError, "ignore_index", "negative", Z, Q, {"ignore_index": 1}),
    (ValueError, "weight", "shape", Z, Y, {"weight": torch.ones(3)}),
    (
        ValueError,
        "weight",
        "on the device",
        Z,
        Y,
        {"weight": torch.ones(4, device="meta")},
    ),
    (ValueError, "class_axis", "lie in", Z, Y, {"class_axis": 2}),
]


@pytest.mark.parametrize(("error", "name", "options"), OPTIONS)
def test_constructor_refuses(error, name, options):
    with pytest.raises(error, match=f"^{name} must"):
        CrossEntropyLoss(**options)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize(("error", "name", "said", "input", "target", "options"), CALLS)
def test_call_refuses(error, name, said, input, target, options, requires_grad):
    can = isinstance(input, torch.Tensor) and input.is_floating_point()
    if requires_grad and can:
        input = input.detach().clone().requires_grad_()
    with pytest.raises(error, match=f"^{name} .*{re.escape(said)}"):
        CrossEntropyLoss(**options)(input, target)


def test_assigned_options_are_checked():
    criterion = CrossEntropyLoss()
    criterion.reduction = "sample"
    with pytest.raises(ValueError, match="reduction must"):
        criterion(Z, Y)
    criterion = CrossEntropyLoss(torch.ones(4))
    criterion.weight.requires_grad_()
    with pytest.raises(ValueError, match="weight must not require"):
        criterion(Z, Y)
    with torch.no_grad():
        criterion(Z, Y)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # of torch's own making
def test_tangents_are_refused():
    z, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    for module in (CrossEntropyLoss(), CrossEntropyLoss(reduction="none")):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(z, torch.randn(5, 3))
            with pytest.raises(NotImplementedError, match=r"jvp|forward"):
                module(dual, target)


def test_tensors_of_functorch_are_refused():
    loss = CrossEntropyLoss(reduction="none")
    z = Z.double().requires_grad_()
    with pytest.raises(RuntimeError, match=r"takes no tensors of torch\.func"):
        torch.func.vmap(loss)(torch.stack([Z, Z]), torch.stack([Y, Y]))
    with pytest.raises(RuntimeError, match=r"takes no tensors of torch\.func"):
        torch.autograd.grad(loss(z, Y), z, torch.eye(5).double(), is_grads_batched=True)
    with pytest.raises(RuntimeError, match=r"takes no tensors of torch\.func"):
        torch.autograd.functional.hessian(
            lambda z: CrossEntropyLoss()(z, Y), z, vectorize=True
        )


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_tracing_is_refused():
    with pytest.raises(RuntimeError, match="cannot be traced"):
        torch.jit.trace(CrossEntropyLoss(), (Z, Y))
