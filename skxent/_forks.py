"""Whether this process is a fork of one that had imported the package.

Whoever imports any of it imports this: later is too late to be told of a fork.
"""

import os

__all__ = ["is_forked"]

_forked = False


def _after_fork_in_child() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def is_forked() -> bool:
    """Return whether it is."""
    return _forked
