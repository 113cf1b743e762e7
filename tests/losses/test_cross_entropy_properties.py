"""What holds for any input, searched by hypothesis: the oracle and the invariances.

Hypothesis chooses shapes, dtypes, options and the places of extreme values; a seeded
generator fills in the rest. The run is the same each time. Losses have no negative
terms here and are compared relative to themselves, gradients relative to the row's
mass, as `a p - t` cancels.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skxent.losses import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_hvp,
    cross_entropy_value_and_grad,
)
from tests import reference
from tests.losses import cases

search = settings(derandomize=True, deadline=None, max_examples=60, database=None)

# Against the oracle in float64, whose exponentials see the rounding of z - m; in the
# narrow dtypes the 4 ulp of tests/losses/test_accuracy.py, one of float16.
RTOL = {"float64": 1e-13, "float32": 2.0**-21, "float16": 2.0**-10}
# Between two orders of the same sum, each within 4 ulp.
REORDERED = {"float64": 2.0**-49, "float32": 2.0**-20, "float16": 2.0**-10}
HUGE = {"float64": 1e300, "float32": 1e37, "float16": 3e4}
N_CLASSES = st.sampled_from([1, 2, 3, 5, 8, 64, 65, 130])

dtypes = st.sampled_from(sorted(RTOL))
forms = st.sampled_from(cases.FORMS)
smoothings = st.sampled_from(cases.SMOOTHINGS)
reductions = st.sampled_from(cases.REDUCTIONS)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def problems(draw, special=True, min_classes=1):
    """Logits, target and the options but for the reduction."""
    dtype, form = draw(dtypes), draw(forms)
    n_rows = draw(st.integers(0 if special else 1, 7))
    n_classes = draw(N_CLASSES.filter(lambda c: c >= min_classes))
    rng = np.random.default_rng(draw(seeds))
    shape = (n_rows, n_classes)
    z = cases.make_logits(rng, shape, dtype)
    # A grid of eighths: sums with whole numbers are exact.
    z = np.round(z * draw(st.sampled_from([8, 64]))) / np.array(8, dtype)
    target = cases.make_target(rng, form, shape, dtype)
    options = {"label_smoothing": draw(smoothings)}
    if draw(st.booleans()):
        weight = cases.make_weight(rng, n_classes)
        weight[rng.random(n_classes) < draw(st.sampled_from([0.0, 0.3]))] = 0.0
        options["weight"] = weight
    if draw(st.booleans()):
        options["sample_weight"] = cases.make_sample_weight(rng, n_rows)
    if special:
        z = draw(with_extremes(z))
        if form == "index":
            ignored = draw(st.sets(st.integers(0, 6)))
            target[[row for row in ignored if row < n_rows]] = -100
    return z.astype(dtype), target, options


@st.composite
def with_extremes(draw, z):
    """The logits with extreme values here and there, and whole rows of them."""
    info, huge = np.finfo(z.dtype), HUGE[str(z.dtype)]
    values = [-math.inf, math.inf, math.nan, huge, -huge, -0.0]
    values += [float(info.smallest_subnormal), float(info.tiny), float(info.eps)]
    if not z.size:
        return z
    rows = st.integers(0, len(z) - 1)
    places = st.tuples(rows, st.integers(0, z.shape[1] - 1), st.sampled_from(values))
    for row, k, x in draw(st.lists(places, max_size=4)):
        z[row, k] = x
    for row, x in draw(st.lists(st.tuples(rows, st.sampled_from(values)), max_size=2)):
        z[row] = x
    return z


def narrowed(expected, dtype):
    """The oracle's value in the dtype of the result."""
    with np.errstate(over="ignore"):
        return np.asarray(expected).astype(dtype)


def check(failures):
    assert not failures, "\n".join(failures)


def size_of(z, target, options):
    """What errors of a gradient are relative to, the least number at the least."""
    size = reference.mass_scale(z, target, **options)
    return np.maximum(size, float(np.finfo(z.dtype).tiny))


@search
@given(problems(), reductions)
def test_value_and_gradient_are_those_of_the_oracle(problem, reduction):
    z, target, options = problem
    options["reduction"] = reduction
    rtol = RTOL[str(z.dtype)]
    value, gradient = cross_entropy_value_and_grad(z, target, **options)
    assert cases.same_bits(value, cross_entropy(z, target, **options))
    assert cases.same_bits(gradient, cross_entropy_grad(z, target, **options))
    expected = narrowed(reference.cross_entropy(z, target, **options), z.dtype)
    check(cases.value_mismatch("value", value, expected, rtol))
    expected = reference.cross_entropy_grad(z, target, **options)
    size = size_of(z, target, options)
    check(cases.gradient_mismatch("gradient", gradient, expected, size, rtol))


@search
@given(problems(), reductions, seeds)
def test_curvature_product_is_that_of_the_oracle(problem, reduction, seed):
    z, target, options = problem
    options["reduction"] = reduction
    vector = np.random.default_rng(seed).uniform(-1, 1, z.shape).astype(z.dtype)
    product = cross_entropy_hvp(z, target, vector, **options)
    expected = reference.cross_entropy_hvp(z, target, vector, **options)
    size = 2 * size_of(z, target, options)
    rtol = RTOL[str(z.dtype)]
    check(cases.gradient_mismatch("product", product, expected, size, rtol))


def losses_and_gradient(z, target, **options):
    """The loss of each row and the gradient of their sum."""
    return cross_entropy_value_and_grad(z, target, reduction="none", **options)


