"""``CrossEntropyLoss``: ``torch.nn.CrossEntropyLoss`` on the package's kernels.

Conventions
-----------
C classes, N samples. ``input`` is (C,), (N, C) or (N, C, d1, .., dK), or has its
classes on ``class_axis``. Results are tensors in its dtype, on its device. Values are
in nats.
"""

from typing import Any

import torch
from torch import Tensor
from torch.jit._trace import is_tracing

from skxent.losses import _validation as check
from skxent.losses._criterion import legacy_reduction
from skxent.losses._layout import check_class_axis
from skxent.torch._autograd import HALVES, Options, loss

__all__ = ["CrossEntropyLoss", "checked_loss"]

REDUCTIONS = ("none", "sum", "mean")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INDICES = (torch.int64, torch.uint8)


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """Drop-in for ``torch.nn.CrossEntropyLoss``, with its gradient from one pass.

    It is a subclass, so that code which asks for torch's finds it: `weight` is a
    buffer, and ``.to()``, ``state_dict()`` and ``repr`` are torch's.

    Parameters
    ----------
    weight : Tensor of shape (C,), default=None
        Weight of each class; None stands for ones. No gradient flows into it.
    size_average : bool, default=None
        Deprecated by torch, see `reduce`.
    ignore_index : int, default=-100
        Rows with this class index add nothing. Only for class indices.
    reduce : bool, default=None
        Deprecated by torch. If it or `size_average` is given, the two take the place of
        `reduction`: ``"none"`` for ``reduce=False``, else ``"sum"`` for
        ``size_average=False``, else ``"mean"``.
    reduction : {"none", "sum", "mean"}, default="mean"
        ``"mean"`` divides by the sum of the weights of the targets for class indices,
        and by the number of rows for probabilities.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over all classes.
    class_axis : int, default=None
        The axis of the input that holds the classes; None stands for axis 1, or 0 if
        there is one axis alone. An addition to torch's arguments.

    Raises
    ------
    TypeError
        If an option is of another type.
    ValueError
        If an option lies out of its range.

    Warns
    -----
    FutureWarning
        If `size_average` or `reduce` is given.

    See Also
    --------
    skxent.losses.CrossEntropyLoss : The same for arrays, without torch.
    skxent.losses.cross_entropy : The function, with the formula.

    Notes
    -----
    Gradients flow into the input and into probability targets, and both can be
    differentiated once more, with ``create_graph=True``. The second derivative with
    respect to the input is the Hessian-vector product of
    :func:`skxent.losses.cross_entropy_hvp`; a third one raises an error.

    Tensors on the CPU are read in place, as numpy views. The forward pass computes the
    gradient as well, if the input requires one, and the first backward pass multiplies
    it in place; a second one (``retain_graph=True``) computes it anew, and so does one
    of float16 with an incoming gradient other than 1, which would be rounded twice.
    Until then the input must not be changed in place.
    bfloat16, which numpy lacks, is computed in float32 from a copy and rounded at the
    end, on the CPU and beside probabilities of another dtype. Under ``torch.autocast``
    half precision is made float32, as torch does.

    ``torch.compile`` leaves the loss out of its graphs and runs it as it is. Both
    passes wait for a device, so that no CUDA graph can capture them.
    ``torch.func`` and forward-mode derivatives are not supported.

    The formulas of the derivatives are those of C. M. Bishop, "Pattern Recognition and
    Machine Learning", 2006, section 4.3.4, for targets that need not sum to 1.

    Examples
    --------
    >>> import torch
    >>> from skxent.torch import CrossEntropyLoss
    >>> logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], requires_grad=True)
    >>> criterion = CrossEntropyLoss(label_smoothing=0.1)
    >>> loss = criterion(logits, torch.tensor([0, 1]))
    >>> print(f"{loss.item():.4f}")
    0.4013
    >>> loss.backward()
    >>> print(logits.grad.numpy().round(4)[0])
    [-0.134   0.1057  0.0283]
    """

    class_axis: int | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        class_axis: int | None = None,
    ) -> None:
        reduction = legacy_reduction(size_average, reduce, reduction)
        check.check_option(reduction, "reduction", REDUCTIONS)
        check_weight(weight)
        super().__init__(
            weight,
            ignore_index=check.check_ignore_index(ignore_index),
            reduction=reduction,
            label_smoothing=check.check_label_smoothing(label_smoothing),
        )
        self.class_axis = check_class_axis(class_axis)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input : Tensor of shape (C,), (N, C) or (N, C, d1, .., dK)
            Logits in float16, bfloat16, float32 or float64.
        target : Tensor of the shape of `input` without its class axis, or of `input`
            Class indices in [0, C), int64 or uint8, or, with a float dtype,
            probabilities, which are neither checked nor normalised.

        Returns
        -------
        loss : Tensor
            In the dtype and on the device of `input`; of the shape of class indices
            for ``reduction="none"``, else of shape (). Sums are accumulated in float64.

        Raises
        ------
        TypeError
            If an argument is no tensor or of another dtype.
        ValueError
            If a tensor is sparse or on another device, shapes do not fit, a class index
            lies outside [0, C), `ignore_index` is not negative beside probabilities, or
            `weight` requires a gradient.
        """
        if torch.compiler.is_compiling():
            from skxent.torch._untraced import checked_loss as untraced_loss

            result: Tensor = untraced_loss(self, input, target)
            return result
        return checked_loss(self, input, target)


def checked_loss(module: CrossEntropyLoss, input: Tensor, target: Tensor) -> Tensor:
    """Return the loss of a module, whose weight and reduction may have been set."""
    check.check_option(module.reduction, "reduction", REDUCTIONS)
    check_input(input)
    check_target(target, input)
    check_weight(module.weight, input)
    if input.dtype in HALVES and torch.is_autocast_enabled(input.device.type):
        input = input.float()
    options = Options(
        module.ignore_index, module.reduction, module.label_smoothing, module.class_axis
    )
    return loss(input, target, module.weight, options)


def check_tensor(value: Any, name: str) -> None:
    """Raise unless the value is a dense tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a torch tensor; got a {type(value).__name__}. Convert it "
            "with torch.as_tensor, or use skxent.losses, which takes arrays."
        )
    if value.layout is not torch.strided:
        raise ValueError(
            f"{name} must be dense; got a tensor of layout {value.layout}. Convert it "
            "with .to_dense()."
        )


