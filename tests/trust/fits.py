"""Random fits whose result is compared with the minimum: run it after a solver changed.

    python -m tests.trust.fits --minutes 5 --seed 1 [--solver auto] [--l1-ratio 0.5]

Data are small and often unkind: columns of any scale, far from 0, constant, repeated or
nearly dependent; rare classes, entries that come twice, weights of 0. A ridge's minimum
is found by Newton's method in float64 from where the fit ended, that of an elastic net
by a fit with a small tolerance. A fit that warns is counted, one that does not and ends
further from the minimum than it says is shown.
"""

import argparse
import time
import warnings

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.special
from sklearn.exceptions import ConvergenceWarning

from skxent.linear_model import SoftmaxRegression, _training

STYLES = ["normal", "scaled", "far", "binary", "sparse"]
STYLES += ["constant", "repeated", "dependent", "heavy"]
CONTAINERS = ["C", "F", "strided", "csr", "csc", "csr twice", "csc twice"]
# What an estimate may be off by, and what the rounding of float32 may leave.
FACTOR, ROUGH = 10.0, 3e-6


def draw_data(rng, style):
    """Return X and labels from 0, at least one row for each."""
    n = int(rng.choice([5, 20, 60, 200, 1500]))
    p = int(rng.choice([1, 2, 5, 12, 30, 60, 150]))
    n_classes = min(int(rng.choice([2, 2, 3, 3, 5, 8])), n)
    p = min(p, 400 // n_classes)
    X = rng.normal(size=(n, p))
    if style == "scaled":
        X *= 10.0 ** rng.uniform(-4, 4, p)
    elif style == "far":
        X += rng.normal(0, 30, p)
    elif style == "binary":
        X = (X > 0.5) * 1.0
    elif style == "sparse":
        X *= rng.uniform(size=X.shape) < 0.1
    elif style == "constant":
        X[:, ::2] = rng.normal(size=X[:, ::2].shape[1])
    elif style == "repeated":
        X[:, 1::2] = X[:, : p - 1 : 2][:, : p // 2]
    elif style == "dependent":
        X = rng.normal(size=(n, 2)) @ rng.normal(size=(2, p)) + 1e-3 * X
    elif style == "heavy":
        X = rng.standard_t(1.5, size=(n, p))
    X = X.astype(rng.choice(["f8", "f8", "f4"]))
    signal = rng.choice([0.1, 1.0, 3.0]) / np.sqrt(p)
    coef = signal * rng.normal(size=(p, n_classes)) / (X.std(axis=0)[:, None] + 1e-9)
    y = ((X - X.mean(axis=0)) @ coef + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    if rng.uniform() < 0.3:
        y[rng.uniform(size=n) < 0.8] = 0
    y[:n_classes] = np.arange(n_classes)
    return X, y


def contained(X, kind, rng):
    """Return the same numbers in another container."""
    if kind in ("C", "F"):
        return np.array(X, order=kind)
    if kind == "strided":
        return np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2]
    compressed = (
        scipy.sparse.csr_array(X) if "csr" in kind else scipy.sparse.csc_array(X)
    )
    if "twice" not in kind:
        return compressed
    lengths = np.diff(compressed.indptr)
    lines = np.tile(np.repeat(np.arange(len(lengths)), lengths), 2)
    order = rng.permutation(len(lines))
    order = order[np.argsort(lines[order], kind="stable")]
    # halves, so that each number stays what it is
    data = np.tile(compressed.data / 2, 2)[order].astype(X.dtype)
    indices = np.tile(compressed.indices, 2)[order]
    return type(compressed)((data, indices, 2 * compressed.indptr), X.shape)


def draw_options(rng, args):
    """Return the parameters of an estimator."""
    l1_ratio = args.l1_ratio
    C = 10.0 ** rng.uniform(-4, 4.5)
    smoothing = float(rng.choice([0, 0, 0.1, 0.01]))
    if rng.uniform() < 0.15 and not l1_ratio:
        C, smoothing = np.inf, max(smoothing, 0.05)  # which has a minimum
    return {
        "C": float(C),
        "l1_ratio": l1_ratio,
        "label_smoothing": smoothing,
        "fit_intercept": bool(rng.uniform() < 0.8),
        "tol": float(rng.choice([1e-3, 1e-4])),
        "class_weight": "balanced" if rng.uniform() < 0.15 else None,
        "solver": args.solver,
        "max_iter": 2000,
    }


class Objective:
    """The estimator's objective in plain numpy, times the sum of the weights."""

    def __init__(self, X, y, weight, options):
        n, p = X.shape
        self.X = np.column_stack([X, np.ones(n)]) if options["fit_intercept"] else X
        q = np.eye(y.max() + 1)[y]
        mass = (weight[:, None] * q).sum(axis=0)
        balance = mass.sum() / (len(mass) * mass)
        e = options["label_smoothing"]
        self.t = (1 - e) * q + e / q.shape[1]
        self.t *= balance if options["class_weight"] else 1.0
        self.weight = weight
        self.ridge = np.zeros(self.X.shape[1])
        self.ridge[:p] = (1 - options["l1_ratio"]) / options["C"]
        self.lasso = np.where(np.arange(len(self.ridge)) < p, 1.0, 0.0)
        self.lasso *= options["l1_ratio"] / options["C"]

    def logits(self, coef):
        z = self.X @ coef.T
        return np.column_stack([np.zeros(len(z)), z]) if len(coef) == 1 else z

    def value(self, coef):
        z = self.logits(coef)
        lse = scipy.special.logsumexp(z, axis=1)[:, None]
        loss = float(self.weight @ (self.t * (lse - z)).sum(axis=1))
        penalty = 0.5 * self.ridge * coef**2 + self.lasso * np.abs(coef)
        return loss + float(penalty.sum())

    def newton_step(self, coef):
        """Return the Newton step of the ridge; flat directions stay."""
        r, q = coef.shape
        p = scipy.special.softmax(self.logits(coef), axis=1)
        mass = self.weight * self.t.sum(axis=1)
        residual = mass[:, None] * p - self.weight[:, None] * self.t
        gradient = (residual.T @ self.X)[-r:] + self.ridge * coef
        p = p[:, -r:]
        h = -np.einsum("i,ia,ib->abi", mass, p, p)
        h[np.arange(r), np.arange(r)] += (mass[:, None] * p).T
        hessian = np.einsum("abi,ij,ik->ajbk", h, self.X, self.X, optimize=True)
        hessian = hessian.reshape(r * q, r * q) + np.diag(np.tile(self.ridge, r))
        scale = np.sqrt(np.where(hessian.diagonal() > 0, hessian.diagonal(), 1.0))
        values, vectors = scipy.linalg.eigh(hessian / scale / scale[:, None])
        kept = values > 1e-13 * values.max()
        along = vectors[:, kept].T @ (gradient.ravel() / scale)
        step = -(vectors[:, kept] @ (along / values[kept])) / scale
        return step.reshape(r, q)

    def least_value(self, coef):
        """Return the least value of the ridge, from a point on."""
        value = self.value(coef)
        for _ in range(30):
            step = self.newton_step(coef)
            lengths = 0.5 ** np.arange(20)
            lower = (t for t in lengths if self.value(coef + t * step) < value)
            length = next(lower, None)
            if length is None:
                break
            coef = coef + length * step
            value = self.value(coef)
        return value


def coefficients(model, fit_intercept):
    coef = model.coef_.astype(float)
    if fit_intercept:
        coef = np.column_stack([coef, model.intercept_.astype(float)])
    return coef


def examine(seed, args):
    """Fit once; return what happened, and what was fitted."""
    rng = np.random.default_rng(seed)
    style, kind = str(rng.choice(STYLES)), str(rng.choice(CONTAINERS))
    X, y = draw_data(rng, style)
    options = draw_options(rng, args)
    weight = np.ones(len(y))
    if rng.uniform() < 0.2:
        weight = rng.integers(0, 3, len(y)).astype(float)
        weight[: y.max() + 1] = 1.0  # of each class
    data = contained(X, kind, rng)
    # small sparse data would be made dense
    _training.DENSE_SIZE = int(rng.choice([0, 1 << 18]))
    told = f"{style}, {kind}, {X.dtype}, {X.shape}, {y.max() + 1} classes, {options}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SoftmaxRegression(**options).fit(data, y, weight)
    unexpected = [
        str(w.message) for w in caught if w.category is not ConvergenceWarning
    ]
    if unexpected:
        return f"warned: {unexpected[0]}", told
    objective = Objective(X.astype(float), y, weight, options)
    coef = coefficients(model, options["fit_intercept"])
    value = objective.value(coef)
    if options["l1_ratio"]:
        tight = options | {"tol": 1e-7, "max_iter": 20_000}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            best = SoftmaxRegression(**tight).fit(data, y, weight)
        least = objective.value(coefficients(best, options["fit_intercept"]))
    else:
        least = objective.least_value(coef)
    least = min(least, value)
    if not np.isfinite(value):
        return "not finite", told
    if least < 1e-5 * weight.sum():
        return "separable", told  # where no relative distance means anything
    distance = value / least - 1
    estimate = model.history_["suboptimality"][-1]
    if caught:
        return f"did not converge: {distance:.1e}, estimated {estimate:.1e}", told
    allowed = FACTOR * options["tol"] ** 2
    if distance > max(allowed, ROUGH if X.dtype == np.float32 else 0.0):
        return f"too far: {distance:.1e}, estimated {estimate:.1e}", told
    return "right", told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--l1-ratio", type=float, default=0.0)
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    counts, seed = {}, args.seed
    while time.monotonic() < end:
        what, told = examine(seed, args)
        kind = what.split(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
        if kind not in ("right", "separable"):
            print(f"seed {seed}: {what}\n  {told}", flush=True)
        seed += 1
    print(f"{seed - args.seed} fits: {counts}")


if __name__ == "__main__":
    main()
