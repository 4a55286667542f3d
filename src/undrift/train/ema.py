"""The exponential moving average of the weights, which is what is sampled."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EMA:
    """Weights averaged over the recent past.

    The half-life counts examples, so it means the same at any batch size, and it is held below a twentieth of the run so far, so
    that the early, bad weights are forgotten (Karras et al. 2022, app. F.2).

    Args:
        module: Whose parameters to follow.
        halflife: In examples.
    """

    def __init__(self, module: nn.Module, halflife: float) -> None:
        self.halflife = halflife
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int, batch_size: int) -> None:
        """Follow the weights after step number `step` (from 0)."""
        decay = 0.5 ** (batch_size / min(self.halflife, 0.05 * (step + 1) * batch_size))
        state = module.state_dict()
        floating = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.weights[k] for k in floating], [state[k] for k in floating], 1 - decay)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over saved averages."""
        for k, v in weights.items():
            self.weights[k].copy_(v)