def check_reordered(z, target, options, got, expected):
    """Two results that differ by the order of their sums alone."""
    rtol = REORDERED[str(z.dtype)]
    check(cases.value_mismatch("losses", got[0], expected[0], rtol))
    size = size_of(z, target, {**options, "reduction": "none"})
    expected = np.asarray(expected[1], dtype=np.float64)
    check(cases.gradient_mismatch("gradient", got[1], expected, size, rtol))


@search
@given(problems(special=False), st.integers(-100, 100))
def test_shift_of_the_logits_changes_nothing_but_the_last_digits(problem, shift):
    z, target, options = problem
    shifts = (shift * (1 + np.arange(len(z)) % 2))[:, np.newaxis]
    before = losses_and_gradient(z, target, **options)
    # float16 holds eighths up to 256
    after = losses_and_gradient((z + shifts).astype(z.dtype), target, **options)
    check_reordered(z, target, options, after, before)


@search
@given(problems(), seeds)
def test_permutation_of_rows_changes_no_bit(problem, seed):
    z, target, options = problem
    order = np.random.default_rng(seed).permutation(len(z))
    losses, gradient = losses_and_gradient(z, target, **options)
    if "sample_weight" in options:
        options["sample_weight"] = options["sample_weight"][order]
    permuted = losses_and_gradient(z[order], target[order], **options)
    assert cases.same_bits(permuted[0], losses[order])
    assert cases.same_bits(permuted[1], gradient[order])


@search
@given(problems(special=False), seeds)
def test_classes_may_come_in_any_order(problem, seed):
    z, target, options = problem
    order = np.random.default_rng(seed).permutation(z.shape[1])
    losses, gradient = losses_and_gradient(z, target, **options)
    place = np.argsort(order)
    moved = place[target] if target.ndim == 1 else target[:, order]
    if "weight" in options:
        options["weight"] = options["weight"][order]
    got = losses_and_gradient(np.ascontiguousarray(z[:, order]), moved, **options)
    got = got[0], got[1][:, place]
    if "weight" in options:
        options["weight"] = options["weight"][place]
    check_reordered(z, target, options, got, (losses, gradient))


@search
@given(problems(special=False), st.sampled_from(["sum", "mean"]), seeds)
def test_weight_of_a_row_counts_its_repetitions(problem, reduction, seed):
    z, target, options = problem
    options["reduction"] = reduction
    counts = np.random.default_rng(seed).integers(4, size=len(z))
    options["sample_weight"] = counts
    value, gradient = cross_entropy_value_and_grad(z, target, **options)
    del options["sample_weight"]
    repeated = np.repeat(z, counts, axis=0), np.repeat(target, counts, axis=0)
    expected, parts = cross_entropy_value_and_grad(*repeated, **options)
    rtol = 2 * REORDERED[str(z.dtype)]
    check(cases.value_mismatch("value", value, expected, rtol))
    # each of the repeated rows has the gradient of one of them
    first = np.cumsum(counts) - counts
    for row in np.flatnonzero(counts):
        part = counts[row] * parts[first[row]].astype(np.float64)
        size = np.nanmax(np.abs(part), initial=0.0)
        where = f"gradient of row {row}"
        check(cases.gradient_mismatch(where, gradient[row], part, size, rtol))
    assert (gradient[counts == 0] == 0).all()


@search
@given(problems(special=False), st.sampled_from(["none", "sum", "mean"]))
def test_index_is_its_one_hot_row(problem, reduction):
    z, target, options = problem
    if target.ndim == 2:
        target = target.argmax(axis=1)
    options["reduction"] = reduction
    if reduction == "mean":  # divides by the class weights of indices alone
        options.pop("weight", None)
    one_hot = np.eye(z.shape[1], dtype=z.dtype)[target]
    by_index = cross_entropy_value_and_grad(z, target, **options)
    by_row = cross_entropy_value_and_grad(z, one_hot, **options)
    rtol = REORDERED[str(z.dtype)]
    check(cases.value_mismatch("value", by_row[0], by_index[0], rtol))
    size = size_of(z, target, options)
    expected = by_index[1].astype(np.float64)
    check(cases.gradient_mismatch("gradient", by_row[1], expected, size, rtol))


@search
@given(dtypes, forms, N_CLASSES, st.lists(st.integers(1, 4), max_size=3), st.data())
def test_classes_may_lie_on_any_axis(dtype, form, n_classes, others, data):
    rng = np.random.default_rng(data.draw(seeds))
    shape = (*others, n_classes)
    z = cases.make_logits(rng, shape, dtype)
    target = cases.make_target(rng, form, shape, dtype)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    options = {"label_smoothing": data.draw(smoothings), "reduction": "none"}
    losses, gradient = cross_entropy_value_and_grad(z, target, class_axis=-1, **options)
    moved = np.moveaxis(target, -1, axis) if form == "probabilities" else target
    got = cross_entropy_value_and_grad(
        np.moveaxis(z, -1, axis), moved, class_axis=axis, **options
    )
    assert cases.same_bits(got[0], losses)
    assert cases.same_bits(got[1], np.moveaxis(gradient, -1, axis))


@pytest.mark.parametrize("special", [True, False])
def test_search_reaches_what_it_promises(special):
    seen = set()

    @settings(search, max_examples=300)  # drawing costs little
    @given(problems(special=special))
    def collect(problem):
        z, target, options = problem
        seen.update([str(z.dtype), cases.FORMS[target.ndim - 1], *options])
        seen.add("long" if z.shape[1] > 64 else "short")
        seen.update({"nan"} if np.isnan(z).any() else ())
        seen.update({"-inf"} if (z == -math.inf).any() else ())
        seen.update({"ignored"} if (target == -100).any() else ())

    collect()
    assert {*RTOL, *cases.FORMS, "short", "long", "weight", "sample_weight"} <= seen
    assert ({"nan", "-inf", "ignored"} <= seen) == special
