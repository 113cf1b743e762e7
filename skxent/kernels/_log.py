"""The logger of the package, and ``SKXENT_VERBOSE=1``, which prints it.

At level INFO: that a kernel is being compiled, which takes seconds. At level DEBUG: why
a compiled kernel could not be kept, or one that was kept could not be used.
"""

import logging
import os

__all__ = ["LOGGER"]

LOGGER = logging.getLogger("skxent")

if os.environ.get("SKXENT_VERBOSE", "0") not in ("", "0"):
    _handler = logging.StreamHandler()
    _handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    LOGGER.addHandler(_handler)
    LOGGER.setLevel(logging.INFO)