def check_input(input: Any) -> None:
    """Raise unless the input is a tensor of floats that the losses compute on."""
    check_tensor(input, "input")
    if input.dtype not in FLOATS:
        raise TypeError(
            "input must have dtype float16, bfloat16, float32 or float64; got "
            f"{input.dtype}. Convert it with .float()."
        )
    if is_tracing():
        raise RuntimeError(
            "The cross-entropy of skxent.torch cannot be traced: its loss would become "
            "a constant. Trace the model without it, or take nn.CrossEntropyLoss."
        )


def check_device(value: Tensor, name: str, input: Tensor) -> None:
    """Raise unless a tensor is where the input is."""
    if value.device != input.device:
        raise ValueError(
            f"{name} must be on the device of input, {input.device}; got "
            f"{value.device}. Move it with .to({str(input.device)!r})."
        )


def check_target(target: Any, input: Tensor) -> None:
    """Raise unless torch takes tensors of the target's dtype, where they are."""
    check_tensor(target, "target")
    if target.dtype not in INDICES and target.dtype not in FLOATS:
        raise TypeError(
            "target must hold class indices of dtype int64 or uint8, or probabilities "
            f"in a float dtype; got {target.dtype}. Convert it with .long() or "
            ".float()."
        )
    check_device(target, "target", input)


def check_weight(weight: Any, input: Tensor | None = None) -> None:
    """Raise unless the weight is a vector, where the input is if there is one."""
    if weight is None:
        return
    check_tensor(weight, "weight")
    if weight.ndim != 1:
        raise ValueError(
            "weight must have shape (C,), one entry per class; got shape "
            f"{tuple(weight.shape)}."
        )
    if weight.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "weight must not require a gradient, which the loss does not compute; got "
            "a tensor that requires one. Pass weight.detach()."
        )
    if input is not None:
        check_device(weight, "weight", input)
