"""The mean loss of rows of logits, in the libraries that skxent is measured beside.

Conventions: logits (N, C); the target is class indices (N,) or probabilities (N, C).
Each function returns a call without arguments. What a library does once per array,
such as the conversion to its own arrays, is done before the call.
"""

import numpy as np

from .common import import_peer


def torch_value(logits, target):
    """Return torch's loss."""
    torch = import_peer("torch")
    tensors = torch.from_numpy(logits), torch.from_numpy(target)
    return lambda: torch.nn.functional.cross_entropy(*tensors)


def torch_value_and_grad(logits, target):
    """Return torch's forward and backward pass as one call."""
    torch = import_peer("torch")
    leaf = torch.from_numpy(logits).requires_grad_()
    torch_target = torch.from_numpy(target)

    def call():
        leaf.grad = None
        value = torch.nn.functional.cross_entropy(leaf, torch_target)
        value.backward()
        return value.detach(), leaf.grad

    return call


def optax_compiled(transform, logits, target):
    """Return a call of optax's loss, transformed and compiled by jax."""
    jax, optax = import_peer("jax"), import_peer("optax")
    jax.config.update("jax_enable_x64", True)
    if target.ndim == 1:
        row_losses = optax.softmax_cross_entropy_with_integer_labels
    else:
        row_losses = optax.softmax_cross_entropy
    compiled = jax.jit(transform(lambda z, y: row_losses(z, y).mean()))
    arrays = jax.numpy.asarray(logits), jax.numpy.asarray(target)
    return lambda: jax.block_until_ready(compiled(*arrays))


def optax_value(logits, target):
    """Return optax's loss."""
    return optax_compiled(lambda loss: loss, logits, target)


def optax_value_and_grad(logits, target):
    """Return optax's loss and gradient."""
    return optax_compiled(import_peer("jax").value_and_grad, logits, target)


def mean_from_log_softmax(log_p, target):
    """Return the mean loss of log-probabilities."""
    if target.ndim == 1:
        return -log_p[np.arange(len(log_p)), target].mean()
    return -np.vdot(target, log_p) / len(log_p)


def scipy_value(logits, target):
    """Return the loss by ``scipy.special.log_softmax``."""
    log_softmax = import_peer("scipy.special").log_softmax
    return lambda: mean_from_log_softmax(log_softmax(logits, axis=1), target)


def scipy_value_and_grad(logits, target):
    """Return the loss by ``scipy.special.log_softmax``, and the gradient in numpy."""
    log_softmax = import_peer("scipy.special").log_softmax

    def call():
        gradient = log_softmax(logits, axis=1)
        value = mean_from_log_softmax(gradient, target)
        np.exp(gradient, out=gradient)
        if target.ndim == 1:
            gradient[np.arange(len(gradient)), target] -= 1
        else:
            gradient -= target
        gradient /= len(gradient)
        return value, gradient

    return call


def scikit_learn_value(logits, target):
    """Return scikit-learn's ``log_loss`` of the softmax of the logits."""
    if target.ndim != 1:
        raise NotImplementedError("scikit-learn's log_loss takes no soft targets")
    log_loss = import_peer("sklearn.metrics").log_loss
    softmax = import_peer("scipy.special").softmax
    classes = np.arange(logits.shape[1])
    return lambda: log_loss(target, softmax(logits, axis=1), labels=classes)


VALUE = {
    "torch": torch_value,
    "optax": optax_value,
    "scipy": scipy_value,
    "scikit-learn": scikit_learn_value,
}
VALUE_AND_GRAD = {
    "torch": torch_value_and_grad,
    "optax": optax_value_and_grad,
    "scipy": scipy_value_and_grad,
}
