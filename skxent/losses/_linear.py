"""Cross-entropy of a linear layer's scores, which never exist all at once.

Conventions
-----------
N samples, D features, C classes. ``input`` is (D,) or (N, D), ``linear_weight`` (C, D)
or (C, d1, .., dK, D). Results come back in the dtype of both. Values are in nats.
"""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from skxent.losses._linear_call import prepare

__all__ = [
    "linear_cross_entropy",
    "linear_cross_entropy_grad",
    "linear_cross_entropy_value_and_grad",
]


def linear_cross_entropy(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    *,
    linear_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
) -> Any:
    """Cross-entropy of ``input @ linear_weight.T + linear_bias``, block by block.

    The number is that of :func:`cross_entropy` for these scores, of which only a block
    of rows exists at a time: what a classifier over many classes needs.

    Parameters
    ----------
    input : array-like of shape (D,) or (N, D)
        Features. float16, float32 or float64; integers are read as float64.
    linear_weight : array-like of shape (C, D) or (C, d1, .., dK, D)
        Weights of the layer, in the dtype of `input`. More than two axes need an
        `input` of two; there are then d1 * .. * dK losses per sample.
    target : array-like of the shape of the scores, with or without their class axis
        Class indices in [0, C) of any integer dtype, of shape (), (N,) or
        (N, d1, .., dK); or, with a float dtype, probabilities of shape (C,), (N, C) or
        (N, C, d1, .., dK), which are neither checked nor normalised.
    linear_bias : array-like of the shape of `linear_weight` but its last axis, \
default=None
        Bias of the layer, in the dtype of `input`.
    weight : array-like of shape (C,), default=None
        Weight of each class; None stands for ones.
    ignore_index : int, default=-100
        Rows with this class index add nothing, whatever their features are. Only for
        class indices.
    reduction : {"none", "sum", "mean", "sample"}, default="mean"
        As for :func:`cross_entropy`; ``"sample"`` takes a mean for each sample.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over all classes.
    sample_weight : array-like of shape (N,) or of class indices, default=None
        Weight of each sample, or of each row. A row of weight 0 counts as ignored.

    Returns
    -------
    loss : numpy scalar or array
        In the dtype of `input`; of the shape of class indices for
        ``reduction="none"``, (N,) for ``"sample"``, else a scalar. Sums of losses are
        accumulated in float64.

    Raises
    ------
    TypeError
        If an array is masked, sparse, complex or of objects, `linear_weight` or
        `linear_bias` is not of the dtype of `input`, class indices are no integers,
        probabilities are integers, or an option is of another type.
    ValueError
        If shapes do not fit, a class index lies outside [0, C), `ignore_index` is not
        negative beside probabilities, `label_smoothing` lies outside [0, 1], or
        `reduction` is unknown.

    See Also
    --------
    linear_cross_entropy_grad : The gradients with respect to what the layer reads.
    linear_cross_entropy_value_and_grad : Both from one pass over the data.
    cross_entropy : The same for scores that exist.

    Notes
    -----
    The options are those of ``torch.nn.functional.linear_cross_entropy``;
    `sample_weight` and ``"sample"`` are additions. Computing the scores in blocks
    follows Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024,
    and Hsu et al., "Liger Kernel", 2024.

    A block holds a 32nd of the scores and at most 16,777,216 of them, except that it
    has 64 rows and 2,097,152 scores at least, and 256 rows if these are within the
    most. Gradients take a product of the size of a block's input for each of up to 8
    parts of `linear_weight`, and another one per thread. Beside it, memory is needed
    for 8 bytes per row where rows are weighted, and for copies of arrays that the
    kernels cannot read: a `linear_weight` that is not C-contiguous or of float16,
    integer arrays, and probabilities of another dtype than `input`.

    Scores are computed by BLAS in the dtype of `input`, in float32 for float16. A large
    call starts as many threads as BLAS has, and leaves BLAS a single one until it
    returns, in the whole process.

    Examples
    --------
    >>> from skxent.losses import linear_cross_entropy
    >>> X = [[1.0, 2.0], [0.0, -1.0]]
    >>> W = [[0.5, 0.0], [0.0, 1.0], [-1.0, 1.0]]
    >>> print(f"{linear_cross_entropy(X, W, [1, 0]):.4f}")
    0.5079
    """
    call = prepare(
        input,
        linear_weight,
        target,
        linear_bias,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        sample_weight,
    )
    return call.value()


