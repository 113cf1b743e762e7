"""
Digits: scoring, calibration and convergence
============================================

A softmax regression and scikit-learn's logistic regression on the handwritten digits,
judged by the cross-entropy of their probabilities. We compare three scorers, ask
whether the probabilities are too confident, and look at how the fit converged.
`python -m skxent demo` prints the same comparison.
"""

# %%
# Three scorers
# -------------
#
# Both models go into the same pipeline, with the default `C=1`. Three scorers report
# the negated cross-entropy:
#
# - :func:`~skxent.metrics.make_cross_entropy_scorer`, which takes the classes from the
#   fitted estimator;
# - scikit-learn's `make_scorer` around :func:`~skxent.metrics.cross_entropy_loss`;
# - scikit-learn's own `"neg_log_loss"`.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skxent.linear_model import SoftmaxRegression
from skxent.losses import cross_entropy_grad
from skxent.metrics import cross_entropy_loss, make_cross_entropy_scorer

X, y = load_digits(return_X_y=True)
scoring = {
    "make_cross_entropy_scorer": make_cross_entropy_scorer(),
    "make_scorer": make_scorer(
        cross_entropy_loss, greater_is_better=False, response_method="predict_proba"
    ),
    "neg_log_loss": "neg_log_loss",
}
results = {
    type(model).__name__: cross_validate(
        make_pipeline(StandardScaler(), model), X, y, scoring=scoring
    )
    for model in (SoftmaxRegression(), LogisticRegression(max_iter=1000))
}

print(f"{'mean ± std of 5 folds':<28}" + "".join(f"{name:>22}" for name in results))
for name in scoring:
    scores = [r[f"test_{name}"] for r in results.values()]
    cells = [f"{score.mean():.4f} ± {score.std():.4f}" for score in scores]
    print(f"{name:<28}" + "".join(f"{cell:>22}" for cell in cells))
medians = [f"{np.median(r['fit_time']):.3f}" for r in results.values()]
print(f"{'median fit time [s]':<28}" + "".join(f"{cell:>22}" for cell in medians))

# %%
# The scorers agree: every fold holds all ten digits, and no digit gets a probability so
# small that `"neg_log_loss"` would clip it. The models agree because they
# minimise the same objective. The fit time is a median because our first fit has to
# load the compiled loops, and on a fresh installation to compile them.
#
# Is the model too confident?
# ---------------------------
#
# Accuracy does not tell, but the loss does. We collect out-of-fold logits, and predict
# with `logits / T`. A temperature `T` above 1 makes the probabilities more cautious
# without changing the predicted digit.
#
# As a function of `b = 1 / T` the loss is convex, so the best `b` is where its
# derivative is 0. The derivative follows from
# :func:`~skxent.losses.cross_entropy_grad` by the chain rule. One half of the samples
# chooses the temperature, the other half judges it, and also judges a model that was
# trained with label smoothing.


def out_of_fold_logits(model):
    pipeline = make_pipeline(StandardScaler(), model)
    return cross_val_predict(pipeline, X, y, method="decision_function")


def derivative(b, logits, y):
    return np.vdot(cross_entropy_grad(b * logits, y), logits)


logits = out_of_fold_logits(SoftmaxRegression())
smoothed = out_of_fold_logits(SoftmaxRegression(label_smoothing=0.05))

choosing, judging = slice(0, None, 2), slice(1, None, 2)
T = 1 / brentq(derivative, 0.1, 10, args=(logits[choosing], y[choosing]))

for title, scores in [
    ("as fitted", logits),
    (f"temperature {T:.2f}", logits / T),
    ("label_smoothing=0.05", smoothed),
]:
    loss = cross_entropy_loss(y[judging], scores[judging], from_logits=True)
    print(f"{title:<22}{loss:.4f} nats")

# %%
# The best temperature is a little above 1: the model is slightly overconfident, and
# dividing its logits lowers the loss. Label smoothing goes too far here. It caps the
# confidence of all predictions, and most of them deserve theirs.
#
# Convergence and reliability
# ---------------------------
#
# `history_` has the objective after each iteration. For the reliability curve, the
# predictions are sorted into bins by the probability of the predicted digit, the
# confidence; in each bin, the share of correct predictions should equal it.

model = SoftmaxRegression().fit(StandardScaler().fit_transform(X), y)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")

left.semilogy(model.history_["loss"])
left.set(
    title=f"{model.n_iter_[0]} iterations of L-BFGS",
    xlabel="iteration",
    ylabel="objective [nats per sample]",
)

right.plot([0, 1], [0, 1], ":", color="0.6", label="perfectly calibrated")
for title, scores in [("as fitted", logits), (f"temperature {T:.2f}", logits / T)]:
    proba = softmax(scores, axis=1)
    correct = proba.argmax(axis=1) == y
    share, confidence = calibration_curve(correct, proba.max(axis=1), n_bins=8)
    right.plot(confidence, share, "o-", label=title)
right.set(
    title="Reliability of the predicted digit",
    xlabel="mean confidence in the bin",
    ylabel="share of correct predictions",
)
right.legend()
for axes in (left, right):
    axes.grid(alpha=0.3)
