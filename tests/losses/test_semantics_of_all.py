"""The contract's table of special cases, for every way to ask for a loss.

`test_cross_entropy_semantics` holds the functions to it on rows of logits, at sizes
that reach every path of the kernels. Here a small problem goes through every other way:
probabilities, images with their classes on either axis, the class that holds the
options, and a mean per sample. The special row stands among ordinary ones.
"""

import itertools
import math
import re
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest

from skxent import losses
from skxent.losses import CrossEntropyLoss
from tests import reference
from tests.losses import cases

N, C = 12, 5
SPECIAL = 7
REDUCTIONS = (*cases.REDUCTIONS, "sample")


@dataclass(frozen=True)
class Way:
    """Who is asked, for what kind of input, with the classes on which axis."""

    held: bool  # whether the options are held by a CrossEntropyLoss
    from_logits: bool
    axis: int | None  # of images of two pixels; None for rows

    def __str__(self):
        words = ["class" if self.held else "function"]
        words.append("logits" if self.from_logits else "probabilities")
        words.append("rows" if self.axis is None else f"classes_on_axis_{self.axis}")
        return "-".join(words)

    @property
    def group(self):
        """Rows per sample."""
        return 1 if self.axis is None else 2

    def lay_out(self, array):
        """Rows, or one number per row, as the images that this way takes."""
        if self.axis is None:
            return array
        array = array.reshape(len(array) // 2, 2, *array.shape[1:])
        return array if array.ndim == 2 else np.moveaxis(array, -1, self.axis).copy()

    def as_rows(self, array):
        if self.axis is None:
            return array
        return np.moveaxis(array, self.axis, -1).reshape(-1, array.shape[self.axis])

    def functions(self, target, options):
        """The value, gradient, both and curvature product with all options bound."""
        options = dict(options, class_axis=self.axis, from_logits=self.from_logits)
        if self.held:
            rest = {"sample_weight": options.pop("sample_weight", None)}
            form = "index" if target.dtype.kind == "i" else "probabilities"
            loss = CrossEntropyLoss(form=form, **options)
            calls = loss, loss.grad, loss.value_and_grad, loss.hvp
            return [partial(call, **rest) for call in calls]
        three = (
            losses.cross_entropy,
            losses.cross_entropy_grad,
            losses.cross_entropy_value_and_grad,
        )
        calls = [partial(call, **options) for call in three]
        del options["from_logits"]
        return [*calls, partial(losses.cross_entropy_hvp, **options)]


WAYS = [
    Way(*choice)
    for choice in itertools.product([False, True], [True, False], [None, 1, 2])
][1:]  # the first is that of the tests of the functions
every_way = pytest.mark.parametrize("way", WAYS, ids=str)


@dataclass
class Problem:
    """Rows of input with their targets and options, for a case to change."""

    z: np.ndarray
    target: np.ndarray
    zero: float  # the input of a class of probability 0
    options: dict = field(default_factory=dict)


def make_problem(form, way):
    rng = np.random.default_rng(90)
    make = cases.make_logits if way.from_logits else cases.make_probabilities
    z, target = make(rng, (N, C)), cases.make_target(rng, form, (N, C))
    return Problem(z, target, -math.inf if way.from_logits else 0.0)


def ask(way, problem, reduction):
    """The value and the gradient of the rows, the same from every function."""
    options = dict(problem.options, reduction=reduction)
    if "sample_weight" in options:
        options["sample_weight"] = way.lay_out(np.array(options["sample_weight"]))
    input, target = way.lay_out(problem.z), way.lay_out(problem.target)
    value, grad, value_and_grad, hvp = way.functions(target, options)
    loss, gradient = value_and_grad(input, target)
    assert cases.same_bits(value(input, target), loss)
    assert cases.same_bits(grad(input, target), gradient)
    product = None
    if way.from_logits:
        vector = np.cos(np.arange(problem.z.size)).reshape(problem.z.shape)
        product = way.as_rows(hvp(input, target, way.lay_out(vector)))
    return np.ravel(loss), way.as_rows(gradient), product


def in_samples(function, problem, group, *vector):
    """The oracle's mean of each group of rows: what "sample" stands for."""
    starts = range(0, len(problem.z), group)
    results = []
    for rows in (slice(start, start + group) for start in starts):
        options = dict(problem.options)
        if "sample_weight" in options:
            options["sample_weight"] = np.array(options["sample_weight"])[rows]
        arrays = (a[rows] for a in (problem.z, problem.target, *vector))
        results.append(np.atleast_1d(function(*arrays, **options)))
    return np.concatenate(results)


def expect(way, problem, reduction):
    """What `ask` returns, from the oracle."""
    vector = np.cos(np.arange(problem.z.size)).reshape(problem.z.shape)
    at = {"from_logits": way.from_logits}
    calls = [
        (partial(reference.cross_entropy, **at), ()),
        (partial(reference.cross_entropy_grad, **at), ()),
        (reference.cross_entropy_hvp, (vector,)),
    ]
    if reduction == "sample" and len(problem.z):
        results = [in_samples(f, problem, way.group, *v) for f, v in calls]
    else:
        options = dict(problem.options)
        options["reduction"] = "none" if reduction == "sample" else reduction
        arrays = problem.z, problem.target
        results = [np.atleast_1d(f(*arrays, *v, **options)) for f, v in calls]
    return results if way.from_logits else [*results[:2], None]


# One change per row of the table, on a problem with index or probability targets.


def every_option(p):
    rng = np.random.default_rng(91)
    p.options = {
        "weight": cases.make_weight(rng, C),
        "sample_weight": cases.make_sample_weight(rng, N),
        "label_smoothing": 0.2,
    }
    if p.target.ndim == 1:
        p.options["ignore_index"] = int(p.target[0])


def nan_in_ignored_row(p):
    p.z[SPECIAL], p.target[SPECIAL] = math.nan, -100


def nan_in_row_of_weight_zero(p):
    p.z[SPECIAL] = math.nan
    p.options["sample_weight"] = np.arange(N) != SPECIAL


def every_row_ignored(p):
    p.target[:] = -100


def every_row_of_weight_zero(p):
    p.options["sample_weight"] = np.zeros(N)


def no_rows(p):
    p.z, p.target = p.z[:0], p.target[:0]


def class_weights_zero(p):
    p.options["weight"] = np.zeros(C)


def weight_zero_against_inf(p):
    p.z[SPECIAL, 1] = p.zero
    if p.target.ndim == 1:
        p.target[SPECIAL] = 1
    p.options["weight"] = np.arange(C) != 1


def mass_zero_against_inf(p):
    p.z[SPECIAL, 1], p.target[SPECIAL, 1] = p.zero, 0.0


def zero_under_the_target(p):
    p.z[SPECIAL, 1] = p.zero
    if p.target.ndim == 1:
        p.target[SPECIAL] = 1


def zero_elsewhere(p):
    p.z[SPECIAL, 1], p.target[SPECIAL] = p.zero, 2


def zero_elsewhere_smoothed(p):
    zero_elsewhere(p)
    p.options["label_smoothing"] = 0.1


def nan_in_kept_row(p):
    p.z[SPECIAL] = math.nan


def nan_without_mass(p):
    p.z[SPECIAL, 1], p.target[SPECIAL, 1] = math.nan, 0.0


def infinite_logit(p):
    p.z[SPECIAL, 1] = math.inf


def infinite_logit_of_the_target(p):
    p.z[SPECIAL, 1], p.target[SPECIAL] = math.inf, 1


def no_finite_logit(p):
    p.z[SPECIAL] = -math.inf


def targets_off_one(p):
    p.target[...] = np.random.default_rng(92).normal(size=(N, C))


BOTH = ("index", "probabilities")
# The change, the forms that it concerns, whether for logits alone, and what the mean is
# where the table says it: nan, inf, 0 or, for None, a finite number.
TABLE = [
    (every_option, BOTH, False, None),
    (nan_in_ignored_row, BOTH[:1], False, None),
    (nan_in_row_of_weight_zero, BOTH, False, None),
    (every_row_ignored, BOTH[:1], False, math.nan),
    (every_row_of_weight_zero, BOTH, False, math.nan),
    (no_rows, BOTH, False, math.nan),
    (class_weights_zero, BOTH[:1], False, math.nan),
    (class_weights_zero, BOTH[1:], False, 0.0),
    (weight_zero_against_inf, BOTH, False, None),
    (mass_zero_against_inf, BOTH[1:], False, None),
    (zero_under_the_target, BOTH, False, math.inf),
    (zero_elsewhere, BOTH[:1], False, None),
    (zero_elsewhere_smoothed, BOTH[:1], False, math.inf),
    (nan_in_kept_row, BOTH[:1], True, math.nan),
    (nan_in_kept_row, BOTH[1:], False, math.nan),
    (nan_without_mass, BOTH[1:], True, math.nan),
    (infinite_logit, BOTH, True, math.nan),
    (infinite_logit_of_the_target, BOTH[:1], True, math.nan),
    (no_finite_logit, BOTH, True, math.nan),
    (targets_off_one, BOTH[1:], False, None),
]
CASES = [
    pytest.param(change, form, way, mean, id=f"{change.__name__}-{form}-{way}")
    for change, forms, of_logits, mean in TABLE
    for form, way in itertools.product(forms, WAYS)
    if way.from_logits or not of_logits
]


@pytest.mark.parametrize(("change", "form", "way", "mean"), CASES)
def test_row_of_the_table(change, form, way, mean):
    problem = make_problem(form, way)
    change(problem)
    for reduction in REDUCTIONS:
        got = ask(way, problem, reduction)
        for a, b in zip(got, expect(way, problem, reduction), strict=True):
            if b is not None:
                assert a.shape == b.shape, reduction
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    (value,), gradient, _ = ask(way, problem, "mean")
    if mean is None:
        assert math.isfinite(value)
    else:
        np.testing.assert_array_equal(value, mean)
    if change in (every_row_ignored, every_row_of_weight_zero, no_rows):
        assert (gradient == 0).all()
    if change is class_weights_zero:
        expected = math.nan if form == "index" else 0.0
        np.testing.assert_array_equal(gradient, np.full((N, C), expected))
    if change in (nan_in_kept_row, nan_without_mass, infinite_logit, no_finite_logit):
        broken = np.flatnonzero(np.isnan(gradient).any(axis=1))
        np.testing.assert_array_equal(broken, [SPECIAL])
    if way.from_logits and mean == math.inf:
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("way", [w for w in WAYS if not w.from_logits], ids=str)
def test_nan_for_the_probability_of_the_target_is_nan(way):
    # The loss of an index depends on no other class: its slope there is 0.
    problem = make_problem("index", way)
    y = problem.target[SPECIAL]
    problem.z[SPECIAL, y] = math.nan
    for reduction in REDUCTIONS:
        value, gradient, _ = ask(way, problem, reduction)
        broken = {"none": SPECIAL, "sample": SPECIAL // way.group}.get(reduction, 0)
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(value)), [broken])
        np.testing.assert_array_equal(np.argwhere(np.isnan(gradient)), [[SPECIAL, y]])