def linear_cross_entropy_value_and_grad(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    *,
    linear_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    out: tuple[NDArray[Any], ...] | None = None,
) -> tuple[Any, tuple[NDArray[Any], ...]]:
    """Cross-entropy of a linear layer and its gradients, from one pass over the data.

    Parameters
    ----------
    input, linear_weight, target, linear_bias : see `linear_cross_entropy`
        As for :func:`linear_cross_entropy`.
    weight, ignore_index, reduction : see `linear_cross_entropy`
        As for :func:`linear_cross_entropy`.
    label_smoothing, sample_weight : see `linear_cross_entropy`
        As for :func:`linear_cross_entropy`.
    out : tuple of two or three ndarrays, default=None
        Receive the gradients, one array each of the shape and dtype of what it is the
        gradient for.

    Returns
    -------
    loss : numpy scalar or array
        What :func:`linear_cross_entropy` returns.
    gradients : tuple of two or three ndarrays
        What :func:`linear_cross_entropy_grad` returns.

    Raises
    ------
    TypeError
        As :func:`linear_cross_entropy`, and if `out` is no tuple of arrays.
    ValueError
        As :func:`linear_cross_entropy`, and if `out` is of another length or an array
        in it does not fit or is read-only.

    See Also
    --------
    linear_cross_entropy : The value alone.

    Examples
    --------
    >>> from skxent.losses import linear_cross_entropy_value_and_grad
    >>> X = [[1.0, 2.0], [0.0, -1.0]]
    >>> W = [[0.5, 0.0], [0.0, 1.0], [-1.0, 1.0]]
    >>> loss, (d_input, d_weight) = linear_cross_entropy_value_and_grad(X, W, [1, 0])
    >>> print(f"{loss:.4f}")
    0.5079
    >>> d_input.round(4)
    array([[-0.0806, -0.0701],
           [-0.2119,  0.2119]])
    """
    call = prepare(
        input,
        linear_weight,
        target,
        linear_bias,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        sample_weight,
    )
    loss, slopes = call.value_and_grad(out)
    return loss, slopes


def linear_cross_entropy_grad(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    *,
    linear_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    grad_output: ArrayLike | None = None,
    out: tuple[NDArray[Any], ...] | None = None,
) -> tuple[NDArray[Any], ...]:
    """Gradient of the cross-entropy of a linear layer, one array for each operand.

    With the gradient ``G`` of :func:`cross_entropy` with respect to the scores they are
    ``G W``, ``G^T X`` and the sum of the rows of ``G``, each added up over blocks of
    rows.

    Parameters
    ----------
    input, linear_weight, target, linear_bias : see `linear_cross_entropy`
        As for :func:`linear_cross_entropy`.
    weight, ignore_index, reduction : see `linear_cross_entropy`
        As for :func:`linear_cross_entropy`. With ``reduction="none"`` the gradients are
        those of the sum.
    label_smoothing, sample_weight : see `linear_cross_entropy`
        As for :func:`linear_cross_entropy`.
    grad_output : array-like of the shape of the loss, default=None
        Gradient of something else with respect to the loss, which the results are
        multiplied with (the chain rule); None stands for ones.
    out : tuple of two or three ndarrays, default=None
        Receive the gradients, one array each of the shape and dtype of what it is the
        gradient for.

    Returns
    -------
    d_input : ndarray of the shape and dtype of `input`
        Zeros for samples whose rows are all ignored.
    d_weight : ndarray of the shape and dtype of `linear_weight`
        Added up over blocks in float32 for float16 and float32, as a single product of
        BLAS would be, but in sums of 128 rows.
    d_bias : ndarray of the shape and dtype of `linear_bias`
        Only if there is a bias. Added up in float64.

    Raises
    ------
    TypeError
        As :func:`linear_cross_entropy`, and if `out` is no tuple of arrays.
    ValueError
        As :func:`linear_cross_entropy`, if `out` is of another length or an array in it
        does not fit or is read-only, and if `grad_output` does not fit.

    See Also
    --------
    linear_cross_entropy_value_and_grad : The value as well, for the same price.

    Notes
    -----
    Memory is needed as for :func:`linear_cross_entropy` and, beside the results, for
    nine times the features of a block. An array of `out` that is not C-contiguous or
    shares memory with an argument costs a copy.

    Features that are not finite in an ignored row do no harm, except that with d1 .. dK
    those of a sample with kept rows as well reach all of `d_weight`.

    Examples
    --------
    >>> from skxent.losses import linear_cross_entropy_grad
    >>> X = [[1.0, 2.0], [0.0, -1.0]]
    >>> W = [[0.5, 0.0], [0.0, 1.0], [-1.0, 1.0]]
    >>> d_input, d_weight = linear_cross_entropy_grad(X, W, [1, 0])
    >>> d_weight.round(4)
    array([[ 0.0701,  0.3522],
           [-0.1857, -0.4774],
           [ 0.1156,  0.1253]])
    """
    call = prepare(
        input,
        linear_weight,
        target,
        linear_bias,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        sample_weight,
    )
    if grad_output is not None:
        call = call.weighted_by_output(grad_output)
    slopes: tuple[NDArray[Any], ...] = call.grad(out)
    return slopes
