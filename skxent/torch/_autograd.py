"""The cross-entropy as nodes of torch's graph.

Conventions
-----------
``input`` holds logits with its C classes on one axis, ``axis``; a row runs along it.
``grad_output``, c in the formulas, has the shape of the loss: one number, or with
``reduction="none"`` one for each row. With the mass a and the target t of a row,
``p = softmax(z)`` and ``lse = log sum_k exp(z_k)``, and s the factor of the reduction:

- gradient with respect to z: ``c s (a p - t)``, by :func:`cross_entropy_grad`;
- with respect to probabilities q: ``c s w (1 - e) (lse - z)``, in torch's operations,
  so that torch differentiates it again;
- of the first with respect to z, times v: ``c s a (p v - p <p, v>)``, by
  :func:`cross_entropy_hvp`; with respect to q: ``c s w (1 - e) (<p, v> - v)``.

CPU tensors are computed on as numpy views of their memory. Tensors of other devices are
handed to the losses as they are.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor, is_legacy_batchedtensor

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from skxent.losses._layout import layout_of

__all__ = ["Options", "loss"]

HALVES = (torch.float16, torch.bfloat16)


class Options(NamedTuple):
    """The options of a call that are no tensors."""

    ignore_index: int = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0
    class_axis: int | None = None

    def axis(self, input: Tensor) -> int:
        """Return the axis of the input that holds the classes."""
        return layout_of(tuple(input.shape), self.class_axis).axis

    def keywords(self, weight: Tensor | None) -> dict[str, Any]:
        """Return the options for a function of the losses.

        Those that have their defaults are left out, which opens the short way that
        `skxent.losses` has for small calls.
        """
        if self == DEFAULTS and weight is None:
            return {}
        changed = {
            name: value
            for name, value in self._asdict().items()
            if value != self._field_defaults[name]
        }
        return changed if weight is None else changed | {"weight": as_array(weight)}


DEFAULTS = Options()


def is_on_host(tensor: Tensor) -> bool:
    """Return whether numpy can read the tensor."""
    return tensor.is_cpu


def as_array(tensor: Tensor, *, in_float32: bool = True) -> Any:
    """Return what the losses read: a numpy view of a CPU tensor, else the tensor.

    One of bfloat16 in float32, which numpy needs; kernels of other devices do not.
    """
    refuse_batched(tensor)
    here = is_on_host(tensor)
    if tensor.dtype == torch.bfloat16 and (here or in_float32):
        tensor = tensor.float()
    # `force` detaches, resolves conjugate and negative views and copies nothing else
    return tensor.numpy(force=True) if here else tensor.detach()


def as_arrays(input: Tensor, target: Tensor) -> tuple[Any, Any]:
    """Return what the losses read of an input and its target.

    On a device probabilities beside bfloat16 would be rounded to it.
    """
    rounds = target.is_floating_point() and target.dtype != input.dtype
    return as_array(input, in_float32=rounds), as_array(target, in_float32=rounds)


def refuse_batched(tensor: Tensor) -> None:
    """Raise for what stands for many tensors, whose numbers cannot be read."""
    if is_functorch_wrapped_tensor(tensor) or is_legacy_batchedtensor(tensor):
        raise RuntimeError(
            "The cross-entropy of skxent.torch takes no tensors of torch.func, such as "
            "those of vmap, is_grads_batched=True or vectorize=True. Loop over the "
            "batch, or take torch.nn.functional.cross_entropy."
        )


def as_tensor(result: Any, like: Tensor) -> Tensor:
    """Return a result of the losses as a tensor with dtype and device of another."""
    if isinstance(result, float):
        # on a device, without a copy that waits; what is too large becomes inf
        return like.new_full((), result, dtype=torch.float64).to(like.dtype)
    if not isinstance(result, Tensor):
        result = torch.from_numpy(np.asarray(result))
    converted: Tensor = result.to(like)
    return converted


def loss(
    input: Tensor, target: Tensor, weight: Tensor | None, options: Options
) -> Tensor:
    """Return the loss, as a node of the graph if a gradient can be asked for."""
    backward = torch.is_grad_enabled() and (input.requires_grad or target.requires_grad)
    # of tangents, which it has none of, a node of the graph says so
    if backward or torch.autograd.forward_ad._current_level >= 0:
        result: Tensor = CrossEntropy.apply(input, target, weight, options)
        return result
    value = cross_entropy(*as_arrays(input, target), **options.keywords(weight))
    return as_tensor(value, input)


def gradient(
    grad_output: Tensor | None,
    options: Options,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
) -> Tensor:
    """Return the gradient with respect to the input; None stands for ones."""
    result = cross_entropy_grad(
        *as_arrays(input, target),
        grad_output=None if grad_output is None else as_array(grad_output),
        **options.keywords(weight),
    )
    return as_tensor(result, input)


def per_row(values: Tensor, axis: int) -> Tensor:
    """Return one number, or one for each row, so that it multiplies the rows."""
    return values.unsqueeze(axis) if values.ndim else values


def rescaled(kept: Tensor, grad_output: Tensor, options: Options) -> Tensor | None:
    """Return a gradient multiplied in place, None where that is not the right one."""
    if grad_output.ndim:
        neutral = bool((grad_output == 1).all())
        finite = bool(grad_output.isfinite().all())
    else:  # a number of Python's is compared in a tenth of the time
        factor = grad_output.item()
        neutral, finite = factor == 1, math.isfinite(factor)
    if neutral:
        return kept
    # A gradient in float16 has lost what a loss scale would have saved. Rows that are
    # ignored have a gradient of 0, and 0 times inf is nan. Both are right if the factor
    # is known to the kernels.
    if kept.dtype == torch.float16 or not finite:
        return None
    return kept.mul_(per_row(grad_output, options.axis(kept)))


def compute_dtype(input: Tensor) -> torch.dtype:
    """Return the dtype of intermediate results in torch's operations."""
    return torch.float32 if input.dtype in HALVES else input.dtype


