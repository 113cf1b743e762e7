"""The other forms of the loss beside torch: events, images, linear layers."""

from functools import cache, partial

import numpy as np

from .common import by_profile, check_agreement, import_peer, ratio_of_medians

N_EVENTS = by_profile(quick=100_000, regular=1_000_000, full=10_000_000)
IMAGES = by_profile(
    quick=(2, 21, 64, 64), regular=(8, 21, 128, 128), full=(8, 21, 512, 512)
)
# rows, features, classes
LINEAR = by_profile(
    quick=(256, 32, 1000), regular=(2000, 256, 8000), full=(20_000, 512, 32_000)
)


def normal(*shape):
    """Return normal numbers in float32."""
    return np.random.default_rng(3).standard_normal(shape, dtype=np.float32)


def labels(n_classes, shape):
    """Return class indices."""
    return np.random.default_rng(4).integers(n_classes, size=shape)


def with_torch(ours, name, leaves, *rest, **options):
    """Return our call, and torch's forward and backward pass for the same arrays."""
    torch = import_peer("torch")
    function = getattr(torch.nn.functional, name)
    tensors = [torch.from_numpy(array).requires_grad_() for array in leaves]
    rest = [torch.from_numpy(array) for array in rest]
    options = {key: torch.from_numpy(array) for key, array in options.items()}

    def theirs():
        for tensor in tensors:
            tensor.grad = None
        value = function(*tensors, *rest, **options)
        value.backward()
        return value.detach()

    return ours, theirs


def binary():
    """Return the calls for events, each with a weight for its class."""
    from skxent.losses import binary_cross_entropy_with_logits_value_and_grad as loss

    x = normal(N_EVENTS // 10, 10)
    target = (normal(*x.shape) > 0).astype(np.float32)
    weight = np.linspace(0.5, 2.0, 10, dtype=np.float32)
    ours = partial(loss, x, target, pos_weight=weight, out=np.empty_like(x))
    name = "binary_cross_entropy_with_logits"
    return with_torch(ours, name, [x], target, pos_weight=weight)


def channels_first():
    """Return the calls for the pixels of images."""
    from skxent.losses import cross_entropy_value_and_grad as loss

    x = normal(*IMAGES)
    target = labels(IMAGES[1], (IMAGES[0], *IMAGES[2:]))
    ours = partial(loss, x, target, out=np.empty_like(x))
    return with_torch(ours, "cross_entropy", [x], target)


def channels_last():
    """Return the calls for the same images, their channels last in memory."""
    from skxent.losses import cross_entropy_value_and_grad as loss

    x = np.ascontiguousarray(np.moveaxis(normal(*IMAGES), 1, -1))
    target = labels(IMAGES[1], x.shape[:-1])
    ours = partial(loss, x, target, class_axis=-1, out=np.empty_like(x))
    return with_torch(ours, "cross_entropy", [np.moveaxis(x, -1, 1)], target)


def linear():
    """Return the calls for a layer of many classes."""
    from skxent.losses import linear_cross_entropy_value_and_grad as loss

    n, n_features, n_classes = LINEAR
    x, weight = normal(n, n_features), normal(n_classes, n_features) / 16
    target = labels(n_classes, n)
    out = (np.empty_like(x), np.empty_like(weight))
    ours = partial(loss, x, weight, target, out=out)
    return with_torch(ours, "linear_cross_entropy", [x, weight], target)


@cache
def calls(form):
    """Return our call and torch's, which agree."""
    ours, theirs = globals()[form]()
    check_agreement(lambda: ours()[0], theirs, "float32")
    return ours, theirs


class LossAndGradientOverTorch:
    """Loss and gradient in float32 against torch, alternately in one process."""

    params = ("binary", "channels_first", "channels_last", "linear")
    param_names = ("form",)
    unit = "skxent time / torch time"

    def setup(self, form):
        """Prepare both calls and see that they agree."""
        self.calls = calls(form)

    def track_time_ratio(self, _):
        """Return the ratio of the medians; ours writes into ``out=``."""
        return ratio_of_medians(*self.calls)


class LossAndGradient:
    """Loss and gradient of each form."""

    params = LossAndGradientOverTorch.params
    param_names = ("form",)

    def setup(self, form):
        """Prepare the call."""
        self.call = calls(form)[0]

    def time_call(self, _):
        """Time one call that writes into ``out=``."""
        self.call()
