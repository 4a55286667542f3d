"""Denoisers and settings with a fault planted, and nothing else wrong: what `diagnose` must find.

All are about one mixture in the plane, or one Gaussian, whose exact denoiser is known, so that the cost of each fault has a closed form
or a quadrature.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import undrift as ud
from conftest import mixture
from undrift.process import as_time, expand


class Dented(ud.AnyDenoiser):
    """A denoiser whose noise is `factor` too small at noise levels sigma/alpha from `low` to `high`, and exact elsewhere."""

    def __init__(self, denoiser: ud.AnyDenoiser, low: float, high: float, factor: float = 0.5) -> None:
        super().__init__()
        self.denoiser, self.low, self.high, self.factor = denoiser, low, high, factor
        self.process, self.shape = denoiser.process, denoiser.shape

    def forward(self, x: Tensor, t: Tensor | float, cond=None) -> ud.Prediction:
        alpha, sigma = self.process(as_time(t, x))
        level = sigma / alpha
        wrong = (level > self.low) & (level < self.high)
        noise = self.denoiser(x, t, cond).noise * expand(torch.where(wrong, self.factor, 1.0), x)
        return ud.Prediction((x - expand(sigma, x) * noise) / expand(alpha.clamp(min=1e-9), x), noise)


class Swirled(ud.AnyDenoiser):
    """A denoiser whose data prediction is turned by a rotation of `strength` around the origin: not the gradient of anything."""

    def __init__(self, denoiser: ud.AnyDenoiser, strength: float) -> None:
        super().__init__()
        self.denoiser, self.strength, self.process, self.shape = denoiser, strength, denoiser.process, denoiser.shape

    def forward(self, x: Tensor, t: Tensor | float, cond=None) -> ud.Prediction:
        alpha, sigma = (expand(a, x) for a in self.process(as_time(t, x)))
        data = self.denoiser(x, t, cond).data
        data = data + self.strength * torch.stack([-data[:, 1], data[:, 0]], 1)
        return ud.Prediction(data, (x - alpha * data) / sigma)


def linear(law: ud.GaussianMixture) -> ud.GaussianMixture:
    """The best linear denoiser of a law: what the smallest network, without a hidden unit, becomes. Wiener's filter."""
    weights = law.log_weights.exp()
    mean = weights @ law.means
    covs = (law.basis * law.variance[:, None]) @ law.basis.mT + law.means[:, :, None] * law.means[:, None]
    cov = (weights[:, None, None] * covs).sum(0) - mean[:, None] * mean
    return ud.GaussianMixture(mean[None], cov[None], process=law.process)


def gaussian(std: float = 1.0, d: int = 2, process: ud.Process | None = None, mean: float = 0.0) -> ud.GaussianMixture:
    return ud.GaussianMixture([[mean] * d], std, process=process or ud.VP())


LAW = mixture(ud.VP())
SHORT = mixture(ud.VP(t_max=0.4))  # ends with alpha = 0.45: the two components are still apart


# name: what must be named, then the denoiser, the law, and the options of `diagnose`
FAULTS = {
    "none": (None, LAW, LAW, {}),
    "none, a sampler with noise": (None, LAW, LAW, {"sampler": "ancestral", "steps": 40}),
    "none, classes asked for": (None, LAW, LAW, {"scale": 1.0}),
    "none, equal weights": (None, LAW, LAW, {"other": LAW}),
    "the process ends too early": ("prior", SHORT, SHORT, {}),
    "data far from the centre, VE to 3": ("prior", *[gaussian(1.0, 2, ud.VE(0.01, 3.0), 2.0)] * 2, {}),
    "noise halved at sigma/alpha 0.3 to 0.6": ("score", Dented(LAW, 0.3, 0.6), LAW, {}),
    "noise halved at sigma/alpha 2 to 4": ("score", Dented(LAW, 2.0, 4.0), LAW, {}),
    "too little for 500: 5 % of noise lost": (None, Dented(LAW, 0.1, 0.2, 0.95), LAW, {}),
    "linear network": ("score", linear(LAW), LAW, {}),
    "rotated field": ("score", Swirled(LAW, 0.3), LAW, {}),
    "3 steps": ("discretisation", LAW, LAW, {"steps": 3}),
    "4 steps with noise": ("discretisation", LAW, LAW, {"sampler": "ancestral", "steps": 4}),
    "guidance scale 3": ("guidance", LAW, LAW, {"scale": 3.0}),
    "guidance scale 0: data, of other classes": (None, LAW, LAW, {"scale": 0.0}),
    "averaged weights lag": ("ema", linear(LAW), LAW, {"other": LAW}),
}  # fmt: skip


def diagnosed(name: str, n: int = 500, seed: int = 0) -> tuple[str | None, ud.Budget]:
    """What must be named, and what was found."""
    wanted, denoiser, law, options = FAULTS[name]
    return wanted, ud.diagnose(denoiser, law, n, seed=seed, **{"steps": 12, **options})


def dent_in_nats(law: ud.GaussianMixture, low: float, high: float, factor: float) -> float:
    """The bound's term of a `Dented` Gaussian, by quadrature: `(1 - factor)^2/2 int E|E[eps | x_t]|^2 d log_snr`.

    For N(0, s^2 I) in d dimensions `E|E[eps | x_t]|^2 = d sigma^2/(alpha^2 s^2 + sigma^2)`, which integrates to
    `d log(...)`; written out with u = (sigma/alpha)^2: `d log_snr = -du/u`, so `int u/(s^2 + u) du/u = log((s^2 + high^2)/(s^2 + low^2))`.
    """
    variance, d = float(law.variance[0, 0]), law.means.shape[1]
    return (1 - factor) ** 2 / 2 * d * math.log((variance + high**2) / (variance + low**2))