def calls_into(way, problem, options):
    """Calls of every function, those that write with an array to write into."""
    input, target = way.lay_out(problem.z), way.lay_out(problem.target)
    out = np.full_like(input, 7.0)
    value, grad, value_and_grad, hvp = way.functions(target, options)
    calls = [
        lambda: value(input, target),
        lambda: grad(input, target, out=out),
        lambda: value_and_grad(input, target, out=out),
    ]
    if way.from_logits:
        calls.append(lambda: hvp(input, target, input, out=out))
    return calls, out


@every_way
@pytest.mark.parametrize("bad", [-1, C, 2**40])
def test_target_out_of_range_names_the_first_row_the_value_and_the_range(way, bad):
    problem = make_problem("index", way)
    problem.target[[SPECIAL, SPECIAL + 2]] = bad, 555
    calls, out = calls_into(way, problem, {})
    message = rf"^target must lie in \[0, {C}\); got {bad} at row {SPECIAL}\b"
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert (out == 7.0).all()  # nothing was computed before the refusal


@every_way
@pytest.mark.parametrize(
    ("argument", "value", "remedy"),
    [
        ("label_smoothing", 1.01, r"\[0, 1\]; got 1\.01"),
        ("label_smoothing", -0.01, r"\[0, 1\]; got -0\.01"),
        ("reduction", "average", "one of .*mean.*; got 'average'"),
        ("weight", np.ones(C + 1), rf"\({C},\).*got shape \({C + 1},\)"),
        ("weight", np.ones((C, 1)), rf"got shape \({C}, 1\)"),
        ("sample_weight", np.ones(N + 1), rf"got shape \({N + 1},\)"),
    ],
    ids=["above", "below", "unknown", "long", "column", "rows"],
)
def test_option_out_of_its_range_is_named(way, argument, value, remedy):
    problem = make_problem("index", way)
    with pytest.raises(ValueError, match=rf"^{argument} must .*{remedy}"):
        # A loss that holds its options refuses some of them when it is made.
        calls_into(way, problem, {argument: value})[0][0]()


@every_way
@pytest.mark.parametrize("form", BOTH)
def test_shapes_that_do_not_fit_are_named(way, form):
    problem = make_problem(form, way)
    fewer = replace(problem, target=problem.target[:-2])
    shape = re.escape(str(way.lay_out(fewer.target).shape))
    input, target = way.lay_out(problem.z), way.lay_out(fewer.target)
    value = way.functions(target, {})[0]
    with pytest.raises(ValueError, match=rf"^target must have .*{shape}"):
        value(input, target)
