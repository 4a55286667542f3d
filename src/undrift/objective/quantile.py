"""Distributions of the training time, each by its quantile function `(process, u in (0, 1)) -> t`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from undrift.noise import Noise
from undrift.process import Process

Quantile = Callable[[Process, Tensor], Tensor]
NAMES = ("uniform", "low_discrepancy", "lognormal")


def snr(process: Process, t: Tensor) -> Tensor:
    """alpha^2 / sigma^2."""
    alpha, sigma = process(t)
    return (alpha / sigma) ** 2


def uniform(process: Process, u: Tensor) -> Tensor:
    """Uniform on [t_min, t_max], or on the noisy levels of a chain. `u` in (0, 1)."""
    if process.levels is not None:
        return process.levels.flip(0).to(u)[1 + (u * (len(process.levels) - 1)).long().clamp(max=len(process.levels) - 2)]
    return process.t_min + u * (process.t_max - process.t_min)


def lognormal(mean: float = -1.2, std: float = 1.2) -> Quantile:
    """log(sigma/alpha) ~ N(mean, std^2) (Karras et al. 2022, table 1); under `Rectified`, logit-normal t (Esser et al. 2024)."""
    if not (std > 0 and math.isfinite(mean)):
        raise ValueError(f"`lognormal` needs a finite mean and a positive std, got {mean} and {std}.")

    def quantile(process: Process, u: Tensor) -> Tensor:
        return process.time(-2 * (mean + std * torch.special.ndtri(u)))

    return quantile


def at(*sigmas: float) -> Quantile:
    """One noise level, or a ladder of them with equal chances (Vincent 2011; Song & Ermon 2019, eq. 5-6; 001 eq. 3.11).

    Args:
        sigmas: Noise levels as ratios sigma/alpha: the standard deviation of the noise in units of the data.

    Raises:
        ValueError: no level, one that is not positive, or (when drawing) one that the process never has.
    """
    if not sigmas or not all(s > 0 and math.isfinite(s) for s in sigmas):
        raise ValueError(f"`at` needs positive noise levels, got {sigmas}.")

    def quantile(process: Process, u: Tensor) -> Tensor:
        levels = -2 * torch.tensor(sigmas, dtype=torch.float64).log()
        t = process.time(levels)
        missed = (process.log_snr(t) - levels).abs() > 1e-6
        if bool(missed.any()):
            raise ValueError(f"{process} never has the noise level sigma/alpha = {sigmas[int(missed.long().argmax())]:g}.")
        return t.to(u.device)[(u * len(sigmas)).long().clamp(max=len(sigmas) - 1)]

    return quantile


def draw(process: Process, times: str | Quantile, noise: Noise) -> Tensor:
    """Times `(B,)` float64, one for each address; `times` is one of `NAMES` or a quantile function."""
    address = noise.fold("time")
    if times == "low_discrepancy":
        return uniform(process, address.low_discrepancy())
    u = address.uniform(torch.empty(len(noise), dtype=torch.float64))
    return (times if callable(times) else lognormal() if times == "lognormal" else uniform)(process, u)


def by_mass(process: Process, weight: Callable[[Process, Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """Times in proportion to a weight, and the ratio of the uniform density to theirs, both like `u`.

    The weight is tabulated and its running integral inverted, so the pair is exact even where the table is coarse.
    """
    if process.levels is not None:  # a chain has its levels and nothing between them
        levels = process.levels.flip(0)[1:]
        mass = weight(process, levels)
        share = mass / mass.sum()
        i = torch.searchsorted(share.cumsum(0), u).clamp(max=len(levels) - 1)
        return levels[i], 1 / (len(levels) * share[i])
    span = process.t_max - process.t_min
    # Cells shrink towards t_min, where likelihood weights grow like 1/t.
    edges = process.t_min + span * torch.linspace(0, 1, 1025, dtype=torch.float64) ** 3
    mass = weight(process, (edges[1:] + edges[:-1]) / 2) * edges.diff()
    total = mass.sum()
    edge = torch.cat([mass.new_zeros(1), (mass / total).cumsum(0)])
    i = (torch.searchsorted(edge, u, right=True) - 1).clamp(0, len(mass) - 1)
    t = edges[i] + (u - edge[i]) / (edge[i + 1] - edge[i]) * edges.diff()[i]
    return t, total / span * edges.diff()[i] / mass[i]
