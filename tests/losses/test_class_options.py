"""What the loss classes refuse, how they compare, pickle and print, what they tell."""

import copy
import itertools
import pickle
import re

import numpy as np
import pytest

from skxent.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from tests.losses import cases

RNG = np.random.default_rng(70)
N, C = 12, 4
LOGITS = cases.make_logits(RNG, (N, C))
LABELS = cases.make_target(RNG, "index", (N, C))
SOFT = cases.make_target(RNG, "probabilities", (N, C))
EVENTS = RNG.uniform(size=(N, C))
VECTOR = RNG.normal(size=(N, C))
WEIGHT = cases.make_weight(RNG, C)
ROW_WEIGHT = cases.make_sample_weight(RNG, N)
# Between them they have every option.
LOSSES = [
    CrossEntropyLoss(),
    CrossEntropyLoss(WEIGHT, ignore_index=1, label_smoothing=0.1, class_axis=-1),
    CrossEntropyLoss(form="index", reduction="sample", input_shape=(None, C)),
    CrossEntropyLoss(from_logits=False, reduction="none", target_shape=[None]),
    CrossEntropyLoss(WEIGHT, form="binary", reduction="sum"),
    BinaryCrossEntropyLoss(),
    BinaryCrossEntropyLoss(WEIGHT, EVENTS, "sum", 0.2, input_shape=(N, None)),
    BinaryCrossEntropyLoss(from_logits=False, target_shape=(None, C)),
]


@pytest.mark.parametrize(
    ("form", "target", "message"),
    [
        ("index", SOFT, r"class indices .* form='index'; got .*probabilities.*\bindex"),
        ("probabilities", LABELS, r"probabilities .* class indices.* one-hot"),
        ("binary", LABELS, r"numbers in \[0, 1\].* class indices.* form='index'"),
    ],
)
def test_a_target_of_another_form_is_refused(form, target, message):
    loss = CrossEntropyLoss(form=form)
    for call in (loss, loss.grad, loss.value_and_grad, loss.update):
        with pytest.raises(ValueError, match=f"^target must hold {message}") as caught:
            call(LOGITS, target)
        assert str(target.shape) in str(caught.value)
    with pytest.raises(ValueError, match=r"^target must hold"):
        loss.hvp(LOGITS, target, VECTOR)
    with pytest.raises(ValueError, match=r"^target must hold"):
        loss(LOGITS.tolist(), target.tolist())


@pytest.mark.parametrize("form", ["auto", "index", "probabilities", "binary"])
def test_a_target_of_no_form_is_refused_as_by_the_functions(form):
    with pytest.raises(ValueError, match=r"^target must have .*shape"):
        CrossEntropyLoss(form=form)(LOGITS, SOFT[np.newaxis])
    with pytest.raises(ValueError, match=r"^target must have .*shape"):
        CrossEntropyLoss(form=form)(LOGITS, SOFT[:, :-1] if form != "index" else [0])


def test_binary_form_weighs_elements_not_samples():
    loss = CrossEntropyLoss(form="binary")
    with pytest.raises(ValueError, match=r"^sample_weight .* weight that broadcasts"):
        loss(LOGITS, SOFT, sample_weight=ROW_WEIGHT)


REFUSED = [
    ("reduction", ValueError, {"reduction": "average"}),
    ("reduction", ValueError, {"reduction": None}),
    ("label_smoothing", ValueError, {"label_smoothing": 1.5}),
    ("label_smoothing", TypeError, {"label_smoothing": "0.1"}),
    ("weight", TypeError, {"weight": ["a"]}),
    ("weight", TypeError, {"weight": np.ma.masked_equal([0.0, 1.0], 0)}),
    ("input_shape", TypeError, {"input_shape": 3}),
    ("input_shape", TypeError, {"input_shape": (None, 3.0)}),
    ("input_shape", TypeError, {"input_shape": (True, 3)}),
    ("input_shape", ValueError, {"input_shape": (None, -1)}),
    ("target_shape", TypeError, {"target_shape": "any"}),
]
REFUSED_WITH_CLASSES = [
    ("ignore_index", TypeError, {"ignore_index": 1.0}),
    ("ignore_index", ValueError, {"ignore_index": 0, "form": "probabilities"}),
    ("ignore_index", ValueError, {"ignore_index": 255, "form": "binary"}),
    ("class_axis", ValueError, {"class_axis": -1, "form": "binary"}),
    ("class_axis", TypeError, {"class_axis": 1.0}),
    ("class_axis", ValueError, {"class_axis": 2, "input_shape": (None, 3)}),
    ("form", ValueError, {"form": "Index"}),
    ("weight", ValueError, {"weight": 2.0}),
    ("weight", ValueError, {"weight": np.ones((2, 3))}),
    ("weight", ValueError, {"weight": np.ones(3), "input_shape": (None, 4)}),
    (
        "input_shape",
        ValueError,
        {"form": "probabilities", "input_shape": (5, 3), "target_shape": (5, 4)},
    ),
    ("target_shape", ValueError, {"input_shape": (5, 3), "target_shape": (4,)}),
    (
        "target_shape",
        ValueError,
        {"form": "index", "input_shape": (5, 3), "target_shape": (None, 3)},
    ),
    (
        "target_shape",
        ValueError,
        {"form": "binary", "input_shape": (5, 3), "target_shape": (5,)},
    ),
]
REFUSED_WITH_EVENTS = [
    ("pos_weight", ValueError, {"pos_weight": 2.0, "from_logits": False}),
    ("pos_weight", TypeError, {"pos_weight": ["a"]}),
    ("target_shape", ValueError, {"input_shape": (5, 3), "target_shape": (5,)}),
]


