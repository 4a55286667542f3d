"""Denoising score matching: one regression behind every loss of the papers.

Draw a time and noise, perturb the data, and regress the network's output on `a x_0 + b eps` (Vincent 2011). The error is
formed in the network's own space and then multiplied by a number to have it in any other: SMLD's, DDPM's, EDM's, v- and
flow-matching losses differ in nothing but `space`, `weight` and `times`.

Weights with a name are written here for the squared error of the *data* prediction (the table's last column); the same loss
measured in another space has the weight beside it. SNR = alpha^2/sigma^2, ' is d/dt:

    name         on the noise error     on the score error     on the data error
    sigma2       1                      sigma^2                SNR                 L_simple, Song & Ermon 2019
    likelihood   -log_snr' = g^2/s^2    g^2                    -SNR'               Song et al. 2021, maximum likelihood
    bound        half of that           g^2 / 2                -SNR'/2             the variational bound, in nats per dimension
    min_snr      min(1, gamma/SNR)                             min(SNR, gamma)     Hang et al. 2023, gamma = 5
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from undrift.argument import function
from undrift.denoiser import Denoiser
from undrift.device import onto
from undrift.noise import Noise
from undrift.objective.given import check_given
from undrift.objective.quantile import Quantile, by_mass, draw, snr
from undrift.process import Process, expand
from undrift.process.base import like
from undrift.target import Target, data, determinant

Weight = Callable[[Process, Tensor], Tensor]


def snr_loss_rate(process: Process, t: Tensor) -> Tensor:
    """-d SNR/dt, for a chain of N levels `N (SNR((i-1)/N) - SNR(i/N))`, where level 1 counts to data at level 0 as eps error.

    At level 1 of a chain the step to clean data has infinite SNR; its term of the bound is the reconstruction L_0 and gets
    the weight N SNR here, the limit of 001 eq. 4.11 (with its misprint mended: docs/errata.md).
    """
    if process.levels is not None:
        n = len(process.levels) - 1
        before = (t - 1 / n).clamp(min=0)
        first = t * n < 1.5
        return n * torch.where(first, snr(process, t), snr(process, torch.where(first, t, before)) - snr(process, t))
    (alpha, sigma), (dalpha, dsigma) = process(t), process.rates(t)
    return 2 * alpha * (alpha * dsigma - dalpha * sigma) / sigma**3


WEIGHTS: dict[str, Weight] = {
    "sigma2": snr,
    "likelihood": snr_loss_rate,
    "bound": lambda process, t: snr_loss_rate(process, t) / 2,
    "min_snr": lambda process, t: snr(process, t).clamp(max=5.0),
}


@dataclass(frozen=True)
class DenoisingScoreMatching:
    """`E_t w(t) |error in space|^2` per dimension.

    Args:
        space: The target whose error is squared; None: the network's own. Only "simple" and weights of your own depend on it:
            the other names fix the loss, whatever the space.
        weight: "simple" (1 in `space`), "sigma2", "likelihood", "bound", "min_snr", or a function (process, t) -> weight in
            `space`.
        times: "uniform"; "low_discrepancy" (uniform, spread evenly over the batch: less variance, same expectation);
            "importance" (drawn in proportion to the weight of the noise error, and divided out again: same expectation);
            "lognormal" (EDM's, which is itself a weighting); or a quantile function (process, u in (0, 1)) -> t.

    Raises:
        ValueError: an unknown name; "importance" for a weight whose integral diverges (give the process a t_min > 0).
    """

    has_floor: ClassVar[bool] = True  # far above zero: an exact denoiser loses that much, and divergence is told by it
    second_order: ClassVar[bool] = False  # whether the network is differentiated in its input

    space: Target | None = None
    weight: str | Weight = "simple"
    times: str | Quantile = "uniform"

    def __post_init__(self) -> None:
        known = ("simple", *WEIGHTS)
        for name in ("space", "weight", "times"):
            if not isinstance(getattr(self, name), str) and (name != "space" or self.space is not None):
                function(getattr(self, name), name, "give a name or a function; see the docstring")
        if isinstance(self.weight, str) and self.weight not in known:
            raise ValueError(f"`weight` {self.weight!r} is not one of {', '.join(known)}, nor a function.")
        if isinstance(self.times, str) and self.times not in ("uniform", "low_discrepancy", "importance", "lognormal"):
            raise ValueError(f"`times` {self.times!r} is not one of uniform, low_discrepancy, importance, lognormal.")

    def __call__(self, denoiser: Denoiser, x0: Tensor, noise: Noise, cond: Any = None) -> Tensor:
        """The loss of each sample.

        Args:
            denoiser: A network with process and target.
            x0: `(B, *D)` clean data in model space.
            noise: One address per sample; fold the training step into it.
            cond: Handed to the network.

        Returns:
            `(B,)`, differentiable in the network's parameters.
        """
        check_given(denoiser, x0, noise)
        t, density_ratio = self.draw_times(denoiser, noise)
        t = onto(t, x0)
        return self.at(denoiser, x0, t, noise.fold("eps").normal(x0), cond) * like(density_ratio, x0)

    def at(self, denoiser: Denoiser, x0: Tensor, t: Tensor, eps: Tensor, cond: Any = None) -> Tensor:
        """The weighted loss `(B,)` at given times `(B,)` and noise `(B, *D)`."""
        return self.of_output(denoiser, x0, t, eps, denoiser.output(denoiser.process.perturb(x0, t, eps), t, cond))

    def of_output(self, denoiser: Denoiser, x0: Tensor, t: Tensor, eps: Tensor, output: Tensor) -> Tensor:
        """The weighted loss `(B,)` of what the network put out at `perturb(x0, t, eps)`."""
        a, b = denoiser.target(denoiser.process, t)
        error = output - (expand(a, x0) * x0 + expand(b, x0) * eps)
        return like(self.coefficient(denoiser, t), x0) * error.square().flatten(1).mean(1)

    def coefficient(self, denoiser: Denoiser, t: Tensor) -> Tensor:
        """What the squared error of the network's own output is multiplied by; shape of `t`, float64."""
        process, own = denoiser.process, determinant(denoiser.target, denoiser.process, t)
        named = isinstance(self.weight, str) and self.weight in WEIGHTS
        space = data if named else self.space
        ratio = torch.ones_like(own) if space is None else determinant(space, process, t) / own
        return self._weight(process, t) * ratio**2

    def draw_times(self, denoiser: Denoiser, noise: Noise) -> tuple[Tensor, Tensor]:
        """Times `(B,)` and the ratio `(B,)` of the density they stand for to the density they were drawn from."""
        if self.times != "importance":
            t = draw(denoiser.process, self.times, noise)
            return t, torch.ones_like(t)
        process = denoiser.process
        clean = process.levels is None and process.sigma(torch.tensor(process.t_min, dtype=torch.float64)) == 0
        if clean and self.weight in ("likelihood", "bound"):
            raise ValueError(
                "importance-sampled times need a weight with a finite integral; this one diverges at t = 0. "
                "Give the process a t_min, such as 1e-4."
            )
        u = noise.fold("time").uniform(torch.empty(len(noise), dtype=torch.float64))
        return by_mass(denoiser.process, self._noise_weight, u)

    def _weight(self, process: Process, t: Tensor) -> Tensor:
        if callable(self.weight):
            return self.weight(process, t)
        return WEIGHTS[self.weight](process, t) if self.weight in WEIGHTS else torch.ones_like(t)

    def _noise_weight(self, process: Process, t: Tensor) -> Tensor:
        """The weight of the squared noise error, whose expectation is nearly flat in t."""
        space = data if self.weight in WEIGHTS else self.space or data
        return self._weight(process, t) * (determinant(space, process, t) / process.alpha(t).clamp(min=1e-12)) ** 2
