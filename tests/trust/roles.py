"""Values of numbers, flags and words that a user may pass by mistake, and the roles.

Conventions are those of `hostile`.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from tests.trust.hostile import (
    HUGE,
    NOTHING,
    Hostile,
    class_indices,
    entries,
    floats,
    floats_or_sparse,
    labels,
    labels_as_they_are,
    new_labels,
)


def _no_numbers(value):
    """Return what is no number, or none of a size."""
    return {
        "text": "0.1",
        "complex": 1j,
        "nan": np.nan,
        "an array": np.full(3, value),
        "an array of one": np.array([value]),
        "a list": [value],
        "a flag": True,
        "an object": object(),
        "a duration": np.timedelta64(1, "s"),
        "a type": int,
        "a dict": {},
    }


def numbers(value):
    """All that may come for a number."""
    refused = {
        name: Hostile(name, v, NOTHING) for name, v in _no_numbers(value).items()
    }
    meant = {
        "0": 0,
        "1": 1,
        "-1": -1,
        "-0.0": -0.0,
        "inf": np.inf,
        "-inf": -np.inf,
        "a fraction": Fraction(1, 7),
        "float16": np.float16(0.25),
        "longdouble": np.longdouble(0.1),
        "a subnormal": 5e-324,
        "1e300": 1e300,
        "2**40": 2**40,
        "2**70": 2**70,
        "an array without axes": np.array(0.25),
    }
    meant = {name: Hostile(name, v, float(v)) for name, v in meant.items()}
    # what no float holds is infinite
    for name, v in (("integer", HUGE), ("fraction", Fraction(HUGE))):
        meant[f"a huge {name}"] = Hostile("", v, np.inf)
        meant[f"a huge negative {name}"] = Hostile("", -v, -np.inf)
    return refused | meant


def limits(value):
    """What may come for a number whose right values no oracle is asked about."""
    refused = _no_numbers(value) | {"-1": -1, "-inf": -np.inf, "huge": -HUGE}
    return {name: Hostile(name, v, NOTHING) for name, v in refused.items()}


def integers(value):
    """All that may come for an integer."""
    refused = _no_numbers(value) | {"a float": 1.5, "inf": np.inf, "whole": 1.0}
    meant = {
        "0": 0,
        "-1": -1,
        "int8": np.int8(1),
        "uint64": np.uint64(2**64 - 1),
        "2**40": 2**40,
        "-2**70": -(2**70),
        "a huge integer": HUGE,
        "a huge negative integer": -HUGE,
    }
    found = {name: Hostile(name, v, NOTHING) for name, v in refused.items()}
    return found | {name: Hostile(name, v, int(v)) for name, v in meant.items()}


def choices(value):
    """All that may come for one of several words, a flag or a count."""
    values = {
        "text": "abc",
        "no text": "",
        "upper case": str(value).upper(),
        "bytes": str(value).encode(),
        "a list": [value],
        "an array": np.array([value, value]),
        "an object": object(),
        "a dict": {},
        "a float": 1.5,
        "nan": np.nan,
        "a type": int,
        "-2**70": -(2**70),
        "a huge integer": HUGE,
        "complex": 1j,
    }
    return {name: Hostile(name, v, NOTHING) for name, v in values.items()}


def nothing(value):
    """No hostile values."""
    return {}


def one_label(value):
    """What may come for one label, which nearly anything can be."""
    found = choices(value)
    return {name: found[name] for name in ("a list", "an array", "a dict")}


def counts(value):
    """What may come for a flag or a count, however large."""
    return {k: v for k, v in choices(value).items() if k != "a huge integer"}


def class_weights(value):
    """What may come for weights of classes by name, of which there may be none."""
    return {k: v for k, v in choices(value).items() if k != "a dict"}


def contracts(value):
    """What may come for a shape; a list that holds None is one of any length."""
    return {k: v for k, v in choices(value).items() if k != "a list"}


ROLES: dict[str, Callable[[Any], dict[str, Hostile]]] = {
    "nothing": nothing,
    "floats": floats,
    "indices": class_indices,
    "lists of floats": entries(floats),
    "lists of indices": entries(class_indices),
    "floats or sparse": floats_or_sparse,
    "labels": labels,
    "labels as they are": labels_as_they_are,
    "new labels": new_labels,
    "number": numbers,
    "integer": integers,
    "limit": limits,
    "one label": one_label,
    "class weight": class_weights,
    "count": counts,
    "contract": contracts,
    "choice": choices,
}
