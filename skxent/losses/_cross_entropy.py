"""Softmax cross-entropy: the value, its gradient, its Hessian-vector product.

Conventions
-----------
C classes, N samples. ``input`` is (C,), (N, C) or (N, C, d1, .., dK), or has its
classes on ``class_axis``. Results come back in its dtype. Values are in nats.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skxent.losses._call import (
    cast,
    deliver,
    gradient_buffer,
    prepare,
    value,
    value_and_grad,
    write_gradient,
)
from skxent.losses._device import is_on_device, on_device
from skxent.losses._plain import (
    plain_loss,
    plain_value_and_grad,
    rows_loss,
    rows_value_and_grad,
)
from skxent.losses._targets import mass_and_weight

__all__ = [
    "cross_entropy",
    "cross_entropy_grad",
    "cross_entropy_hvp",
    "cross_entropy_value_and_grad",
]


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    from_logits: bool = True,
    class_axis: int | None = None,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Cross-entropy of class scores against class indices or probabilities.

    For a row of logits ``z`` and the target distribution ``q`` (one-hot for an index),
    with class weights ``w``, smoothing ``e`` and C classes, the loss is
    ``sum_k t_k (log sum_j exp(z_j) - z_k)`` with
    ``t_k = w_k ((1 - e) q_k + e / C)``, in nats.

    Parameters
    ----------
    input : array-like of shape (C,), (N, C) or (N, C, d1, .., dK), or list of arrays
        Logits, or probabilities with ``from_logits=False``. float16, float32 or
        float64; integers are read as float64. A list of N arrays whose shapes differ
        on other axes than the classes' stands for what padding them with ignored rows
        would give: its entries are those of axis 0, and `target` is a list as well.
    target : array-like of the shape of `input` without its class axis, or of `input`
        Class indices in [0, C) of any integer dtype, or, with a float dtype,
        probabilities. Probabilities are neither checked nor normalised.
    weight : array-like of shape (C,), default=None
        Weight of each class; None stands for ones.
    ignore_index : int, default=-100
        Rows with this class index add nothing, whatever their logits are. Only for
        class indices.
    reduction : {"none", "sum", "mean", "sample"}, default="mean"
        ``"mean"`` divides by ``sum(w[y] s)`` over the kept rows for class indices y
        with sample weights s, and by ``sum(s)`` for probabilities. ``"sample"`` takes
        such a mean in each entry of the first axis that does not hold the classes.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over all classes.
    from_logits : bool, default=True
        Whether `input` holds logits. Probabilities are neither clipped nor normalised:
        0 where the target has mass gives inf.
    class_axis : int, default=None
        The axis of `input` that holds the classes. None stands for axis 1, or 0 if
        there is one axis alone; -1 is that of images whose channels come last.
    sample_weight : array-like of shape (N,) or of class indices, default=None
        Weight of each sample, or of each row. A row of weight 0 counts as ignored.

    Returns
    -------
    loss : numpy scalar or array
        In the dtype of `input`; of the shape of class indices for
        ``reduction="none"`` (a list if `input` is one), (N,) for ``"sample"``, else a
        scalar. Sums are accumulated in float64.

    Raises
    ------
    TypeError
        If an array is masked, sparse, complex or of objects, class indices are no
        integers, probabilities are integers, or an option is of another type.
    ValueError
        If shapes do not fit, a class index lies outside [0, C), `ignore_index` is not
        negative beside probabilities, `label_smoothing` lies outside [0, 1], or
        `reduction` is unknown.

    See Also
    --------
    cross_entropy_grad : The gradient with respect to `input`.
    cross_entropy_value_and_grad : Both from one pass over the data.
    skxent.metrics.cross_entropy_loss : The metric: labels first, any labels.

    Notes
    -----
    The options and their order are those of ``torch.nn.functional.cross_entropy``;
    label smoothing is that of Szegedy et al., "Rethinking the Inception Architecture
    for Computer Vision", 2016, section 7. The mean over no rows, or over rows whose
    weights sum to 0, is nan. A row with a logit of nan or +inf, or of -inf only, has a
    loss of nan. A class without weight or target adds 0 even at a logit of -inf, where
    torch gives nan. Of probabilities those of such classes are not looked at, even nan.

    Memory beside the arguments and the result: some 10 KB, 8 bytes per row where rows
    are weighted by class or the target is not int64, and 41 bytes per row for
    ``"sample"``. Arrays of another dtype than the
    kernels' (integer logits, targets that are not int64 or of the dtype of `input`) are
    copied, and so are those with gaps between their entries. C order with any
    `class_axis`, and Fortran order of two axes, are read in place. float16 logits are
    made float32 a chunk at a time, probabilities and planes of more than 256 classes as
    a whole. With class weights or sums of weights below 2**-100 or above 2**100, for
    which float32 leaves no room, all is copied to float64.

    Examples
    --------
    >>> from skxent.losses import cross_entropy
    >>> logits = [[7.4, 2.8, -0.6, 6.3], [-1.9, 4.2, 3.9, 5.1], [9.3, -5.3, 7.2, -8.4]]
    >>> print(f"{cross_entropy(logits, [3, 0, 2]):.4f}")
    3.7154
    >>> cross_entropy(logits, [3, 0, 2], reduction="none").round(4)
    array([1.3951, 7.5357, 2.2155])
    """
    # the objects themselves: to compare them all with a loop takes 0.2 us more
    if (
        weight is sample_weight is class_axis is None
        and ignore_index is IGNORE_INDEX
        and reduction is MEAN
        and label_smoothing is NO_SMOOTHING
        and from_logits is True
    ):
        loss = plain_loss(input, target)
        if loss is not None:
            return loss
    options = (
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        from_logits,
        class_axis,
        sample_weight,
    )
    loss = rows_loss(input, target, *options)
    if loss is not None:
        return loss
    if is_on_device(input):
        return on_device("_device_plain").value(input, target, *options)
    return value(prepare(input, target, *options))


