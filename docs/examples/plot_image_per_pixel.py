"""
An image, scored pixel by pixel
===============================

The three channels of a colour image can be read as the probabilities of three classes:
a red pixel is of the first class, a greenish blue one is either of the second or the
third. The loss then is a number for each pixel, and `class_axis` says where the
channels are.
"""

# %%
# The image and its labels
# ------------------------
#
# Three discs on a grey ground, blurred, with channels that sum to 1. The labels are the
# disc whose centre is nearest.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from skxent.losses import CrossEntropyLoss, cross_entropy

height, width = 90, 120
row, column = np.mgrid[:height, :width]
centers = np.array([(30, 30), (35, 85), (68, 58)])
distance = np.stack([np.hypot(row - r, column - c) for r, c in centers], axis=-1)
image = 0.1 + np.exp(-((distance / 22) ** 2))
image /= image.sum(axis=-1, keepdims=True)
labels = distance.argmin(axis=-1)
print(image.shape, labels.shape)

# %%
# Channels last and channels first
# --------------------------------
#
# Here the channels are on the last axis, as in most image libraries. torch wants them
# before the pixels. Neither has to be transposed: the permuted twin is read
# where it lies.

twin = np.moveaxis(image, -1, 0).copy()  # (3, H, W)
batch = twin[np.newaxis]  # (1, 3, H, W), torch's layout

options = {"from_logits": False}
last = cross_entropy(image, labels, class_axis=-1, **options)
first = cross_entropy(twin, labels, class_axis=0, **options)
in_batch = cross_entropy(batch, labels[np.newaxis], **options)
print(f"(H, W, 3), class_axis=-1  {last:.15f}")
print(f"(3, H, W), class_axis=0   {first:.15f}")
print(f"(1, 3, H, W)              {in_batch:.15f}")

# %%
# The target may be an image as well, of the probabilities that the pixels should have.
# Here it is the image itself: no other image has a lower loss against this target.

last = cross_entropy(image, image, class_axis=-1, **options)
first = cross_entropy(twin, twin, class_axis=0, **options)
print(f"(H, W, 3), class_axis=-1  {last:.15f}")
print(f"(3, H, W), class_axis=0   {first:.15f}")

# %%
# The loss of each pixel
# ----------------------
#
# `reduction="none"` gives a map of the shape of the labels. A
# :class:`~skxent.losses.CrossEntropyLoss` holds the options.

loss = CrossEntropyLoss(
    form="index", from_logits=False, class_axis=-1, reduction="none"
)
loss_map = loss(image, labels)
print(loss_map.shape, f"mean {loss_map.mean():.6f}")

classes = ["#D55E00", "#009E73", "#0072B2"]
figure, panels = plt.subplots(1, 3, figsize=(11, 2.8), layout="constrained")
panels[0].imshow(image)
panels[0].set_title("Image: probabilities as colours")
shown = panels[1].imshow(labels, cmap=ListedColormap(classes), vmin=-0.5, vmax=2.5)
panels[1].set_title("Labels")
figure.colorbar(shown, ax=panels[1], ticks=[0, 1, 2], label="class", shrink=0.85)
shown = panels[2].imshow(loss_map, cmap="cividis", vmin=0)
panels[2].set_title("Loss of each pixel")
figure.colorbar(shown, ax=panels[2], label="nats", shrink=0.85)
for axes in panels:
    axes.set(xticks=[], yticks=[])

# %%
# Inside the discs the loss is small. It is `log(2)` where two discs are equally near,
# and `log(3)` on the grey ground, where the image does not prefer a class.