def slope_of_target(input: Tensor, weight: Tensor | None, options: Options) -> Tensor:
    """Return ``s w (1 - e)``, one for each class or for all of them."""
    axis = options.axis(input)
    factor = 1.0 - options.label_smoothing
    if options.reduction == "mean":
        factor /= max(1, input.numel() // max(1, input.shape[axis]))
    if weight is None:
        weight = torch.ones(1, device=input.device)
    shape = [1] * input.ndim
    shape[axis] = -1
    return factor * weight.to(compute_dtype(input)).reshape(shape)


def target_gradient(
    grad_output: Tensor,
    options: Options,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
) -> Tensor:
    """Return the gradient with respect to probabilities, a graph of its own."""
    axis = options.axis(input)
    slope = slope_of_target(input, weight, options)
    excess = -torch.log_softmax(input, axis, dtype=compute_dtype(input))  # lse - z
    # a class that does not count adds 0 even at a logit of -inf
    excess = excess.masked_fill(slope == 0, 0.0)
    return (per_row(grad_output, axis) * slope * excess).to(target.dtype)


class CrossEntropy(torch.autograd.Function):
    """The loss. The gradient of the same pass is kept for the first backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None,
        options: Options,
    ) -> Tensor:
        """Return the loss."""
        arrays = as_arrays(input, target)
        # Not among the saved tensors, since it is given away: multiplied in place and
        # returned, it costs no second array. Whoever asks again has it computed anew.
        ctx.kept = {}
        if ctx.needs_input_grad[0]:
            value, slope = cross_entropy_value_and_grad(
                *arrays, **options.keywords(weight)
            )
            ctx.kept["gradient"] = as_tensor(slope, input)
        else:
            value = cross_entropy(*arrays, **options.keywords(weight))
        ctx.options = options
        ctx.save_for_backward(input, target, weight)
        return as_tensor(value, input)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients with respect to the input and to probabilities."""
        refuse_batched(grad_output)
        d_input = d_target = None
        for_input, for_target, *_ = ctx.needs_input_grad
        options = ctx.options
        if for_input and torch.is_grad_enabled():  # to be differentiated again
            d_input = Gradient.apply(grad_output, *ctx.saved_tensors, options)
        elif for_input:
            kept = ctx.kept.pop("gradient", None)  # at once, for threads
            if kept is not None:
                d_input = rescaled(kept, grad_output, options)
            # The saved tensors are looked at here alone: they may have changed where
            # the gradient is known. Else torch raises, by their version.
            if d_input is None:
                d_input = gradient(grad_output, options, *ctx.saved_tensors)
        if for_target:
            d_target = target_gradient(grad_output, options, *ctx.saved_tensors)
        return d_input, d_target, None, None


class Gradient(torch.autograd.Function):
    """The gradient with respect to the input, for those who differentiate it."""

    @staticmethod
    def forward(
        ctx: Any,
        grad_output: Tensor,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None,
        options: Options,
    ) -> Tensor:
        """Return the gradient."""
        ctx.options = options
        ctx.save_for_backward(grad_output, input, target, weight)
        return gradient(grad_output, options, input, target, weight)

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> tuple[Tensor | None, ...]:
        """Return what the gradient's derivatives make of a vector."""
        grad_output, input, target, weight = ctx.saved_tensors
        inputs = grad_output, input, target
        with torch.no_grad():
            results = second_derivatives(
                vector, *inputs, weight, ctx.options, ctx.needs_input_grad
            )
        if torch.is_grad_enabled():  # to be differentiated again
            results = [
                None if each is None else Last.apply(each, vector, *inputs)
                for each in results
            ]
        return *results, None, None


def second_derivatives(
    vector: Tensor,
    grad_output: Tensor,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    options: Options,
    needed: tuple[bool, ...],
) -> list[Tensor | None]:
    """Return a vector times the gradient's derivatives, None for those not needed.

    With respect to what flows into the loss, the input and the target.
    """
    axis = options.axis(input)
    vector = vector.to(compute_dtype(input))
    d_output = d_input = d_target = None
    for_output, for_input, for_target, *_ = needed
    if for_output:
        product = vector * gradient(None, options, input, target, weight)
        over = axis if options.reduction == "none" else None
        d_output = product.sum(over).to(grad_output.dtype)
    if for_input:
        # a row of the Hessian is multiplied with c if the vector is
        result = cross_entropy_hvp(
            as_array(input),
            as_array(target),
            as_array(per_row(grad_output, axis) * vector),
            **options.keywords(weight),
        )
        d_input = as_tensor(result, input)
    if for_target:
        p = torch.softmax(input, axis, dtype=vector.dtype)
        change = (p * vector).sum(axis, keepdim=True) - vector
        change = change * slope_of_target(input, weight, options)
        d_target = (per_row(grad_output, axis) * change).to(target.dtype)
    return [d_output, d_input, d_target]


class Last(torch.autograd.Function):
    """A second derivative as it is; its own is refused.

    By a node that is connected with all it depends on: torch leaves out the error of
    `once_differentiable` where it is asked for the gradients of given tensors.
    """

    @staticmethod
    def forward(ctx: Any, result: Tensor, *of: Tensor) -> Tensor:
        """Return the derivative."""
        ctx.mark_dirty(result)
        return result

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Raise."""
        raise RuntimeError(
            "The cross-entropy of skxent.torch can be differentiated twice, not three "
            "times. Leave create_graph out of the second call, take "
            "torch.autograd.functional.vhp in place of hvp, or "
            "torch.nn.functional.cross_entropy."
        )
