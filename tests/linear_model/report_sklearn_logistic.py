"""Run scikit-learn's tests of LogisticRegression on SoftmaxRegression, and report.

    python -m tests.linear_model.report_sklearn_logistic [pytest options]

The tests are those of the scikit-learn that is installed, unchanged but for the class:
an adapter takes LogisticRegression's parameters. Solvers keep their names where we have
them; the others, liblinear, sag and saga, become "auto". A test of what is not ours by
design (parameters that are gone, messages, solver internals) fails here: the report is
to be read, not to be green.
"""

import inspect
import sys
from collections import Counter, defaultdict

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model.tests import test_logistic

from skxent.linear_model import SoftmaxRegression

OURS = ("lbfgs", "newton-cg", "newton-cholesky")
# What the tests are about that SoftmaxRegression has not, by parts of their names.
NOT_OURS = {
    "LogisticRegressionCV": ("cv", "CV", "path", "scores_attribute"),
    "liblinear, sag or saga itself": ("liblinear", "saga", "dual", "n_jobs"),
    "penalty, multi_class, deprecations": ("penalty", "multi_class", "deprecat"),
    "array API input": ("array_api",),
}


class Adapter(SoftmaxRegression):
    """SoftmaxRegression with the parameters of LogisticRegression."""

    def fit(self, X, y, sample_weight=None):
        ours = set(inspect.signature(SoftmaxRegression).parameters)
        mine = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if name in ours
        }
        mine["solver"] = self.solver if self.solver in OURS else "auto"
        l1_ratio = {"l1": 1.0, "elasticnet": self.l1_ratio}.get(
            self.penalty, 0.0 if self.penalty == "l2" else self.l1_ratio
        )
        mine["l1_ratio"] = l1_ratio or 0.0
        if mine["l1_ratio"]:
            mine["solver"] = "auto"
        if self.penalty is None:
            mine["C"] = float("inf")
        model = SoftmaxRegression(**mine)
        if self.warm_start and hasattr(self, "coef_"):
            model.coef_, model.intercept_ = self.coef_, self.intercept_
        model.fit(X, y, sample_weight=sample_weight)
        fitted = {
            name: value for name, value in vars(model).items() if name.endswith("_")
        }
        vars(self).update(fitted)
        return self


def adapt():
    """Give the adapter LogisticRegression's constructor."""
    signature = inspect.signature(LogisticRegression)

    def __init__(self, *args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            setattr(self, name, value)

    __init__.__signature__ = inspect.signature(LogisticRegression.__init__)
    Adapter.__init__ = __init__
    Adapter.__name__ = "LogisticRegression"
    test_logistic.LogisticRegression = Adapter


class Report:
    """Counts the outcomes of each test function."""

    def __init__(self):
        self.outcomes = defaultdict(Counter)
        self.reasons = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            name = report.nodeid.split("::")[-1].split("[")[0]
            self.outcomes[name][report.outcome] += 1
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                message = crash.message if crash else str(report.longrepr)
                self.reasons.setdefault(name, message.splitlines()[0][:100])

    def show(self):
        """Print a line for each test function, those that fail first."""
        total = Counter()
        for name, counts in sorted(
            self.outcomes.items(), key=lambda item: -item[1]["failed"]
        ):
            total += counts
            subject = next(
                (
                    what
                    for what, parts in NOT_OURS.items()
                    if any(p in name for p in parts)
                ),
                "",
            )
            print(f"{counts['passed']:5} passed {counts['failed']:4} failed  {name}")
            if counts["failed"]:
                print(f"{'':26}{subject or self.reasons[name]}")
        print(dict(total))


def main():
    """Run the tests and print the report."""
    adapt()
    report = Report()
    options = "-q --tb=line -o addopts= -p no:cacheprovider -p sklearn.conftest"
    arguments = [test_logistic.__file__, *options.split(), *sys.argv[1:]]
    pytest.main(arguments, plugins=[report])
    report.show()


if __name__ == "__main__":
    main()
