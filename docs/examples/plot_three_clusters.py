"""
Three clusters and how sure the model is
========================================

A softmax classifier on three Gaussian clusters: the region that it assigns to each
class, and the line inside which the class has a probability of at least 0.75.
"""

# %%
# The fit
# -------
#
# The clusters overlap a little. Three Gaussians with one covariance have logits that
# are linear in the point, so a softmax regression is the right model.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from sklearn.datasets import make_blobs

from skxent.linear_model import SoftmaxRegression
from skxent.metrics import cross_entropy_loss

centers = np.array([[-2.0, -1.0], [2.0, -1.0], [0.0, 2.0]])
X, y = make_blobs(300, centers=centers, cluster_std=1.2, random_state=0)
model = SoftmaxRegression().fit(X, y)

proba = model.predict_proba(X)
sure = proba.max(axis=1) >= 0.75
right = model.predict(X) == y
print(f"loss {cross_entropy_loss(y, proba):.3f} nats, accuracy {right.mean():.3f}")
print(f"accuracy at 0.75 and above {right[sure].mean():.3f}, of {sure.mean():.0%}")
print(f"accuracy below 0.75        {right[~sure].mean():.3f}, of {1 - sure.mean():.0%}")

# %%
# The plane
# ---------

colors = ["#0072B2", "#D55E00", "#009E73"]
side = np.linspace(-6, 6, 241)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
region = model.predict(grid).reshape(241, 241)
posterior = model.predict_proba(grid).reshape(241, 241, 3)

figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
axes.pcolormesh(side, side, region, cmap=ListedColormap(colors), alpha=0.2, lw=0)
for k, (color, marker) in enumerate(zip(colors, "os^", strict=True)):
    axes.contour(side, side, posterior[..., k], levels=[0.75], colors=color)
    points = X[y == k]
    axes.plot(*points.T, marker, color=color, mec="white", ms=6, label=f"class {k}")
axes.plot([], [], color="0.3", label="probability 0.75")
axes.set(
    title="Regions of three classes and their 0.75 contours",
    xlabel="first feature",
    ylabel="second feature",
    aspect="equal",
)
axes.legend(loc="upper left")

# %%
# Between the lines no class reaches 0.75, and most mistakes are made there. Along the
# border of two classes, far from the third, the strip keeps its width: the odds of two
# classes depend on the difference of their logits alone, which is linear.
