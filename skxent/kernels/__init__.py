"""Compiled loops and the scalar rules they share. Imports numba and math only."""
