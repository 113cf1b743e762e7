"""Make the table of docs/accuracy.rst.

``python -m tests.accuracy_table > docs/accuracy.txt`` takes about ten minutes, 4 GB of
memory, and longer without gmpy2, which mpmath uses where it is installed.
"""

import platform
import sys
from importlib.metadata import version

import mpmath
import numpy as np
import torch
import torch.nn.functional as F

from skxent.losses import cross_entropy
from tests.accuracy import (
    FAMILIES,
    TARGETS,
    exact_mean,
    largest_errors,
    make_problem,
    ours,
)

# Rows for each number of classes, with each kind of target.
ROWS = {2: 30, 3: 30, 10: 20, 64: 10, 65: 10, 300: 3, 1000: 1, 50257: 1, 256000: 1}
MEAN_ROWS = 100_000_000
DISTINCT_ROWS = 1000
# mpmath takes 20 s for a row of 256000.
MOST_FLOAT16 = 64
MOST_ALL_FAMILIES = 1000
MOST_ALL_TARGETS = 60_000
LARGE_FAMILIES = (
    "normal, scale 1",
    "uniform in [-1e4, 1e4]",
    "one logit 25 above equal ones",
)
HEADER = """\
                       skxent             |            torch
                  loss    |    gradient   |     loss     |   gradient
     C dtype    index soft| index   soft  | index   soft | index   soft"""


def theirs(problem):
    """Losses and gradients of torch, in the dtype of the logits."""
    z = torch.tensor(problem.z, requires_grad=True)
    options = dict(problem.options)
    if options:
        options["weight"] = torch.tensor(options["weight"]).to(z.dtype)
    target = torch.tensor(problem.target)
    losses = F.cross_entropy(z, target, reduction="none", **options)
    losses.sum().backward()
    return losses.detach().numpy(), z.grad.numpy()


def family_lines(family):
    """The largest errors of a family of logits, a line for each C and dtype."""
    rng = np.random.default_rng(0)
    yield f"{family}\n{'-' * len(family)}"
    for n_classes, n_rows in ROWS.items():
        if n_classes > MOST_ALL_FAMILIES and family not in LARGE_FAMILIES:
            continue
        kinds = TARGETS if n_classes <= MOST_ALL_TARGETS else TARGETS[::2]
        for dtype in ("float16", "float32", "float64"):
            if dtype == "float16" and n_classes > MOST_FLOAT16:
                continue
            worst = {"index": np.zeros((2, 2)), "soft": np.zeros((2, 2))}
            for kind in kinds:
                problem = make_problem(rng, family, kind, (n_rows, n_classes), dtype)
                errors = largest_errors(problem, (ours, theirs))
                group = worst["index" if kind in TARGETS[:2] else "soft"]
                np.maximum(group, errors, out=group)
            index, soft = worst["index"], worst["soft"]
            yield (
                f"{n_classes:6} {dtype:8}"
                f"{index[0, 0]:6.1f}{soft[0, 0]:5.1f}|"
                f"{index[0, 1]:6.1f}{soft[0, 1]:7.1f}  |"
                f"{index[1, 0]:6.2g}{soft[1, 0]:8.2g}|"
                f"{index[1, 1]:6.2g}{soft[1, 1]:8.2g}"
            )


def mean_line(name, z, target, repeats, dtype):
    """The relative error of a mean, of ours and of torch's."""
    z = z.astype(dtype)
    exact = exact_mean(z, target)
    z, target = np.tile(z, (repeats, 1)), np.tile(target, repeats)
    means = {
        "skxent": cross_entropy(z, target),
        "torch": F.cross_entropy(torch.from_numpy(z), torch.from_numpy(target)).item(),
    }
    words = [
        f"{who} {float(abs(mpmath.mpf(float(mean)) - exact) / exact):.1e}"
        for who, mean in means.items()
    ]
    return f"{len(z):10} rows, {name}, {dtype}: {', '.join(words)}"


def mean_lines():
    """Errors of means: confident rows, and very many rows."""
    rng = np.random.default_rng(0)
    yield "Relative error of the mean, two classes"
    z = rng.normal(size=(DISTINCT_ROWS, 2))
    target = rng.integers(2, size=DISTINCT_ROWS)
    confident = z.copy()
    confident[np.arange(DISTINCT_ROWS), target] += 30
    for dtype in ("float32", "float64"):
        yield mean_line("target 30 above", confident, target, 100, dtype)
    repeats = MEAN_ROWS // DISTINCT_ROWS
    yield mean_line("normal, scale 1", z, target, repeats, "float32")


def main():
    """Write the table."""
    packages = ("skxent", "numpy", "numba", "mpmath", "torch")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    python = f"Python {platform.python_version()} on {platform.machine()}"
    write = sys.stdout.write
    write(f"{python}, {versions}\n\n")
    for line in mean_lines():
        write(line + "\n")
        sys.stdout.flush()
    write(f"\nLargest errors in ulp\n\n{HEADER}\n")
    for family in FAMILIES:
        write("\n")
        for line in family_lines(family):
            write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
