"""A network that is the gradient of an energy, so that its score is one: conservative by construction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from undrift.denoiser import Denoiser, network_input
from undrift.process import as_time, expand
from undrift.target import solve


class Energy(nn.Module):
    """`-grad_x f(x, level, cond)` of a scalar network f, as a network for `Denoiser` (001 eq. 3.1-3.3; Salimans & Ho 2021).

    With p = exp(-f)/Z the score is -grad f and the unknown Z drops out. Under any target the denoiser's score is then the
    gradient of a function (see `energy_at`), up to that constant log p_t(x), which a free network's is only after training.
    Costs about two evaluations more than `net`, and training differentiates twice, so `net` must be twice differentiable.

    Args:
        net: `(x (B, *D), level, cond)` to `(B,)` or `(B, 1)`, which is f; or to `(B, *D)`, and f is -<x, net(x)>, so that the
            networks of this library serve as they are and what comes out starts close to what they put out.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def energy(self, x: Tensor, level: Tensor, cond: Any = None) -> Tensor:
        """f `(B,)`, in nats up to the factor of the target; `x` as the network sees it."""
        out: Tensor = self.net(x, level, cond)
        if out.shape == x.shape and x.ndim > 1 and x[0].numel() > 1:
            return -(x * out).flatten(1).sum(1)
        if out.numel() != x.shape[0]:
            raise ValueError(
                f"an energy is (B,), (B, 1) or like x {tuple(x.shape)}, but the network returned {tuple(out.shape)}."
            )
        return out.reshape(x.shape[0])

    def forward(self, x: Tensor, level: Tensor, cond: Any = None) -> Tensor:
        """`-grad_x f`, `(B, *D)`; differentiable again wherever gradients are on, and usable under `no_grad`."""
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if again and x.requires_grad else x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(x, level, cond).sum(), x, create_graph=again)
        return -slope


def energy_at(denoiser: Denoiser, x: Tensor, t: Tensor | float, cond: Any = None) -> Tensor:
    """The energy whose negative gradient is the denoiser's score: -log p_t(x) up to a constant in x, `(B,)` nats.

    Raises:
        TypeError: the denoiser's network is no `Energy`.
    """
    if not isinstance(denoiser.net, Energy):
        raise TypeError(f"`energy_at` needs a denoiser around an `Energy` network, not {type(denoiser.net).__name__}.")
    t = as_time(t, x)
    alpha, sigma = denoiser.process(t)
    c_in = (sigma**2 + (alpha * denoiser.sigma_data) ** 2).rsqrt()
    # score = -(r x + w output)/sigma and output = -grad f at c_in x: integrate both by hand.
    _, (r, w) = solve(denoiser.target, denoiser.process, t)
    quadratic = expand(r / sigma, x) * x * x / 2
    f = denoiser.net.energy(*network_input(denoiser.process, x, t, denoiser.sigma_data), cond)
    return quadratic.flatten(1).sum(1) - (w / (sigma * c_in)).to(f) * f
