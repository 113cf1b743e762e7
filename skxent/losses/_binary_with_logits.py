"""Binary cross-entropy of logits: the value, its gradient, its curvature.

Conventions
-----------
``input`` and ``target`` have one shape, whatever it is; each element is a sample of
its own. Results come back in the dtype of ``input``. Values are in nats.
"""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from skxent.losses._binary_call import prepare

__all__ = [
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_grad",
    "binary_cross_entropy_with_logits_hvp",
    "binary_cross_entropy_with_logits_value_and_grad",
]


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy of logits of two classes, also for multilabel data.

    For a logit ``x`` and the target ``q``, the probability of class 1, the loss is
    ``w (c q' log(1 + exp(-x)) + (1 - q') log(1 + exp(x)))`` in nats, with weight ``w``,
    positive weight ``c``, smoothing ``e`` and ``q' = (1 - e) q + e / 2``.

    Parameters
    ----------
    input : array-like of any shape, or list of arrays
        Logits of class 1, those of class 0 being 0; a number as well. float16, float32
        or float64; integers are read as float64. A list of N arrays that differ in the
        length of their first axis stands for N samples; `target` is a list as well.
    target : array-like of the shape of `input`
        Probability of class 1, or labels 0 and 1, of any real dtype. Numbers outside
        [0, 1] are accepted.
    weight : array-like that broadcasts to the shape of `input`, default=None
        Weight of each element; None stands for ones. For a list of arrays, what
        broadcasts to their trailing axes, or a list as well.
    pos_weight : array-like that broadcasts to the shape of `input`, default=None
        Weight of the target: the loss of class 1 counts so many times that of class 0.
        For multilabel data of shape (N, C) an array of shape (C,) holds one for each
        label; None stands for ones.
    reduction : {"none", "sum", "mean", "sample"}, default="mean"
        ``"mean"`` divides by the number of elements, never by weights. ``"sample"``
        takes such a mean in each entry of the first axis.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over both classes.

    Returns
    -------
    loss : numpy scalar or array
        In the dtype of `input`; of its shape for ``reduction="none"``, (N,) for
        ``"sample"`` with N the length of the first axis, else a scalar. Sums are
        accumulated in float64. The mean of no elements is nan.

    Raises
    ------
    TypeError
        If an array is masked, sparse, complex or of objects, or an option is of another
        type.
    ValueError
        If shapes do not fit, `label_smoothing` lies outside [0, 1], or `reduction` is
        unknown.

    See Also
    --------
    binary_cross_entropy_with_logits_grad : The gradient with respect to `input`.
    binary_cross_entropy_with_logits_value_and_grad : Both from one pass over the data.
    binary_cross_entropy : The same for probabilities.

    Notes
    -----
    The options and their order are those of
    ``torch.nn.functional.binary_cross_entropy_with_logits``; `label_smoothing` and
    ``"sample"`` are additions. The loss is that of :func:`cross_entropy` for the two
    classes of logits (0, x). A logit of -inf is a class of probability 0: the loss is
    inf if the target has mass there. A logit of +inf or nan has a loss of nan, also at
    a weight of 0.

    Memory beside the arguments and the result: some 10 KB, and up to 34 MB for weights
    that vary along the first axis. Arrays that are not contiguous or of another dtype
    than the kernels' (integer inputs, targets that are not of the dtype of `input`) are
    copied. With a weight above 2**100, all is copied to float64.

    Examples
    --------
    >>> from skxent.losses import binary_cross_entropy_with_logits
    >>> print(f"{binary_cross_entropy_with_logits([2.0, -1.0], [1, 0]):.4f}")
    0.2201
    >>> binary_cross_entropy_with_logits([2.0, -1.0], [1, 0], reduction="none").round(4)
    array([0.1269, 0.3133])
    """
    call = prepare(input, target, weight, pos_weight, reduction, label_smoothing, True)
    return call.run(None, want_value=True)


def binary_cross_entropy_with_logits_value_and_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    out: NDArray[Any] | None = None,
) -> tuple[Any, Any]:
    """Binary cross-entropy of logits and its gradient, from one pass.

    Parameters
    ----------
    input, target, weight : see `binary_cross_entropy_with_logits`
        As for :func:`binary_cross_entropy_with_logits`.
    pos_weight, reduction, label_smoothing : see `binary_cross_entropy_with_logits`
        As for :func:`binary_cross_entropy_with_logits`.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.

    Returns
    -------
    loss : numpy scalar or array
        What :func:`binary_cross_entropy_with_logits` returns.
    gradient : ndarray of the shape and dtype of `input`, or list of them
        What :func:`binary_cross_entropy_with_logits_grad` returns.

    Raises
    ------
    TypeError
        As :func:`binary_cross_entropy_with_logits`, and if `out` is not an array.
    ValueError
        As :func:`binary_cross_entropy_with_logits`, and if `out` does not fit or is
        read-only.

    See Also
    --------
    binary_cross_entropy_with_logits : The value alone.

    Examples
    --------
    >>> from skxent.losses import binary_cross_entropy_with_logits_value_and_grad
    >>> logits = [2.0, -1.0]
    >>> loss, gradient = binary_cross_entropy_with_logits_value_and_grad(logits, [1, 0])
    >>> print(f"{loss:.4f}")
    0.2201
    >>> gradient.round(4)
    array([-0.0596,  0.1345])
    """
    call = prepare(input, target, weight, pos_weight, reduction, label_smoothing, True)
    gradient = call.gradient_buffer(out)
    loss = call.run(gradient, want_value=True)
    return loss, call.deliver(gradient, out)


def binary_cross_entropy_with_logits_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    grad_output: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any:
    """Gradient of the binary cross-entropy with respect to its logits.

    It is ``w ((1 - q') p - c q' (1 - p))`` with ``p = 1 / (1 + exp(-x))`` and the
    letters of :func:`binary_cross_entropy_with_logits`. Neither ``p`` nor ``1 - p`` is
    a difference, so both keep their digits however small they are.

    Parameters
    ----------
    input, target, weight, pos_weight : see `binary_cross_entropy_with_logits`
        As for :func:`binary_cross_entropy_with_logits`.
    reduction, label_smoothing : see `binary_cross_entropy_with_logits`
        As for :func:`binary_cross_entropy_with_logits`. With ``reduction="none"`` the
        gradient is that of the sum.
    grad_output : array-like of the shape of the loss, default=None
        Gradient of something else with respect to the loss, which the result is
        multiplied with (the chain rule); None stands for ones.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.

    Returns
    -------
    gradient : ndarray of the shape and dtype of `input`, or list of them
        One slope for each element of `input`.

    Raises
    ------
    TypeError
        As :func:`binary_cross_entropy_with_logits`, and if `out` is not an array.
    ValueError
        As :func:`binary_cross_entropy_with_logits`, and if `out` or `grad_output`
        does not fit.

    See Also
    --------
    binary_cross_entropy_with_logits_value_and_grad : The value as well.

    Examples
    --------
    >>> from skxent.losses import binary_cross_entropy_with_logits_grad
    >>> binary_cross_entropy_with_logits_grad([0.0, 30.0], [1, 1])
    array([-2.50000000e-01, -4.67881148e-14])
    """
    call = prepare(input, target, weight, pos_weight, reduction, label_smoothing, True)
    if grad_output is not None:
        call = call.weighted_by_output(grad_output)
    gradient = call.gradient_buffer(out)
    call.run(gradient, want_value=False)
    return call.deliver(gradient, out)


def binary_cross_entropy_with_logits_hvp(
    input: ArrayLike,
    target: ArrayLike,
    vector: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    out: NDArray[Any] | None = None,
) -> Any:
    """Product of the Hessian of the binary cross-entropy of logits with a vector.

    The Hessian is diagonal: ``w (c q' + 1 - q') p (1 - p)`` with
    ``p = 1 / (1 + exp(-x))`` and the letters of
    :func:`binary_cross_entropy_with_logits`.

    Parameters
    ----------
    input, target : see `binary_cross_entropy_with_logits`
        As for :func:`binary_cross_entropy_with_logits`.
    vector : array-like of the shape of `input`
        What the Hessian is multiplied with.
    weight, pos_weight : see `binary_cross_entropy_with_logits`
        As for :func:`binary_cross_entropy_with_logits`.
    reduction, label_smoothing : see `binary_cross_entropy_with_logits`
        As for :func:`binary_cross_entropy_with_logits`. With ``reduction="none"`` the
        Hessian is that of the sum.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the product.

    Returns
    -------
    product : ndarray of the shape and dtype of `input`, or list of them
        The Hessian times `vector`.

    Raises
    ------
    TypeError
        As :func:`binary_cross_entropy_with_logits`, and if `out` is not an array.
    ValueError
        As :func:`binary_cross_entropy_with_logits`, and if `vector` or `out` does
        not fit.

    See Also
    --------
    binary_cross_entropy_with_logits_grad : The gradient.

    Examples
    --------
    >>> from skxent.losses import binary_cross_entropy_with_logits_hvp
    >>> binary_cross_entropy_with_logits_hvp([0.0, 0.0], [1, 0], [1.0, -2.0])
    array([ 0.125, -0.25 ])
    """
    call = prepare(input, target, weight, pos_weight, reduction, label_smoothing, True)
    return call.curvature(vector, out)
