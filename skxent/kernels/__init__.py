"""Compiled loops and the scalar rules they share. Imports numba and math only."""

NO_INDEX = -(2**63)  # the ``ignore_index`` that ignores no row
