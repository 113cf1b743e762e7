"""Loss and gradient of logits on a GPU beside torch's; skipped without one.

Sizes are those of a call that a training step makes. `gpu_report.py` measures more of
them, and what share of the speed of memory they reach.
"""

from .common import by_profile, import_peer, ratio_of_medians

ELEMENTS = by_profile(quick=1 << 16, regular=1 << 24, full=1 << 28)
CLASSES = by_profile(quick=[10], regular=[10, 1000, 50_257], full=[2, 10, 1000, 50_257])
DTYPES = by_profile(
    quick=["float32"],
    regular=["float32", "bfloat16"],
    full=["float32", "float16", "bfloat16"],
)


def calls(n_classes, dtype):
    """Return our call and torch's, each of which waits until its work is done."""
    torch = import_peer("torch")
    if not torch.cuda.is_available():
        raise NotImplementedError("no CUDA device")
    from skxent.losses import cross_entropy_value_and_grad

    n_rows = max(1, ELEMENTS // n_classes)
    like = {"device": "cuda", "dtype": getattr(torch, dtype)}
    leaf = torch.randn(n_rows, n_classes, **like).mul_(3.0).requires_grad_()
    target = torch.randint(n_classes, (n_rows,), device="cuda")

    def ours():
        return cross_entropy_value_and_grad(leaf.detach(), target)

    def peer():
        leaf.grad = None
        loss = torch.nn.functional.cross_entropy(leaf, target)
        loss.backward()
        return loss.item()

    return ours, peer


class ValueAndGrad:
    params = CLASSES, DTYPES
    param_names = "n_classes", "dtype"

    def setup(self, n_classes, dtype):
        self.ours, self.peer = calls(n_classes, dtype)
        self.ours()

    def time_value_and_grad(self, n_classes, dtype):
        self.ours()

    def track_ratio_to_torch(self, n_classes, dtype):
        return ratio_of_medians(self.ours, self.peer)

    track_ratio_to_torch.unit = "skxent time / peer's time"
