"""Data as estimators get them: read where they are fitted, and results brought home."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

from skxent._array_api import Home, home_of, on_host, to_host
from skxent.backends._device_arrays import NumbaArrays, arrays_like, is_on_device
from skxent.backends._device_matrix import DeviceMatrix
from skxent.linear_model._checks import check_labels, check_samples, read_X
from skxent.losses._device import on_device
from skxent.losses._validation import check_same_length

__all__ = [
    "FLOATS",
    "SPARSE",
    "as_numpy",
    "check_finite",
    "check_same_home",
    "read_matrix",
    "read_samples",
    "refuse_on_device",
]

FLOATS = (np.float64, np.float32)
SPARSE = ("csr", "csc")
MATRIX: dict[str, Any] = {"accept_sparse": SPARSE, "dtype": FLOATS}


def read_matrix(estimator: Any, X: Any) -> Any:
    """Return samples to predict as scikit-learn validates them, or on their device."""
    if not is_on_device(X):
        return read_X(estimator, to_host("X", X), reset=False, **MATRIX)
    validate_data(estimator, X, reset=False, skip_check_array=True)
    matrix = _on_device(X)
    check_finite(estimator, matrix)
    return matrix


def read_samples(estimator: Any, X: Any, y: Any, **checks: Any) -> tuple[Any, Any]:
    """Return samples to fit, and their targets as numpy's."""
    if not is_on_device(X):
        X, y = on_host(X=X, y=y)
        return check_samples(estimator, X, y, **MATRIX | checks)
    validate_data(estimator, X, skip_check_array=True)
    matrix = _on_device(X)
    labels = check_labels(estimator, to_host("y", y))
    check_same_length(X=X, y=labels)
    return matrix, labels


def _on_device(X: Any) -> DeviceMatrix:
    """Return X as a matrix of floats on its device."""
    on_device()  # or an error that says what to install
    arrays = arrays_like(X)
    if isinstance(arrays, NumbaArrays):
        raise TypeError(
            "X on a device must be an array of torch or cupy, which multiply matrices; "
            f"got {type(X).__name__}. Pass torch.as_tensor(X), which shares its memory."
        )
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(
            "X must have two dimensions, at least one sample and one feature; got "
            f"shape {tuple(X.shape)}. Reshape it."
        )
    array = arrays.read(X)
    dtype = arrays.dtype(array)
    if dtype in ("float16", "bfloat16"):
        array = arrays.cast(array, "float32")
    elif dtype.startswith(("int", "uint", "bool")):
        array = arrays.cast(array, "float64")  # as on the host
    elif dtype not in ("float32", "float64"):
        raise TypeError(
            f"X must hold real numbers; got dtype {dtype}. Convert it to float32."
        )
    return DeviceMatrix(arrays, array)


def check_finite(estimator: Any, X: Any) -> None:
    """Raise unless all of X is finite."""
    if not isinstance(X, DeviceMatrix):
        assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
    elif not X.arrays.is_finite(X.array):
        raise ValueError(
            "X must be finite; got NaN or infinity. Drop or impute such samples."
        )


def refuse_on_device(X: Any, name: str, rule: str, came: str) -> None:
    """Raise for data on a device where that is not served."""
    if is_on_device(X):
        raise ValueError(
            f"{name} must {rule}; got {came} with X on a device. Move X to the host."
        )


def check_same_home(estimator: Any, X: Any, method: str) -> Home:
    """Return where X lives; raise unless the coefficients live there, too."""
    home, fitted = home_of(X), home_of(estimator.coef_)
    if home.place != fitted.place:
        came, needed = (" on ".join(place) for place in (home.place, fitted.place))
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same "
            f"namespace and the same device as those passed to fit(); got X of {came} "
            f"beside coefficients of {needed}. Convert X."
        )
    return home


def as_numpy(coef: Any) -> Any:
    """Return coefficients, wherever they live and sparse or not, as numpy's."""
    if type(coef) is np.ndarray:  # to find that out below takes 15 us
        return coef
    if scipy.sparse.issparse(coef):
        return coef.toarray()
    return np.asarray(to_host("coef_", coef))
