"""What a loss pins down beforehand: the form of its targets and the shapes it takes.

Conventions
-----------
A contract is a tuple of lengths in which None stands for any length, or None for any
shape. C classes.
"""

from numbers import Integral
from typing import Any

from skxent.losses._layout import layout_of
from skxent.losses._ragged import read

__all__ = [
    "FORMS",
    "Contract",
    "check_contract",
    "check_contracts_agree",
    "check_form",
    "check_shape",
    "known_classes",
    "refuse_class_options",
    "shape_of",
]

Contract = tuple[int | None, ...]

FORMS = {
    "auto": "class indices of the input's shape without the class axis, or "
    "probabilities of the input's shape",
    "index": "class indices of the input's shape without the class axis",
    "probabilities": "probabilities of the classes, of the input's shape",
    "binary": "numbers in [0, 1] of the input's shape, one event each",
}


def shape_of(value: Any, name: str) -> Contract:
    """Return the shape of an array-like, of an array of any library as it tells it.

    Lengths that differ between the entries of a list are None.
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return shape
    came = read(value, name)
    if not isinstance(came, list):
        return came.shape
    n_axes = min(entry.ndim for entry in came)
    lengths = [{entry.shape[axis] for entry in came} for axis in range(n_axes)]
    return len(came), *(n.pop() if len(n) == 1 else None for n in lengths)


def check_contract(value: Any, name: str) -> Contract | None:
    """Return the contract as a tuple."""
    if value is None:
        return None
    rule = f"{name} must be a tuple of lengths, with None for any, such as (None, 3)"
    if not isinstance(value, tuple | list) or not all(
        n is None or (isinstance(n, Integral) and not isinstance(n, bool))
        for n in value
    ):
        raise TypeError(f"{rule}; got {value!r} of type {type(value).__name__}.")
    if any(n is not None and n < 0 for n in value):
        raise ValueError(f"{rule}, and no length is negative; got {value!r}.")
    return tuple(None if n is None else int(n) for n in value)


def _fits(contract: Contract, shape: Contract) -> bool:
    """Whether another contract agrees with a contract."""
    return len(contract) == len(shape) and all(
        a is None or b is None or a == b for a, b in zip(contract, shape, strict=True)
    )


def check_shape(value: Any, name: str, contract: Contract | None) -> None:
    """Raise if an array does not have the shape that its contract gives."""
    if contract is None:
        return
    shape = shape_of(value, name)
    # a length that varies among the arrays of a list is None, and no fixed one
    if len(contract) != len(shape) or not all(
        a in (None, b) for a, b in zip(contract, shape, strict=True)
    ):
        raise ValueError(
            f"{name} must have shape {contract}, the {name}_shape of this loss with "
            f"None for any length; got shape {shape}. Reshape or transpose it, or make "
            f"the loss with another {name}_shape."
        )


def check_form(form: str, input: Any, target: Any) -> None:
    """Raise if the target is of another form than the loss takes."""
    if form == "auto":
        return
    shape, target_shape = shape_of(input, "input"), shape_of(target, "target")
    surplus = len(shape) - len(target_shape)
    if form == "index" and surplus == 0:
        came, remedy = "probabilities", "Pass the index of the class of each row"
    elif form != "index" and surplus == 1:
        came, remedy = "class indices", "Encode them one-hot"
    else:
        return  # of this form, or of none, which the function refuses
    other = "index" if came == "class indices" else "probabilities"
    raise ValueError(
        f"target must hold {FORMS[form]}, for a loss with form={form!r}; got shape "
        f"{target_shape} for input of shape {shape}, that of {came}. {remedy}, or make "
        f"the loss with form={other!r}."
    )


def check_contracts_agree(
    form: str,
    input_shape: Contract | None,
    target_shape: Contract | None,
    class_axis: int | None,
) -> None:
    """Raise if no target of the form can fulfil both contracts."""
    if input_shape is None:
        return
    allowed = [] if form == "index" else [input_shape]
    if form != "binary":
        layout = layout_of(input_shape, class_axis)  # type: ignore[arg-type]
        if form != "probabilities":
            allowed.append(layout.row_shape)
    if target_shape is None or any(_fits(shape, target_shape) for shape in allowed):
        return
    raise ValueError(
        f"target_shape must be {' or '.join(map(str, allowed))} for form={form!r} and "
        f"input_shape={input_shape}; got {target_shape}. Change one of them, or drop "
        "target_shape."
    )


def known_classes(
    form: str,
    weight: Any,
    input_shape: Contract | None,
    target_shape: Contract | None,
    class_axis: int | None,
) -> tuple[int | None, str]:
    """Return the number of classes and the option that gives it."""
    known = {} if weight is None else {"weight": len(weight)}
    contracts = {"input_shape": input_shape}
    if form == "probabilities":
        contracts["target_shape"] = target_shape
    for name, contract in contracts.items():
        if contract is not None:
            n_classes = layout_of(contract, class_axis).n_classes  # type: ignore[arg-type]
            if n_classes is not None:
                known[name] = n_classes
    if len(set(known.values())) > 1:
        found = ", ".join(f"{n} from {name}" for name, n in known.items())
        raise ValueError(
            f"{' and '.join(known)} must tell of the same number of classes; got "
            f"{found}. Change one of them, or class_axis."
        )
    return next(((n, name) for name, n in known.items()), (None, ""))


def refuse_class_options(ignore_index: int, class_axis: int | None) -> None:
    """Raise if an option is set that the binary form has no use for."""
    for name, value, default in (
        ("ignore_index", ignore_index, -100),
        ("class_axis", class_axis, None),
    ):
        if value != default:
            raise ValueError(
                f"{name} must be {default} for form='binary', which has no classes; "
                f"got {value}. Drop it, or choose another form."
            )
