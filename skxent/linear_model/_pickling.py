"""Estimators that tell which version of the package pickled them."""

import warnings
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

import skxent

__all__ = ["VersionedMixin"]

KEY = "_skxent_version"  # in the pickled state alone


class _PickledElsewhere(InconsistentVersionWarning):
    """As scikit-learn's, with this package's name in it."""

    def __str__(self) -> str:
        return (
            f"{self.estimator_name} was pickled by version "
            f"{self.original_sklearn_version} of skxent and is loaded by version "
            f"{self.current_sklearn_version}, which may fail or predict something "
            "else. Fit it again, or load it with the version that pickled it."
        )


class VersionedMixin:
    """Keep the version in the pickled state; warn where another one loads it.

    scikit-learn's base class does this for its own estimators only. It must come after
    this class in the order of bases.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {**state, KEY: skxent.__version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)  # a copy in memory may share it
        version = state.pop(KEY, "unknown")
        if version != skxent.__version__:
            warnings.warn(
                _PickledElsewhere(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=skxent.__version__,
                    original_sklearn_version=version,
                ),
                stacklevel=2,
            )
        super().__setstate__(state)  # type: ignore[misc]
