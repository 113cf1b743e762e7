"""Compiled kernels on disk: one file for a kernel and a signature, checked when read.

It takes the place of numba's own cache, which trusts its files: noise in one is run as
machine code, a truncated one raises in the call, and of two processes that compile a
kernel for two dtypes at once, one may later be served the machine code of the other.

Nothing that happens to a file or a folder reaches the caller. What cannot be read is
compiled, what cannot be written is compiled again by the next process, and a line at
debug level says why.

A file is the SHA-256 of the rest, and the rest a pickle of what the kernel was compiled
from and for, the key, and of what numba makes a function from. It is written under
another name and then moved, so that readers find all of it or nothing.
"""

import contextlib
import hashlib
import os
import pickle
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import NullCache, _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from skxent.kernels._collecting import collecting_later
from skxent.kernels._linked import is_known
from skxent.kernels._log import LOGGER
from skxent.kernels._sources import DIGEST, sources_digest

__all__ = ["KernelCache", "NullCache", "clear", "files", "folders"]

ENDING = ".skxent"
IN_TREE = Path(__file__).parent / "__pycache__"

# What else changes the machine code: numba's cache overlooks these, and would answer
# `NUMBA_BOUNDSCHECK=1` with kernels that check nothing.
_SETTINGS = (
    *("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "OPT"),
    *("LOOP_VECTORIZE", "SLP_VECTORIZE"),
)


def folders() -> list[Path]:
    """Return where kernels are looked for, and kept in the first that takes them."""
    named = getattr(config, "CACHE_DIR", "")
    if named:
        return [Path(named) / "skxent"]
    user_wide = Path(AppDirs(appname="skxent", appauthor=False).user_cache_dir)
    # a user without a home has the folder "~" below the current one
    return [IN_TREE, user_wide] if user_wide.is_absolute() else [IN_TREE]


def files() -> Iterator[Path]:
    """Yield the files of this package in these folders, and no others."""
    for folder in folders():
        yield from folder.glob(f"*{ENDING}")


def clear() -> tuple[list[Path], list[OSError]]:
    """Remove the files of this package, and of no other.

    Return which they were, and why others could not be removed.
    """
    removed, errors = [], []
    for path in files():
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            errors.append(error)
        else:
            removed.append(path)
    for folder in folders():
        if folder != IN_TREE:
            # it holds something else, or is not there
            with contextlib.suppress(OSError):
                folder.rmdir()
    return removed, errors


class KernelCache(_Cache):
    """The cache of one kernel, as numba's dispatcher asks for it."""

    def __init__(self, kernel: Any) -> None:
        self._name = kernel.__name__
        self._module = kernel.__module__
        self._enabled = bool(DIGEST)

    @property
    def cache_path(self) -> str:
        """The folder of first choice."""
        return str(folders()[0])

    def enable(self) -> None:
        """Read and keep files, as from the start."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor keep files."""
        self._enabled = False

    def flush(self) -> None:
        """Forget what is kept of this kernel."""
        for path in files():
            if path.name.startswith(f"{self._name}-"):
                with contextlib.suppress(OSError):
                    path.unlink()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept for a signature, or None: it is compiled then."""
        with collecting_later():  # loading a kernel imports some of numba
            if is_known():
                # All that machine code calls and that is not there yet. What else a
                # refresh brings, in 0.09 s, is what numba compiles with.
                rtsys.initialize(target_context)
            else:
                target_context.refresh()
            kept = self._load(sig, target_context) if self._enabled else None
            if kept is None:
                target_context.refresh()
                LOGGER.info("compiling %s for %s", self._name, _dtype(sig))
        return kept

    def _load(self, sig: Any, target_context: Any) -> Any:
        """Return what the first folder with a good file keeps, or None."""
        key = self._key(sig, target_context.codegen())
        for folder in folders():
            path = folder / self._file_name(key)
            try:
                return CompileResult._rebuild(target_context, *_read(path, key))
            except FileNotFoundError:
                continue
            except Exception as error:
                LOGGER.debug("%s is not used: %r", path, error)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, in the first folder that takes it."""
        if not self._enabled or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        for folder in folders():
            path = folder / self._file_name(key)
            try:
                if sources_digest() != DIGEST:  # which were they when this was read?
                    raise RuntimeError("the package was changed since it was imported")
                _write(path, key, data._reduce())
            except Exception as error:
                LOGGER.debug("%s is not kept: %r", path, error)
            else:
                LOGGER.info("kept %s in %s", self._name, folder)
                _drop_stale(folder)
                return

    def _key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """Return what machine code depends on."""
        return (
            (self._module, self._name, DIGEST),
            (numba.__version__, llvmlite.__version__, sys.implementation.cache_tag),
            codegen.magic_tuple(),
            tuple(getattr(config, name, None) for name in _SETTINGS),
            sig,
        )

    def _file_name(self, key: tuple[Any, ...]) -> str:
        """Return a name for the file of a key."""
        short = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return f"{self._name}-{DIGEST}-{short}{ENDING}"


def _drop_stale(folder: Path) -> None:
    """Remove kernels of versions of the package that stood in the place of this one."""
    if folder == IN_TREE:
        for path in folder.glob(f"*{ENDING}"):
            if f"-{DIGEST}-" not in path.name:
                with contextlib.suppress(OSError):
                    path.unlink()


def _read(path: Path, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what :func:`_write` was given."""
    content = memoryview(path.read_bytes())
    digest, rest = content[:32], content[32:]
    if hashlib.sha256(rest).digest() != digest:
        raise ValueError("the file is damaged")
    kept_key, reduced = pickle.loads(rest)
    if kept_key != key:
        raise ValueError("the file is that of another kernel")
    return reduced  # type: ignore[no-any-return]


def _write(path: Path, key: tuple[Any, ...], reduced: tuple[Any, ...]) -> None:
    """Write a file for :func:`_read`."""
    rest = dumps((key, reduced))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.stem}-{uuid.uuid4().hex[:16]}{ENDING}")
    try:
        beside.write_bytes(hashlib.sha256(rest).digest() + rest)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _dtype(sig: Any) -> str:
    """Return the dtype of the first array; kernels take float16 as int16."""
    arguments = getattr(sig, "args", sig)
    dtypes = [str(each.dtype) for each in arguments if hasattr(each, "dtype")]
    first = dtypes[0] if dtypes else str(sig)
    return "float16" if first == "int16" else first
