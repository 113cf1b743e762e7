"""The loss as code compiled by torch calls it: without a look into it.

Left to itself, torch's compiler would trace numpy's calls into torch's. To import it
takes 2 s, and to pass by it 10 us in each call: so only compiled code imports this.
"""

import torch

from skxent.torch import _cross_entropy_loss

__all__ = ["checked_loss"]

checked_loss = torch.compiler.disable(_cross_entropy_loss.checked_loss)
