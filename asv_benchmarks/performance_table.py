"""Make the table of docs/performance.rst.

``python -m asv_benchmarks.performance_table > docs/performance.txt`` takes half an
hour, 10 GB of memory, and a machine that does nothing else: with another process beside
it, torch alone can become 50 times slower. Shapes, calls, the check that results agree
and the alternating timer are those of the asv suite in its full profile;
``SKXENT_BENCH_PROFILE=quick`` tries in a minute whether all of it runs.
"""

import itertools
import multiprocessing
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version

import llvmlite.binding
import numba
import numpy as np

os.environ.setdefault("SKXENT_BENCH_PROFILE", "full")  # before the suite reads it

from asv_benchmarks.benchmarks import (
    compile_time,
    loss_forms,
    loss_options,
    losses,
    metrics,
    peers,
)
from asv_benchmarks.benchmarks.common import (
    copy_call,
    make_logits,
    medians,
)

PACKAGES = (
    "skxent",
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "torch",
    "jax",
    "optax",
)
# The widest that the machine has, of those that the kernels may be compiled for.
INSTRUCTION_SETS = ("avx512f", "avx2", "avx", "sse4.2", "sve", "neon")
OPERATIONS = {
    "value": (losses.value_call, peers.VALUE, False),
    "value and gradient": (losses.value_and_grad_call, peers.VALUE_AND_GRAD, True),
}
# Beyond this many logits scipy and scikit-learn take many seconds for a call.
MOST_LOGITS = 60_000_000
SLOW = ("scipy", "scikit-learn")


def machine_lines():
    """Yield the machine in general words, and the versions."""
    features = llvmlite.binding.get_host_cpu_features()
    widest = next((each for each in INSTRUCTION_SETS if features.get(each)), "none")
    threads = numba.config.NUMBA_NUM_THREADS
    machine = f"{platform.machine()} with {widest}"
    yield f"{machine}, {os.cpu_count()} cores, {threads} threads"
    installed = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            installed.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    yield ", ".join(installed[:5])
    yield ", ".join(installed[5:])


def milliseconds(seconds):
    """Return a time in 9 columns."""
    return f"{seconds * 1e3:9.4g}"


def ratio_column(ratio):
    """Return a ratio in 8 columns; "-" where there is nothing to compare with."""
    return f"{'-':>8}" if ratio is None else f"{ratio:8.3g}"


def bandwidth(n_bytes, seconds):
    """Return GB/s in 7 columns."""
    return f"{n_bytes / seconds / 1e9:7.1f}"


def peer_calls(shape, dtype, operation):
    """Return the call of each peer that takes these inputs and has the same number."""
    prepare, table, _ = OPERATIONS[operation]
    calls = {}
    for name in table:
        if name in SLOW and shape[0] * shape[1] > MOST_LOGITS:
            continue
        try:
            calls[name] = losses.comparable_calls(prepare, shape, dtype, "index", name)[
                1
            ]
        except NotImplementedError:
            continue
    return calls


def grid_line(shape, dtype, operation):
    """Return the line of one point of the grid, for class indices."""
    prepare, _, writes_gradient = OPERATIONS[operation]
    logits = make_logits(shape, dtype)
    theirs = peer_calls(shape, dtype, operation)
    ours = prepare(shape, dtype, "index", "skxent")
    our_time, copy_time, *their_times = medians(
        [ours, copy_call(logits), *theirs.values()]
    )
    ratios = {
        name: seconds / our_time
        for name, seconds in zip(theirs, their_times, strict=True)
    }
    n_bytes = losses.bytes_moved(shape, dtype, "index", writes_gradient)
    return (
        f"{shape[0]:8}{shape[1]:8}{milliseconds(our_time)} |"
        + "".join(ratio_column(ratios.get(name)) for name in peers.VALUE)
        + f" |{bandwidth(n_bytes, our_time)}{bandwidth(2 * logits.nbytes, copy_time)}"
    )


def soft_line(shape, dtype, operation):
    """Return the line of one point of the grid, for probability targets."""
    prepare, _, writes_gradient = OPERATIONS[operation]
    ours, theirs = losses.comparable_calls(
        prepare, shape, dtype, "probabilities", "torch"
    )
    logits = make_logits(shape, dtype)
    our_time, copy_time, torch_time = medians([ours, copy_call(logits), theirs])
    n_bytes = losses.bytes_moved(shape, dtype, "probabilities", writes_gradient)
    return (
        f"{shape[0]:8}{shape[1]:8}{milliseconds(our_time)} |"
        f"{ratio_column(torch_time / our_time)} |"
        f"{bandwidth(n_bytes, our_time)}{bandwidth(2 * logits.nbytes, copy_time)}"
    )


