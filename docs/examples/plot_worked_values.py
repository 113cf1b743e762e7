"""
Two tutorials, number by number
===============================

Two widely read tutorials on `torch.nn.CrossEntropyLoss` print the loss of small arrays
under each option. Here are the same calls on numpy arrays, beside what was printed. The
first one goes through the options, the second one through gradients and other losses.
Where a sentence of theirs does not fit the numbers, a remark says so.
"""

# %%
# Class indices
# -------------
#
# Three rows of four logits, and the index of the true class of each.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax

from skxent.losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    cross_entropy_grad,
)


def compare(rows):
    """Print a line per call: its name, our value, the printed value."""
    print(f"{'':<26}{'skxent':<30}printed")
    for name, value, printed in rows:
        text = ", ".join(f"{x:.4f}" for x in np.atleast_1d(value))
        text = f"[{text}]" if np.ndim(value) else text
        print(f"{name:<26}{text:<30}{printed}".rstrip())


def table_of(input, target, calls):
    compare([(name, cross_entropy(input, target, **o), p) for name, o, p in calls])


input = np.array([[7.4, 2.8, -0.6, 6.3], [-1.9, 4.2, 3.9, 5.1], [9.3, -5.3, 7.2, -8.4]])
target = np.array([3, 0, 2])

table_of(
    input,
    target,
    [
        ("defaults", {}, "3.7154"),
        ("reduction='sum'", {"reduction": "sum"}, "11.1463"),
        ("reduction='none'", {"reduction": "none"}, "[1.3951, 7.5357, 2.2155]"),
        ("weight=[0, 1, 2, 3]", {"weight": [0, 1, 2, 3]}, "1.7233"),
        ("ignore_index=2", {"ignore_index": 2}, "4.4654"),
        ("label_smoothing=0.8", {"label_smoothing": 0.8}, "4.8088"),
    ],
)

# %%
# The mean with weights divides by the weights of the true classes, here by
# `3 + 0 + 2`: the second row has a weight of 0 and takes no part. `ignore_index` may be
# one of the classes, and the mean is then over the two rows that are left.
#
# Probabilities
# -------------
#
# The target may also be a distribution for each row. The tutorial makes it with a
# softmax of other numbers.

input = np.array([[7.4, 2.8, -0.6], [6.3, -1.9, 4.2]])
target = softmax([[3.9, 5.1, 9.3], [-5.3, 7.2, -8.4]], axis=1)

table_of(
    input,
    target,
    [
        ("defaults", {}, "8.1203"),
        ("reduction='sum'", {"reduction": "sum"}, "16.2406"),
        ("reduction='none'", {"reduction": "none"}, "[7.9249, 8.3157]"),
        ("weight=[0, 1, 2]", {"weight": [0, 1, 2]}, "12.0488"),
        ("label_smoothing=0.8", {"label_smoothing": 0.8}, "4.7278"),
    ],
)

# %%
# Now the mean with weights divides by the number of rows, 2, whatever the weights are.
# That is torch's rule, and ours.
#
# An array without entries is one row without classes. Its sum is 0, and a mean over
# nothing is nan. (torch prints the zeros as `-0.`)

empty = np.array([])
table_of(
    empty,
    empty,
    [
        ("empty, reduction='mean'", {"reduction": "mean"}, "nan"),
        ("empty, reduction='sum'", {"reduction": "sum"}, "-0."),
        ("empty, reduction='none'", {"reduction": "none"}, "-0."),
    ],
)

# %%
# The second tutorial
# -------------------
#
# Equal logits have a loss of `log(3)` for any target that sums to 1, such as the random
# one below. In another example the target is `torch.empty(3)`, memory that nobody has
# set. It is no distribution, but neither torch nor `cross_entropy` checks that, and the
# gradient is `softmax(z) * sum(t) - t` all the same. Both targets are only known as
# they were printed, rounded, so that our last digits can be off.

ones = np.ones(3)
drawn = [0.6004, 0.3339, 0.0657]
unset = [0.0, 18.98, 7.7549e-14]
pair = np.array([[1.3, 2.0], [1.3, 2.0]])

compare(
    [
        ("logits 0, 1, 2, 3", cross_entropy([[0.0, 1.0, 2.0, 3.0]], [3]), "0.4402"),
        ("random target", cross_entropy(ones, drawn), "1.0986"),
        (
            "  its gradient",
            cross_entropy_grad(ones, drawn),
            "[-0.2670, -0.0006, 0.2676]",
        ),
        ("unset target", cross_entropy(ones, unset), "20.8519"),
        (
            "  its gradient",
            cross_entropy_grad(ones, unset),
            "[6.3267, -12.6535, 6.3267]",
        ),
        ("weight=[1.3, 2]", cross_entropy(pair, [1, 1], weight=[1.3, 2.0]), "0.4032"),
        ("  without weight", cross_entropy(pair, [1, 1]), ""),
        (
            "binary, pos_weight=1",
            binary_cross_entropy_with_logits(
                np.ones((2, 3)), np.ones((2, 3)), pos_weight=ones
            ),
            "0.3133",
        ),
    ]
)

# %%
# Three remarks. The weighted example cannot show what a weight does: both rows are of
# class 1, whose weight stands above and below the fraction line and cancels. It has two
# classes, not one as its comment says. And the binary example is a batch of 2 with
# 3 labels, where the comment has it the other way round.
#
# Softmax once
# ------------
#
# Another article tells its readers to put the model's output through a softmax before
# `CrossEntropyLoss`. That loss takes a softmax itself, so the probabilities pass for
# logits. They lie between 0 and 1, and among three classes the loss of a row can then
# be neither below `log(e + 2) - 1` nor above `log(e + 2)`, however right or wrong the
# model is. The figure takes the logits `(x, -x, 0)`, the true class first, from surely
# wrong to surely right.

x = np.linspace(-6, 6, 161)
logits = np.column_stack([x, -x, np.zeros(161)])
first = np.zeros(161, dtype=int)
once = cross_entropy(logits, first, reduction="none")
twice = cross_entropy(softmax(logits, axis=1), first, reduction="none")
bounds = np.log(np.e + 2) - [1, 0]
print(
    f"softmax twice: {twice.min():.4f} to {twice.max():.4f}, bounds {bounds.round(4)}"
)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.axhspan(*bounds, color="#E69F00", alpha=0.2, lw=0, label="bounds of softmax twice")
axes.plot(x, once, color="#0072B2", lw=2, label="softmax once")
axes.plot(x, twice, "--", color="#D55E00", lw=2, label="softmax twice")
axes.set(
    title="A second softmax hides how good the model is",
    xlabel="x, for the logits (x, -x, 0)",
    ylabel="loss [nats]",
)
axes.legend()
axes.grid(alpha=0.3)

# %%
# For a model that gives probabilities, pass `from_logits=False`.

probabilities = softmax(logits, axis=1)
again = cross_entropy(probabilities, first, reduction="none", from_logits=False)
print(f"largest difference to 'softmax once': {np.abs(again - once).max():.1e}")
