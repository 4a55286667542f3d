"""Particles: sampling p(x_0 | y) without the methods' approximations, at the price of many samples at once."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from undrift import times as grids
from undrift.argument import LARGEST, tensor, whole
from undrift.denoiser import AnyDenoiser, Prediction, check_denoiser, numbers_like
from undrift.guidance.shift import REACH, shifted
from undrift.inverse.operator import Operator
from undrift.inverse.posterior import Method, Posterior
from undrift.noise import Noise
from undrift.process import Process
from undrift.reverse import reverse_step
from undrift.sampler import as_grid
from undrift.watching import tell


class Particles(NamedTuple):
    """Weighted samples of N posteriors.

    Attributes:
        x: `(N, K, *D)` model space.
        weights: `(N, K)`, each row sums to 1.
        log_evidence: `(N,)` estimate of log p(y), nats; `exp` of it is unbiased for the sampled chain.
    """

    x: Tensor
    weights: Tensor
    log_evidence: Tensor

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """`(N, n, *D)`: particles drawn by their weights, systematically."""
        n, seed = whole(n, "n", 1), whole(seed, "seed", 0)
        chosen = _systematic(self.weights, n, Noise(range(len(self.x))).fold("draw", seed))
        return torch.stack([x[rows] for x, rows in zip(self.x, chosen, strict=True)])


@torch.no_grad()
def smc(
    denoiser: AnyDenoiser,
    operator: Operator,
    y: Tensor,
    noise_std: float,
    twist: Method,
    particles: int = 64,
    steps: int | Tensor = 100,
    seed: int = 0,
    cond: Any = None,
    *,
    grid: grids.Grid = grids.karras,
    first: int = 0,
) -> Particles:
    """Twisted sequential Monte Carlo: exact as particles grow, whatever the twist.

    Particles move as `Ancestral` moves them under `Posterior(..., twist)`; weights make up for what the twist gets wrong:

        w <- w p(x_s | x_t) psi_s(x_s) / (q(x_s | x_t, y) psi_t(x_t)),     psi_t = N(y; A data, noise_std^2 + r^2 |A|^2/n)

    with p the prior's step, q the twisted one, r^2 = sigma^2/(alpha^2 + sigma^2), and psi = p(y | x_0) itself at the end.
    Where the effective number of particles falls below half, they are resampled. What is left is the error of the
    `steps` of the chain. The particles of one observation depend on no other. With 128 particles and `MMPS()` as twist, on
    mixtures in 2 and 8 dimensions, 0.9 to 1.3 times the floor of exact samples away; overconfident where particles are too few
    (81 % within 90 for four projections of eight entries at noise 0.05).

    Args:
        denoiser: Of the prior, at noise levels down to data.
        operator, noise_std: The measurement.
        y: `(N, *Y)`, N observations; or `(*Y)`, one.
        twist: A method such as `MMPS()`.
        particles: K, of each observation. One evaluation of the denoiser holds N K samples.
        steps: How many, laid out by `grid`, or the `(n + 1,)` decreasing times, ending at t_min.
        seed: Names the particles.
        cond: One label for all, or `(N,)`.
        first: Number of the first observation, for running a set in parts.

    Returns:
        `Particles`.

    Raises:
        ValueError: fewer than one particle; a negative seed or first; what `Posterior` and the grid refuse; a denoiser that knows no shape.

    Source: Wu et al. 2023, Algorithm 1 and eq. 9-12.
    """
    check_denoiser(denoiser)
    particles, seed, first = whole(particles, "particles", 1), whole(seed, "seed", 0), whole(first, "first", 0, LARGEST // 2)
    asked = Posterior(denoiser, operator, y, noise_std, twist)
    noise_std = asked.observation.noise_std
    count, process = len(asked.observation.y), denoiser.process
    repeated = asked.observation.y.repeat_interleave(particles, 0)
    guided = Posterior(denoiser, operator, repeated, noise_std, twist)
    if cond is not None:
        cond = tensor(cond, "cond")
        if cond.ndim > 1 or (cond.ndim == 1 and len(cond) not in (1, count)):
            raise ValueError(f"`cond` has shape {tuple(cond.shape)} for {count} observations: give one label, or one each.")
        cond = cond.expand(count).repeat_interleave(particles)
    times = as_grid(denoiser, grid, steps)
    noise = Noise(range(first, first + count)).fold("smc", seed)
    like = numbers_like(denoiser, repeated.cpu())
    x = process.prior(like.new_empty(count, particles, *operator.shape), noise).flatten(0, 1)
    if times[-1] > process.t_min:
        raise ValueError(f"`times` must end at t_min = {process.t_min:g}, where y was measured; they end at {times[-1]:g}.")
    size = _size(operator, like)
    log_weights = torch.zeros(count, particles, dtype=torch.float64, device=x.device)
    log_psi, evidence = log_weights, log_weights[:, 0]
    for i, (t, s) in enumerate(pairwise(times)):
        tell(i / (len(times) - 1))
        view = guided.view(x, t, cond)
        psi = _log_psi(view.residual, noise_std**2 + size * _unknown(process, t)).view(count, particles)
        log_weights, log_psi = log_weights + psi - log_psi, psi
        prior = shifted(view.prediction, process, x, t, torch.zeros_like(x), REACH * denoiser.unit)
        if s <= process.t_min:  # the chain ends with the prior's denoised mean, on which y itself is the judge
            x = prior.data
            psi = _log_psi(view.residual, noise_std**2 * torch.ones_like(t)).view(count, particles)
            log_weights = log_weights + psi - log_psi
            break
        twisted = shifted(view.prediction, process, x, t, twist(view), REACH * denoiser.unit)
        chosen, fresh = _resample(log_weights, noise.fold("resample", i))
        evidence = torch.where(fresh, evidence + _log_mean(log_weights), evidence)
        log_weights = torch.where(fresh[:, None], 0.0, log_weights)
        log_psi = log_psi.gather(1, chosen)
        rows = (chosen + particles * torch.arange(count, device=x.device)[:, None]).flatten()
        tilde = reverse_step(process, t, s).tilde
        to_prior, to_twisted = (_step_mean(process, Prediction(*(half[rows] for half in p)), s, tilde) for p in (prior, twisted))
        z = noise.fold("step", i).normal(x.view(count, particles, *operator.shape)).reshape_as(x)
        x = to_twisted + tilde.sqrt() * z
        ratio = (z.square() - ((x - to_prior) / tilde.sqrt()).square()).flatten(1).double().sum(1) / 2
        log_weights = log_weights + ratio.view(count, particles)
    evidence = evidence + _log_mean(log_weights)
    return Particles(x.view(count, particles, *operator.shape), log_weights.softmax(1), evidence)


def _unknown(process: Process, t: Tensor) -> Tensor:
    """`r^2 = sigma^2 / (alpha^2 + sigma^2)`, the variance of an entry of p(x_0 | x_t) for data N(0, I)."""
    alpha, sigma = process(t)
    return sigma**2 / (alpha**2 + sigma**2)


def _size(operator: Operator, like: Tensor) -> float:
    """`|A|^2 / n`, the mean square of a row, by eight probes; of a slope where A is not linear."""
    noise = Noise(range(8)).fold("size")
    u = noise.normal(like.new_empty(8, *operator.measured))
    at = None if operator.linear else noise.fold("at").normal(like.new_empty(8, *operator.shape))
    return float(operator.adjoint(u, at).square().sum() / u.numel())


def _log_psi(residual: Tensor, variance: Tensor) -> Tensor:
    """log N(residual; 0, variance I), `(B,)` float64."""
    flat = residual.flatten(1).double()
    return -0.5 * (flat.square().sum(1) / variance + flat.shape[1] * torch.log(2 * math.pi * variance))


def _step_mean(process: Process, prediction: Prediction, s: Tensor, tilde: Tensor) -> Tensor:
    """Mean of the ancestral step to `s` with variance `tilde` (see `sampler.ancestral.bridge`)."""
    alpha, sigma = process(s)
    return alpha * prediction.data + (sigma**2 - tilde).clamp(min=0).sqrt() * prediction.noise


def _log_mean(log_weights: Tensor) -> Tensor:
    """`(N, K)` to the log of each row's mean weight, `(N,)`."""
    return log_weights.logsumexp(1) - math.log(log_weights.shape[1])


def _resample(log_weights: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Rows `(N, K)` to go on with, and `(N,)` which observations were resampled: where fewer than K/2 particles count."""
    weights, count = log_weights.softmax(1), log_weights.shape[1]
    fresh = 1 / weights.square().sum(1) < count / 2
    stay = torch.arange(count, device=weights.device).expand_as(weights)
    return torch.where(fresh[:, None], _systematic(weights, count, noise), stay), fresh


def _systematic(weights: Tensor, n: int, noise: Noise) -> Tensor:
    """`(N, n)` indices drawn by `weights` `(N, K)` at n evenly spaced places, one uniform for each row."""
    places = (torch.arange(n, device=weights.device) + noise.uniform(weights[:, :1])) / n
    return torch.searchsorted(weights.cumsum(1), places).clamp(max=weights.shape[1] - 1)
