"""The demo: scikit-learn's digits, scored, fitted, calibrated and drawn.

Conventions
-----------
n samples, K classes. ``logits`` (n, K) are out-of-fold predictions.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skxent
from skxent.kernels import _cpu
from skxent.kernels._jit import Twins
from skxent.linear_model import SoftmaxRegression
from skxent.losses import cross_entropy, cross_entropy_value_and_grad
from skxent.metrics import cross_entropy_loss, make_cross_entropy_scorer

__all__ = ["run"]

SMOOTHING = 0.005
SCORERS = {
    "skxent scorer": make_cross_entropy_scorer(),
    "make_scorer": make_scorer(
        cross_entropy_loss, greater_is_better=False, response_method="predict_proba"
    ),
    "neg_log_loss": "neg_log_loss",
    "accuracy": "accuracy",
}
LOSS_SCORERS = ("skxent scorer", "make_scorer", "neg_log_loss")


def _prepare_kernels() -> None:
    """Load or compile what the demo calls, and say which it was."""
    print(
        "Preparing the kernels (compiling them on the first run, about 7 s) ... ",
        end="",
        flush=True,
    )
    start = time.perf_counter()
    for n in (8, 4096):  # one call below and one above the threshold for threads
        logits = np.zeros((n, 10))
        target = np.zeros(n, dtype=np.int64)
        cross_entropy(logits, target)
        cross_entropy_value_and_grad(logits, target)
        cross_entropy_loss(target, np.full((n, 10), 0.1), labels=np.arange(10))
    kernels = [
        twin
        for twins in vars(_cpu).values()
        if isinstance(twins, Twins)
        for twin in twins
    ]
    compiled = sum(kernel.stats.cache_misses.total() for kernel in kernels)
    took = time.perf_counter() - start
    how = f"compiled {compiled}" if compiled else "all from the cache"
    print(f"{how}, {took:.1f} s\n", flush=True)


def _cross_validate(
    models: dict[str, Any], X: NDArray[Any], y: NDArray[Any]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the scores of each model under every scorer."""
    return {
        name: cross_validate(
            make_pipeline(StandardScaler(), model), X, y, scoring=SCORERS
        )
        for name, model in models.items()
    }


def _print_scores(results: dict[str, dict[str, NDArray[Any]]]) -> None:
    """Print a table with a row for each scorer and a column for each model."""
    print("5-fold cross-validation of make_pipeline(StandardScaler(), model)\n")
    print(f"{'mean ± std':<22}" + "".join(f"{name:>22}" for name in results))
    rows = [(name, f"test_{name}") for name in SCORERS] + [("fit time [s]", "fit_time")]
    for title, key in rows:
        cells = (f"{r[key].mean():.4f} ± {r[key].std():.4f}" for r in results.values())
        print(f"{title:<22}" + "".join(f"{cell:>22}" for cell in cells))
    spread = [
        np.ptp([r[f"test_{name}"] for name in LOSS_SCORERS], axis=0).max()
        for r in results.values()
    ]
    cells = (f"{value:.1e}" for value in spread)
    print(f"{'scorers differ by':<22}" + "".join(f"{cell:>22}" for cell in cells))
    print()


def _fit_temperature(logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the T that minimises the loss of ``logits / T``."""
    # C. Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2
    result = scipy.optimize.minimize_scalar(
        lambda log_t: cross_entropy(logits / np.exp(log_t), y), bounds=(-3, 3)
    )
    return float(np.exp(result.x))


def _print_calibration(
    logits: NDArray[Any], smoothed: NDArray[Any], y: NDArray[Any]
) -> float:
    """Print the held-out loss before and after; return the temperature."""
    fitting, held_out = slice(0, None, 2), slice(1, None, 2)
    temperature = _fit_temperature(logits[fitting], y[fitting])
    print("Out-of-fold loss of SoftmaxRegression, every second sample\n")
    for title, scores in [
        ("as fitted", logits),
        (f"label_smoothing={SMOOTHING}", smoothed),
        (f"temperature {temperature:.2f}", logits / temperature),
    ]:
        loss = cross_entropy_loss(y[held_out], scores[held_out], from_logits=True)
        print(f"{title:<22}{loss:>22.4f}")
    print()
    return temperature


def _draw(
    history: dict[str, NDArray[Any]],
    logits: NDArray[Any],
    temperature: float,
    y: NDArray[Any],
    path: Path,
) -> None:
    """Save the loss history and the reliability curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(history["loss"], color="C0")
    left.set(
        title="Loss history of the fit",
        xlabel="L-BFGS iteration",
        ylabel="objective [nats per sample]",
        yscale="log",
    )
    right.plot([0, 1], [0, 1], color="0.7", linestyle=":", label="perfectly calibrated")
    for title, scores in [
        ("as fitted", logits),
        (f"temperature {temperature:.2f}", logits / temperature),
    ]:
        proba = scipy.special.softmax(scores, axis=1)
        correct = proba.argmax(axis=1) == y
        share, confidence = calibration_curve(correct, proba.max(axis=1), n_bins=8)
        right.plot(confidence, share, marker="o", label=title)
    right.set(
        title="Reliability of the predicted class",
        xlabel="confidence, mean of the bin",
        ylabel="share of correct predictions",
    )
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def run(picture: Path) -> None:
    """Run the demo and print what it finds.

    Parameters
    ----------
    picture : Path
        Where to save the picture, if matplotlib is installed.
    """
    X, y = load_digits(return_X_y=True)
    print(
        f"skxent {skxent.__version__} on scikit-learn's digits: {len(X)} images of "
        f"{X.shape[1]} pixels, 10 classes\n"
    )
    _prepare_kernels()

    ours = SoftmaxRegression()
    models = {
        "SoftmaxRegression": ours,
        "LogisticRegression": LogisticRegression(tol=1e-6, max_iter=1000),
    }
    _print_scores(_cross_validate(models, X, y))

    logits, smoothed = (
        cross_val_predict(
            make_pipeline(StandardScaler(), clone(ours).set_params(**parameters)),
            X,
            y,
            method="decision_function",
        )
        for parameters in ({}, {"label_smoothing": SMOOTHING})
    )
    temperature = _print_calibration(logits, smoothed, y)

    start = time.perf_counter()
    ours.fit(StandardScaler().fit_transform(X), y)
    took = time.perf_counter() - start
    history = ours.history_
    print(
        f"Fit on all samples: {ours.n_iter_[0]} iterations in {took:.2f} s, objective "
        f"{history['loss'][0]:.4f} -> {history['loss'][-1]:.4f} nats per sample"
    )
    try:
        _draw(history, logits, temperature, y, picture)
    except ModuleNotFoundError:
        print("No picture: matplotlib is missing (pip install 'skxent[plot]')")
    else:
        print(f"Loss history and reliability curve: {picture}")
