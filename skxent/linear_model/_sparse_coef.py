"""Coefficients in sparse form."""

from typing import Any, Self

import scipy.sparse
from sklearn.utils.validation import check_is_fitted

__all__ = ["SparseCoefMixin"]


class SparseCoefMixin:
    """``sparsify`` and ``densify`` for a linear model with ``coef_``."""

    coef_: Any

    def densify(self) -> Self:
        """Turn the coefficients into a dense array, as after a fit.

        Returns
        -------
        self : object
            The fitted estimator, with `coef_` an ndarray.
        """
        check_is_fitted(self)
        if scipy.sparse.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def sparsify(self) -> Self:
        """Turn the coefficients into a sparse matrix.

        That saves memory and time where most of them are 0, as after a fit with an L1
        penalty; with more than half of them different from 0 it costs both.

        Returns
        -------
        self : object
            The fitted estimator, with `coef_` a CSR matrix. It predicts as before.

        See Also
        --------
        densify : The way back.
        """
        check_is_fitted(self)
        self.coef_ = scipy.sparse.csr_matrix(self.coef_)
        return self
