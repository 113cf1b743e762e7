"""The sweeps of a coordinate descent, and how it is left and entered again.

A sweep goes through all coordinates; then only those that are not 0 are swept until
that gains less than ``precision`` of all that was gained; then all again, until even
that gains less. A kernel returns after some work, so that Ctrl-C is seen, and goes on
where it was when it is called again.
"""

from typing import NamedTuple

from skxent.kernels._jit import inner


class Sweeps(NamedTuple):
    """Where a descent is, which is left after a while so that Ctrl-C is seen."""

    done: int  # sweeps
    place: int  # where the next one is: a class, or a feature
    everywhere: bool  # whether it goes through all coordinates
    gain: float  # of this sweep
    gained_in_all: float  # of those that are done


@inner
def sweeps_of(state):
    """Return the sweeps that ``state``, five numbers, tells of."""
    return Sweeps(int(state[0]), int(state[1]), state[2] != 0.0, state[3], state[4])


@inner
def keep(state, sweeps):
    """Write the sweeps to ``state``."""
    state[0], state[1] = sweeps.done, sweeps.place
    state[2] = 1.0 if sweeps.everywhere else 0.0
    state[3], state[4] = sweeps.gain, sweeps.gained_in_all


@inner
def sweep_on(everywhere, gain, gained_in_all, precision):
    """Return whether to sweep again, and whether everywhere; nan gains are enough."""
    enough = not gain > precision * gained_in_all
    return not (enough and everywhere), enough
