"""Binary cross-entropy of probabilities: the value and its gradient.

Conventions
-----------
``input`` and ``target`` have one shape, whatever it is; each element is a sample of
its own. Results come back in the dtype of ``input``. Values are in nats.
"""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from skxent.losses._binary_call import prepare

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_grad",
    "binary_cross_entropy_value_and_grad",
]


def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy of probabilities of two classes, also for multilabel data.

    For the probability ``p`` of class 1 and its target ``q`` the loss is
    ``-w (q' log p + (1 - q') log(1 - p))`` in nats, with weight ``w``, smoothing ``e``
    and ``q' = (1 - e) q + e / 2``. Each logarithm is taken to be at least -100.

    Parameters
    ----------
    input : array-like of any shape, or list of arrays
        Probabilities of class 1, in [0, 1]; a number as well. float16, float32 or
        float64; integers are read as float64. nan has a loss of nan. A list of N arrays
        that differ in the length of their first axis stands for N samples; `target` is
        a list as well.
    target : array-like of the shape of `input`
        Probability of class 1, or labels 0 and 1, of any real dtype. Numbers outside
        [0, 1] are accepted.
    weight : array-like that broadcasts to the shape of `input`, default=None
        Weight of each element; None stands for ones. For a list of arrays, what
        broadcasts to their trailing axes, or a list as well.
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
        If `input` lies outside [0, 1], shapes do not fit, `label_smoothing` lies
        outside [0, 1], or `reduction` is unknown.

    See Also
    --------
    binary_cross_entropy_grad : The gradient with respect to `input`.
    binary_cross_entropy_value_and_grad : Both from one pass over the data.
    binary_cross_entropy_with_logits : The same for logits, accurate at any confidence.

    Notes
    -----
    The options, their order and the limit of -100 are those of
    ``torch.nn.functional.binary_cross_entropy``; `label_smoothing` and ``"sample"`` are
    additions. Right predictions of probability 0 or 1 have a loss of exactly 0.

    Memory beside the arguments and the result: some 10 KB, and up to 17 MB for a weight
    that varies along the first axis. Arrays that are not contiguous or of another dtype
    than the kernels' (float16 and integer inputs, targets that are not of the dtype of
    `input`) are copied. With a weight above 2**100, all is copied to float64.

    Examples
    --------
    >>> from skxent.losses import binary_cross_entropy
    >>> print(f"{binary_cross_entropy([0.9, 0.2], [1, 0]):.4f}")
    0.1643
    >>> binary_cross_entropy([0.9, 0.2], [1, 0], reduction="none").round(4)
    array([0.1054, 0.2231])
    """
    call = prepare(input, target, weight, None, reduction, label_smoothing, False)
    return call.run(None, want_value=True)


def binary_cross_entropy_value_and_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    out: NDArray[Any] | None = None,
) -> tuple[Any, Any]:
    """Binary cross-entropy of probabilities and its gradient, from one pass.

    Parameters
    ----------
    input, target, weight, reduction, label_smoothing : see `binary_cross_entropy`
        As for :func:`binary_cross_entropy`.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.
        After an error its content is undefined.

    Returns
    -------
    loss : numpy scalar or array
        What :func:`binary_cross_entropy` returns.
    gradient : ndarray of the shape and dtype of `input`, or list of them
        What :func:`binary_cross_entropy_grad` returns.

    Raises
    ------
    TypeError
        As :func:`binary_cross_entropy`, and if `out` is not an array.
    ValueError
        As :func:`binary_cross_entropy`, and if `out` does not fit or is
        read-only.

    See Also
    --------
    binary_cross_entropy : The value alone.

    Examples
    --------
    >>> from skxent.losses import binary_cross_entropy_value_and_grad
    >>> loss, gradient = binary_cross_entropy_value_and_grad([0.9, 0.2], [1, 0])
    >>> print(f"{loss:.4f}")
    0.1643
    >>> gradient.round(4)
    array([-0.5556,  0.625 ])
    """
    call = prepare(input, target, weight, None, reduction, label_smoothing, False)
    gradient = call.gradient_buffer(out)
    loss = call.run(gradient, want_value=True)
    return loss, call.deliver(gradient, out)


def binary_cross_entropy_grad(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    grad_output: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> Any:
    """Gradient of the binary cross-entropy with respect to its probabilities.

    It is ``w (p - q') / (p (1 - p))`` with the letters of :func:`binary_cross_entropy`.
    The denominator is taken to be at least 1e-12, as in torch, so that the gradient is
    finite at 0 and 1.

    Parameters
    ----------
    input, target, weight : see `binary_cross_entropy`
        As for :func:`binary_cross_entropy`.
    reduction, label_smoothing : see `binary_cross_entropy`
        As for :func:`binary_cross_entropy`. With ``reduction="none"`` the
        gradient is that of the sum.
    grad_output : array-like of the shape of the loss, default=None
        Gradient of something else with respect to the loss, which the result is
        multiplied with (the chain rule); None stands for ones.
    out : ndarray of the shape and dtype of `input`, default=None
        Receives the gradient. It may be `input` itself. Not for a list of arrays.
        After an error its content is undefined.

    Returns
    -------
    gradient : ndarray of the shape and dtype of `input`, or list of them
        One slope for each element of `input`.

    Raises
    ------
    TypeError
        As :func:`binary_cross_entropy`, and if `out` is not an array.
    ValueError
        As :func:`binary_cross_entropy`, and if `out` or `grad_output` does not
        fit.

    See Also
    --------
    binary_cross_entropy_value_and_grad : The value as well.

    Examples
    --------
    >>> from skxent.losses import binary_cross_entropy_grad
    >>> binary_cross_entropy_grad([0.5, 1.0], [1, 1])
    array([-1.,  0.])
    """
    call = prepare(input, target, weight, None, reduction, label_smoothing, False)
    if grad_output is not None:
        call = call.weighted_by_output(grad_output)
    gradient = call.gradient_buffer(out)
    call.run(gradient, want_value=False)
    return call.deliver(gradient, out)
