"""Averages of the weights over the steps: the model samples with these."""

from __future__ import annotations

import torch
from torch import nn


class Average:
    """Weights that follow those of a module: after each step `w <- decay w + (1 - decay) module`.

    Args:
        module: Whose weights to follow.
    """

    def __init__(self, module: nn.Module) -> None:
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def decay(self, step: int, batch_size: int) -> float:
        """What is kept of the average when step number `step` (from 0) comes in."""
        raise NotImplementedError

    @torch.no_grad()
    def update(self, module: nn.Module, step: int, batch_size: int) -> None:
        """Follow the weights after step number `step` (from 0)."""
        state = module.state_dict()
        floating = [k for k, v in state.items() if v.is_floating_point()]
        change = 1 - self.decay(step, batch_size)
        torch._foreach_lerp_([self.weights[k] for k in floating], [state[k] for k in floating], change)
        for k in state.keys() - {*floating}:  # a counter or a flag has no average: it is as it is now
            self.weights[k].copy_(state[k])


class EMA(Average):
    """Weights averaged over the recent past.

    The half-life counts examples, so it means the same at any batch size, and it is held below a twentieth of the run so far, so
    that the early, bad weights are forgotten (Karras et al. 2022, app. F.2).

    Args:
        module: Whose weights to follow.
        halflife: In examples.
    """

    def __init__(self, module: nn.Module, halflife: float) -> None:
        super().__init__(module)
        self.halflife = halflife

    def decay(self, step: int, batch_size: int) -> float:
        return float(0.5 ** (batch_size / min(self.halflife, 0.05 * (step + 1) * batch_size)))


class PowerEMA(Average):
    """The average over the whole run with weights in proportion to `k^gamma` at step k (Karras et al. 2024, eq. 2).

    Its length is always the same share of the run so far, and the start has no weight at all. With `decay = (1 - 1/k)^(gamma + 1)`
    (eq. 127) step j has the weight `(j/k)^(gamma+1) - ((j-1)/k)^(gamma+1)`, the power's own integral, to the last digit.

    Args:
        module: Whose weights to follow.
        gamma: The power, not negative.
    """

    def __init__(self, module: nn.Module, gamma: float) -> None:
        super().__init__(module)
        self.gamma = gamma

    def decay(self, step: int, batch_size: int) -> float:
        return float((step / (step + 1)) ** (self.gamma + 1))
