"""The discrete chains of the papers, DDPM and SMLD, as processes that are exact on their own grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from undrift.argument import said, whole
from undrift.process.base import Process, ordered, softplus


class _Chain(Process):
    """A discrete chain of `count` levels as a process: some curve is linear in t between the knots `i / count`."""

    count: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.t_min, self.t_max) != (0.0, 1.0):
            raise ValueError(
                f"{type(self).__name__} runs from t = 0 to 1; choose its steps or levels instead of t_min and t_max."
            )

    def knots(self) -> np.ndarray:
        """`(count + 1,)` values of the curve at t = i / count."""
        raise NotImplementedError

    @property
    def levels(self) -> Tensor:
        n = self.count
        return torch.arange(n, -1, -1, dtype=torch.float64) / n

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The curve and its slope at t. At a knot the slope is the left one: that of the chain's own step i."""
        knots = torch.from_numpy(self.knots()).to(t)
        i = (t * self.count).sub(1e-9).ceil().sub(1).clamp(0, self.count - 1).long()
        slope = (knots[i + 1] - knots[i]) * self.count
        return knots[i] + (t - i.to(t) / self.count) * slope, slope  # an integer tensor divides in float32

    def reached(self, value: Tensor) -> Tensor:
        """The time at which the curve has this value; the nearer end where it never does."""
        knots = torch.from_numpy(self.knots()).to(value)
        sign = 1 if knots[-1] > knots[0] else -1
        i = torch.searchsorted(sign * knots, (sign * value).contiguous()).sub(1).clamp(0, self.count - 1)
        part = (value - knots[i]) / (knots[i + 1] - knots[i])
        return ((i.to(value) + part) / self.count).clamp(self.t_min, self.t_max)


@lru_cache(maxsize=16)
def _ddpm_knots(steps: int, beta_min: float, beta_max: float, schedule: str) -> np.ndarray:
    if schedule == "linear":
        betas = np.linspace(beta_min, beta_max, steps)
    elif schedule == "sigmoid":
        betas = beta_min + (beta_max - beta_min) / (1 + np.exp(-np.linspace(-6, 6, steps)))
    else:
        angle = (np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2
        betas = np.minimum(1 - np.cos(angle[1:]) ** 2 / np.cos(angle[:-1]) ** 2, 0.999)
    return np.concatenate([[0.0], 0.5 * np.log1p(-betas).cumsum()])


@dataclass(frozen=True)
class DDPM(_Chain):
    """DDPM's chain of N = `steps` steps, `q(x_i | x_{i-1}) = N(sqrt(1 - beta_i) x_{i-1}, beta_i I)`; t = i/N is step i.

    `schedule`: "linear" betas (Ho et al. 2020, sec. 4), "sigmoid" betas (Xu et al. 2022), both from `beta_min` to `beta_max`
    per step, or "cosine" (Nichol & Dhariwal 2021, eq. 17, betas at most 0.999), which ignores the two. Betas are per step and
    not rescaled with N: for the chain whose limit is `VP(b, c)` pass `beta_min=b/N, beta_max=c/N`.

    Args:
        steps: N, the length of the chain.
        beta_min: First beta of the linear schedule.
        beta_max: Last beta of it.
        schedule: linear, cosine or sigmoid.
    """

    steps: int = 1000
    beta_min: float = 1e-4
    beta_max: float = 0.02
    schedule: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered("DDPM", beta_min=self.beta_min, beta_max=self.beta_max)
        if self.beta_max >= 1 or whole(self.steps, "steps") < 2:
            raise ValueError(f"DDPM needs steps >= 2 and beta_max < 1, got {self.steps} and {self.beta_max}.")
        if not isinstance(self.schedule, str) or self.schedule not in ("linear", "cosine", "sigmoid"):
            raise ValueError(f"DDPM knows the schedules linear, cosine and sigmoid, not {said(self.schedule)}.")

    @property
    def count(self) -> int:  # type: ignore[override]
        return self.steps

    def knots(self) -> np.ndarray:
        return _ddpm_knots(self.steps, self.beta_min, self.beta_max, self.schedule)

    def alpha(self, t: Tensor) -> Tensor:
        return self.curve(t)[0].exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self.curve(t)[0])).clamp(min=0).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        return self.reached(-0.5 * softplus(-log_snr))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha, slope = self.curve(t)
        alpha = log_alpha.exp()
        return slope * alpha, -slope * alpha**2 / self.sigma(t)


@dataclass(frozen=True, init=False, repr=False)
class SMLD(_Chain):
    """SMLD's ladder: alpha = 1, `levels` geometric sigmas from `sigma_max` down to `sigma_min`, then clean data.

    t = i/L is level i, sigma_i = sigma_min (sigma_max/sigma_min)^((i-1)/(L-1)) and sigma_0 = 0; between levels the variance
    is linear in t, which is the chain `x_i = x_{i-1} + sqrt(sigma_i^2 - sigma_{i-1}^2) z` (Song & Ermon 2019, sec. 4.2;
    Song et al. 2021, eq. 20). The limit for many levels is `VE`.

    Args:
        levels: Noise levels of the ladder.
        sigma_min: Smallest noise of it.
        sigma_max: Largest noise of it.
    """

    count: int
    sigma_min: float
    sigma_max: float

    # Written out because the argument is called `levels` (the field's word) and so is the grid that every chain has.
    def __init__(
        self, levels: int = 10, sigma_min: float = 0.01, sigma_max: float = 1.0, *, t_min: float = 0.0, t_max: float = 1.0
    ) -> None:
        for name, value in zip(
            ("count", "sigma_min", "sigma_max", "t_min", "t_max"), (levels, sigma_min, sigma_max, t_min, t_max), strict=True
        ):
            object.__setattr__(self, name, value)
        self.__post_init__()
        ordered("SMLD", sigma_min=sigma_min, sigma_max=sigma_max)
        if whole(levels, "levels") < 2:
            raise ValueError(f"SMLD needs at least 2 levels, got {levels}.")

    def __repr__(self) -> str:
        return f"SMLD(levels={self.count}, sigma_min={self.sigma_min}, sigma_max={self.sigma_max})"

    def knots(self) -> np.ndarray:
        return np.concatenate([[0.0], np.geomspace(self.sigma_min, self.sigma_max, self.count) ** 2])

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.curve(t)[0].clamp(min=0).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        return self.reached(torch.exp(-log_snr))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        variance, slope = self.curve(t)
        return torch.zeros_like(t), slope / (2 * variance.sqrt())
