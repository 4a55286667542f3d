"""A process from any linear SDE, by quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from undrift.argument import function, whole
from undrift.process.base import Process

Rate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LinearSDE(Process):
    """Any linear SDE `dx = f(t) x dt + g(t) dw`, started from clean data at `t_min`, by quadrature.

    alpha = exp(int f), sigma^2 = alpha^2 int g^2 / alpha^2, with Gauss-Legendre panels: accurate to about 1e-12 for smooth
    f and g (Song et al. 2021, eq. 5; Saerkkae & Solin 2019, eq. 6.7).

    Args:
        drift: f, a function from times of any shape to rates of the same shape (1/time), finite on [t_min, t_max].
        diffusion: g, likewise, in data units per root time.

    Example:
        `LinearSDE(lambda t: -0.5 * (0.1 + 19.9 * t), lambda t: (0.1 + 19.9 * t).sqrt())` is `VP()`.
    """

    drift: Rate = field()  # type: ignore[assignment]
    diffusion: Rate = field()  # type: ignore[assignment]
    panels: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("drift", "diffusion"):
            function(getattr(self, name), name, "give a function of times")
        whole(self.panels, "panels", 1)
        edges = torch.linspace(self.t_min, self.t_max, self.panels + 1, dtype=torch.float64)
        object.__setattr__(self, "_edges", edges)
        object.__setattr__(self, "_area", torch.zeros(self.panels + 1, dtype=torch.float64))
        object.__setattr__(self, "_power", torch.zeros(self.panels + 1, dtype=torch.float64))
        for name, rate in (("_area", self.drift), ("_power", self._density)):
            pieces = _quadrature(rate, edges[:-1], edges[1:])
            if not bool(torch.isfinite(pieces).all()):
                raise ValueError(f"LinearSDE: drift and diffusion must be finite on [{self.t_min}, {self.t_max}].")
            object.__setattr__(self, name, torch.cat([torch.zeros_like(pieces[:1]), pieces.cumsum(0)]))

    def _density(self, t: Tensor) -> Tensor:
        return (self.diffusion(t) / self.alpha(t)) ** 2

    def _integral(self, sums: Tensor, function: Rate, t: Tensor) -> Tensor:
        edges = self._edges.to(t)  # type: ignore[attr-defined]
        i = torch.searchsorted(edges, t.detach().contiguous(), right=True).sub(1).clamp(0, self.panels - 1)
        return sums.to(t)[i] + _quadrature(function, edges[i], t)

    def alpha(self, t: Tensor) -> Tensor:
        return self._integral(self._area, self.drift, t).exp()  # type: ignore[attr-defined]

    def sigma(self, t: Tensor) -> Tensor:
        return self.alpha(t) * self._integral(self._power, self._density, t).clamp(min=0).sqrt()  # type: ignore[attr-defined]

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma, f, g = self.alpha(t), self.sigma(t), self.drift(t), self.diffusion(t)
        return f * alpha, f * sigma + g**2 / (2 * sigma)


_NODES, _WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(8))


def _quadrature(function: Rate, a: Tensor, b: Tensor) -> Tensor:
    """Integral from a to b (same shape) by 8-point Gauss-Legendre: exact for polynomials of degree 15."""
    nodes, weights = _NODES.to(a), _WEIGHTS.to(a)
    half = ((b - a) / 2)[..., None]
    return (half * weights * function((a + b)[..., None] / 2 + half * nodes)).sum(-1)
