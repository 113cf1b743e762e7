"""``BinaryCrossEntropyLoss``: the options of the binary functions as an object.

Conventions
-----------
``input`` and ``target`` have one shape, whatever it is. Results come back in the dtype
of ``input``. Values are in nats.
"""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from skxent.losses import _validation as check
from skxent.losses._call import REDUCTIONS
from skxent.losses._contracts import (
    Contract,
    check_contract,
    check_contracts_agree,
    check_shape,
)
from skxent.losses._criterion import BINARY, Criterion, Functions, read_only_copy
from skxent.losses._report import binary_report

__all__ = ["BinaryCrossEntropyLoss"]


class BinaryCrossEntropyLoss(Criterion):
    """Binary cross-entropy with its options held: call it with an input and a target.

    Each element of the input is the score of one event and the element of the target
    at its place the probability of that event, or a label 0 or 1. A call computes what
    :func:`binary_cross_entropy_with_logits` computes with the same options, or
    :func:`binary_cross_entropy` with ``from_logits=False``: it is the counterpart of
    both ``torch.nn.BCEWithLogitsLoss`` and ``torch.nn.BCELoss``.

    A loss can pin down which shapes it is fed with: with `input_shape` and
    `target_shape` a call with another shape raises.

    Parameters
    ----------
    weight : array-like that broadcasts to the shape of the input, default=None
        Weight of each element; None stands for ones. It is copied.
    pos_weight : array-like that broadcasts to the shape of the input, default=None
        Weight of the term of the event that happens, which trades recall for
        precision; only with logits. It is copied.
    reduction : {"none", "sum", "mean", "sample"}, default="mean"
        As for :func:`binary_cross_entropy_with_logits`.
    label_smoothing : float in [0, 1], default=0.0
        Share of the target that is spread evenly over both outcomes.
    from_logits : bool, default=True
        Whether the input holds logits rather than probabilities.
    input_shape : tuple of int or None, default=None
        The shape that every input must have, with None for any length, such as
        ``(None, 5)``. None alone stands for any shape.
    target_shape : tuple of int or None, default=None
        The shape that every target must have, likewise.

    Raises
    ------
    TypeError
        If an option is of another type.
    ValueError
        If an option lies out of its range, `pos_weight` is given with
        ``from_logits=False``, or the two contracts of shapes contradict each other.

    See Also
    --------
    binary_cross_entropy_with_logits : The function for logits.
    binary_cross_entropy : The function for probabilities.
    CrossEntropyLoss : Classes that exclude each other.

    Notes
    -----
    Every parameter is an attribute of its name; the weights are read-only arrays.

    ``repr`` shows the options that differ from their defaults, in the order of the
    constructor, and arrays of more than 10 entries by dtype and shape. Losses are equal
    if they are of one type and their options are, arrays by value. They are not
    hashable, since attributes can be assigned to, which passes by the checks of the
    constructor.

    Examples
    --------
    >>> from skxent.losses import BinaryCrossEntropyLoss
    >>> loss = BinaryCrossEntropyLoss(pos_weight=[3.0, 1.0], reduction="sum")
    >>> loss
    BinaryCrossEntropyLoss(pos_weight=[3.0, 1.0], reduction='sum')
    >>> print(f"{loss([[0.5, -1.0]], [[1, 0]]):.4f}")
    1.7355
    >>> loss.grad([[0.5, -1.0]], [[1, 0]]).round(4)
    array([[-1.1326,  0.2689]])
    >>> print(BinaryCrossEntropyLoss().describe())
    BinaryCrossEntropyLoss
      form          binary: numbers in [0, 1] of the input's shape, one event each
      input         logits z, one for each event
      loss          l = -(t log(sigmoid(z)) + (1 - t) log(sigmoid(-z))), t = q, in nats
      reduction     mean: sum of l / number of events
      input shape   any
      target shape  any
      options       defaults
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        from_logits: bool = True,
        input_shape: Contract | None = None,
        target_shape: Contract | None = None,
    ) -> None:
        self.weight = read_only_copy(weight, "weight")
        self.pos_weight = read_only_copy(pos_weight, "pos_weight")
        check.check_option(reduction, "reduction", REDUCTIONS)
        self.reduction = reduction
        self.label_smoothing = check.check_label_smoothing(label_smoothing)
        self.from_logits = check.check_flag(from_logits, "from_logits")
        if pos_weight is not None and not self.from_logits:
            raise ValueError(
                "pos_weight must be None with from_logits=False, as for torch's "
                "BCELoss; got an array. Pass logits, or weigh the elements with weight."
            )
        self.input_shape = check_contract(input_shape, "input_shape")
        self.target_shape = check_contract(target_shape, "target_shape")
        check_contracts_agree("binary", self.input_shape, self.target_shape, None)

    def __call__(self, input: ArrayLike, target: ArrayLike) -> Any:
        """Return the loss.

        Parameters
        ----------
        input : array-like of any shape
            Logits, or probabilities with ``from_logits=False``.
        target : array-like of the shape of `input`
            Probability of each event, or labels 0 and 1.

        Returns
        -------
        loss : numpy scalar or array
            What :func:`binary_cross_entropy_with_logits` returns, in nats.

        Raises
        ------
        TypeError
            As :func:`binary_cross_entropy_with_logits`.
        ValueError
            As :func:`binary_cross_entropy_with_logits`, and if a shape breaks its
            contract.
        """
        functions, options = self._admit(input, target)
        return functions.value(input, target, **options)

    def grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        grad_output: ArrayLike | None = None,
        out: NDArray[Any] | None = None,
    ) -> Any:
        """Return the gradient of the loss with respect to its input.

        Parameters
        ----------
        input, target : array-like
            As for a call of the loss.
        grad_output : array-like of the shape of the loss, default=None
            Gradient of something else with respect to the loss, which the result is
            multiplied with; None stands for ones.
        out : ndarray of the shape and dtype of `input`, default=None
            Receives the gradient. After an error its content is undefined.

        Returns
        -------
        gradient : ndarray of the shape and dtype of `input`, or list of them
            What :func:`binary_cross_entropy_with_logits_grad` returns.

        Raises
        ------
        TypeError
            As a call of the loss, and if `out` is not an array.
        ValueError
            As a call of the loss, and if `out` or `grad_output` does not fit.
        """
        functions, options = self._admit(input, target)
        return functions.grad(
            input, target, grad_output=grad_output, out=out, **options
        )

    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
    ) -> tuple[Any, Any]:
        """Return the loss and its gradient.

        Parameters
        ----------
        input, target : array-like
            As for a call of the loss.
        out : ndarray of the shape and dtype of `input`, default=None
            Receives the gradient. After an error its content is undefined.

        Returns
        -------
        loss : numpy scalar or array
            What a call returns.
        gradient : ndarray of the shape and dtype of `input`, or list of them
            What :meth:`grad` returns.

        Raises
        ------
        TypeError
            As a call of the loss, and if `out` is not an array.
        ValueError
            As a call of the loss, and if `out` does not fit.
        """
        functions, options = self._admit(input, target)
        loss, gradient = functions.value_and_grad(input, target, out=out, **options)
        return loss, gradient

    def hvp(
        self,
        input: ArrayLike,
        target: ArrayLike,
        vector: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
    ) -> Any:
        """Return the product of the Hessian of the loss of logits with a vector.

        Parameters
        ----------
        input, target : array-like
            As for a call of the loss.
        vector : array-like of the shape of `input`
            What the Hessian is multiplied with.
        out : ndarray of the shape and dtype of `input`, default=None
            Receives the product.

        Returns
        -------
        product : ndarray of the shape and dtype of `input`, or list of them
            What :func:`binary_cross_entropy_with_logits_hvp` returns.

        Raises
        ------
        TypeError
            As a call of the loss, and if `out` is not an array.
        ValueError
            As a call of the loss, if `vector` or `out` does not fit, and with
            ``from_logits=False``.
        """
        functions, options = self._admit(input, target)
        product: NDArray[Any] = functions.hvp(input, target, vector, out=out, **options)
        return product

    def update(self, input: ArrayLike, target: ArrayLike) -> Any:
        """Return the loss: brainpy's name for the call.

        Parameters
        ----------
        input, target : array-like
            As for a call of the loss.

        Returns
        -------
        loss : numpy scalar or array
            What a call returns.
        """
        return self(input, target)

    def describe(self) -> str:
        """Return a report on the loss: form, shapes, formula and options.

        Returns
        -------
        report : str
            One line for each item, without a line break at the end.
        """
        return binary_report(self)

    def _admit(self, input: Any, target: Any) -> tuple[Functions, dict[str, Any]]:
        """Check the contracts; return the functions and the options for them."""
        check_shape(input, "input", self.input_shape)
        check_shape(target, "target", self.target_shape)
        options = {
            "weight": self.weight,
            "reduction": self.reduction,
            "label_smoothing": self.label_smoothing,
        }
        if self.from_logits:
            options["pos_weight"] = self.pos_weight
        return BINARY[self.from_logits], options
