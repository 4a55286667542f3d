"""The continuous processes: VP, SubVP, VE, Cosine, Rectified, Karras. Two formulas each, the rest in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undrift.argument import real
from undrift.process.base import Process, ordered, sigmoid, softplus


@dataclass(frozen=True)
class VP(Process):
    """Variance preserving: `dx = -beta(t)/2 x dt + sqrt(beta(t)) dw`, beta linear from `beta_min` to `beta_max`.

    alpha = exp(-1/2 int beta), sigma^2 = 1 - alpha^2. The limit of DDPM for many steps (Song et al. 2021, eq. 11, 33).

    Args:
        beta_min: Rate of the noise at t = 0.
        beta_max: Rate at t = 1.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered("VP", beta_min=self.beta_min, beta_max=self.beta_max)

    def beta(self, t: Tensor) -> Tensor:
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def log_alpha(self, t: Tensor) -> Tensor:
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def alpha(self, t: Tensor) -> Tensor:
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self.log_alpha(t))).sqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma, half = self.alpha(t), self.sigma(t), self.beta(t) / 2
        return -half * alpha, half * alpha**2 / sigma

    def diffusion(self, t: Tensor) -> Tensor:
        return self.beta(t).sqrt()  # finite at t = 0, where sigma' is not

    def time(self, log_snr: Tensor) -> Tensor:
        return self._time_of_log_alpha(-0.5 * softplus((-log_snr).clamp(max=1e4)))

    def _time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        # log alpha = -(k t^2 / 4 + beta_min t / 2): the stable root of the quadratic.
        k, b, c = (self.beta_max - self.beta_min) / 4, self.beta_min / 2, -log_alpha
        return (2 * c / (b + (b**2 + 4 * k * c).sqrt())).clamp(self.t_min, self.t_max)


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-variance preserving: the drift of VP with less noise, `sigma = 1 - alpha^2` (Song et al. 2021, eq. 12, 29).

    Args:
        beta_min: Rate of the noise at t = 0.
        beta_max: Rate at t = 1.
    """

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(2 * self.log_alpha(t))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self.alpha(t), self.beta(t)
        return -beta / 2 * alpha, beta * alpha**2

    def diffusion(self, t: Tensor) -> Tensor:
        return (self.beta(t) * -torch.expm1(4 * self.log_alpha(t))).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        # alpha / (1 - alpha^2) = e^(log_snr/2) =: q, so log alpha = -asinh(1 / (2 q)).
        return self._time_of_log_alpha(-torch.asinh(0.5 * torch.exp((-log_snr / 2).clamp(max=300))))


@dataclass(frozen=True)
class VE(Process):
    """Variance exploding: alpha = 1, sigma geometric from `sigma_min` to `sigma_max` (Song et al. 2021, eq. 9, 31).

    Args:
        sigma_min: Smallest noise, at the data.
        sigma_max: Largest noise, at the prior.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered("VE", sigma_min=self.sigma_min, sigma_max=self.sigma_max)

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(t * self._log_ratio)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), self.sigma(t) * self._log_ratio

    def time(self, log_snr: Tensor) -> Tensor:
        return ((-log_snr / 2 - math.log(self.sigma_min)) / self._log_ratio).clamp(self.t_min, self.t_max)


@dataclass(frozen=True)
class Cosine(Process):
    """alpha = cos(pi/2 (t + s)/(1 + s)) / cos(pi/2 s/(1 + s)), sigma^2 = 1 - alpha^2 (Nichol & Dhariwal 2021, eq. 17).

    `offset` is their s. Pure noise at t = 1: alpha is exactly zero there.

    Args:
        offset: Moves the schedule off zero noise at t = 0.
    """

    offset: float = 0.008

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self.offset, "offset", finite=False)
        if not 0 <= self.offset < 1 or self.t_max > 1:
            raise ValueError(f"Cosine needs 0 <= offset < 1 and t_max <= 1, got {self.offset} and {self.t_max}.")

    @property
    def _scale(self) -> tuple[float, float]:
        return math.pi / 2 / (1 + self.offset), math.cos(math.pi / 2 * self.offset / (1 + self.offset))

    def alpha(self, t: Tensor) -> Tensor:
        rate, top = self._scale
        return torch.sin(rate * (1 - t)) / top  # the sine form is exactly 0 at t = 1

    def sigma(self, t: Tensor) -> Tensor:
        rate, top = self._scale
        # top^2 - sin^2(a) with top = sin(rate) is sin(rate - a) sin(rate + a): no cancellation near t = 0.
        return (torch.sin(rate * t) * torch.sin(rate * (2 - t))).clamp(min=0).sqrt() / top

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        rate, top = self._scale
        dalpha = -rate * torch.cos(rate * (1 - t)) / top
        return dalpha, -self.alpha(t) * dalpha / self.sigma(t)

    def time(self, log_snr: Tensor) -> Tensor:
        rate, top = self._scale
        return (1 - torch.asin(top * sigmoid(log_snr).sqrt()) / rate).clamp(self.t_min, self.t_max)


@dataclass(frozen=True)
class Rectified(Process):
    """The straight line of flow matching: `x_t = (1 - t) x_0 + t eps` (Lipman et al. 2023; Liu et al. 2023)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.t_max > 1:
            raise ValueError(f"Rectified ends at t = 1 (pure noise), got t_max = {self.t_max}.")

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t.clone()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return sigmoid(-log_snr / 2).clamp(self.t_min, self.t_max)


@dataclass(frozen=True)
class Karras(Process):
    """EDM's process: time is the noise level, alpha = 1, sigma = t (Karras et al. 2022, sec. 2)."""

    t_min: float = 0.002
    t_max: float = 80.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t.clone()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr / 2).clamp(self.t_min, self.t_max)