_, IGNORE_INDEX, MEAN, NO_SMOOTHING, *_ = (cross_entropy.__kwdefaults__ or {}).values()


def cross_entropy_value_and_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    from_logits: bool = True,
    class_axis: int | None = None,
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> tuple[Any, Any]:
    """Cross-entropy and its gradient, from one pass over the data.

    Parameters
    ----------
    input, target, weight, ignore_index, reduction : see `cross_entropy`
        As for :func:`cross_entropy`.
    label_smoothing, from_logits, class_axis, sample_weight : see `cross_entropy`
        As for :func:`cross_entropy`.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.
        After an error its content is undefined.

    Returns
    -------
    loss : numpy scalar or array
        What :func:`cross_entropy` returns.
    gradient : ndarray of the shape and dtype of `input`, or list of them
        What :func:`cross_entropy_grad` returns.

    Raises
    ------
    TypeError
        As :func:`cross_entropy`, and if `out` is not an array.
    ValueError
        As :func:`cross_entropy`, and if `out` does not fit or is read-only.

    See Also
    --------
    cross_entropy : The value alone.

    Examples
    --------
    >>> from skxent.losses import cross_entropy_value_and_grad
    >>> loss, gradient = cross_entropy_value_and_grad([0.0, 1.0, 2.0], 2)
    >>> print(f"{loss:.4f}")
    0.4076
    >>> gradient.round(4)
    array([ 0.09  ,  0.2447, -0.3348])
    """
    # the objects themselves: to compare them all with a loop takes 0.2 us more
    if (
        weight is sample_weight is class_axis is None
        and ignore_index is IGNORE_INDEX
        and reduction is MEAN
        and label_smoothing is NO_SMOOTHING
        and from_logits is True
    ):
        both = plain_value_and_grad(input, target, out)
        if both is not None:
            return both
    options = (
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        from_logits,
        class_axis,
        sample_weight,
    )
    both = rows_value_and_grad(input, target, out, *options)
    if both is not None:
        return both
    if is_on_device(input):
        device = on_device("_device_plain")
        loss, gradient = device.value_and_grad(input, target, out, *options)
        return loss, gradient
    return value_and_grad(prepare(input, target, *options), out)


