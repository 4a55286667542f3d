"""The price of the prior: samplers start from `N(0, sigma_T^2 I)`, the data end at `p_T`, the law of `alpha_T x_0 + sigma_T eps`.

Whatever the score, `KL(p_T || prior)` goes straight into the bound on the whole (Song et al. 2021b, theorem 1). It is known

    exactly      for a mixture, as the mean of `log p_T(x_T) - log prior(x_T)` over exact draws;
    from below   from the moments m, C of the data, r = alpha_T/sigma_T:  (r^2 |m|^2 + tr r^2 C - log det(I + r^2 C)) / 2.
                 It is the divergence of the Gaussian with the moments of p_T, and of the difference to p_T itself nothing is lost:
                 `KL(p_T || prior) = KL(p_T || Gaussian) + KL(Gaussian || prior)`, since log Gaussian/prior is quadratic;
    from above   as `r^2 E|x_0|^2 / 2`, the divergence averaged over x_0 (KL is convex).

Beside it a two-sample test of noised data against the prior, which needs no formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from undrift.diagnosis.measure import Nats, Number
from undrift.exact import GaussianMixture
from undrift.metrics.estimate import Estimate, groups
from undrift.noise import Noise
from undrift.process import Process

WIDEST = 1024  # entries of a sample up to which the whole covariance is used; beyond, its diagonal
TESTED = 400  # samples of each side of the two-sample test
PERMUTATIONS = 199
DRAWN = 20_000  # of a known law: cheap, and n samples are told apart by few nats


@dataclass(frozen=True)
class PriorGap:
    """`KL(p_T || prior)`, and the p-value of a two-sample test: under equal laws it is at most p with probability p."""

    nats: Nats
    p_value: float
    diagonal: bool = False  # whether the lower bound leaves correlations out


def prior_gap(process: Process, x0: Tensor, law: GaussianMixture | None, noise: Noise) -> PriorGap:
    """How far the noised data are from the prior.

    Args:
        process: Of the sampler.
        x0: `(n, *D)` data in model space, n of at least 20.
        law: The law of the data under `process`, where it is known.
        noise: n addresses.
    """
    end = torch.tensor(process.t_max, dtype=torch.float64)
    ratio = float(process.alpha(end) / process.sigma(end))
    flat = x0.flatten(1).double()
    diagonal = flat.shape[1] > WIDEST or len(flat) <= flat.shape[1]
    if law is not None:
        x = law.sample(DRAWN, Noise(range(DRAWN)).fold(*noise.path), end)
        exact = Number.mean(law.log_prob(x, end) - process.prior_log_prob(x))
        nats, diagonal = Nats(exact, exact), False
    else:
        nats = Nats(_number(gaussian_divergence(flat, ratio, diagonal)), Number.mean(ratio**2 * flat.square().sum(1) / 2))
    some = slice(0, TESTED)
    noised = process.perturb(x0[some].double(), end, noise[some].fold("noised").normal(x0[some].double()))
    prior = process.prior(noised, noise[some].fold("two-sample"))
    return PriorGap(nats, two_sample(noised, prior), diagonal)


def gaussian_divergence(x0: Tensor, ratio: float, diagonal: bool = False) -> Estimate:
    """`KL(N(r m, r^2 C + I) || N(0, I))` in nats from the moments of `x0` `(n, d)`, its bias of order 1/n taken out.

    With `diagonal` the correlations are left out, and it is the sum over the entries: never more.
    """
    group, whole = groups(len(x0)), _of_moments(x0, ratio, diagonal)
    without = [_of_moments(x0[group != g], ratio, diagonal) for g in range(int(group.max()) + 1)]
    count = len(without)
    return Estimate(count * whole - (count - 1) * sum(without) / count, tuple(without))


def _of_moments(x0: Tensor, ratio: float, diagonal: bool) -> float:
    mean = x0.mean(0)
    spectrum = x0.var(0) if diagonal else torch.linalg.eigvalsh(x0.T.cov().reshape(len(mean), len(mean)))
    gain = ratio**2 * spectrum.clamp(min=0)
    return float(ratio**2 * mean.square().sum() + (gain - torch.log1p(gain)).sum()) / 2


def _number(estimate: Estimate) -> Number:
    return Number(estimate.value, estimate.standard_error)


def two_sample(a: Tensor, b: Tensor, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """The p-value of the energy two-sample test by permutation (Szekely & Rizzo 2013).

    Args:
        a, b: `(n, *D)` and `(m, *D)`, independent draws.
    """
    pooled = torch.cat([a.flatten(1), b.flatten(1)]).double()
    distances = torch.cdist(pooled, pooled)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.arange(len(pooled))] + [torch.randperm(len(pooled), generator=generator) for _ in range(permutations)]
    signs = torch.full((len(pooled), len(orders)), -1 / len(b), dtype=torch.float64)
    for k, order in enumerate(orders):
        signs[order[: len(a)], k] = 1 / len(a)
    statistics = -(signs * (distances @ signs)).sum(0)
    return (1 + int((statistics[1:] >= statistics[0]).sum())) / (1 + permutations)