@pytest.mark.parametrize(
    ("cls", "argument", "error", "options"),
    [(CrossEntropyLoss, *case) for case in REFUSED + REFUSED_WITH_CLASSES]
    + [(BinaryCrossEntropyLoss, *case) for case in REFUSED + REFUSED_WITH_EVENTS],
)
def test_bad_options_are_refused_at_construction(cls, argument, error, options):
    with pytest.raises(error, match=f"^{argument}\\b"):
        cls(**options)


@pytest.mark.parametrize(
    ("cls", "target_shape"),
    [(CrossEntropyLoss, (None,)), (BinaryCrossEntropyLoss, (None, C))],
)
def test_contracts(cls, target_shape):
    loss = cls(input_shape=(None, C), target_shape=target_shape)
    target = LABELS if cls is CrossEntropyLoss else EVENTS
    for n in (N, 1, 0):
        with np.errstate(invalid="ignore"):
            assert loss(LOGITS[:n], target[:n]).shape == ()
    for name, input, bad in [
        ("input", LOGITS[:, :-1], target),
        ("input", LOGITS[0], target),
        ("input", LOGITS[np.newaxis], target),
        ("target", LOGITS, target[..., np.newaxis]),
    ]:
        contract = loss.input_shape if name == "input" else target_shape
        shape = np.shape(input if name == "input" else bad)
        message = re.escape(f"{name} must have shape {contract}, the {name}_shape")
        for call in (loss, loss.grad, loss.value_and_grad, loss.update):
            with pytest.raises(ValueError, match=message) as caught:
                call(input, bad)
            assert f"got shape {shape}. Reshape" in str(caught.value)
        with pytest.raises(ValueError, match=message):
            loss.hvp(input, bad, VECTOR)
    with pytest.raises(ValueError, match=r"^input must have shape"):
        loss([[0.0, 1.0]], [0])


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_copies_are_equal(loss):
    for other in (
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
        copy.copy(loss),
    ):
        assert other == loss
        assert repr(other) == repr(loss)
        assert vars(other).keys() == vars(loss).keys()
        for name in ("weight", "pos_weight"):
            array = getattr(other, name, None)
            assert array is None or not array.flags.writeable


def test_losses_that_differ_are_not_equal():
    for one, other in itertools.combinations(LOSSES, 2):
        assert one != other
    assert CrossEntropyLoss() != "CrossEntropyLoss()"
    assert CrossEntropyLoss(WEIGHT) != CrossEntropyLoss(WEIGHT[::-1])
    assert CrossEntropyLoss(np.ones(3)) != CrossEntropyLoss(np.ones(4))
    assert CrossEntropyLoss(np.ones(3)) == CrossEntropyLoss([1, 1, 1])
    assert CrossEntropyLoss([np.nan, 1.0]) == CrossEntropyLoss([np.nan, 1.0])
    assert CrossEntropyLoss(input_shape=[None, 3]) == CrossEntropyLoss(
        input_shape=(None, np.int64(3))
    )

    class Special(CrossEntropyLoss):
        pass

    assert Special() != CrossEntropyLoss()
    assert repr(Special(reduction="sum")) == "Special(reduction='sum')"


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_are_not_hashable(loss):
    with pytest.raises(TypeError, match="unhashable"):
        hash(loss)