def cross_entropy_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    from_logits: bool = True,
    class_axis: int | None = None,
    sample_weight: ArrayLike | None = None,
    grad_output: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any:
    """Gradient of the cross-entropy with respect to its input.

    For logits it is ``a p - t`` in each row, with ``p = softmax(z)`` and the mass
    ``a = sum_k t_k``; for probabilities it is ``-t / p``.

    Parameters
    ----------
    input, target, weight, ignore_index, reduction : see `cross_entropy`
        As for :func:`cross_entropy`. With ``reduction="none"`` the gradient is that of
        the sum.
    label_smoothing, from_logits, class_axis, sample_weight : see `cross_entropy`
        As for :func:`cross_entropy`.
    grad_output : array-like of the shape of the loss, default=None
        Gradient of something else with respect to the loss, which the result is
        multiplied with (the chain rule); None stands for ones. A row with 0 counts as
        ignored.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.

    Returns
    -------
    gradient : ndarray of the shape and dtype of `input`, or list of them
        Zeros in ignored rows.

    Raises
    ------
    TypeError
        As :func:`cross_entropy`, and if `out` is not an array.
    ValueError
        As :func:`cross_entropy`, and if `out` or `grad_output` does not fit.

    See Also
    --------
    cross_entropy_value_and_grad : The value as well, for the same price.

    Examples
    --------
    >>> from skxent.losses import cross_entropy_grad
    >>> cross_entropy_grad([1.0, 1.0, 1.0], [0.6, 0.3, 0.1]).round(4)
    array([-0.2667,  0.0333,  0.2333])
    """
    options = (
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        from_logits,
        class_axis,
        sample_weight,
    )
    if grad_output is None:
        both = rows_value_and_grad(input, target, out, *options)
        if both is not None:
            return both[1]
    if is_on_device(input):
        device = on_device("_device_plain")
        return device.grad(input, target, grad_output, out, *options)
    call = prepare(input, target, *options)
    if grad_output is not None:
        call = call.weighted_by(
            call.layout.read_grad_output(grad_output, call.reduction)
        )
    gradient = gradient_buffer(call, out)
    write_gradient(call.for_gradient(), gradient)
    return deliver(call, gradient, out)


def cross_entropy_hvp(
    input: ArrayLike,
    target: ArrayLike,
    vector: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    class_axis: int | None = None,
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any:
    """Product of the Hessian of the cross-entropy of logits with a vector.

    In each row it is ``a p (v - <p, v>)`` with ``p = softmax(z)`` and the mass
    ``a = sum_k t_k``: the Hessian is ``a (diag(p) - p p^T)``, positive semi-definite
    for non-negative targets.

    Parameters
    ----------
    input, target : see `cross_entropy`
        As for :func:`cross_entropy`; `input` holds logits.
    vector : array-like of the shape of `input`
        What the Hessian is multiplied with.
    weight, ignore_index, reduction : see `cross_entropy`
        As for :func:`cross_entropy`. With ``reduction="none"`` the Hessian is that of
        the sum.
    label_smoothing, class_axis, sample_weight : see `cross_entropy`
        As for :func:`cross_entropy`.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the product.

    Returns
    -------
    product : ndarray of the shape and dtype of `input`, or list of them
        Zeros in ignored rows.

    Raises
    ------
    TypeError
        As :func:`cross_entropy`, and if `out` is not an array.
    ValueError
        As :func:`cross_entropy`, and if `vector` or `out` does not fit.

    See Also
    --------
    cross_entropy_grad : The gradient.

    Notes
    -----
    N. N. Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order Gradient
    Descent", Neural Computation 14, 2002, section 3.

    Memory beside the arguments and the result: 16 bytes per row; for float16 another 12
    bytes per element, as all is made float32.

    Examples
    --------
    >>> from skxent.losses import cross_entropy_hvp
    >>> cross_entropy_hvp([0.0, 0.0], 1, [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    options = (
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        True,
        class_axis,
        sample_weight,
    )
    if is_on_device(input):
        call = on_device().prepare_on_device(input, target, *options)
        return call.curvature(vector, out)
    call = prepare(input, target, *options).widened()
    v = call.layout.read(vector, "vector")
    product = gradient_buffer(call, out)
    if call.logits.size:
        if np.may_share_memory(product, v):
            v = v.copy()
        call.backend.softmax_curvature(
            call.logits,
            *mass_and_weight(call.for_gradient().targets),
            cast(v, call.logits.dtype),
            call.scale,
            product,
        )
    return deliver(call, product, out)
