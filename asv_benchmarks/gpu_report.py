"""What the losses reach on one GPU, beside the copy of memory, torch and its compiler.

    python gpu_report.py [--gib 1.0] [--classes C ...] [--dtypes NAME ...] [--json FILE]

Needs torch with CUDA and numba-cuda. For each number of classes and dtype the logits
take ``--gib`` of memory. A cell is the median of CUDA events around single calls, what
is compiled and allocated on first use being done before; "of copy" divides the bytes
that a loss and gradient must move, logits once each way, by what a copy of the same
tensor reaches; "kernel of copy" is the share of the longest kernel of the call, without
what the host does meanwhile. Contenders take turns in one process. "host" is the time
until a call has queued its work, and for ours, which returns a float, until it is done.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.profiler import ProfilerActivity, profile

from skxent.losses import cross_entropy, cross_entropy_value_and_grad
from skxent.torch import CrossEntropyLoss

CLASSES = [2, 3, 8, 10, 32, 33, 100, 1000, 1001, 4096, 10_000, 16_384, 32_768]
CLASSES += [50_257, 128_256, 262_144]
DTYPES = ["float32", "float16", "bfloat16"]
ROUNDS = 15
WARM_UP = 3
GIB = 1 << 30


def torch_step(loss_function, logits, target):
    """Return a call of a loss and its backward pass."""
    leaf = logits.detach().requires_grad_()

    def call():
        leaf.grad = None
        loss_function(leaf, target).backward()

    return call


def contenders(logits, target, compiled):
    """Return the calls that take turns, by name."""
    copy = torch.empty_like(logits)
    calls = {
        "copy": lambda: copy.copy_(logits),
        "mean": lambda: cross_entropy(logits, target),
        "loss and gradient": lambda: cross_entropy_value_and_grad(logits, target),
        "module": torch_step(CrossEntropyLoss(), logits, target),
        "torch eager": torch_step(torch_cross_entropy, logits, target),
    }
    if compiled:
        calls["torch.compile"] = torch_step(compiled, logits, target)
    return calls


def milliseconds(call):
    """Return the time of a call on the device, and that on the host."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    on_host = time.perf_counter()
    call()
    on_host = 1e3 * (time.perf_counter() - on_host)
    end.record()
    end.synchronize()
    return begin.elapsed_time(end), on_host


def measured(calls):
    """Return the medians of every call, which take turns."""
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    torch.cuda.synchronize()
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(milliseconds(call))
    return {
        name: tuple(map(statistics.median, zip(*pairs, strict=True)))
        for name, pairs in times.items()
    }


def milliseconds_of_kernel(call):
    """Return the mean time of the kernel of a call that takes longest."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(ROUNDS):
            call()
        torch.cuda.synchronize()
    times = [event.self_device_time_total for event in profiler.key_averages()]
    return max(times) / ROUNDS / 1e3  # from us


def report(n_classes, dtype, arguments):
    """Return the record of one shape."""
    itemsize = torch.empty((), dtype=getattr(torch, dtype)).element_size()
    n_rows = max(1, int(arguments.gib * GIB) // (n_classes * itemsize))
    torch.manual_seed(0)
    logits = torch.empty(n_rows, n_classes, device="cuda", dtype=getattr(torch, dtype))
    logits.normal_(std=3.0)
    target = torch.randint(n_classes, (n_rows,), device="cuda")
    compiled = None
    if not arguments.no_compile:
        torch.compiler.reset()
        compiled = torch.compile(torch_cross_entropy)
    calls = contenders(logits, target, compiled)
    times = measured(calls)
    kernel = milliseconds_of_kernel(calls["loss and gradient"])
    moved = 2 * logits.numel() * itemsize
    return {
        "classes": n_classes,
        "dtype": dtype,
        "rows": n_rows,
        "copy_gb_per_s": moved / times["copy"][0] / 1e6,
        "of_copy": times["copy"][0] / times["loss and gradient"][0],
        "kernel_milliseconds": kernel,
        "kernel_of_copy": times["copy"][0] / kernel,
        "milliseconds": {name: device for name, (device, _) in times.items()},
        "host_milliseconds": {name: host for name, (_, host) in times.items()},
    }


def table(records):
    """Return the lines of the table."""
    names = list(records[0]["milliseconds"])
    head = ["C", "dtype", "copy GB/s", "of copy", "kernel of copy"]
    rows = [head + [f"{name} ms" for name in names]]
    for record in records:
        times = [f"{record['milliseconds'][name]:.3f}" for name in names]
        rows.append(
            [
                str(record["classes"]),
                record["dtype"],
                f"{record['copy_gb_per_s']:.0f}",
                f"{record['of_copy']:.2f}",
                f"{record['kernel_of_copy']:.2f}",
                *times,
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(map(str.rjust, row, widths)) + " |"  # numbers
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return lines


def main():
    """Measure every shape, print the table and write the records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--classes", type=int, nargs="+", default=CLASSES)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    records = []
    for dtype in arguments.dtypes:
        for n_classes in arguments.classes:
            records.append(report(n_classes, dtype, arguments))
            torch.cuda.empty_cache()
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    print("\n".join(table(records)))
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
