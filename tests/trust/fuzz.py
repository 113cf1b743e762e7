"""Random calls of the public functions, held against the oracles of `surfaces`.

    python -m tests.trust.fuzz --minutes 30 --seed 1

Up to three arguments of a call are hostile, in calls of losses of any size, dtype and
options. An answer is the oracle's number, but for what rounding takes from its terms
(`rounding`), or a ValueError or TypeError that names an argument; what is neither is
printed with what repeats it.
"""

import argparse
import re
import time
import traceback
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.trust import more_surfaces, surfaces
from tests.trust.hostile import NOTHING
from tests.trust.roles import ROLES
from tests.trust.rounding import is_within
from tests.trust.test_bad_input import disagreement, flat

SURFACES = {
    s.name: s
    for s in (
        *surfaces.of_losses(),
        *surfaces.of_ragged_losses(),
        *surfaces.of_loss_classes(),
        *surfaces.of_torch(),
        *more_surfaces.of_metrics(),
        *more_surfaces.of_estimators(),
    )
    if s.name != "SoftmaxRegressionCV.fit"  # slow, and made of SoftmaxRegression's
}
SLOW = [name for name in SURFACES if "fit" in name]
QUICK = [name for name in SURFACES if "fit" not in name]
RULES = "must|cannot|should|need|contain|support|expected|inconsistent|unknown|at least"


LOSSES = {s.name for s in surfaces.of_losses()}
WEIGHTS = {"weight", "pos_weight", "sample_weight"}


@st.composite
def calls(draw):
    """A surface with arguments of some size, and the hostile ones among them."""
    names = SLOW if draw(st.integers(0, 9)) == 0 else QUICK
    surface = SURFACES[draw(st.sampled_from(names))]
    if surface.name in LOSSES and draw(st.booleans()):
        surface = replace(surface, arguments=_other_arguments(draw, surface))
    names = draw(st.permutations(sorted(surface.arguments)))
    drawn = {}
    for name in names[: draw(st.sampled_from([0, 1, 1, 1, 2, 3]))]:
        values = _hostile_values(surface, name)
        if values:
            key = draw(st.sampled_from(sorted(values)))
            drawn[name] = values[key]._replace(name=key)
    return surface, drawn


def _hostile_values(surface, name):
    """Return the hostile values of a parameter."""
    right = surface.arguments[name]
    if right is None and surface.roles[name] == "floats":
        return {}
    if isinstance(right, np.ndarray) and right.ndim and right.size < 2:
        return {}
    if isinstance(right, np.ndarray) and right.dtype.kind in "fiu":
        right = right.astype("f8" if right.dtype.kind == "f" else "i8")
    values = ROLES[surface.roles[name]](right)
    return {key: v for key, v in values.items() if key not in surface.but}


