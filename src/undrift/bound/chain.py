"""A model's reverse chain, and its terms of the variational bound.

The divergence of the exact posterior step and the model's (see `undrift.reverse`), in nats, summed over a sample's entries:

    L_{t-1} = KL(q(x_s | x_t, x_0) || p(x_s | x_t)) = sum [log(v/tilde) + tilde/v - 1 + c^2 (x_0 - data)^2 / v] / 2

which at v = tilde is (SNR_s - SNR_t)/2 |x_0 - data|^2 (Ho et al. 2020, eq. 5 and 12; 001 eq. 4.4 and 4.10; Kingma et al. 2021,
eq. 14). The step that arrives at data has no posterior; its term is L_0 = -log p(x_0 | x_1) under a Gaussian with mean `data`,
as a density, or integrated over the bins of integer data (`Bins`). With v = beta = sigma_1^2 its square term is |x_0 -
data|^2 / (2 sigma_1^2): the 2 is missing in 001 eq. 4.11.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undrift.argument import said, tensor
from undrift.bound.bins import Bins
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.device import onto
from undrift.process import Process, expand
from undrift.reverse import AnalyticVariance, data_error, reverse_step


class Chain:
    """A model's reverse chain on a grid.

    Args:
        process: The process.
        times: `(n + 1,)` from `grid`.
        variance: "beta", "tilde", "learned", an `AnalyticVariance`, or a tensor `(n,)` of your own. At the step to data, where
            beta-tilde is zero, "tilde" means beta; the lower end of "learned" is there the beta-tilde of the step before
            (the clipped variance of Nichol & Dhariwal 2021, sec. 3.1), or beta if there is none.
        bins: The decoder's bins; None: a density.

    Raises:
        ValueError: an unknown variance, or a tensor of variances that are not n positive numbers.
    """

    def __init__(self, process: Process, times: Tensor, variance: Any = "beta", bins: Bins | None = None) -> None:
        self.process, self.times, self.bins = process, times, bins
        self.step = reverse_step(process, times[:-1], times[1:])
        tilde = torch.cat([self.step.tilde[:-1], (self.step.tilde[-2:-1] if len(times) > 2 else self.step.beta[-1:])])
        self.log_beta, self.log_tilde = self.step.beta.log(), tilde.log()
        self.learned = isinstance(variance, str) and variance == "learned"
        if isinstance(variance, AnalyticVariance):
            self.log_variance = variance(process, times[:-1], times[1:]).log()
        elif isinstance(variance, (Tensor, np.ndarray, list, tuple)):
            variance = tensor(variance, "variance", torch.float64)
            if variance.shape != (len(times) - 1,) or not bool((variance > 0).all()):
                raise ValueError(f"`variance` must be {len(times) - 1} positive numbers, one for each step of the grid.")
            self.log_variance = variance.double().log()
        elif isinstance(variance, str) and variance in ("beta", "tilde", "learned"):
            self.log_variance = self.log_beta if variance == "beta" else torch.cat([self.log_tilde[:-1], self.log_beta[-1:]])
        else:
            raise ValueError(f"`variance` {said(variance)} is not one of beta, tilde, learned, an AnalyticVariance or a tensor.")

    def evaluate(self, denoiser: AnyDenoiser, x: Tensor, t: Tensor, cond: Any) -> tuple[Prediction, Tensor | None]:
        """The prediction, and the fraction if the variance is learned."""
        return denoiser.with_fraction(x, t, cond) if self.learned else (denoiser(x, t, cond), None)

    def term(self, x0: Tensor, i: int | Tensor, eps: Tensor, prediction: Prediction, fraction: Tensor | None = None) -> Tensor:
        """The bound's term of step `i`, from `times[i]`: KL, or -log p(x_0 | x_1) for the last; `(B,)` float64 nats.

        Args:
            x0: `(B, *D)` data.
            i: The step, one number or `(B,)`.
            eps: The noise in x_t.
            prediction: The denoiser's at x_t.
            fraction: `(B, *D)`, for learned variances.
        """
        i = torch.as_tensor(i)

        def pick(values: Tensor) -> Tensor:
            return expand(onto(values[i], x0), x0).double()

        error = data_error(self.process, x0, onto(self.times[i], x0), eps, prediction).double()
        log_v, log_tilde = pick(self.log_variance), pick(self.log_tilde)
        if fraction is not None:
            log_v = torch.lerp(log_tilde.expand_as(fraction), pick(self.log_beta).expand_as(fraction), fraction.double())
        excess = log_v - log_tilde  # the first three terms of the KL are excess + exp(-excess) - 1, without cancellation
        kl = (excess + torch.expm1(-excess) + pick(self.step.data) ** 2 * error**2 * (-log_v).exp()) / 2
        if self.bins is None:
            last = (error**2 * (-log_v).exp() + log_v + math.log(2 * math.pi)) / 2
        else:
            last = -self.bins.log_prob(x0, x0 - error, log_v.exp())
        final = expand(i == len(self.times) - 2, x0).bool()
        return torch.where(final, last, kl).flatten(1).sum(1)
