"""
A binary loss and its decision plane
====================================

Six points in two clusters and a linear model with coefficients that somebody chose: the
example by which a tutorial explains binary cross-entropy. We compute its loss from
logits and from probabilities, draw what the model believes, and let
:class:`~skxent.linear_model.SoftmaxRegression` find better coefficients.
"""

# %%
# The points and the loss
# -----------------------
#
# The first cluster, class 0, is drawn around (5, 5), the second around (3, 3).
# The logit of class 1 is linear in the point.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

from skxent.linear_model import SoftmaxRegression
from skxent.losses import (
    CrossEntropyLoss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from skxent.metrics import log_loss

rng = np.random.RandomState(0)
clusters = [np.column_stack([rng.normal(m, 2, 3), rng.normal(m, 2, 3)]) for m in (5, 3)]
X, y = np.concatenate(clusters), np.repeat([0, 1], 3)
coef, intercept = np.array([-0.3, -0.35]), 2.5

logits = X @ coef + intercept
proba = expit(logits)
for (a, b), label, x, p in zip(X, y, logits, proba, strict=True):
    print(
        f"point ({a:.2f}, {b:.2f})  class {label}  logit {x:6.3f}  probability {p:.3f}"
    )

# %%
# Four calls, one number. The tutorial prints it as 0.46380153.

of_probabilities = CrossEntropyLoss(form="binary", from_logits=False)
for name, loss in [
    ("binary_cross_entropy_with_logits", binary_cross_entropy_with_logits(logits, y)),
    ("binary_cross_entropy", binary_cross_entropy(proba, y)),
    ("CrossEntropyLoss(form='binary')", of_probabilities(proba, y)),
    ("metrics.log_loss", log_loss(y, proba)),
]:
    print(f"{name:<34}{loss:.8f}")

# %%
# The plane
# ---------
#
# `SoftmaxRegression` minimises this loss plus a small penalty on the coefficients. It
# starts from zeros and needs no hint where the line should be.

model = SoftmaxRegression().fit(X, y)
fitted = log_loss(y, model.predict_proba(X))
print(f"coefficients {model.coef_[0].round(3)}, intercept {model.intercept_[0]:.3f}")
print(f"loss {log_loss(y, proba):.4f} as chosen, {fitted:.4f} as fitted")

side = np.linspace(0, 11, 111)
grid = np.stack(np.meshgrid(side, side), axis=-1)
planes = {
    f"Chosen coefficients, loss {log_loss(y, proba):.3f}": grid @ coef + intercept,
    f"SoftmaxRegression, loss {fitted:.3f}": model.decision_function(
        grid.reshape(-1, 2)
    ).reshape(111, 111),
}

figure, panels = plt.subplots(
    1, 2, figsize=(10, 4.4), sharey=True, layout="constrained"
)
for axes, (title, plane) in zip(panels, planes.items(), strict=True):
    image = axes.imshow(
        expit(plane), origin="lower", extent=(0, 11, 0, 11), cmap="PuOr", vmin=0, vmax=1
    )
    axes.contour(side, side, plane, levels=[0], colors="black", linewidths=1.5)
    axes.plot([], [], color="black", label="probability 0.5")
    for label, marker, color in [(0, "o", "#FDB863"), (1, "s", "#B2ABD2")]:
        points = X[y == label]
        axes.plot(
            *points.T, marker, color=color, mec="black", ms=9, label=f"class {label}"
        )
    axes.set(title=title, xlabel="first feature")
panels[0].set_ylabel("second feature")
panels[0].legend(loc="upper left")
figure.colorbar(image, ax=panels, label="probability of class 1")

# %%
# With the chosen coefficients two points of class 1 get less than one half. The fitted
# line separates the clusters. Since that is possible, the loss alone would be smallest
# for infinite coefficients; the penalty keeps them, and the probabilities, moderate.