def _other_arguments(draw, surface):
    """Return right arguments of a loss in other sizes, dtypes, layouts and options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, c, d = (draw(st.integers(2, most)) for most in (40, 70, 5))
    n += n == c  # the classes are on one axis alone
    dtype = draw(st.sampled_from(["f8", "f8", "f4", "f2"]))
    scale = draw(st.sampled_from([0.0, 1.0, 30.0]))
    shapes = {"input": (n, c), "weight": (c,), "sample_weight": (n,)}
    shapes |= {"pos_weight": (c,), "linear_weight": (c, d), "linear_bias": (c,)}
    if "linear_weight" in surface.arguments:
        shapes["input"] = (n, d)
    shapes["vector"] = shapes["input"]
    of_p = surface.name.endswith("of_p") or surface.name.startswith(
        ("binary_cross_entropy_grad", "binary_cross_entropy_value")
    )
    of_p = of_p or surface.name == "binary_cross_entropy"
    arguments = dict(surface.arguments)
    for name, shape in shapes.items():
        if name in arguments:
            drawn = rng.uniform(0.05, 0.95, shape)
            if name in surfaces.SCORES and not of_p:
                drawn = rng.normal(scale=scale, size=shape)
            kind = dtype if name in surfaces.SCORES else "f8"
            arguments[name] = drawn.astype(kind)
            if name in surface.optional and draw(st.booleans()):
                arguments[name] = None
    if arguments["target"].dtype.kind == "i":
        kind = draw(st.sampled_from(["i8", "i4", "u1"]))
        arguments["target"] = rng.integers(c, size=n).astype(kind)
        arguments["target"][0] = c - 1  # so that one more is no class
        if draw(st.booleans()):
            arguments["ignore_index"] = draw(st.integers(0, c - 1))
    else:
        arguments["target"] = rng.uniform(0, 1, (n, c)).astype(dtype)
    arguments["reduction"] = draw(st.sampled_from(["mean", "sum", "none"]))
    if "grad_output" in arguments:
        arguments["grad_output"] = None
    if "label_smoothing" in arguments:
        arguments["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return arguments


def flaw(surface, drawn):
    """Return what is wrong with the answer to a call, None if nothing is."""
    arguments = surface.arguments | {name: v.value for name, v in drawn.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not surface.word_for_word:
                warnings.simplefilter("error", RuntimeWarning)
            got = surface.call(**arguments)
    except (ValueError, TypeError) as error:
        message = str(error)
        names = "|".join(map(re.escape, surface.arguments))
        if re.search(rf"\b({names})\b", message) or surface.word_for_word:
            return None
        return f"{type(error).__name__} names no argument: {error}"
    except ZeroDivisionError:
        return None if surface.word_for_word else traceback.format_exc()
    except Exception:
        return traceback.format_exc()
    for alike, least in (
        (("ragged",), 1),
        (("joined",), 2),
        (("flat", "a number"), 2),
    ):
        others = [v for v in drawn.values() if v.name not in alike]
        is_alike = len(drawn) - len(others) >= least
        if is_alike and not any(v.means is NOTHING for v in others):
            return None  # input and target fit one another
    if drawn.keys() >= {"target", "ignore_index"}:
        if _holds(drawn["target"].value, drawn["ignore_index"].value):
            return None  # no class, but one that is ignored
    if any(v.means is NOTHING for v in drawn.values()):
        if surface.word_for_word and _is_theirs(surface, arguments, got):
            return None
        return f"a result: {got}"
    plain = surface.arguments | {name: v.means for name, v in drawn.items()}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            expected = surface.oracle(**plain)
    except Exception as error:
        if plain.get("class_axis") == 0 or np.ndim(plain.get("input")) > 2:
            return None  # which suits two hostile values, and no oracle here
        return f"a result, where the oracle has none ({error!r}): {got}"
    subnormal = {name for name, v in drawn.items() if v.name == "a subnormal"}
    if subnormal & WEIGHTS and (surface.name.endswith("-of_p") or _has_infinite(plain)):
        return None  # it times a share is 0 or not, as it is rounded, and 0 inf is 0
    odd = any(not _is_finite(v.means) for v in drawn.values())
    sizes = [getattr(value, "dtype", np.dtype("f8")) for value in arguments.values()]
    small = any(str(dtype) in ("float16", "float32") for dtype in sizes)
    rtol = max(surface.rtol, 1e-2 if small else 1e-9)
    has_bounds = surface.bounds and not _has_infinite(plain)
    atol = 1e-4 if small else 1e-12
    if odd and small and not has_bounds:
        atol = 1e300
    wrong = disagreement(got, expected, rtol, odd, atol)
    if wrong and has_bounds:  # unless terms cancel, which takes longer to tell
        bounds = partial(_bounds, surface, plain)
        return None if is_within(flat(got), flat(expected), bounds) else wrong
    return wrong


def _bounds(surface, plain, numbers):
    """Return what results may be off by where their terms cancel."""
    return flat(surface.bounds(of=numbers, **plain))


def _has_infinite(arguments):
    """Whether a number among the arguments is infinite."""
    arrays = [a for v in arguments.values() for a in (v if type(v) is list else [v])]
    arrays = map(np.asarray, arrays)
    return any(np.isinf(array).any() for array in arrays if array.dtype.kind == "f")


def _holds(target, index):
    """Whether an index is among those of a target, of whatever kind they are."""
    if isinstance(target, list):
        return any(_holds(entry, index) for entry in target)
    try:
        return bool((np.asarray(target, object) == index).any())
    except (TypeError, ValueError):
        return False


def _is_theirs(surface, arguments, got):
    """Whether the function that ours takes the place of reads the value no more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return disagreement(got, surface.oracle(**arguments)) is None
        except Exception:
            return False


def _is_finite(value):
    if isinstance(value, list):
        return all(map(_is_finite, value))
    value = np.asarray(value)
    return value.dtype.kind != "f" or bool((np.abs(value.astype("f8")) < 1e100).all())


def run(n_examples, number):
    """Draw so many calls, and return what was wrong with some of them."""
    found = {}

    @seed(number)
    @settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(calls())
    def one(call):
        surface, drawn = call
        wrong = flaw(surface, drawn)
        if wrong:
            hostile = {name: v.name for name, v in drawn.items()}
            found.setdefault(f"{surface.name} {wrong[-200:]}", (hostile, wrong))

    one()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    number, n_calls, n_flaws = options.seed, 0, 0
    while time.monotonic() < end:
        found = run(2000, number)
        n_calls += 2000
        for key, (hostile, wrong) in found.items():
            n_flaws += 1
            print(f"seed {number}: {key.split()[0]} with {hostile}:\n{wrong[:600]}\n")
        number += 1
        print(f"-- {n_calls} calls, {n_flaws} flaws", flush=True)


if __name__ == "__main__":
    main()
