"""Time to a relative suboptimality of 1e-6, beside scikit-learn's solvers.

    python race.py [--regime NAME ...] [--limit SECONDS] [--json FILE]

Each fit runs in a process of its own, which draws the data, fits a small part of them
for what is compiled and loaded on first use, and then times one ``fit`` for each
tolerance, loosest first, until one reaches the target. A process is ended at the limit:
such a solver is given as "> limit". The objective is evaluated in float64 by numpy; the
least value is the lowest that any run of the regime has found.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse
from regimes import REGIMES

TARGET = 1e-6
OURS = "skxent"
PEERS = ["lbfgs", "newton-cg", "newton-cholesky", "saga"]
# Solvers that only some regimes can be given to: a Hessian of 0.4 GB is the largest.
LARGEST_HESSIAN = 7500
TOLERANCES = {
    OURS: [3e-3, 1e-3, 5e-4, 2e-4],
    "lbfgs": [1e-4, 1e-6, 1e-8],
    "newton-cg": [1e-3, 1e-5, 1e-7],
    "newton-cholesky": [1e-3, 1e-5, 1e-7],
    "saga": [1e-2, 1e-3, 1e-4],
}
# Ours, tightly: where the least value comes from.
REFERENCE_TOLERANCE = 1e-6


def objective(X, y, coef, intercept):
    """Return sum(loss) + |coef|^2 / 2 in float64, over blocks of rows."""
    coef, intercept = np.float64(coef), np.float64(intercept)
    total = 0.0
    for begin in range(0, X.shape[0], 10_000):
        rows = slice(begin, begin + 10_000)
        block = X[rows] if scipy.sparse.issparse(X) else np.float64(X[rows])
        logits = block @ coef.T + intercept
        if len(coef) == 1:
            logits = np.column_stack([np.zeros(len(logits)), logits])
        logits -= logits[np.arange(len(logits)), y[rows]][:, None]
        total += np.logaddexp.reduce(logits, axis=1).sum()
    return total + 0.5 * np.vdot(coef, coef)


def make_model(solver, tol):
    """Return an unfitted classifier with C = 1."""
    if solver == OURS:
        from skxent.linear_model import SoftmaxRegression

        return SoftmaxRegression(tol=tol)
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(solver=solver, tol=tol, max_iter=100_000)


def run(regime, solver, tolerances):
    """Print, for each tolerance, seconds and the objective as a line of JSON."""
    warnings.simplefilter("ignore")
    X, y = REGIMES[regime]()
    few = np.concatenate([np.flatnonzero(y == label)[:3] for label in np.unique(y)])
    make_model(solver, 0.1).fit(X[few], y[few])
    for tol in tolerances:
        begin = time.perf_counter()
        model = make_model(solver, tol).fit(X, y)
        seconds = time.perf_counter() - begin
        value = objective(X, y, model.coef_, model.intercept_)
        print(json.dumps({"tol": tol, "seconds": seconds, "value": value}), flush=True)


def race(regime, solver, tolerances, limit):
    """Run in a process of its own; return what it printed before the limit."""
    command = [sys.executable, __file__, "--run", regime, solver]
    command += [str(tol) for tol in tolerances]
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit, check=False)
        output = done.stdout
        if done.returncode:
            print(done.stderr.decode()[-2000:], file=sys.stderr)
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
    return [json.loads(line) for line in output.decode().splitlines()]


def best_time(runs, least):
    """Return the seconds of the first run within the target, or None."""
    for fit in runs:
        if fit["value"] / least - 1 <= TARGET:
            return fit["seconds"]
    return None


def race_all(regime, limit):
    """Return the runs of every solver in one regime."""
    X, y = REGIMES[regime]()
    unknowns = (X.shape[1] + 1) * (len(np.unique(y)) - 1)
    runs = {}
    for solver in [OURS, *PEERS]:
        if solver == "newton-cholesky" and unknowns > LARGEST_HESSIAN:
            continue
        tolerances = TOLERANCES[solver]
        if solver == OURS:
            tolerances = [*tolerances, REFERENCE_TOLERANCE]
        runs[solver] = race(regime, solver, tolerances, limit)
        print(regime, solver, runs[solver], file=sys.stderr, flush=True)
    return runs


def row_of(regime, runs, limit):
    """Return a line of the table."""
    least = min(fit["value"] for fits in runs.values() for fit in fits)
    times = {solver: best_time(fits, least) for solver, fits in runs.items()}
    cells = []
    for solver in [OURS, *PEERS]:
        if solver not in times:
            cells.append("-")
        elif times[solver] is None:
            cells.append(f"> {limit:.0f}")
        else:
            cells.append(f"{times[solver]:.3g}")
    peers = [t for solver, t in times.items() if solver != OURS and t]
    ratio = "-"
    if times[OURS] and peers:
        ratio = f"{min(peers) / times[OURS]:.1f}"
    return "".join(f"{cell:>17}" for cell in [regime, *cells, ratio])


def main():
    """Race in the regimes that are named, or in all, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--regime", action="append", choices=REGIMES)
    parser.add_argument("--limit", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.run:
        regime, solver, *tolerances = arguments.run
        run(regime, solver, [float(tol) for tol in tolerances])
        return
    heading = ["regime", OURS, *PEERS, "best peer / ours"]
    table = ["".join(f"{cell:>17}" for cell in heading)]
    results = {}
    for regime in arguments.regime or REGIMES:
        results[regime] = race_all(regime, arguments.limit)
        table.append(row_of(regime, results[regime], arguments.limit))
        print(table[-1], flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    print("\n".join(table))


if __name__ == "__main__":
    main()
