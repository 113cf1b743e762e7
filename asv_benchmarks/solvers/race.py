"""Time to a relative suboptimality of 1e-6, beside the solvers that users can get.

    python race.py [--regime NAME ...] [--solver NAME ...] [--threads N ...]
                   [--limit SECONDS] [--json FILE]

Each solver runs in a process of its own, which draws the data, fits a small part of
them for what is compiled and loaded on first use, and then times one ``fit`` for each
tolerance, loosest first, until one reaches the target; once for each thread count, of
which the best counts. A process is ended at the limit: "> limit" in the table. "-" is a
solver that is not installed or not made for the regime. The objective is evaluated in
float64 by numpy; the least value is the lowest that any run of the regime has found. A
JSON file that exists is read first, and what is raced again replaces its part.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse
from entrants import OURS, SOLVERS
from regimes import PENALTIES, REGIMES

TARGET = 1e-6
# Ours, tightly: where the least value comes from.
REFERENCE_TOLERANCE = 1e-6
# What numba, OpenBLAS, MKL and torch read; intelex takes its threads from the affinity.
THREAD_VARIABLES = ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]


def objective(X, y, coef, intercept, penalty):
    """Return the sum of the losses and the penalty in float64, over blocks of rows."""
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
    size = penalty.l1_ratio * np.abs(coef).sum()
    size += (1 - penalty.l1_ratio) / 2 * np.vdot(coef, coef)
    return total + size / penalty.C


def run(regime, name, least):
    """Print, for each tolerance, seconds and the objective as a line of JSON."""
    warnings.simplefilter("ignore")
    X, y = REGIMES[regime]()
    penalty, solver = PENALTIES[regime], SOLVERS[name]
    if not solver.takes(X, len(np.unique(y)), penalty):
        return
    few = np.concatenate([np.flatnonzero(y == label)[:3] for label in np.unique(y)])
    solver.fit(X[few], y[few], penalty, 0.1)
    tolerances = solver.tolerances
    if name == OURS:
        # Kernels of large data are others than those of a few rows.
        solver.fit(X, y, penalty, tolerances[0])
        tolerances = [*tolerances, REFERENCE_TOLERANCE]
    for tol in tolerances:
        begin = time.perf_counter()
        coef, intercept = solver.fit(X, y, penalty, tol)
        seconds = time.perf_counter() - begin
        value = objective(X, y, coef, intercept, penalty)
        print(json.dumps({"tol": tol, "seconds": seconds, "value": value}), flush=True)
        if name != OURS and value / least - 1 <= TARGET:
            return


def race(regime, name, least, threads, limit):
    """Run in a process of its own; return what it printed before the limit, or None."""
    command = [sys.executable, __file__, "--run", regime, name, repr(least)]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    cpus = sorted(os.sched_getaffinity(0))[:threads]
    try:
        done = subprocess.run(
            ["taskset", "-c", ",".join(map(str, cpus)), *command],
            capture_output=True,
            timeout=limit,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
    else:
        output = done.stdout
        if done.returncode:
            print(done.stderr.decode()[-2000:], file=sys.stderr)
            return None
        if not output:
            return None
    fits = [json.loads(line) for line in output.decode().splitlines()]
    return [fit | {"threads": threads} for fit in fits]


def race_regime(regime, names, arguments, results):
    """Race the solvers of a regime; update and return its results by name."""
    for name in [OURS] * (OURS in names) + [name for name in names if name != OURS]:
        least = min(
            (fit["value"] for fits in results.values() for fit in fits), default=0
        )
        fits = [
            race(regime, name, least, threads, arguments.limit)
            for threads in arguments.threads
        ]
        print(regime, name, fits, file=sys.stderr, flush=True)
        if any(fit is not None for fit in fits):
            results[name] = [fit for some in fits if some is not None for fit in some]
    return results


def table_of(results, limit):
    """Return the lines of the table."""
    names = list(SOLVERS)
    rows = [["regime", *names, "best peer / ours"]]
    for regime, by_name in results.items():
        least = min(fit["value"] for fits in by_name.values() for fit in fits)
        times = {
            name: min(
                (fit["seconds"] for fit in fits if fit["value"] / least - 1 <= TARGET),
                default=None,
            )
            for name, fits in by_name.items()
        }
        row = [regime]
        for name in names:
            seconds = times.get(name)
            if name not in times:
                row.append("-")
            else:
                row.append(f"> {limit:.0f}" if seconds is None else f"{seconds:.3g}")
        peers = [t for name, t in times.items() if name != OURS]
        reached = [t for t in peers if t is not None]
        best = min(reached) if reached else limit
        sign = "" if reached else "> "
        ratio = f"{sign}{best / times[OURS]:.1f}" if peers and times.get(OURS) else "-"
        rows.append([*row, ratio])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def main():
    """Race in the regimes that are named, or in all, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--regime", action="append", choices=REGIMES)
    parser.add_argument("--solver", action="append", choices=SOLVERS)
    parser.add_argument("--threads", action="append", type=int)
    parser.add_argument("--limit", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.run:
        regime, name, least = arguments.run
        run(regime, name, float(least))
        return
    arguments.threads = arguments.threads or [2]
    results = {}
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text())
    for regime in arguments.regime or REGIMES:
        names = arguments.solver or list(SOLVERS)
        results[regime] = race_regime(regime, names, arguments, results.get(regime, {}))
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    print("\n".join(table_of(results, arguments.limit)))


if __name__ == "__main__":
    main()
