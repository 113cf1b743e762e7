"""What holds while an estimator is trained, however that ends."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from skxent.backends._blas import one_blas_thread

__all__ = ["FRAMES_OF_GUARDED", "guarded"]

# Calls between a method and who calls it.
FRAMES_OF_GUARDED = 1

Method = TypeVar("Method", bound=Callable[..., Any])


def guarded(method: Method) -> Method:
    """Let a method change its estimator as a whole or not at all.

    After Ctrl-C or an error the estimator has the attributes that it had. What they
    hold is replaced by the method, never written to. BLAS has one thread meanwhile.
    """

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            with one_blas_thread():
                return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, call)
