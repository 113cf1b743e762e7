"""Metrics and scorers with scikit-learn's conventions."""

from skxent.metrics._calibration import (
    expected_calibration_error,
    reliability_curve,
)
from skxent.metrics._classification import cross_entropy_loss
from skxent.metrics._log_loss import d2_log_loss_score, log_loss
from skxent.metrics._scorer import (
    get_scorer,
    get_scorer_names,
    make_cross_entropy_scorer,
)

__all__ = [
    "cross_entropy_loss",
    "d2_log_loss_score",
    "expected_calibration_error",
    "get_scorer",
    "get_scorer_names",
    "log_loss",
    "make_cross_entropy_scorer",
    "reliability_curve",
]
