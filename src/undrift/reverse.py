"""The reverse step: the exact posterior between two times, and the variances that a model may put in its place.

For a step from `t` to a less noisy `s` the posterior of the forward process is Gaussian, under every process (Ho et al. 2020,
eq. 6-7; 001 eq. 4.5-4.6; Kingma et al. 2021, app. A):

    q(x_s | x_t, x_0) = N(c x_0 + b x_t, tilde I),   c = alpha_s beta / sigma_t^2,   b = r sigma_s^2 / sigma_t^2,
    beta = sigma_t^2 - r^2 sigma_s^2,   tilde = beta sigma_s^2 / sigma_t^2,   r = alpha_t / alpha_s.

On a DDPM chain beta and tilde are beta_t and beta-tilde_t; on SMLD, sigma_i^2 - sigma_{i-1}^2 and its ancestral variance.
The model's step is `N(c data + b x_t, v I)`: the same mean with the prediction in place of x_0, and a variance `v` that is

    "beta", "tilde"      the optimal ones if the data were N(0, I), or one point (Ho et al. 2020, sec. 3.2)
    "learned"            exp(f log beta + (1 - f) log tilde), f from the network's variance head (Nichol & Dhariwal 2021, eq. 15)
    AnalyticVariance     tilde + c^2 E|x_0 - data|^2 / d, the optimal scalar, measured after training (Bao et al. 2022)

"beta" is optimal for N(0, I) under variance-preserving processes; in general it is the variance of the forward step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from undrift import times as grids
from undrift.argument import floats, instance, real, said, tensor, whole
from undrift.condition import for_samples
from undrift.denoiser import AnyDenoiser, Prediction, check_denoiser
from undrift.noise import Noise
from undrift.process import Process, expand


class Step(NamedTuple):
    """Coefficients of `q(x_s | x_t, x_0) = N(data x_0 + state x_t, w^2 I)`, and the two variances; shapes of the times."""

    data: Tensor
    state: Tensor
    beta: Tensor
    tilde: Tensor


def reverse_step(process: Process, t: Tensor, s: Tensor, eta: float = 1.0) -> Step:
    """The step from `t` to the less noisy `s`, `()` or `(n,)`; `s` at the process's t_min means clean data, as in samplers.

    With eta < 1 the variance is `eta^2 tilde` and the coefficients are DDIM's (Song et al. 2020, eq. 7).
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = process(t), process(s)
    arrived = s <= process.t_min
    alpha_s, sigma_s = alpha_s.masked_fill(arrived, 1.0), sigma_s.masked_fill(arrived, 0.0)
    beta = (sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2).clamp(min=0)
    tilde = beta * (sigma_s / sigma_t) ** 2
    if eta == 1:  # the general formula, without its cancellation
        return Step(alpha_s * beta / sigma_t**2, alpha_t / alpha_s * (sigma_s / sigma_t) ** 2, beta, tilde)
    state = (sigma_s**2 - eta**2 * tilde).clamp(min=0).sqrt() / sigma_t
    return Step(alpha_s - state * alpha_t, state, beta, tilde)


@dataclass(frozen=True)
class AnalyticVariance:
    """The optimal scalar variance of every reverse step, from one table: how uncertain x_0 still is at each noise level.

    Attributes:
        log_snr: Increasing log-SNRs.
        spread: `E|x_0 - data(x_t, t)|^2 / d` there, data units squared. With the exact denoiser it is the posterior variance,
            `sigma^2/alpha^2 (1 - sigma^2 E|score|^2 / d)` (Bao et al. 2022, eq. 5); measured as the error of the data, it is
            optimal for the bound whatever the denoiser (Bao et al. 2022b, sec. 4).
    """

    log_snr: tuple[float, ...]
    spread: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("log_snr", "spread"):
            value = getattr(self, name)
            if not isinstance(value, (tuple, list)) or not len(value) or len(value) != len(self.log_snr):
                raise ValueError(f"`{name}` must be a tuple of as many numbers as the other, got {said(value)}.")
            for number in value:
                real(number, name)

    def at(self, process: Process, t: Tensor) -> Tensor:
        """The spread at times of any shape: log-linear in log-SNR, proportional to 1/SNR beyond the clean end."""
        knots, log_spread = (torch.tensor(a, dtype=torch.float64) for a in (self.log_snr, self.spread))
        log_spread, level = log_spread.log(), process.log_snr(t).to("cpu", torch.float64)
        inside = level.clamp(knots[0], knots[-1])
        i = torch.searchsorted(knots, inside).clamp(1, max(1, len(knots) - 1))
        share = (inside - knots[i - 1]) / (knots[i] - knots[i - 1]) if len(knots) > 1 else torch.zeros_like(inside)
        value = torch.lerp(log_spread[i - 1], log_spread[i.clamp(max=len(knots) - 1)], share)
        return (value - (level - knots[-1]).clamp(min=0)).exp().to(t)

    def __call__(self, process: Process, t: Tensor, s: Tensor, eta: float = 1.0) -> Tensor:
        """The variance of the step from `t` to `s`: `eta^2 tilde + c^2 spread`."""
        step = reverse_step(process, t, s, eta)
        return eta**2 * step.tilde + step.data**2 * self.at(process, t)


