"""Negative log-likelihood of log-probabilities: the value and its gradient.

Conventions
-----------
C classes, N samples. ``input`` is (C,), (N, C) or (N, C, d1, .., dK), or has its
classes on ``class_axis``. Results come back in its dtype. Values are in nats.
"""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from skxent.losses._call import (
    Call,
    deliver,
    gradient_buffer,
    prepare,
    value,
    value_and_grad,
    write_gradient,
)
from skxent.losses._device import is_on_device, on_device
from skxent.losses._plain import rows_nll_loss
from skxent.losses._ragged import read

__all__ = ["nll_loss", "nll_loss_grad", "nll_loss_value_and_grad"]

_NO_INDICES = (
    "target must hold class indices in an integer dtype; got {}. Pass probabilities to "
    "cross_entropy, with exp(input) as its input and from_logits=False."
)


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    class_axis: int | None = None,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Negative log-likelihood of log-probabilities against class indices.

    For a row of log-probabilities ``x`` and the class ``y``, with class weights ``w``,
    the loss is ``-w_y x_y``, in nats.

    Parameters
    ----------
    input : array-like of shape (C,), (N, C) or (N, C, d1, .., dK)
        Log-probabilities, which are neither checked nor normalised. float16, float32
        or float64; integers are read as float64.
    target : array-like of the shape of `input` without its class axis
        Class indices in [0, C) of any integer dtype.
    weight : array-like of shape (C,), default=None
        Weight of each class; None stands for ones.
    ignore_index : int, default=-100
        Rows with this class index add nothing, whatever they hold.
    reduction : {"none", "sum", "mean", "sample"}, default="mean"
        ``"mean"`` divides by ``sum(w[y] s)`` over the kept rows with sample weights s.
        ``"sample"`` takes such a mean in each entry of the first axis that does not
        hold the classes.
    class_axis : int, default=None
        The axis of `input` that holds the classes. None stands for axis 1, or 0 if
        there is one axis alone; -1 is that of images whose channels come last.
    sample_weight : array-like of shape (N,) or of class indices, default=None
        Weight of each sample, or of each row. A row of weight 0 counts as ignored.

    Returns
    -------
    loss : numpy scalar or array
        In the dtype of `input`; of the shape of `target` for ``reduction="none"``,
        (N,) for ``"sample"``, else a scalar. Sums are accumulated in float64.

    Raises
    ------
    TypeError
        If an array is masked, sparse, complex or of objects, `target` holds no
        integers, or an option is of another type.
    ValueError
        If shapes do not fit, a class index lies outside [0, C), or `reduction` is
        unknown.

    See Also
    --------
    nll_loss_grad : The gradient with respect to `input`.
    nll_loss_value_and_grad : Both at once.
    cross_entropy : The same for logits, and for targets that are probabilities.

    Notes
    -----
    The options are those of ``torch.nn.functional.nll_loss``; `class_axis`,
    `sample_weight` and ``"sample"`` are additions. The mean over no rows, or over rows
    whose weights sum to 0, is nan. A class without weight adds 0 even at a
    log-probability of -inf, where torch gives nan. Lists of arrays whose lengths differ
    are taken as by :func:`cross_entropy`.

    Arrays of float16 or integers, and those with gaps between their entries, are
    copied. Any `class_axis`, C and Fortran order are read in place.

    Examples
    --------
    >>> import numpy as np
    >>> from skxent.losses import nll_loss
    >>> log_probabilities = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    >>> print(f"{nll_loss(log_probabilities, [0, 1]):.4f}")
    0.7803
    >>> nll_loss(log_probabilities, [0, 1], reduction="none").round(4)
    array([0.3567, 1.204 ])
    """
    options = weight, ignore_index, reduction, class_axis, sample_weight
    loss = rows_nll_loss(input, target, *options)
    if loss is not None:
        return loss
    if is_on_device(input):
        return on_device().value(_prepare_on_device(input, target, *options))
    return value(_prepare(input, target, *options))


def nll_loss_value_and_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    class_axis: int | None = None,
    sample_weight: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> tuple[Any, Any]:
    """Negative log-likelihood of log-probabilities and its gradient.

    Parameters
    ----------
    input, target, weight, ignore_index : see `nll_loss`
        As for :func:`nll_loss`.
    reduction, class_axis, sample_weight : see `nll_loss`
        As for :func:`nll_loss`.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.
        After an error its content is undefined.

    Returns
    -------
    loss : numpy scalar or array
        What :func:`nll_loss` returns.
    gradient : ndarray of the shape and dtype of `input`
        What :func:`nll_loss_grad` returns.

    Raises
    ------
    TypeError
        As :func:`nll_loss`, and if `out` is not an array.
    ValueError
        As :func:`nll_loss`, and if `out` does not fit or is read-only.

    See Also
    --------
    nll_loss : The value alone.

    Examples
    --------
    >>> import numpy as np
    >>> from skxent.losses import nll_loss_value_and_grad
    >>> loss, gradient = nll_loss_value_and_grad(np.log([0.7, 0.2, 0.1]), 0)
    >>> print(f"{loss:.4f}")
    0.3567
    >>> gradient
    array([-1.,  0.,  0.])
    """
    options = weight, ignore_index, reduction, class_axis, sample_weight
    if is_on_device(input):
        there = _prepare_on_device(input, target, *options)
        loss, gradient = on_device().value_and_grad(there, out)
        return loss, gradient
    return value_and_grad(_prepare(input, target, *options), out)


def nll_loss_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    class_axis: int | None = None,
    sample_weight: ArrayLike | None = None,
    grad_output: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any:
    """Gradient of the negative log-likelihood with respect to log-probabilities.

    In each row it is ``-w_y`` at the class y and 0 elsewhere.

    Parameters
    ----------
    input, target, weight, ignore_index : see `nll_loss`
        As for :func:`nll_loss`.
    reduction, class_axis, sample_weight : see `nll_loss`
        As for :func:`nll_loss`. With ``reduction="none"`` the gradient is that of the
        sum.
    grad_output : array-like of the shape of the loss, default=None
        Gradient of something else with respect to the loss, which the result is
        multiplied with (the chain rule); None stands for ones.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.

    Returns
    -------
    gradient : ndarray of the shape and dtype of `input`
        Zeros in ignored rows.

    Raises
    ------
    TypeError
        As :func:`nll_loss`, and if `out` is not an array.
    ValueError
        As :func:`nll_loss`, and if `out` or `grad_output` does not fit.

    See Also
    --------
    nll_loss_value_and_grad : The value as well.

    Examples
    --------
    >>> import numpy as np
    >>> from skxent.losses import nll_loss_grad
    >>> nll_loss_grad(np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), [0, 1])
    array([[-0.5,  0. ,  0. ],
           [ 0. , -0.5,  0. ]])
    """
    options = weight, ignore_index, reduction, class_axis, sample_weight
    if is_on_device(input):
        there = _prepare_on_device(input, target, *options)
        return on_device().grad(there, grad_output, out)
    call = _prepare(input, target, *options)
    if grad_output is not None:
        call = call.weighted_by(
            call.layout.read_grad_output(grad_output, call.reduction)
        )
    gradient = gradient_buffer(call, out)
    write_gradient(call.for_gradient(), gradient)
    return deliver(call, gradient, out)


def _prepare(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    class_axis: int | None,
    sample_weight: ArrayLike | None,
) -> Call:
    """Check and encode the arguments, class indices alone as target."""
    came = read(target, "target")
    entries = came if isinstance(came, list) else [came]
    # an empty list comes as float64
    floats = [e.dtype for e in entries if e.dtype.kind == "f" and e.size]
    if floats:
        raise TypeError(_NO_INDICES.format(floats[0]))
    call = prepare(
        input,
        target,
        weight,
        ignore_index,
        reduction,
        0.0,
        False,
        class_axis,
        sample_weight,
    )
    return call.of_log_probabilities()


def _prepare_on_device(
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    class_axis: int | None,
    sample_weight: Any,
) -> Any:
    """Do as `_prepare` for an input on a device."""
    call = on_device().prepare_on_device(
        input,
        target,
        weight,
        ignore_index,
        reduction,
        0.0,
        False,
        class_axis,
        sample_weight,
    )
    if not call.targets.has_indices:
        raise TypeError(_NO_INDICES.format(call.dtype))
    return call.of_log_probabilities()
