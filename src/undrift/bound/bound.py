"""`variational_bound`: an upper bound on `-log p(x)` for each sample, discrete or in continuous time.

    -log p(x_0) <= L_T + sum L_{t-1} + L_0,      L_T = KL(q(x_T | x_0) || N(0, sigma_T^2 I)) = |alpha_T x_0|^2 / (2 sigma_T^2)

A chain sums its steps (see `chain`). With ever more steps the sum becomes an integral over the log-SNR that no longer depends
on the process, only on its two ends (Kingma et al. 2021, eq. 17-18):

    sum L_{t-1}  ->  1/2 int |eps - noise(x, log_snr)|^2 d log_snr

Units. Values are nats in model space. Without `bins` they bound the density of what was passed in: add uniform noise to
integers first (dequantise), and `bits_per_dim(spec.log_abs_det())` bounds the bits per dimension of the integers (Theis et
al. 2016). With `bins` they bound the probability of the integers themselves, no noise and no Jacobian: `bits_per_dim()`. The
two bound the same number, the bits of a lossless code; the first is the looser by Jensen's inequality.

Sources: Ho et al. 2020, eq. 5; 000 eq. 9 (its sum starts at t = 2: L_0 is a term of its own); 001 eq. 4.4 (an upper bound on
the negative log-likelihood; the paper prints >=).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from undrift.argument import choice, instance, real, said, tensor, whole
from undrift.bound.bins import Bins
from undrift.bound.chain import Chain
from undrift.condition import for_samples
from undrift.denoiser import AnyDenoiser, check_denoiser, exactly
from undrift.device import onto
from undrift.noise import Noise
from undrift.process import Process, expand
from undrift.reverse import AnalyticVariance, data_error, grid, half_noise_error


@dataclass(frozen=True)
class Bound:
    """An upper bound on `-log p(x)` and its parts, in nats of model space.

    Attributes:
        value: `(B,)` float64, the sum of the parts. An unbiased estimate: its expectation is the bound.
        prior: `(B,)`, L_T, exact.
        transitions: `(n, B)`, L_{t-1} from noise to data: a step of a chain each, or a share of the integral.
        reconstruction: `(B,)`, L_0.
        times: `(n + 1,)`, in continuous time `(n + 1, B)`: where the denoiser was asked; the last one for L_0.
        standard_error: `(B,)` of `value` over the draws; NaN with one draw.
        evaluations: Calls of the denoiser.
        dims: Entries of a sample.
    """

    value: Tensor
    prior: Tensor
    transitions: Tensor
    reconstruction: Tensor
    times: Tensor
    standard_error: Tensor
    evaluations: int
    dims: int

    def bits_per_dim(self, log_abs_det: float = 0.0) -> Tensor:
        """`(B,)` bits per dimension in data units.

        Args:
            log_abs_det: For dequantised data the spec's `log_abs_det()`; with `bins` leave it 0.
        """
        return (self.value - log_abs_det) / (self.dims * math.log(2))


@torch.no_grad()
def variational_bound(
    denoiser: AnyDenoiser,
    x0: Tensor,
    *,
    steps: int | Tensor | None = None,
    seed: int = 0,
    noise: Noise | None = None,
    cond: Any = None,
    variance: str | Tensor | AnalyticVariance = "beta",
    bins: Bins | None = None,
    draws: int = 1,
    points: int = 32,
    times: str = "low_discrepancy",
    ends: tuple[float, float] = (0.002, 1000.0),
) -> Bound:
    """Bound `-log p(x0)` from above, sample by sample; the value of a sample does not depend on its batch.

    Args:
        denoiser: Any denoiser; for a guided one, the bound of the guided chain.
        x0: `(B, *D)` clean data in model space.
        steps: A number or a grid `(n + 1,)` for a chain of that many steps (see `undrift.reverse.grid`). None: the levels of a
            discrete process; in continuous time for a continuous one.
        seed: Names the draws; sample i is addressed by (seed, i).
        noise: One address per sample, instead of `seed`.
        cond: Class labels `(B,)` (or one for all), a `Condition`, or whatever the denoiser takes, a row for each sample.
        variance: Of the chain's steps: "beta" (the better of the two with few steps), "tilde", "learned", an
            `AnalyticVariance`, or a tensor `(n,)`. In continuous time steps have no variance of their own; the decoder's is
            sigma^2/alpha^2, or the analytic one.
        bins: The bins of integer data, for the discretised decoder; None: a density.
        draws: Independent repetitions, averaged; two or more give a standard error.
        points: In continuous time, noise levels for each draw.
        times: In continuous time: "low_discrepancy" (one in each of `points` equal parts of the log-SNR), "importance"
            (independent, even in log-SNR), "uniform" (independent, even in t, with weight -log_snr': Kingma et al. 2021, eq.
            17). Equal expectations, in order of growing variance.

        ends: In continuous time, the noise levels sigma/alpha where the integral begins and ends, where the process reaches
            further. Every choice gives a bound. With `bins`, a network that was hardly trained below some noise level is
            better asked from there on: the decoder takes over.

    Returns:
        A `Bound`. Costs `draws n` evaluations for n steps, `draws (points + 1)` in continuous time.

    Raises:
        ValueError: data that are not finite or, with `bins`, outside them; options that make no sense.
    """
    check_denoiser(denoiser)
    process, x0 = denoiser.process, tensor(x0, "x0")
    if not x0.is_floating_point():
        raise ValueError(f"`x0` must be floats in model space, got {said(x0)}; `Spec.to_model` makes them of data.")
    if x0.ndim < 2 or not len(x0) or (denoiser.shape is not None and tuple(x0.shape[1:]) != tuple(denoiser.shape)):
        wanted = "*D" if denoiser.shape is None else ", ".join(map(str, denoiser.shape))
        raise ValueError(f"`x0` has shape {tuple(x0.shape)}; pass (B, {wanted}).")
    if not bool(torch.isfinite(x0).all()):
        bad = int((~torch.isfinite(x0)).flatten(1).any(1).sum())
        raise ValueError(f"{bad} of {len(x0)} samples hold NaN or infinite values, which have no likelihood.")
    draws, points, seed = whole(draws, "draws", 1), whole(points, "points", 1), whole(seed, "seed", 0)
    choice(times, "times", ("low_discrepancy", "importance", "uniform"))
    if not isinstance(ends, (tuple, list)) or len(ends) != 2:
        raise ValueError(f"`ends` must be two noise levels 0 < low < high, got {said(ends)}.")
    for end in ends:
        real(end, "ends", "two noise levels 0 < low < high")
    if bins is not None:
        instance(bins, "bins", Bins, "make them with Bins.of(spec)")
    if not 0 < ends[0] < ends[1]:
        raise ValueError(f"`ends` must be two noise levels 0 < low < high, got {ends}.")
    noise = Noise(range(len(x0))).fold("bound", seed) if noise is None else noise
    if len(instance(noise, "noise", Noise, "give a Noise, one address per sample")) != len(x0):
        raise ValueError(f"`x0` has batch size {len(x0)} but `noise` carries {len(noise)} addresses; pass `noise[rows]`.")
    cond, parts = for_samples(cond, len(x0), x0.device), []
    with exactly(denoiser):
        for k in range(draws):
            here = noise.fold("draw", k)
            if steps is None and process.levels is None:
                parts.append(_continuous(denoiser, x0, here, cond, variance, bins, points, times, ends))
            else:
                parts.append(_discrete(denoiser, x0, here, cond, Chain(process, grid(process, steps), variance, bins)))
    where = parts[0][1]
    terms = torch.stack([t for t, _ in parts])  # (draws, n + 1, B)
    prior = _prior(process, x0, where[0])
    totals = terms.sum(1)
    error = totals.std(0) / math.sqrt(draws) if draws > 1 else torch.full_like(prior, math.nan)
    mean = terms.mean(0)
    return Bound(prior + mean.sum(0), prior, mean[:-1], mean[-1], where[1:], error, draws * len(mean), x0[0].numel())


def _prior(process: Process, x0: Tensor, t: Tensor) -> Tensor:
    """KL(q(x_t | x_0) || N(0, sigma_t^2 I)), `(B,)`."""
    alpha, sigma = process(t)
    return (expand(alpha / sigma, x0) * x0).square().flatten(1).sum(1, dtype=torch.float64) / 2


def _discrete(denoiser: AnyDenoiser, x0: Tensor, noise: Noise, cond: Any, chain: Chain) -> tuple[Tensor, Tensor]:
    terms = []
    for i, t in enumerate(chain.times[:-1]):
        eps = noise.fold("eps", i).normal(x0)
        prediction, fraction = chain.evaluate(denoiser, denoiser.process.perturb(x0, t, eps), t, cond)
        terms.append(chain.term(x0, i, eps, prediction, fraction))
    return torch.stack(terms), torch.cat([chain.times[:1], chain.times[:-1]])


def _continuous(
    denoiser: AnyDenoiser,
    x0: Tensor,
    noise: Noise,
    cond: Any,
    variance: Any,
    bins: Bins | None,
    points: int,
    times: str,
    extent: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    if not isinstance(variance, AnalyticVariance) and not (
        isinstance(variance, str) and variance in ("beta", "tilde", "learned")
    ):
        raise ValueError(
            f"`variance` {said(variance)} is not beta, tilde, learned or an AnalyticVariance; a tensor needs `steps`."
        )
    process = denoiser.process
    ends = process.log_snr(torch.tensor([process.t_max, process.t_min], dtype=torch.float64))
    low, high = ends.clamp(-2 * math.log(extent[1]), -2 * math.log(extent[0])).tolist()
    first, last = process.time(torch.tensor([low, high], dtype=torch.float64))
    terms, visited = [], [first.expand(len(x0))]
    for i in range(points):
        u = noise.fold("time", i).uniform(torch.empty(len(x0), dtype=torch.float64))
        if times == "uniform":
            t = last + u * (first - last)
            (alpha, sigma), (dalpha, dsigma) = process(t), process.rates(t)
            density = 2 * (dsigma / sigma - dalpha / alpha) * (first - last) / points
        else:
            t = process.time(low + (high - low) * ((i + u) / points if times == "low_discrepancy" else u))
            density = torch.full_like(u, (high - low) / points)
        t = onto(t, x0)
        eps = noise.fold("eps", i).normal(x0)
        prediction = denoiser(process.perturb(x0, t, eps), t, cond)
        terms.append(onto(density, x0) * half_noise_error(process, x0, t, eps, prediction))
        visited.append(t)
    eps = noise.fold("decoder").normal(x0)
    prediction = denoiser(process.perturb(x0, last, eps), last, cond)
    error = data_error(process, x0, last, eps, prediction).double()
    spread = variance.at(process, last) if isinstance(variance, AnalyticVariance) else torch.exp(-process.log_snr(last))
    if bins is None:
        decoder = (error**2 / spread + torch.log(2 * math.pi * spread)) / 2
    else:
        decoder = -bins.log_prob(x0, x0 - error, spread)
    terms.append(decoder.flatten(1).sum(1))
    visited.append(last.expand(len(x0)))
    return torch.stack(terms), torch.stack([v.cpu() for v in visited])