def option_line(shape, dtype, operation):
    """Return the line with what each option costs, over the plain call."""
    plain = loss_options.plain_call(shape, dtype, operation)
    calls = [
        loss_options.option_call(shape, dtype, option, operation)
        for option in loss_options.ALL_OPTIONS
    ]
    plain_time, *option_times = medians([plain, *calls])
    columns = "".join(f"{seconds / plain_time:7.2f}" for seconds in option_times)
    return f"{shape[0]:8}{shape[1]:8} {dtype:8}{columns}"


def form_line(form, operation):
    """Return the line of another form of the loss."""
    ours, theirs = loss_forms.calls(form, operation)
    logits = loss_forms.make_problem(form).leaves[0]
    our_time, torch_time, copy_time = medians([ours, theirs, copy_call(logits)])
    line = (
        f"{form:15}{operation:19}{milliseconds(our_time)} |"
        f"{ratio_column(torch_time / our_time)} |"
    )
    if form not in loss_forms.STREAMED:
        return line
    n_bytes = loss_forms.bytes_moved(form, operation)
    return (
        f"{line}{bandwidth(n_bytes, our_time)}{bandwidth(2 * logits.nbytes, copy_time)}"
    )


def metric_line(shape, dtype, labels):
    """Return the line of ``log_loss``."""
    ours, theirs = (
        metrics.metric_call("log_loss", shape, dtype, labels, library)
        for library in metrics.BOTH_LIBRARIES
    )
    our_time, their_time = medians([ours, theirs])
    return (
        f"{shape[0]:8}{shape[1]:8} {dtype:8}{labels:6}{milliseconds(our_time)} |"
        f"{ratio_column(their_time / our_time)}"
    )


def compile_line(name):
    """Return the line of one function's first calls and kernels."""
    cold, warm = compile_time.first_call_seconds(name, compile_time.N_WARM)
    once = compile_time.in_new_process("once", name)["specialisations"]
    every = compile_time.in_new_process("all", name)["specialisations"]
    return f"{name:50}{cold:6.1f}{np.median(warm):6.1f} |{once:4}{every:5}"


def titled(title, header, lines):
    """Yield the lines of a section."""
    yield f"\n{title}\n{'-' * len(title)}"
    yield header
    yield from lines


def grid_sections(run):
    """Yield the sections of the grid."""
    left, right = "       N       C       ms |   torch", " |   GB/s   copy"
    for operation, dtype in itertools.product(OPERATIONS, losses.DTYPES):
        cases = [(shape, dtype, operation) for shape in losses.SHAPES]
        title = f"{operation}, {dtype}"
        header = f"{left}   optax   scipy sklearn{right}"
        yield from titled(title, header, run(grid_line, cases))
        title = f"{title}, probability targets"
        yield from titled(title, left + right, run(soft_line, cases))


def option_sections(run):
    """Yield the sections of the options, and what the columns stand for."""
    options = list(enumerate(loss_options.ALL_OPTIONS, 1))
    header = "       N       C dtype   " + "".join(f"{f'({k})':>7}" for k, _ in options)
    for operation in loss_options.OPERATIONS:
        cases = [
            (shape, dtype, operation)
            for shape in loss_options.SHAPES
            for dtype in loss_options.DTYPES
        ]
        title = f"options, {operation}: time over that of the plain call"
        yield from titled(title, header, run(option_line, cases))
    yield from (f"({k}) {option}" for k, option in options)


def other_sections(run):
    """Yield the sections of the other forms, of ``log_loss`` and of compiling."""
    header = "form           operation                 ms |   torch |   GB/s   copy"
    cases = itertools.product(loss_forms.FORMS, loss_forms.OPERATIONS)
    yield from titled("other forms, float32", header, run(form_line, cases))
    header = "       N       C dtype   labels      ms | sklearn"
    cases = itertools.product(metrics.SHAPES, metrics.DTYPES, metrics.LABELS)
    yield from titled("log_loss", header, run(metric_line, cases))
    header = f"{'function':50}  cold  warm |   1  all"
    lines = map(compile_line, compile_time.CHOSEN)
    yield from titled("first calls in s, and compiled kernels", header, lines)


def main():
    """Write the table as it is measured, each line by a process of its own."""
    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        max_tasks_per_child=1,
    ) as executor:

        def run(function, cases):
            return executor.map(function, *zip(*cases, strict=True))

        for line in itertools.chain(
            machine_lines(),
            grid_sections(run),
            option_sections(run),
            other_sections(run),
        ):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
