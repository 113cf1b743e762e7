"""scikit-learn's callbacks for a fit, which exist from version 1.9 on."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn import callback as _sklearn
except ImportError:
    _sklearn = None

__all__ = [
    "FRAMES_OF_WITH_CALLBACKS",
    "CallbackSupportMixin",
    "FitCallbacks",
    "with_callbacks",
]


# Calls between a method and who calls it.
FRAMES_OF_WITH_CALLBACKS = 0 if _sklearn is None else 1

Method = TypeVar("Method", bound=Callable[..., Any])


class _NoCallbacks:
    """Takes no callbacks."""


CallbackSupportMixin: type = _NoCallbacks
if _sklearn is not None:
    CallbackSupportMixin = _sklearn.CallbackSupportMixin


def with_callbacks(method: Method) -> Method:
    """Let a method of an estimator end its callbacks even if it fails."""
    return method if _sklearn is None else _sklearn.with_callbacks(method)


class FitCallbacks:
    """Tells the callbacks of an estimator where its fit is.

    Each iteration of the solver is a task of its own below the fit. Called with the
    coefficients at the end of one, it returns whether a callback wants to stop.

    Parameters
    ----------
    estimator : CallbackSupportMixin
        What is fitted.
    attributes : callable ``(coef) -> dict``
        Returns what a fitted estimator with these coefficients has.
    data : dict
        X, y and metadata, as the callbacks are given them.
    """

    def __init__(
        self,
        estimator: Any,
        attributes: Callable[[NDArray[np.float64]], dict[str, Any]],
        **data: Any,
    ) -> None:
        self.attributes = attributes
        self.data = {"estimator": estimator, **data}
        self.is_heard = hasattr(estimator, "_skl_callbacks")
        if not hasattr(estimator, "_init_callback_context"):
            return
        # how many iterations there will be is not known
        self.fit = estimator._init_callback_context(max_subtasks=None)
        self.fit.call_on_fit_task_begin(**self.data)
        if self.is_heard:
            self._begin_iteration()

    def _begin_iteration(self) -> None:
        self.iteration = self.fit.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(**self.data)

    def __call__(self, coef: NDArray[np.float64]) -> bool:
        """End an iteration and begin the next one."""
        stops = self.iteration.call_on_fit_task_end(
            **self.data, reconstruction_attributes=lambda: self.attributes(coef)
        )
        self._begin_iteration()
        return bool(stops)

    def close(self) -> None:
        """End the fit, and the iteration that did not take place."""
        if self.is_heard:
            self.iteration.call_on_fit_task_end(estimator=self.data["estimator"])
            self.fit.call_on_fit_task_end(**self.data, reconstruction_attributes={})
