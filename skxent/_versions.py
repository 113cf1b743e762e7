"""What a report of a problem should say of the machine: ``show-versions``."""

import importlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["lines"]

NEEDED = ["numba", "llvmlite", "numpy", "scipy", "scikit-learn", "threadpoolctl"]
OPTIONAL = ["numba-cuda", "torch", "cupy", "dask", "matplotlib"]
THREAD_VARIABLES = ["NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "OMP_NUM_THREADS"]


def lines() -> list[str]:
    """Return the lines of the report."""
    import numba
    from llvmlite import binding

    import skxent

    rows = [("skxent", skxent.__version__), ("python", platform.python_version())]
    rows += [(name, _version_of(name)) for name in NEEDED + OPTIONAL]
    rows += [
        ("platform", platform.platform()),
        ("processor", str(binding.get_host_cpu_name())),
        ("threads", str(numba.get_num_threads())),
    ]
    rows += [
        (name, os.environ[name]) for name in THREAD_VARIABLES if name in os.environ
    ]
    rows += [("cuda", _cuda())]
    return [f"{name:22} {value}" for name, value in rows]


def _version_of(name: str) -> str:
    """Return the version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cuda() -> str:
    """Return the devices that numba finds, or why it finds none."""
    try:
        cuda = importlib.import_module("numba.cuda")
        if not cuda.is_available():
            return "no driver or no device"
        names = (device.name for device in cuda.gpus)
        return ", ".join(
            name.decode() if isinstance(name, bytes) else str(name) for name in names
        )
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