@torch.no_grad()
def analytic_variance(
    denoiser: AnyDenoiser, x0: Tensor, noise: Noise, *, steps: int | Tensor | None = 50, cond: Any = None
) -> AnalyticVariance:
    """Measure `AnalyticVariance` of a trained denoiser on data, once, for use with any grid and sampler.

    Args:
        denoiser: Any denoiser.
        x0: `(B, *D)` data that it was trained on, a few hundred or more, model space.
        noise: One address per sample.
        steps: The grid of the table: see `grid`. One evaluation of all of `x0` for each step.
        cond: Handed to the denoiser.
    """
    check_denoiser(denoiser)
    x0 = floats(x0, "x0")
    if x0.ndim < 2 or not len(x0) or not bool(torch.isfinite(x0).all()):
        raise ValueError(f"`x0` must be (B, *D) finite data, got {said(x0)}.")
    instance(noise, "noise", Noise, "give a Noise, one address per sample")
    cond = for_samples(cond, len(x0), x0.device)
    table = {}
    for i, t in enumerate(grid(grids.in_units(denoiser.process, denoiser.unit), steps)[:-1]):
        eps = noise.fold("analytic", i).normal(x0)
        prediction = denoiser(denoiser.process.perturb(x0, t, eps), t, cond)
        error = data_error(denoiser.process, x0, t, eps, prediction).square().mean(dtype=torch.float64)
        table[max(-80.0, float(denoiser.process.log_snr(t)))] = max(float(error), 1e-30)
    return AnalyticVariance(*zip(*sorted(table.items()), strict=True))


def data_error(process: Process, x0: Tensor, t: Tensor, eps: Tensor, prediction: Prediction) -> Tensor:
    """`x_0 - data` `(B, *D)`, from whichever half of the prediction is better determined."""
    alpha, sigma = process(t)
    clean = alpha > sigma
    ratio = sigma / torch.where(clean, alpha, 1.0)
    return torch.where(expand(clean, x0).bool(), expand(ratio, x0) * (prediction.noise - eps), x0 - prediction.data)


def half_noise_error(process: Process, x0: Tensor, t: Tensor, eps: Tensor, prediction: Prediction) -> Tensor:
    """`|eps - noise|^2 / 2` `(B,)`: the bound's density per unit of log-SNR, in nats (Kingma et al. 2021, eq. 15)."""
    alpha, sigma = process(t)
    error = expand(alpha / sigma, x0) * data_error(process, x0, t, eps, prediction)
    return error.square().flatten(1).sum(1, dtype=torch.float64) / 2


def grid(process: Process, steps: int | Tensor | None) -> Tensor:
    """The `(n + 1,)` decreasing times of a reverse chain, from noise to data.

    Args:
        process: The process.
        steps: None for the process's own levels; a number for so many steps, even in log-SNR (on a chain: its levels, thinned
            out); or the times themselves.

    Raises:
        ValueError: None for a continuous process; times that do not decrease from within its interval to t_min.
    """
    if steps is None:
        if process.levels is None:
            raise ValueError(f"{process} has no levels of its own: give `steps`, a number or a grid.")
        return process.levels
    if not isinstance(steps, (Tensor, np.ndarray, list, tuple)):
        steps = whole(steps, "steps", 1)
        return (grids.log_snr if process.levels is None else grids.uniform)(process, steps)
    times = tensor(steps, "steps", torch.float64).cpu()
    if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
        raise ValueError("`steps` as a grid must be at least two times that decrease from noise to data.")
    if times[0] > process.t_max or times[-1] != process.t_min:
        raise ValueError(f"a grid of {process} must lie in its interval and end at t_min = {process.t_min:g}.")
    return times