@pytest.mark.parametrize("loss", LOSSES[:6], ids=repr)
def test_repr_makes_an_equal_loss(loss):
    assert eval(repr(loss)) == loss


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(CrossEntropyLoss()) == "CrossEntropyLoss()"
    assert repr(CrossEntropyLoss(label_smoothing=0, reduction="mean")) == (
        "CrossEntropyLoss()"
    )
    loss = CrossEntropyLoss([1, 2], ignore_index=0, label_smoothing=0.1, class_axis=-1)
    assert repr(loss) == (
        "CrossEntropyLoss(weight=[1.0, 2.0], ignore_index=0, label_smoothing=0.1, "
        "class_axis=-1)"
    )
    many = np.ones((3, 4), dtype=np.float32)
    assert repr(BinaryCrossEntropyLoss(many, reduction="none")) == (
        "BinaryCrossEntropyLoss(weight=<float32 array of shape (3, 4)>, "
        "reduction='none')"
    )


@pytest.mark.parametrize("name", ["weight", "pos_weight"])
def test_weights_are_copied(name):
    array = WEIGHT.copy()
    cls = CrossEntropyLoss if name == "weight" else BinaryCrossEntropyLoss
    loss = cls(**{name: array})
    target = LABELS if name == "weight" else EVENTS
    before = loss(LOGITS, target)
    array[:] = 7.0
    np.testing.assert_array_equal(getattr(loss, name), WEIGHT)
    assert loss(LOGITS, target) == before
    with pytest.raises(ValueError, match="read-only"):
        getattr(loss, name)[0] = 7.0


def described(loss):
    """The report as a dict, without its title."""
    title, *lines = loss.describe().splitlines()
    assert title == type(loss).__name__
    return {line[2:16].rstrip(): line[16:] for line in lines}


def test_describe_tells_form_shapes_formula_and_options():
    loss = CrossEntropyLoss(
        WEIGHT,
        ignore_index=255,
        label_smoothing=0.1,
        form="index",
        class_axis=-1,
        input_shape=(None, 8, C),
    )
    report = described(loss)
    assert report["form"].startswith("index: class indices")
    assert report["input"] == "logits z, classes on axis 2"
    assert report["classes"] == f"C = {C}, from weight"
    assert report["row loss"] == (
        "l = sum_k t_k (log sum_j exp(z_j) - z_k), "
        "t_k = w_k ((1 - 0.1) q_k + 0.1 / C), in nats"
    )
    assert report["row weight"].endswith("0 where the target is 255")
    assert report["reduction"] == "mean: sum_i s_i l_i / sum_i s_i w[y_i]"
    assert report["input shape"] == f"(None, 8, {C})"
    assert report["target shape"] == "any"
    assert f"CrossEntropyLoss({report['options']})" == repr(loss)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "any number"),
        ({"weight": WEIGHT}, "C = 4, from weight"),
        ({"input_shape": (None, 3, 7)}, "C = 3, from input_shape"),
        ({"input_shape": (None, 3, 7), "class_axis": 2}, "C = 7, from input_shape"),
        ({"input_shape": (None, None), "form": "index"}, "any number"),
        ({"target_shape": (None, 5)}, "any number"),
        (
            {"target_shape": (None, 5), "form": "probabilities"},
            "C = 5, from target_shape",
        ),
    ],
)
def test_describe_tells_the_number_of_classes(options, expected):
    assert described(CrossEntropyLoss(**options))["classes"] == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "sum_i s_i"),
        ({"weight": WEIGHT, "form": "index"}, "sum_i s_i w[y_i]"),
        ({"weight": WEIGHT, "form": "probabilities"}, "sum_i s_i"),
        (
            {"weight": WEIGHT},
            "(sum_i s_i w[y_i] for indices, sum_i s_i for probabilities)",
        ),
    ],
)
def test_describe_tells_what_a_mean_divides_by(options, expected):
    mean = described(CrossEntropyLoss(**options))["reduction"]
    assert mean == f"mean: sum_i s_i l_i / {expected}"
    sample = described(CrossEntropyLoss(reduction="sample", **options))["reduction"]
    assert sample == f"sample: {mean[6:]} in each entry of the first axis"


def test_describe_of_binary_losses():
    report = described(BinaryCrossEntropyLoss(WEIGHT, WEIGHT, "none", 0.1))
    assert report["loss"] == (
        "l = -w (v t log(sigmoid(z)) + (1 - t) log(sigmoid(-z))), "
        "t = (1 - 0.1) q + 0.1 / 2, w = weight, v = pos_weight, in nats"
    )
    assert report["reduction"] == "none: l of each event"
    clamped = BinaryCrossEntropyLoss(from_logits=False)
    assert "no logarithm below -100" in described(clamped)["loss"]
    form = described(CrossEntropyLoss(form="binary", from_logits=False))
    assert form["loss"] == described(clamped)["loss"]
