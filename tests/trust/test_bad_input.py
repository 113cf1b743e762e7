"""Each bad value of each parameter of each public function: an oracle's number, or a
message that names the parameter."""

import re
import warnings

import numpy as np
import pytest

from tests.trust import more_surfaces, surfaces
from tests.trust.hostile import NOTHING, Hostile
from tests.trust.roles import ROLES

SURFACES = [
    *surfaces.of_losses(),
    *surfaces.of_ragged_losses(),
    *surfaces.of_loss_classes(),
    *surfaces.of_torch(),
    *more_surfaces.of_metrics(),
    *more_surfaces.of_estimators(),
]

RTOL = {"float16": 5e-3, "float32": 2e-5}


def flat(result):
    """Return the arrays of a result."""
    if isinstance(result, tuple | list):
        return [array for part in result for array in flat(part)]
    return [np.asarray(result)]


def disagreement(got, expected, rtol=1e-11, lax=False, atol=1e-300):
    """Return what is wrong with a result, None if it is the oracle's.

    Where a weight is not finite nan may stand for anything, which is ``lax``.
    """
    got, expected = flat(got), flat(expected)
    if len(got) != len(expected):
        return f"{len(got)} results, expected {len(expected)}"
    for ours, theirs in zip(got, expected, strict=True):
        if ours.shape != theirs.shape:
            return f"shape {ours.shape}, expected {theirs.shape}"
        flat_dtype = ours.dtype
        rtol = max(rtol, RTOL.get(flat_dtype.name, 0.0))
        near = (np.abs(theirs) > 6e4) & (np.abs(theirs) < 7.2e4)
        with np.errstate(all="ignore"):
            theirs = theirs.astype(ours.dtype).astype(np.float64)
        ours = ours.astype(np.float64)
        finite = np.isfinite(theirs)
        if flat_dtype == np.float16:  # rounding decides what is infinite
            ours, theirs = np.where(near, 0, ours), np.where(near, 0, theirs)
            finite |= near
        if lax:  # and 0 of infinity is 0 to us, nan to a naive oracle
            finite &= ~np.isnan(ours)
            ours = np.where(np.isnan(theirs) & (ours == 0), np.nan, ours)
        off = rtol * np.abs(theirs[finite]).max(initial=0.0) + atol
        # where numbers overflow on the way, nan may stand for inf: no number may
        if (np.isfinite(ours) & ~finite).any() or not np.allclose(
            ours[finite], theirs[finite], rtol=rtol, atol=off
        ):
            return f"{ours}, expected {theirs}"
    return None


def hostile_values(surface, parameter):
    role = surface.roles[parameter]
    found = dict(ROLES[role](surface.arguments[parameter]))
    if parameter not in surface.optional:
        found["None"] = Hostile("None", None, NOTHING)
    return {name: hostile for name, hostile in found.items() if name not in surface.but}


def flaw(surface, parameter, hostile):
    """Return what is wrong with the answer to one hostile value."""
    arguments = surface.arguments | {parameter: hostile.value}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # others than these are documented
            if not surface.word_for_word:  # scikit-learn casts nan among labels
                warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("error", DeprecationWarning)
            got = surface.call(**arguments)
    except (ValueError, TypeError) as error:
        message = str(error)
        # of two that do not fit either may be named
        fits = [parameter] if "shape" not in message else surface.arguments
        if any(re.search(rf"\b{name}\b", message) for name in fits):
            return None
        if surface.word_for_word and message == _message(surface, arguments):
            return None
        return f"{type(error).__name__} does not name it: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if hostile.means is NOTHING:
        return f"a result, {got}"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            expected = surface.oracle(
                **(surface.arguments | {parameter: hostile.means})
            )
    except Exception as error:
        return f"a result, where the oracle has none ({error!r}): {got}"
    lax = parameter not in ("input", "target") and not _is_finite(hostile.means)
    dtype = getattr(hostile.value, "dtype", None)
    rtol = max(surface.rtol, RTOL.get(getattr(dtype, "name", ""), 0.0))
    return disagreement(got, expected, rtol, lax)


def _message(surface, arguments):
    """Return what the function says that ours takes the place of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            surface.oracle(**arguments)
        except Exception as error:
            return str(error)


def _is_finite(value):
    if isinstance(value, list):
        return all(map(_is_finite, value))
    value = np.asarray(value)
    return value.dtype.kind not in "f" or bool(np.isfinite(value).all())


@pytest.mark.parametrize("surface", SURFACES, ids=lambda s: s.name)
def test_every_value_gets_a_right_number_or_a_message_that_names_it(surface):
    got, expected = (f(**surface.arguments) for f in (surface.call, surface.oracle))
    assert disagreement(got, expected, surface.rtol) is None
    flaws = []
    for parameter in surface.arguments:
        for name, hostile in hostile_values(surface, parameter).items():
            found = flaw(surface, parameter, hostile)
            if found:
                flaws.append(f"{parameter}, {name}: {found}"[:300])
    assert not flaws, "\n".join(["", *flaws])
