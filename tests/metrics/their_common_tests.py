"""scikit-learn's tests of all metrics alike, with our log_loss and d2 in their place.

Run by test_array_api.py in a process of its own: that module takes the metrics into
tables when it is imported, and SCIPY_ARRAY_API must be set before.
"""

import os
import sys

import pytest
import sklearn.metrics
import torch

from skxent.metrics import d2_log_loss_score, log_loss

TESTS = "sklearn.metrics.tests.test_common"
# by the metric's name among the parameters; these two go over all metrics inside
CONCERNED = "log_loss or order_invariance_multilabel or no_averaging_labels"

if __name__ == "__main__":
    # what they ask before they take a GPU: torch may be built for one that is absent
    torch.backends.cuda.is_built = torch.cuda.is_available
    sklearn.metrics.log_loss = log_loss
    sklearn.metrics.d2_log_loss_score = d2_log_loss_score
    from sklearn.metrics.tests import test_common

    for name in ("log_loss", "d2_log_loss_score"):
        if not test_common.ALL_METRICS[name].__module__.startswith("skxent."):
            sys.exit(f"{name} is still scikit-learn's.")
    # not our settings: scikit-learn's tests warn, and have no doctests to collect;
    # without conftest, so that the kernels compiled so far serve again
    options = ["-q", "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider"]
    sys.exit(pytest.main([*options, "-k", CONCERNED, "--pyargs", TESTS]))
