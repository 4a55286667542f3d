"""The sampling loop of the slides on a Gaussian mixture with known answers, for the studies of the algorithms of 002 and 004."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import undrift as ud
from undrift.metrics.estimate import Estimate
from undrift.study.base import every, settled, share

CHAIN = ud.DDPM(200, 5e-4, 0.1)
BETA = torch.cat([torch.zeros(1).double(), torch.linspace(5e-4, 0.1, 200, dtype=torch.float64)])  # of t = 0 (clean) to 200
BAR = (1 - BETA).cumprod(0)
TILDE = (
    ((1 - BAR.roll(1)) * BETA / (1 - BAR)).clamp(min=0).sqrt()
)  # standard deviation of q(x_{t-1} | x_t, x_0); of t = 0 meaningless

Step = Callable[
    [Tensor, ud.Prediction, int], tuple[Tensor, Tensor | float]
]  # x_t, prediction and t to mean and standard deviation


def law(process: ud.Process) -> ud.GaussianMixture:
    """Two components of unequal weight and shape in the plane."""
    covs = [[[0.30, 0.12], [0.12, 0.15]], [[0.10, -0.05], [-0.05, 0.40]]]
    return ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5]], covs, [0.3, 0.7], process)


def of_first(m: ud.GaussianMixture) -> ud.GaussianMixture:
    """The law of the first class alone."""
    assert m.basis is not None
    cov = (m.basis[:1] * m.variance[:1, None]) @ m.basis[:1].mT
    return ud.GaussianMixture(m.means[:1], cov, [1.0], m.process)


def posterior_mean(x: Tensor, p: ud.Prediction, t: int) -> Tensor:
    """Algorithm 2's `(x_t - beta/sqrt(1 - bar) noise) / sqrt(1 - beta)`."""
    return (x - BETA[t] / (1 - BAR[t]).sqrt() * p.noise) / (1 - BETA[t]).sqrt()


def run(step: Step, n: int, last_noise: bool = False) -> Tensor:
    """x_T ~ N(0, I), then for t = T..1 a draw from the Gaussian of `step`, without noise at t = 1 unless it is asked for."""
    m, noise = law(CHAIN), ud.Noise(range(n)).fold("sample", 0)
    x = CHAIN.prior(torch.empty(n, 2, dtype=torch.float64), noise)
    for t in range(CHAIN.steps, 0, -1):
        mean, std = step(x, m(x, t / CHAIN.steps), t)
        z = noise.fold("step", CHAIN.steps - t).normal(x) if t > 1 or last_noise else 0.0
        x = mean + std * z
    return x


def variance_left(ladder: ud.SMLD, variance: float = 0.5) -> float:
    """What `Renoise` with the exact guess makes of a Gaussian on a ladder: the share of its variance that is left, in closed form.

    The guess is v/(v + sigma²) x, so a level takes the variance V to `(v/(v + sigma²))² V`, and the next adds its own sigma².
    """
    assert ladder.levels is not None
    sigmas, now = ladder.sigma(ladder.levels)[:-1].tolist(), variance
    for sigma in sigmas:
        now = (variance / (variance + sigma**2)) ** 2 * (now + sigma**2)
    return float(now / variance)


WEIGHT, SHIFT, SPREAD = (
    0.05,
    0.25,
    0.15,
)  # how far a group may be off: in weight; in means, of its spread; in its spread, relative
WANTED = (
    "each group's weight within .05, its mean within a quarter of its spread, its spread within 15 %, by three standard errors"
)


def recovered(x: Tensor, truth: ud.GaussianMixture) -> bool | None:
    """Whether samples `(n, d)` are of a law, group by group: weight, mean and spread of those that are most likely of each class.

    By 20,000 exact draws, sorted into groups in the same way. A mean over everything, as an energy distance is, does not see a group
    of half its variance.
    """
    if not bool((x.abs() < 1e3).all()):  # NaN, too
        return False
    real = truth.sample(20_000, ud.Noise(range(20_000)).fold("exact"))
    own, exact = (truth.posterior(y).argmax(1) for y in (x, real))
    found = list[bool | None]()
    for k in range(truth.classes):
        a, b = x[own == k], real[exact == k]
        weight = len(b) / len(real)
        found.append(share(len(a) / len(x), len(x), weight - WEIGHT, weight + WEIGHT)[1])
        if weight > WEIGHT:
            found += _alike(a, b) if len(a) > 20 else [False]
    return every(*found)


def _alike(a: Tensor, b: Tensor) -> list[bool | None]:
    """For each coordinate, whether mean and standard deviation are the same; errors are those of normal numbers."""
    spread = b.std(0)
    shift, scale = ((a.mean(0) - b.mean(0)) / spread).tolist(), (a.std(0) / spread).tolist()
    error = 3 / len(a) ** 0.5
    means = [settled((v - error * s, v + error * s), -SHIFT, SHIFT) for v, s in zip(shift, scale, strict=True)]
    half = error / 2**0.5
    return means + [settled((s * (1 - half), s * (1 + half)), 1 - SPREAD, 1 + SPREAD) for s in scale]


def said(e: Estimate) -> str:
    """The distance with its error, or its order of magnitude where the samples diverged."""
    return f"{e.value:.3f} ± {e.standard_error:.3f}" if e.value < 100 else f"{e.value:.0e}"
