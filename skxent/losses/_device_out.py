"""Where the gradient of an input on a device is written: to an array of the caller."""

from typing import Any

from skxent.backends._device_arrays import is_on_device

__all__ = [
    "check_out_on_device",
    "deliver_on_device",
    "gradient_buffer_on_device",
    "is_same",
    "overlap",
]


def check_out_on_device(
    arrays: Any, out: Any, shape: tuple[int, ...], dtype: str
) -> None:
    """Raise unless ``out`` can receive the gradient."""
    if not is_on_device(out) or not arrays.owns(out):
        raise TypeError(
            "out must be an array of the library of input, on its device; got "
            f"{type(out).__name__}. Leave it out to get a new one."
        )
    came = str(arrays.dtype(out))
    if tuple(out.shape) != shape or came != dtype:
        raise ValueError(
            f"out must have the shape {shape} and dtype {dtype} of input; got shape "
            f"{tuple(out.shape)} and dtype {came}."
        )


def gradient_buffer_on_device(
    arrays: Any, out: Any, like: Any, dtype: str, operands: tuple[Any, ...]
) -> Any:
    """Return the array that the kernel writes, of the shape of ``like``.

    That is ``out`` itself if its numbers lie as the kernel writes them and are none
    that it reads later: it may write over ``like``, but not over ``operands``.
    """
    if out is not None:
        buffer = arrays.read(out)
        own = is_same(arrays, buffer, out)
        in_place = is_same(arrays, out, like) or not overlap(arrays, out, like)
        if own and in_place and not any(overlap(arrays, out, x) for x in operands):
            return buffer.reshape(tuple(like.shape))
    return arrays.empty(tuple(like.shape), dtype)


def deliver_on_device(
    arrays: Any, gradient: Any, shape: tuple[int, ...], out: Any
) -> Any:
    """Return a gradient in the shape of the input, in ``out`` if that is given."""
    if out is None:
        return gradient.reshape(shape)
    if not is_same(arrays, gradient, out):
        arrays.copy(gradient.reshape(shape), out)
    return out


def is_same(arrays: Any, a: Any, b: Any) -> bool:
    """Return whether two arrays are the same numbers in memory."""
    return bool(arrays.span(a) == arrays.span(b))


def overlap(arrays: Any, a: Any, b: Any) -> bool:
    """Return whether two arrays may share numbers in memory."""
    (begin_a, end_a), (begin_b, end_b) = arrays.span(a), arrays.span(b)
    return bool(max(begin_a, begin_b) < min(end_a, end_b))
