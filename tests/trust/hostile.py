"""Values that a user may pass by mistake, and what each of them plainly means.

A value is made from a right one of the same role. Its meaning is the plain value that
an oracle understands: the value itself where that is a number or an array of numbers,
the right one where another container holds the same numbers, `NOTHING` where no number
may come of it.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse
import torch

NOTHING = object()
HUGE = 10**400  # an integer that no float holds


class Hostile(NamedTuple):
    """A value, and the plain value it means."""

    name: str
    value: Any
    means: Any


class Treacherous:
    """An object whose conversion to an array fails in a way of its own."""

    def __array__(self, dtype=None, copy=None):
        raise KeyError("nobody's business")


class WrongArray:
    """An object that promises an array and returns none."""

    def __array__(self, dtype=None, copy=None):
        return "an array"


def _recursive():
    value = []
    value.append(value)
    return value


def no_arrays():
    """What no array of numbers is made of."""
    return {
        "text": "abc",
        "bytes": b"abc",
        "an object": object(),
        "a dict": {"a": 1},
        "a set": {1, 2},
        "a function": abs,
        "a type": int,
        "a duration": np.timedelta64(1, "s"),
        "an ellipsis": ...,
        "a slice": slice(3),
        "a generator": (i for i in range(3)),
        "a list of itself": _recursive(),
        "a list of None": [None, None],
        "a list of objects": [object()],
        "what fails as array": Treacherous(),
        "what is no array": WrongArray(),
        "a complex number": 1 + 2j,
        "a module": np,
    }


def _strided(a):
    return np.repeat(a, 2, axis=0)[::2]


def _read_only(a):
    a = a.copy()
    a.setflags(write=False)
    return a


def _shuffled(a):
    """The same rows under labels in another order, which are not their places."""
    return np.arange(len(a))[::-1]


def _frame(a, **options):
    """Return a Series or a DataFrame."""
    return pd.Series(a, **options) if a.ndim == 1 else pd.DataFrame(a, **options)


def _polars(a):
    if a.ndim == 1:
        return pl.Series(a)
    return pl.DataFrame({str(i): column for i, column in enumerate(a.T)})


def _matrix(a):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy advises against it
        return np.matrix(a)


def same_arrays(a):
    """The same numbers, held otherwise."""
    if not a.ndim:
        return {"a Python number": Hostile("", a.item(), a)}
    values = {
        "a list": a.tolist(),
        "Fortran order": np.asfortranarray(a),
        "strides": _strided(a),
        "negative strides": np.ascontiguousarray(a[::-1])[::-1],
        "read-only": _read_only(a),
        "another byte order": a.astype(a.dtype.newbyteorder()),
        "objects": a.astype(object),
        "a mask without entries": np.ma.array(a),
        "a tensor": torch.from_numpy(a),
    }
    if a.ndim in (1, 2):
        index = {"index": _shuffled(a)}
        values["pandas"] = _frame(a, **index)
        nullable = "Int64" if a.dtype.kind == "i" else "Float64"
        values["pandas nullable"] = _frame(a, **index).astype(nullable)
        values["polars"] = _polars(a)
    if a.ndim == 2:
        values["a matrix"] = _matrix(a)
    if a.ndim == 1:
        values["a tuple"] = tuple(a.tolist())
        values["categorical"] = pd.Series(pd.Categorical(a), **index)
    return {name: Hostile(name, value, a) for name, value in values.items()}


def _with(a, entry, place=1):
    """Return a copy with one entry replaced."""
    a = a.copy()
    a.flat[min(place, a.size - 1)] = entry
    return a


def _masked(a):
    mask = np.zeros(a.shape, dtype=bool)
    mask.flat[min(1, a.size - 1)] = True
    return np.ma.array(a, mask=mask)


def _nullable(a):
    nullable = "Int64" if a.dtype.kind == "i" else "Float64"
    frame = _frame(a).astype(nullable)
    if a.ndim == 1:
        frame[1] = pd.NA
    else:
        frame.iloc[0, 1] = pd.NA
    return frame


def wrong_arrays(a):
    """Arrays of no numbers, or with holes."""
    values = {
        "complex": a.astype(complex),
        "datetimes": a.astype("M8[s]"),
        "durations": a.astype("m8[s]"),
        "records": np.zeros(a.shape, dtype=[("a", "f8"), ("b", "i4")]),
        "raw bytes": np.zeros(a.shape, dtype="V8"),
        "masked": _masked(a),
        "objects, one None": _with(a.astype(object), None),
        "objects, one a list": _with(a.astype(object), {}),
    }
    if a.ndim in (1, 2):
        if a.dtype.kind == "i":
            values["pandas with NA"] = _nullable(a)
    if a.ndim == 2:
        for kind in ("csr_array", "csc_matrix", "coo_array", "dok_array"):
            values[f"sparse {kind}"] = getattr(scipy.sparse, kind)(a)
        values["ragged"] = [row[: 1 + i % 2].tolist() for i, row in enumerate(a)]
    return {name: Hostile(name, value, NOTHING) for name, value in values.items()}


def wrong_shapes(a):
    """Arrays of numbers of another shape: they mean what they are, if that fits."""
    if not a.ndim:
        return {"an axis": Hostile("", a[np.newaxis], NOTHING)}
    values = {
        "empty": a[:0],
        "one entry": a[:1],
        "one entry less": a[:-1],
        "one entry more": np.concatenate([a, a[:1]]),
        "flat": a.ravel(),
        "a list of nothing": [[] for _ in a],
        "an axis more": a[np.newaxis],
        "an axis more, last": a[..., np.newaxis],
        "a number": a.flat[0],
        "30 axes": a.reshape((1,) * (30 - a.ndim) + a.shape),
    }
    if a.ndim == 2:
        pass
        values["transposed"] = a.T.copy()
        values["a column less"] = a[:, :-1].copy()
        values["no columns"] = a[:, :0]
    return {name: Hostile(name, v, v) for name, v in values.items()}


def float_contents(a):
    """Floats of other dtypes, and numbers that are odd."""
    values = {
        "float16": a.astype(np.float16),
        "float32": a.astype(np.float32),
        "longdouble": a.astype(np.longdouble),
        "integers": a.astype(np.int64),
        "booleans": a > 0,
        "int8": a.astype(np.int8),
        "text of numbers": a.astype(str),
        "nan": _with(a, np.nan),
        "inf": _with(a, np.inf),
        "-inf": _with(a, -np.inf),
        "only nan": np.full_like(a, np.nan),
        "only -inf": np.full_like(a, -np.inf),
        "1e300": _with(a, 1e300),
        "-1e300": _with(a, -1e300),
        "a subnormal": _with(a, 5e-324),
        "-0": _with(a, -0.0),
        "negative": -np.abs(a),
        "zeros": np.zeros_like(a),
        "2**40": _with(a, 2.0**40),
    }
    found = {name: Hostile(name, v, v) for name, v in values.items()}
    found["text of numbers"] = Hostile("text of numbers", a.astype(str), a)
    found["a huge integer"] = Hostile(
        "a huge integer", _with(a.astype(object), HUGE).tolist(), NOTHING
    )
    gradient = torch.from_numpy(a).clone().requires_grad_()
    found["a tensor with a gradient"] = Hostile("", gradient, a)
    if a.ndim == 2:
        found["pandas with NA"] = Hostile("", _nullable(a), _with(a, np.nan))
        hole = _polars(a).with_columns(pl.col("0").replace(float(a[0, 0]), None))
        found["polars with null"] = Hostile("", hole, _with(a, np.nan, 0))
    return found


def floats(a):
    """All that may come for an array of floats."""
    none = {name: Hostile(name, v, NOTHING) for name, v in no_arrays().items()}
    return none | same_arrays(a) | wrong_arrays(a) | wrong_shapes(a) | float_contents(a)


def floats_or_sparse(a):
    """The same where sparse arrays are welcome."""
    found = floats(a)
    sparse = {k: v._replace(means=a) for k, v in found.items() if "sparse" in k}
    return found | sparse


def class_indices(a):
    """All that may come for class indices, of which 0 and 1 are."""
    none = {name: Hostile(name, v, NOTHING) for name, v in no_arrays().items()}
    shapes = wrong_shapes(a)
    refused = {
        "2**40": _with(a, 2**40),
        "-1": _with(a, -1),
        "the number of classes": _with(a, a.max() + 1),
        "-2**63": _with(a, -(2**63)),
        "2**63": _with(a.astype(np.uint64), 2**63),
        "2**64 - 1": _with(a.astype(np.uint64), 2**64 - 1),
        "2**32 beyond a class": _with(a, a.flat[1] + 2**32),
        "2**64 beyond a class": _with(a.astype(object), HUGE).tolist(),
        "half of a class": _with(a.astype(float), 0.5),
        "nan": _with(a.astype(float), np.nan),
        "text": a.astype(str),
    }
    found = {name: Hostile(name, v, NOTHING) for name, v in refused.items()}
    found["booleans"] = Hostile("", a > 0, NOTHING)
    for dtype in ("int8", "uint8", "int16", "uint32", "uint64"):
        found[dtype] = Hostile(dtype, a.astype(dtype), a)
    found["floats"] = Hostile("floats", a.astype(float), a)
    return none | same_arrays(a) | wrong_arrays(a) | shapes | found


def labels(a):
    """All that may come for labels of any type, which are integers."""
    meant = {
        "text": a.astype(str),
        "a column": a[:, np.newaxis],
        "datetimes": a.astype("M8[s]"),
        "durations": a.astype("m8[s]"),
        "complex": a.astype(complex),
        "categorical text": pd.Series(pd.Categorical(a.astype(str))),
        "text of pandas": pd.Series(a.astype(str), dtype="string"),
        "text of polars": pl.Series(a.astype(str).tolist()),
        "Python's text": a.astype(str).tolist(),
        "objects of text": a.astype(str).astype(object),
        "bytes": a.astype("S"),
        "an axis more, last": a[..., np.newaxis],
        "negative integers": a - 5,
        "integers far apart": (a - 1) * 2**62,
        "of small range, far out": a.astype(np.uint64) + np.uint64(2**63),
    }
    refused = {
        "categorical, one missing": pd.Series(pd.Categorical(a)).where(a != 1),
        "text, one missing": pd.Series(a.astype(str), dtype="string").where(a != 1),
        "text, one nan": _with(a.astype(str).astype(object), np.nan),
        "polars with null": pl.Series([None, *a[1:].tolist()]),
        "mixed types": _with(a.astype(object), "a"),
        "a list of lists": [[1], [1, 2], [], *([[2]] * (len(a) - 3))],
        "three axes": a[np.newaxis, np.newaxis],
    }
    return (
        class_indices(a)
        | {name: Hostile(name, v, a) for name, v in meant.items()}
        | {name: Hostile(name, v, NOTHING) for name, v in refused.items()}
        | {"booleans": Hostile("", a > 0, a > 0)}
    )


def new_labels(a):
    """The same where any label is a class."""
    strange = ("2**40", "-1", "the number of classes", "-2**63", "2**63")
    strange += ("2**64 - 1", "2**32 beyond a class")
    found = labels(a)
    return found | {k: found[k]._replace(means=found[k].value) for k in strange}


def labels_as_they_are(a):
    """The same where each means itself, or an error, to an oracle that takes any."""
    return {k: v._replace(means=v.value) for k, v in labels(a).items()}


def entries(values_of):
    """Return what may come for a list of arrays: bad entries, and bad lists."""

    def values(a):
        first, second, *rest = a
        found = {
            name: Hostile(
                name,
                [first, v.value, *rest],
                NOTHING if v.means is NOTHING else [first, v.means, *rest],
            )
            for name, v in values_of(second).items()
        }
        arrays = np.empty(len(a), dtype=object)
        arrays[:] = a
        lists = {
            "a tuple of arrays": (tuple(a), a),
            "lists of lists": ([entry.tolist() for entry in a], a),
            "an empty list": ([], NOTHING),
            "an array of arrays": (arrays, NOTHING),
            "a generator of arrays": ((entry for entry in a), NOTHING),
            "a dict of arrays": (dict(enumerate(a)), NOTHING),
            "an array less": (a[:-1], a[:-1]),
            "an array more": ([*a, first], [*a, first]),
            "other order": (a[::-1], a[::-1]),
            "one None": ([first, None, *rest], NOTHING),
            "lists in a list": ([first, [second], *rest], NOTHING),
            "joined": (np.concatenate(a), NOTHING),
        }
        return found | {k: Hostile(k, v, means) for k, (v, means) in lists.items()}

    return values
