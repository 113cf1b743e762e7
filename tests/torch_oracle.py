"""torch's float64 cross-entropy, its autograd gradient and curvature, as numpy."""

import numpy as np
import torch
import torch.nn.functional as F


def _loss(input, target, options):
    target = np.asarray(target)
    is_index = np.issubdtype(target.dtype, np.integer)
    target = torch.tensor(target.astype(np.int64 if is_index else np.float64))
    if options.get("weight") is not None:
        weight = torch.tensor(np.asarray(options["weight"], dtype=np.float64))
        options = {**options, "weight": weight}
    return F.cross_entropy(input, target, **options)


def _tensor(array):
    return torch.tensor(np.asarray(array, dtype=np.float64))


def cross_entropy(input, target, **options):
    return _loss(_tensor(input), target, options).numpy()


def cross_entropy_grad(input, target, **options):
    z = _tensor(input).requires_grad_()
    _loss(z, target, options).sum().backward()
    return z.grad.numpy()


def cross_entropy_hvp(input, target, vector, **options):
    def total(z):
        return _loss(z, target, options).sum()

    _, product = torch.autograd.functional.hvp(total, _tensor(input), _tensor(vector))
    return product.numpy()
