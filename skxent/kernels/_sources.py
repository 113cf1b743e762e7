"""Which version of the kernels this is, by their sources."""

import hashlib
from pathlib import Path

__all__ = ["DIGEST", "sources_digest"]


def sources_digest() -> str:
    """Return a hash of the sources of the CPU kernels; empty if there are none to read.

    One for all of them, as they are compiled into each other: numba looks for changes
    only in the file of the cached function, and misses an edited rule in another.
    """
    digest = hashlib.sha256()
    paths = sorted(Path(__file__).parent.glob("*.py"))
    for path in paths:
        if not path.name.startswith("_cuda"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12] if paths else ""


DIGEST = sources_digest()
