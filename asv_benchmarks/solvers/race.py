"""Time to a relative suboptimality of 1e-6, beside the solvers that users can get.

    python race.py [--regime NAME ...] [--solver NAME ...] [--threads N ...]
                   [--limit SECONDS] [--json FILE]

Each solver runs in a process of its own, which draws the data, fits a small part of
them for what is compiled and loaded on first use, and then times one ``fit`` for each
tolerance, loosest first, until one reaches the target; once for each thread count, of
which the best counts. A process is ended at the limit: ">" in the table stands before
what was left of it for the last tolerance, or the slowest fit that fell short. "-" is a
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
        least = least_value(results)
        fits = [
            race(regime, name, least, threads, arguments.limit)
            for threads in arguments.threads
        ]
        print(regime, name, fits, file=sys.stderr, flush=True)
        if any(fit is not None for fit in fits):
            fits = [fit for some in fits if some is not None for fit in some]
            results[name] = {"limit": arguments.limit, "fits": fits}
    return results


def least_value(results):
    """Return the least objective of all fits of a regime, 0 if there are none."""
    fits = [fit for result in results.values() for fit in result["fits"]]
    return min((fit["value"] for fit in fits), default=0)


def best_time(result, least):
    """Return the least time to the target and True, or what it exceeds and False."""
    seconds = [fit["seconds"] for fit in result["fits"]]
    times = [
        fit["seconds"]
        for fit in result["fits"]
        if least and fit["value"] / least - 1 <= TARGET
    ]
    if times:
        return min(times), True
    # The looser tolerances took their part of the limit.
    return max([*seconds, result["limit"] - sum(seconds)]), False


def said(time, is_reached):
    """Return a time as the table says it."""
    return f"{time:.3g}" if is_reached else f"> {time:.0f}"


def table_of(results):
    """Return the lines of the table."""
    names = list(SOLVERS)
    rows = [["regime", *names, "best peer / ours"]]
    for regime, by_name in results.items():
        least = least_value(by_name)
        times = {name: best_time(result, least) for name, result in by_name.items()}
        row = [regime]
        row += [said(*times[name]) if name in times else "-" for name in names]
        peers = [time for name, time in times.items() if name != OURS]
        ratio = "-"
        if OURS in times and times[OURS][1] and peers:
            reached = [time for time in peers if time[1]]
            best, is_reached = min(reached or peers)
            ratio = said(best / times[OURS][0], is_reached)
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
    print("\n".join(table_of(results)))


if __name__ == "__main__":
    main()
